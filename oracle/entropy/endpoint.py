"""
One vendor's server: where it is, how it is asked, and what its failures mean.

Statuses mean what most vendors mean by them; a vendor that means otherwise says so in its own
module. Everything here is stateless.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from oracle.entropy.health import Failure
from oracle.entropy.source import Reply, Sample, checked_url, exchange
from oracle.errors import (
    SourceCredentialsError,
    SourceError,
    SourceHealthError,
    SourceReplyError,
    SourceThrottledError,
    SourceUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

THROTTLE_SECONDS = 10.0
# 64 KiB of random data hold 16 bytes twice, at any two places, with probability 2^-97; eight bytes
# are all the same with probability 2^-56.
_REPEAT_BYTES = 16
_CONSTANT_BYTES = 8
_JSON_OVERHEAD = 64 * 1024
_PROVENANCE_CHARACTERS = 2048


class Endpoint:
    """
    A base URL, used as it is written, behind a client that is handed in.

    Guarantees: those of `oracle.entropy.source.exchange` for every request.
    """

    def __init__(
        self, *, client: httpx.AsyncClient, name: str, base_url: str, allow_simulated: bool
    ) -> None:
        self.name = name
        self.allow_simulated = allow_simulated
        self._client = client
        self._url = checked_url(name, base_url)

    async def ask(
        self,
        method: str,
        path: str = "",
        *,
        n_bytes: int = 0,
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> Reply:
        """
        Make one request below the base URL; `content` is httpx's `params` or `json`.

        A reply may be as long as `n_bytes` bytes take in the widest JSON in use, and a margin.
        """
        request = self._client.build_request(
            method,
            self._under(path),
            headers={"Accept": "application/json", **(headers or {})},
            **content,
        )
        return await exchange(
            self._client,
            request,
            source=self.name,
            # A byte as a number of an array takes up to five characters.
            cap=6 * n_bytes + _JSON_OVERHEAD,
            allow_simulated=self.allow_simulated,
        )

    def _under(self, path: str) -> httpx.URL:
        if not path:
            return self._url
        return self._url.copy_with(path=f"{self._url.path.rstrip('/')}/{path}")

    def refusal(self, reply: Reply) -> SourceError:
        """
        Return what a status other than 200 means where the vendor says nothing else.
        """
        status = reply.status
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return self.wrong_credentials()
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return self.throttled(reply)
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            if "Retry-After" in reply.headers:
                return self.throttled(reply)
            return self.unavailable(f"the server answers {status}")
        return SourceReplyError(
            f"{self.name}: the server answers {status} to a correct request: check the base URL."
        )

    def wrong_credentials(self) -> SourceCredentialsError:
        """
        Return the error of a key or token that the vendor refuses.
        """
        return SourceCredentialsError(f"{self.name}: the credentials are refused: replace them.")

    def throttled(self, reply: Reply, default: float = THROTTLE_SECONDS) -> SourceThrottledError:
        """
        Return the error of a server that asks for a pause, of `default` seconds unless it says.
        """
        return SourceThrottledError(
            f"{self.name}: too many requests: wait.", retry_after=reply.retry_after(default)
        )

    def unavailable(self, why: str) -> SourceUnavailableError:
        """
        Return the error of a server that cannot deliver now.
        """
        return SourceUnavailableError(f"{self.name}: {why}: wait.")

    def malformed(self, what: str) -> SourceReplyError:
        """
        Return the error of a reply that was destroyed.
        """
        return SourceReplyError(
            f"{self.name}: the reply was destroyed ({what}): check the base URL and the provider."
        )

    def unhealthy(self, what: str, failure: Failure) -> SourceHealthError:
        """
        Return the error of bytes that no working source gives.
        """
        return SourceHealthError(
            f"{self.name}: the reply was destroyed ({what}): the source is in quarantine; if it"
            " comes again, ask the vendor.",
            failure=failure,
        )

    def joined(self, blocks: Sequence[bytes], count: int, size: int) -> bytes:
        """
        Return `count` blocks of `size` bytes each as one, or raise `SourceReplyError`; where bytes
        repeat or are all the same, `SourceHealthError`: no second try is worth it.
        """
        if len(blocks) != count:
            raise self.malformed("another number of items than asked for")
        if any(len(block) != size for block in blocks):
            raise self.malformed("an item is shorter or longer than asked for")
        data = b"".join(blocks)
        starts = range(len(data) - _REPEAT_BYTES + 1)
        if len({data[at : at + _REPEAT_BYTES] for at in starts}) != len(starts) or (
            size >= _CONSTANT_BYTES and len(set(blocks)) != count
        ):
            raise self.unhealthy("bytes repeat", Failure.REPEAT)
        if len(data) >= _CONSTANT_BYTES and len(set(data)) == 1:
            raise self.unhealthy("all bytes are the same", Failure.REPETITION)
        return data

    def base64(self, text: Any) -> bytes:
        """
        Return what a text of RFC 4648 section 4 holds, padded and canonical, or raise.
        """
        try:
            data = base64.b64decode(text, validate=True) if isinstance(text, str) else None
        except (binascii.Error, ValueError):
            data = None
        if data is None or base64.b64encode(data).decode() != text:
            raise self.malformed("an item is not base64")
        return data

    def sample(
        self, reply: Reply, data: bytes, provenance: Mapping[str, Any] | None = None
    ) -> Sample:
        """
        Return the bytes of a reply with what is known about them.
        """
        return Sample(
            self.name,
            data,
            datetime.now(UTC),
            reply.simulated,
            _bounded(provenance or {}),
            reply.certificate_expires,
        )


def next_month(day: int = 1) -> datetime:
    """
    Return the next time, UTC, at which a month begins that is counted from a day of 1 to 28.
    """
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    this = today.replace(day=day)
    return this if this > today else (today.replace(day=28) + timedelta(days=4)).replace(day=day)


def next_day() -> datetime:
    """
    Return the next midnight, UTC.
    """
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + timedelta(days=1)


def _bounded(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """
    Leave out what a vendor says at too great a length.
    """
    return {
        name: value
        for name, value in provenance.items()
        if value not in (None, [], {}) and len(repr(value)) <= _PROVENANCE_CHARACTERS
    }
