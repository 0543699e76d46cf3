"""
Whom a source believes, and how it says who it is.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from oracle.entropy.qrypt import Qrypt
from oracle.entropy.source import checked_url, http_client
from oracle.errors import ConfigError, SourceTrustError, SourceUnavailableError
from tests.vendors.qrypt import entropy
from tests.vendors.server import serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.sources

TODAY = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Pair:
    """
    A certificate and its key, as files and as objects.
    """

    certificate_file: Path
    key_file: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@pytest.fixture
def issue(tmp_path: Path) -> Callable[..., Pair]:
    """
    Issue a certificate, by an authority or by itself.
    """

    def issue(
        name: str, *, by: Pair | None = None, days: int = 30, password: bytes | None = None
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(by.certificate.subject if by else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(TODAY - timedelta(days=60))
            .not_valid_after(TODAY + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
        )
        if by is None:
            usage = dict.fromkeys(
                (
                    "content_commitment", "key_encipherment", "data_encipherment",
                    "key_agreement", "encipher_only", "decipher_only", "crl_sign",
                ),
                False,
            )  # fmt: skip
            builder = builder.add_extension(
                x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True
            )
        certificate = builder.sign(by.key if by else key, hashes.SHA256())
        paths = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password)
                if password
                else serialization.NoEncryption(),
            )
        )
        return Pair(*paths, certificate, key)

    return issue


async def fetch(url: str, **files: Any) -> Any:
    async with http_client(5.0, **files) as client:
        qrypt = Qrypt(client=client, base_url=url, token="t0k", allow_simulated=False)
        return await qrypt.fetch(64)


def tls(pair: Pair, **more: Any) -> dict[str, Any]:
    return {"ssl_certfile": str(pair.certificate_file), "ssl_keyfile": str(pair.key_file), **more}


async def test_a_private_authority_is_believed_where_it_is_named(
    issue: Callable[..., Pair],
) -> None:
    authority = issue("authority")
    async with serving(entropy, **tls(issue("server", by=authority))) as server:
        with pytest.raises(SourceTrustError, match="cannot be turned off"):
            await fetch(server.url)
        assert server.seen == []
        sample = await fetch(server.url, ca_file=authority.certificate_file)
    assert sample.certificate_expires == TODAY + timedelta(days=30)


async def test_an_expired_certificate_and_another_authority_are_not_believed(
    issue: Callable[..., Pair],
) -> None:
    authority, other = issue("authority"), issue("other")
    async with serving(entropy, **tls(issue("server", by=authority, days=-1))) as server:
        with pytest.raises(SourceTrustError):
            await fetch(server.url, ca_file=authority.certificate_file)
    async with serving(entropy, **tls(issue("server", by=authority))) as server:
        with pytest.raises(SourceTrustError):
            await fetch(server.url, ca_file=other.certificate_file)
        # The name counts too.
        with pytest.raises(SourceTrustError):
            await fetch(
                server.url.replace("127.0.0.1", "localhost"), ca_file=authority.certificate_file
            )
    assert server.seen == []


async def test_a_server_may_want_a_certificate_of_the_client(
    issue: Callable[..., Pair],
) -> None:
    authority = issue("authority")
    client = issue("client", by=authority)
    mutual = tls(
        issue("server", by=authority),
        ssl_ca_certs=str(authority.certificate_file),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
    )
    async with serving(entropy, **mutual) as server:
        with pytest.raises(SourceUnavailableError):
            await fetch(server.url, ca_file=authority.certificate_file)
        sample = await fetch(
            server.url,
            ca_file=authority.certificate_file,
            certificate=client.certificate_file,
            private_key=client.key_file,
        )
    assert len(sample.data) == 1024


def test_files_that_cannot_be_used_are_refused_at_the_start(
    issue: Callable[..., Pair], tmp_path: Path
) -> None:
    one, other = issue("one"), issue("other")
    locked = issue("locked", password=b"hunter2")
    empty = tmp_path / "empty"
    empty.touch()
    for files in (
        {"ca_file": tmp_path / "nowhere"},
        {"ca_file": empty},
        {"certificate": one.certificate_file, "private_key": other.key_file},
        {"certificate": locked.certificate_file, "private_key": locked.key_file},
        {"certificate": empty, "private_key": empty},
    ):
        with pytest.raises(ConfigError):
            http_client(5.0, **files)


@pytest.mark.parametrize("host", ["api.example.org", "8.8.8.8", "qrng.anu.edu.au."])
def test_plain_http_is_for_ones_own_network(host: str) -> None:
    with pytest.raises(ConfigError, match="write https://"):
        checked_url("source", f"http://{host}/v1")
    checked_url("source", f"https://{host}/v1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "gateway", "10.0.0.7", "[::1]"])
def test_a_gateway_next_door_may_speak_plain_http(host: str) -> None:
    assert checked_url("source", f"http://{host}:8600/anu").host
