"""
What an entropy source is, and the HTTP manners that all of them share.

A source is one exchange with one vendor: bytes in, no retry, no state.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from oracle.errors import (
    ConfigError,
    SimulatedEntropyError,
    SourceCredentialsError,
    SourceReplyError,
    SourceUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SIMULATED_HEADER = "X-Entropy-Simulated"
EXCHANGE_SECONDS = 60.0  # httpx bounds each read; this bounds a reply that arrives in drops
RETRY_AFTER_MAX = 86_400.0


@dataclass(frozen=True, slots=True)
class Sample:
    """
    The bytes of one call to one source; its repr does not show them.
    """

    source: str
    data: bytes = field(repr=False)
    received_at: datetime
    simulated: bool


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
        The most that one call delivers.
        """
        ...

    async def fetch(self, n_bytes: int) -> Sample:
        """
        Make one call and return all that it delivered.

        The data covers `min(n_bytes, max_bytes)` bytes, rounded up to the vendor's unit, so that
        nothing that was paid for is lost: `1 <= len(sample.data) <= max_bytes`.

        Guarantees: a malformed, short, long, constant or cached reply raises and yields no byte.
        Does not: retry, fall back to another generator, keep or log the bytes.

        Raises:
            SourceError: one of its leaves; `retryable` says whether a later call may succeed.
            ValueError: `n_bytes` is below 1.

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

    def json(self) -> dict[str, Any] | None:
        """
        Return the body as a JSON object, or None if it is anything else.
        """
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

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


def http_client(timeout: float = 15.0) -> httpx.AsyncClient:
    """
    Return a client that verifies TLS, follows no redirect and ignores proxy variables.
    """
    return httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)


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
    marked as simulated raises `SimulatedEntropyError` unless that is allowed; whatever the
    transport does becomes `SourceUnavailableError`.
    Does not: judge the status.
    """
    request.headers["Accept-Encoding"] = "identity"
    request.headers["Cache-Control"] = "no-cache"
    try:
        async with asyncio.timeout(EXCHANGE_SECONDS):
            response = await client.send(request, stream=True, follow_redirects=False)
            async with aclosing(response):
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
        kind = type(error).__name__
        raise SourceUnavailableError(
            f"{source}: no reply ({kind}): check the network and the base URL, or wait."
        ) from None
    return Reply(response.status_code, response.headers, body, simulated)


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
