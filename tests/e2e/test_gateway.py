"""
`oracle gateway` as a process: killed in the middle of serving, and behind TLS.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import json
import ssl
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from oracle.devnet.processes import Process, free_port
from oracle.store.seal import PoolKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

# More than one reply for each client.
SOME = 100


async def start(
    folder: Path,
    name: str,
    *options: str,
    env: dict[str, str] | None = None,
    verify: ssl.SSLContext | bool = True,
) -> tuple[Process, str]:
    """
    Start a gateway and wait until it answers; return it with its base URL.
    """
    port = free_port()
    argv = [sys.executable, "-m", "oracle", "gateway", "--port", str(port), *options]
    process = await Process.start(name, argv, folder, env)
    scheme = "https" if "--tls-key" in options else "http"
    url = f"{scheme}://127.0.0.1:{port}"
    async with httpx.AsyncClient(trust_env=False, verify=verify) as client, asyncio.timeout(60):
        while True:
            process.check()
            with contextlib.suppress(httpx.TransportError):
                await client.get(f"{url}/healthz")
                return process, url
            await asyncio.sleep(0.05)


async def oracle(folder: Path, *arguments: str) -> str:
    """
    Run a verb to its end and return what it printed.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "oracle", *arguments),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await child.communicate()
    assert child.returncode == 0
    return output.decode()


@pytest.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[str]:
    """
    The URL of a simulator, the source of the gateway under test.
    """
    process, url = await start(tmp_path, "upstream", "--simulate")
    yield url
    await process.stop()


@pytest.fixture
async def configured(tmp_path: Path, upstream: str) -> dict[str, str]:
    """
    A folder with a configuration, and the headers of a client.
    """
    for name, text in (("pool.key", PoolKey.generate()), ("anu.key", "any")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(text)
    (tmp_path / "gateway.toml").write_text(
        f"""
database = "gateway.db"
pool.key_file = "pool.key"
pool.fresh = 2000
[sources.anu]
kind = "anu-quantum-numbers"
url = "{upstream}/anu"
key_file = "anu.key"
"""
    )
    options = ("--config", "gateway.toml", "--scope", "qrng-open-api", "--json")
    created = json.loads(await oracle(tmp_path, "gateway", "key", "create", "ci", *options))
    return {"Authorization": f"Bearer {created['key']}"}


async def draw_until_gone(
    url: str, headers: dict[str, str], most: int, some: asyncio.Event | None = None
) -> list[bytes]:
    """
    Draw as fifty clients until the gateway is gone, or so many blocks have come; say when there
    are some.
    """
    drawn: list[bytes] = []

    async def client(http: httpx.AsyncClient) -> None:
        while len(drawn) < most:
            try:
                reply = await http.post(
                    f"{url}/qrng-open-api/v1/entropy", json={"block_size": 32}, headers=headers
                )
            except httpx.TransportError:
                return
            if reply.status_code == 503:
                await asyncio.sleep(0.05)
                continue
            assert reply.status_code == 200
            assert reply.headers["X-Entropy-Simulated"] == "1"
            drawn.extend(base64.b64decode(block) for block in reply.json()["entropy"])
            if some is not None and len(drawn) > SOME:
                some.set()

    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(trust_env=False, limits=limits, timeout=30) as http:
        await asyncio.gather(*(client(http) for _ in range(50)))
    return drawn


async def test_killed_again_and_again_while_serving_it_serves_no_block_twice(
    tmp_path: Path, configured: dict[str, str]
) -> None:
    options = ("--config", "gateway.toml", "--allow-simulated")
    drawn: list[bytes] = []
    for point in ("reply-bound:2", "reply-committed:2", "epoch-advanced:2"):
        process, url = await start(tmp_path, point, *options, env={"ORACLE_FAULT_POINT": point})
        drawn += await draw_until_gone(url, configured, most=10**6)
        assert await process.wait() == -9
    process, url = await start(tmp_path, "anywhere", *options)
    some = asyncio.Event()
    drawing = asyncio.create_task(draw_until_gone(url, configured, most=10**6, some=some))
    await some.wait()
    await process.kill()
    drawn += await drawing
    process, url = await start(tmp_path, "last", *options)
    last = await draw_until_gone(url, configured, most=300)
    assert len(last) >= 300
    drawn += last
    assert len(set(drawn)) == len(drawn)
    assert await process.stop() == 0
    listed = json.loads(
        await oracle(tmp_path, "gateway", "key", "list", "--config", "gateway.toml", "--json")
    )
    # What was committed and did not arrive counts too; what arrived was counted.
    assert listed[0]["drawnBytes"] >= 32 * len(drawn)


def authority(folder: Path, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    return certificate(folder, name, key, name, key, ca=True), key


def certificate(
    folder: Path,
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool = False,
) -> x509.Certificate:
    at = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / f"{name}.pem").write_bytes(made.public_bytes(pem))
    key_file = folder / f"{name}.key"
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


async def test_tls_lets_in_only_clients_of_the_authority(tmp_path: Path) -> None:
    _, ca_key = authority(tmp_path, "ca")
    authority(tmp_path, "stranger")
    for name in ("server", "client"):
        certificate(tmp_path, name, ec.generate_private_key(ec.SECP256R1()), "ca", ca_key)

    def context(name: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        if name:
            context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        return context

    tls: tuple[Any, ...] = ("--tls-certificate", "server.pem", "--tls-key", "server.key")
    process, url = await start(
        tmp_path,
        "tls",
        *("--simulate", *tls, "--tls-client-ca", "ca.pem"),
        verify=context("client"),
    )
    try:
        async with httpx.AsyncClient(verify=context("client"), trust_env=False) as client:
            reply = await client.get(f"{url}/anu?length=1&type=uint8", headers={"x-api-key": "a"})
            assert reply.is_success
        for other in (None, "stranger"):
            async with httpx.AsyncClient(verify=context(other), trust_env=False) as client:
                with pytest.raises(httpx.TransportError):
                    await client.get(f"{url}/healthz")
    finally:
        assert await process.stop() == 0


async def test_key_of_everybody_is_no_key(tmp_path: Path) -> None:
    authority(tmp_path, "server")
    (tmp_path / "server.key").chmod(0o644)
    tls = ("--tls-certificate", "server.pem", "--tls-key", "server.key")
    argv = [sys.executable, "-m", "oracle", "gateway", "--simulate", *tls]
    process = await Process.start("open", argv, tmp_path)
    assert await process.wait() == 2
    assert "chmod 600" in process.last_lines()
