"""
What a newcomer types, as processes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from oracle.devnet.network import PLAYER_KEY
from oracle.devnet.processes import free_port, require_free

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

ORACLE = [sys.executable, "-m", "oracle"]


def test_the_demo_fulfills_everything_once_and_leaves_no_process(tmp_path: Path) -> None:
    result = subprocess.run(
        [*ORACLE, "demo", "--requests", "9", "--json"],
        cwd=tmp_path,
        # The arguments of what is left over would name this folder.
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    counts = {"requests": 9, "fulfilled": 9, "lost": 0, "duplicates": 0, "seeds_reused": 0}
    assert counts.items() <= report.items()
    native, airnode = report["protocols"]["native"], report["protocols"]["airnode"]
    assert (native["fulfilled"], airnode["fulfilled"]) == (7, 2)
    for name, count in counts.items():
        assert native[name] + airnode[name] == count
    assert list(tmp_path.iterdir()) == []
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(tmp_path) not in processes.stdout


def test_a_devnet_serves_requests_until_it_is_told_to_end(tmp_path: Path) -> None:
    port = free_port()
    deployments = tmp_path / "deployments.json"
    devnet = subprocess.Popen(
        [*ORACLE, "devnet", "--port", str(port), "--deployments", str(deployments)],
        stdout=subprocess.DEVNULL,
        cwd=tmp_path,
    )
    try:
        deadline = time.monotonic() + 60
        while not deployments.exists():
            assert devnet.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        found = json.loads(deployments.read_text(encoding="utf-8"))
        assert found["chainId"] == 31337
        key = tmp_path / "player.key"
        key.touch(mode=0o600)
        key.write_text(PLAYER_KEY, encoding="ascii")
        result = subprocess.run(
            [
                *(*ORACLE, "request", "--rpc-url", found["rpcUrl"]),
                *("--coordinator", found["coordinator"], "--words", "2", "--json"),
            ],
            env={**os.environ, "ORACLE_WALLET_KEY_FILE": str(key)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        assert len(set(json.loads(result.stdout)["words"])) == 2

        again = subprocess.run(
            [*ORACLE, "devnet", "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert again.returncode == 2
        assert f"port {port} is taken" in again.stderr
    finally:
        devnet.send_signal(signal.SIGINT)
        assert devnet.wait(timeout=30) == 0
    assert not deployments.exists()
    require_free(port, "--port")
