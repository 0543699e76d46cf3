"""
What an entropy source is, and the HTTP manners that all of them share.

A source is one exchange with one vendor: bytes in, no retry, no state.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import httpx

from oracle.errors import (
    ConfigError,
    SimulatedEntropyError,
    SourceCredentialsError,
    SourceReplyError,
    SourceTrustError,
    SourceUnavailableError,
)
from oracle.given import is_near

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SIMULATED_HEADER = "X-Entropy-Simulated"
EXCHANGE_SECONDS = 60.0  # httpx bounds each read; this bounds a reply that arrives in drops
RETRY_AFTER_MAX = 86_400.0


@dataclass(frozen=True, slots=True)
class Sample:
    """
    The bytes of one call to one source; its repr does not show them.

    `provenance` is what the vendor said about them, as JSON values: nothing of it is secret, and
    nothing of it is trusted.
    """

    source: str
    data: bytes = field(repr=False)
    received_at: datetime
    simulated: bool
    provenance: Mapping[str, Any] = field(default_factory=dict)
    certificate_expires: datetime | None = None


class EntropySource(Protocol):
    """
    One quantum random number generator behind one API.
    """

    @property
    def name(self) -> str:
        """
        The source's name: unique in a node, part of every seed's derivation.
        """
        ...

    @property
    def max_bytes(self) -> int:
        """
        The most that one call asks for.
        """
        ...

    async def fetch(self, n_bytes: int) -> Sample:
        """
        Make one call and return all that it delivered.

        The data covers `min(n_bytes, max_bytes)` bytes, rounded up to the vendor's unit, so that
        nothing that was paid for is lost.

        Guarantees: a malformed, short, long, repeated, constant or cached reply raises and yields
        no byte.
        Does not: retry, fall back to another generator, keep or log the bytes.

        Raises:
            SourceError: one of its leaves; `retryable` says whether a later call may succeed.
            ValueError: `n_bytes` is below 1.

        """
        ...


@runtime_checkable
class TestsItself(Protocol):
    """
    A source whose vendor publishes what its own health tests say.
    """

    async def failed_tests(self) -> list[str]:
        """
        Return the names of the tests that say that the entropy must not be used.

        Raises `SourceError`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """
    An HTTP reply, read to its end or to the cap; its repr shows the status alone.
    """

    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)
    simulated: bool
    certificate_expires: datetime | None = None

    def json(self) -> dict[str, Any] | None:
        """
        Return the body as a JSON object, or None if it is anything else.
        """
        value = self.value()
        return value if isinstance(value, dict) else None

    def value(self) -> Any:
        """
        Return the body as whatever JSON value it is, or None if it is no JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def retry_after(self, default: float) -> float:
        """
        Return the seconds that `Retry-After` asks for, between `default` and one day.
        """
        value = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", value):
            seconds = float(value)
        else:
            try:
                date = parsedate_to_datetime(value)
            except ValueError:
                return default
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            seconds = (date - datetime.now(UTC)).total_seconds()
        return max(default, min(seconds, RETRY_AFTER_MAX))


@cache
def _public_authorities() -> ssl.SSLContext:
    """
    Return what all clients share that show no certificate: to read the authorities takes a while.
    """
    return httpx.create_ssl_context(trust_env=False)


def http_client(
    timeout: float = 15.0,
    *,
    ca_file: Path | None = None,
    certificate: Path | None = None,
    private_key: Path | None = None,
) -> httpx.AsyncClient:
    """
    Return a client that verifies TLS, follows no redirect and ignores proxy variables.

    The authorities in `ca_file` are trusted instead of the public ones. `certificate` and
    `private_key` (PEM, the key unencrypted) show the server who asks.

    Raises `ConfigError` when one of the files cannot be used.
    """
    try:
        if ca_file is not None:
            context = ssl.create_default_context(cafile=str(ca_file))
        elif certificate is not None:
            context = httpx.create_ssl_context(trust_env=False)
        else:
            context = _public_authorities()
    except OSError:
        raise ConfigError(
            f"the CA file {ca_file} cannot be used: name a PEM file with certificates"
        ) from None
    if certificate is not None:
        try:
            # A password, though empty: an encrypted key must not ask for one on the terminal.
            context.load_cert_chain(certificate, private_key, password="")
        except OSError:
            raise ConfigError(
                f"the client certificate {certificate} and its private key {private_key} cannot"
                " be used: name PEM files that belong together, the key without a password"
            ) from None
    return httpx.AsyncClient(
        timeout=timeout, follow_redirects=False, trust_env=False, verify=context
    )


def checked_url(source: str, base_url: str) -> httpx.URL:
    """
    Return the base URL of a source, used as it is written, or raise `ConfigError`.
    """
    try:
        url = httpx.URL(base_url.strip())
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"{source}: write the base URL as https://host/path.")
    if url.scheme == "http" and not is_near(url.host):
        raise ConfigError(
            f"{source}: over http:// whoever is on the way reads the key and chooses the bytes:"
            " write https://."
        )
    if url.userinfo or url.query or url.fragment:
        raise ConfigError(
            f"{source}: remove user name, query and fragment from the base URL;"
            " credentials have settings of their own."
        )
    return url


def checked_key(source: str, api_key: str) -> str:
    """
    Return the key without the white space around it, or raise `SourceCredentialsError`.
    """
    key = api_key.strip()
    if not key:
        raise SourceCredentialsError(f"{source}: the API key is empty: set it.")
    if not re.fullmatch(r"[!-~]+", key):
        raise SourceCredentialsError(
            f"{source}: the API key contains blanks or characters that no HTTP header can carry:"
            " copy it again."
        )
    return key


async def exchange(
    client: httpx.AsyncClient,
    request: httpx.Request,
    *,
    source: str,
    cap: int,
    allow_simulated: bool,
) -> Reply:
    """
    Send one request and read its reply.

    Guarantees: no redirect is followed; at most `cap` bytes and one chunk are held; a reply of
    status 200 that is too long, compressed, or comes from a cache raises `SourceReplyError`; one
    marked as simulated raises `SimulatedEntropyError` unless that is allowed; a certificate that
    does not verify raises `SourceTrustError`; whatever else the transport does becomes
    `SourceUnavailableError`.
    Does not: judge the status.
    """
    request.headers["Accept-Encoding"] = "identity"
    request.headers["Cache-Control"] = "no-cache"
    try:
        async with asyncio.timeout(EXCHANGE_SECONDS):
            response = await client.send(request, stream=True, follow_redirects=False)
            async with aclosing(response):
                expires = _certificate_expiry(response)
                simulated = SIMULATED_HEADER in response.headers
                if simulated and not allow_simulated:
                    raise SimulatedEntropyError(
                        f"{source}: the server marks its entropy as simulated: point the base URL"
                        " at a real source; only a chain with devnet = true accepts it."
                    )
                if response.status_code == httpx.codes.OK:
                    _refuse_stale(source, response.headers)
                body = await _read(source, response, cap)
    except (httpx.HTTPError, TimeoutError) as error:
        if _is_about_trust(error):
            raise SourceTrustError(
                f"{source}: the server's certificate does not verify, and verification cannot be"
                " turned off: name the server's own authority with ca_file, or wait until the"
                " vendor has renewed it."
            ) from None
        kind = type(error).__name__
        raise SourceUnavailableError(
            f"{source}: no reply ({kind}): check the network and the base URL, or wait."
        ) from None
    return Reply(response.status_code, response.headers, body, simulated, expires)


def _is_about_trust(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _certificate_expiry(response: httpx.Response) -> datetime | None:
    stream = response.extensions.get("network_stream")
    tls = stream and stream.get_extra_info("ssl_object")
    if not tls:
        return None
    certificate = tls.getpeercert() or {}
    if "notAfter" not in certificate:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


def _refuse_stale(source: str, headers: Mapping[str, str]) -> None:
    age = headers.get("Age", "0").strip()
    if age != "0" or "hit" in headers.get("X-Cache", "").lower():
        raise SourceReplyError(
            f"{source}: the reply comes from a cache, so others may have it:"
            " remove the cache between node and source."
        )
    if headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise SourceReplyError(
            f"{source}: the reply is compressed though it was asked for plain:"
            " remove the proxy between node and source."
        )


async def _read(source: str, response: httpx.Response, cap: int) -> bytes:
    body = bytearray()
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        return b""  # an error's text; its status is enough
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > cap:
            if response.status_code == httpx.codes.OK:
                raise SourceReplyError(
                    f"{source}: the reply is longer than {cap} bytes: check the base URL."
                )
            break
    return bytes(body[:cap])
