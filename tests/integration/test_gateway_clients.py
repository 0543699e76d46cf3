"""
Programs that other people wrote, against the gateway, with only their base URL changed.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest
import quantumrand
from quantum_dice_mcp.providers import ANUProvider
from quantum_dice_mcp.sampling import rejection_sample

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


@pytest.fixture
def qrandom(monkeypatch: pytest.MonkeyPatch) -> Any:
    """
    The module of quantum-random, which wants a key as soon as it is imported.
    """
    monkeypatch.setenv("QRANDOM_API_KEY", KEY)
    importlib.import_module("qrandom._api")
    return importlib.import_module("qrandom")


async def test_quantum_random_draws(
    gateway: str, monkeypatch: pytest.MonkeyPatch, qrandom: Any
) -> None:
    monkeypatch.setattr(qrandom._api.Client, "url", f"{gateway}/anu")
    generator = qrandom.QuantumRandom(batch_size=1024)
    numbers = await asyncio.to_thread(lambda: [generator.random() for _ in range(2000)])
    assert len(set(numbers)) == 2000
    assert all(0 <= number < 1 for number in numbers)
    with pytest.raises(Exception, match="Forbidden"):
        await asyncio.to_thread(qrandom._api.Client("bad").fetch_int64)


async def test_quantum_random_is_told_of_a_success_without_data(
    gateway: str, monkeypatch: pytest.MonkeyPatch, qrandom: Any
) -> None:
    monkeypatch.setattr(qrandom._api.Client, "url", f"{gateway}/faults/empty/anu")
    with pytest.raises(Exception, match="had no data"):
        await asyncio.to_thread(qrandom._api.Client(KEY).fetch_int64)


async def test_quantum_dice_rolls(gateway: str) -> None:
    provider = ANUProvider(url=f"{gateway}/anu/API/jsonI.php")
    # More than one request holds.
    data = await asyncio.to_thread(provider.fetch_bytes, 1500)
    assert len(data) == 1500
    assert data[:476] != data[1024:]
    assert set(rejection_sample(data, 1, 6)) == {1, 2, 3, 4, 5, 6}
    limited = ANUProvider(url=f"{gateway}/faults/rate-limit/anu/API/jsonI.php")
    with pytest.raises(HTTPError, match="500"):
        await asyncio.to_thread(limited.fetch_bytes, 1)


async def test_quantumrand_draws(gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await draws_from_anus_first_api(quantumrand, gateway, monkeypatch)


async def draws_from_anus_first_api(
    module: Any, gateway: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "URL", f"{gateway}/anu/API/jsonI.php")
    data = await asyncio.to_thread(module.binary, 64, 64)
    assert len(data) == 64 * 64
    numbers = await asyncio.to_thread(module.get_data, "uint16", 100)
    assert len(numbers) == 100


# Installed by hand, see docs/gateway.md: one is no wheel, the other brings many packages.


async def test_quantumrandom_draws(gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = pytest.importorskip("quantumrandom")
    await draws_from_anus_first_api(module, gateway, monkeypatch)


async def test_qci_client_gets_and_renews_its_token(gateway: str) -> None:
    auth: Any = pytest.importorskip("qci_client.auth.client")
    client = auth.AuthClient(url=f"{gateway}/qci", api_token=KEY, timeout=10)
    token = await asyncio.to_thread(lambda: client.access_token)
    assert client.headers["Authorization"] == f"Bearer {token}"
    assert (await asyncio.to_thread(client.get_access_tokens_version))["version"]
    assert (await asyncio.to_thread(client.get_access_tokens_health))["message"]
