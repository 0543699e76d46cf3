"""
Every source that speaks HTTP, made for a server of a test.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from oracle.entropy.anu import AnuQuantumNumbers
from oracle.entropy.anu_legacy import AnuLegacy
from oracle.entropy.json_http import LFD, OUTSHIFT, QUANDELA, JsonHttp
from oracle.entropy.qci import Qci
from oracle.entropy.qrng_open_api import QrngOpenApi
from oracle.entropy.qrypt import Qrypt
from tests.vendors.qci import REFRESH_TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from oracle.entropy.source import EntropySource

KEY = "secret-key-1234"
KINDS: dict[str, Callable[..., EntropySource]] = {
    "anu": lambda **given: AnuQuantumNumbers(api_key=KEY, **given),
    "anu-legacy": AnuLegacy,
    "qrng-open-api": lambda **given: QrngOpenApi(**({"token": KEY} | given)),
    "qrypt": lambda **given: Qrypt(token=KEY, **given),
    "qci": lambda **given: Qci(refresh_token=REFRESH_TOKEN, **given),
    "lfd": lambda **given: JsonHttp(**({"recipe": LFD} | given)),
    "quandela": lambda **given: JsonHttp(recipe=QUANDELA, api_key=KEY, **given),
    "outshift": lambda **given: JsonHttp(recipe=OUTSHIFT, api_key=KEY, **given),
}


# Reading the public authorities takes longer than most tests.
_TLS = httpx.create_ssl_context()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """
    A client that would follow redirects if it were let.
    """
    async with httpx.AsyncClient(verify=_TLS, timeout=5, follow_redirects=True) as client:
        yield client


@pytest.fixture
def make(client: httpx.AsyncClient) -> Callable[..., Any]:
    """
    Make a source of a kind for a server.
    """

    def make(kind: str, url: str, **given: Any) -> Any:
        settings = {"client": client, "base_url": url, "allow_simulated": False, "name": kind}
        return KINDS[kind](**(settings | given))

    return make


CHAIN = """
[chains.main]
chain_id = 1
endpoints = ["http://127.0.0.1:1"]
coordinator = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
trusted = true

[chains.main.wallet]
key_file = "operator.key"

[pool]
key_file = "pool.key"
"""


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Let no variable of the developer's shell configure a test.
    """
    for name in os.environ:
        if name.startswith("ORACLE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def configure(tmp_path: Path) -> Callable[[str], Path]:
    """
    Write a configuration with these sources.
    """

    def configure(sources: str) -> Path:
        secret = tmp_path / "secret"
        secret.touch(0o600)
        secret.write_text(REFRESH_TOKEN + "\n")
        path = tmp_path / "oracle.toml"
        path.write_text(CHAIN + sources.replace("SECRET", str(secret)))
        return path

    return configure
