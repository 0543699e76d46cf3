"""
`oracle bench gas` as a process that is told to end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

BENCH_GAS = [sys.executable, "-m", "oracle", "bench", "gas", "--json"]


def chain_of(process: subprocess.Popen[str]) -> int:
    """
    Return the process of the chain that it measures on, as soon as there is one.
    """
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        listed = subprocess.run(
            ["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        )
        for line in listed.stdout.splitlines():
            pid, parent, args = line.split(maxsplit=2)
            if int(parent) == process.pid and "anvil" in args:
                return int(pid)
        time.sleep(0.05)
    pytest.fail("it started no chain")


def start(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        BENCH_GAS,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_said(process: subprocess.Popen[str], word: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return
    pytest.fail(f"it ended before it said {word}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_it_takes_its_chain_with_it(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as process:
        until_said(process, "airnode")
        chain = chain_of(process)
        process.send_signal(number)
        output, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert not output
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(chain, 0)
