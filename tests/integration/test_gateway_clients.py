"""
Programs that other people wrote, against the gateway, with only their base URL changed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oracle.devnet.processes import free_port
from tests.gateway_server import KEY, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.integration


@pytest.fixture
async def gateway() -> AsyncIterator[str]:
    async with running(free_port()) as url:
        yield url


async def test_schemathesis_finds_nothing_on_the_open_api(gateway: str, tmp_path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", f"{gateway}/openapi.json", "--include-path-regex", "^/qrng-open-api/v1/"),
        *("--header", f"Authorization: Bearer {KEY}", "--max-examples", "25", "--no-color"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await child.communicate()
    assert child.returncode == 0, output.decode()
    assert "Tested: 3" in output.decode()


# Installed by hand, see docs/gateway.md: they pin old packages or bring many.


async def test_quantum_random_draws(gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QRANDOM_API_KEY", KEY)
    qrandom: Any = pytest.importorskip("qrandom")
    api: Any = pytest.importorskip("qrandom._api")
    monkeypatch.setattr(api.Client, "url", f"{gateway}/anu")
    generator = qrandom.QuantumRandom(batch_size=1024)
    numbers = await asyncio.to_thread(lambda: [generator.random() for _ in range(2000)])
    assert len(set(numbers)) == 2000
    assert all(0 <= number < 1 for number in numbers)
    with pytest.raises(Exception, match="Forbidden"):
        await asyncio.to_thread(api.Client("bad").fetch_int64)


@pytest.mark.parametrize("name", ["quantumrandom", "quantumrand"])
async def test_clients_of_anus_first_api_draw(
    gateway: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    module: Any = pytest.importorskip(name)
    monkeypatch.setattr(module, "URL", f"{gateway}/anu/API/jsonI.php")
    data = await asyncio.to_thread(module.binary, 64, 64)
    assert len(data) == 64 * 64
    numbers = await asyncio.to_thread(module.get_data, "uint16", 100)
    assert len(numbers) == 100


async def test_qci_client_gets_and_renews_its_token(gateway: str) -> None:
    auth: Any = pytest.importorskip("qci_client.auth.client")
    client = auth.AuthClient(url=f"{gateway}/qci", api_token=KEY, timeout=10)
    token = await asyncio.to_thread(lambda: client.access_token)
    assert client.headers["Authorization"] == f"Bearer {token}"
    assert (await asyncio.to_thread(client.get_access_tokens_version))["version"]
    assert (await asyncio.to_thread(client.get_access_tokens_health))["message"]
