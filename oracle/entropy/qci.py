"""
QCI uQRNG: a token that buys short-lived tokens, and numbers as a bare JSON array.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx

from oracle.entropy.endpoint import Endpoint, next_month
from oracle.entropy.source import Sample, checked_key
from oracle.errors import SourceCredentialsError, SourceError, SourceQuotaError

if TYPE_CHECKING:
    from datetime import date

    from oracle.entropy.source import Reply

MAX_BYTES = 64 * 1024  # the vendor gives a million; what is held in memory is kept small
RENEW_SECONDS = 60.0
LIFE_SECONDS = 300.0  # of a token that does not say
EPOCH_SECONDS_MIN = 1_000_000_000  # above it, a number of seconds counts from 1970

_TOKENS = "auth/v1/access-tokens"
_NUMBERS = "qrng/random_numbers"
_USAGE = "qrng/usage"


class Qci:
    """
    The uQRNG of Quantum Computing Inc., or a gateway that speaks its dialect.

    The base URL is what stands before `/auth` and `/qrng`. Tokens are renewed a minute before they
    end, by one request however many draws wait for it.
    """

    max_bytes = MAX_BYTES

    def __init__(
        self,
        *,
        client: httpx.AsyncClient,
        base_url: str,
        refresh_token: str,
        allow_simulated: bool,
        name: str = "qci",
    ) -> None:
        self.name = name
        self._endpoint = Endpoint(
            client=client, name=name, base_url=base_url, allow_simulated=allow_simulated
        )
        self._refresh_token = checked_key(name, refresh_token)
        self._token: str | None = None
        self._expires = 0.0
        self._refresh: asyncio.Task[None] | None = None

    async def fetch(self, n_bytes: int) -> Sample:
        """
        Make one call and return all that it delivered: one byte per number, at most 65,536.

        An access token that is refused is renewed and the call made once more. Guarantees and
        errors are those of `EntropySource.fetch`.
        """
        if n_bytes < 1:
            raise ValueError("Ask for at least one byte.")
        count = min(n_bytes, MAX_BYTES)
        order = {
            "distribution": "uniform_discrete",
            "output_type": "decimal",
            "n_samples": count,
            "n_bits": 8,
        }
        reply = await self._authorized(_NUMBERS, order, n_bytes=count)
        if reply.status != httpx.codes.OK:
            raise self._refusal(reply)
        numbers = reply.value()
        if not isinstance(numbers, list) or len(numbers) != count:
            raise self._endpoint.malformed("not an array of as many numbers as asked for")
        # bool is an int to Python and no number to anybody else.
        if not all(type(number) is int and 0 <= number <= 0xFF for number in numbers):  # noqa: PLR2004
            raise self._endpoint.malformed("an item is no integer from 0 to 255")
        data = self._endpoint.joined([bytes(numbers)], 1, count)
        return self._endpoint.sample(reply, data)

    async def used_bits(self, first: date, last: date) -> int:
        """
        Ask how many bits the account drew from a day to another.

        Raises `SourceError`.
        """
        reply = await self._authorized(
            _USAGE, {"start_date": first.isoformat(), "end_date": last.isoformat()}
        )
        if reply.status != httpx.codes.OK:
            raise self._refusal(reply)
        n_bits = (reply.json() or {}).get("n_bits")
        if type(n_bits) is not int or n_bits < 0:
            raise self._endpoint.malformed("no number `n_bits`")
        return n_bits

    async def _authorized(self, path: str, content: Any, *, n_bytes: int = 0) -> Reply:
        token = await self._access_token()
        reply = await self._ask(path, content, token, n_bytes)
        if reply.status == httpx.codes.UNAUTHORIZED:
            if self._token == token:
                self._token = None
            token = await self._access_token()
            reply = await self._ask(path, content, token, n_bytes)
        return reply

    async def _ask(self, path: str, content: Any, token: str, n_bytes: int) -> Reply:
        headers = {"Authorization": f"Bearer {token}"}
        return await self._endpoint.ask(
            "POST", path, n_bytes=n_bytes, headers=headers, json=content
        )

    async def _access_token(self) -> str:
        while self._token is None or time.time() >= self._expires - RENEW_SECONDS:
            if self._refresh is None:
                self._refresh = asyncio.create_task(self._renew())
                self._refresh.add_done_callback(self._renewed)
            # Who gives up waiting does not end it for the others.
            await asyncio.shield(self._refresh)
        return self._token

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._refresh = None
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody need be left to

    async def _renew(self) -> None:
        reply = await self._endpoint.ask(
            "POST", _TOKENS, json={"refresh_token": self._refresh_token}
        )
        if reply.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise SourceCredentialsError(f"{self.name}: the API token is refused: replace it.")
        if reply.status != httpx.codes.OK:
            raise self._endpoint.refusal(reply)
        content = reply.json() or {}
        token, kind = content.get("access_token"), content.get("token_type", "bearer")
        if not isinstance(token, str) or str(kind).lower() != "bearer":
            raise self._endpoint.malformed("no bearer token")
        self._token = checked_key(self.name, token)
        # A token that says it is over already is used nonetheless: clocks differ.
        self._expires = max(_expiry(content), time.time() + RENEW_SECONDS + 1)

    def _refusal(self, reply: Reply) -> SourceError:
        if reply.status == httpx.codes.UNAUTHORIZED:
            return SourceCredentialsError(
                f"{self.name}: a fresh access token is refused: check the account."
            )
        used_up = reply.status == httpx.codes.FORBIDDEN or (
            reply.status == httpx.codes.TOO_MANY_REQUESTS and "Retry-After" not in reply.headers
        )
        if used_up:
            return SourceQuotaError(
                f"{self.name}: the month's bits are used up: raise the plan or wait.",
                resets_at=next_month(),
            )
        return self._endpoint.refusal(reply)


def _expiry(content: dict[str, Any]) -> float:
    """
    Return when a token ends, in seconds since 1970: it may be said in three ways, or not at all.
    """
    try:
        stamp = datetime.fromisoformat(content["expires_at_rfc3339"])
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()
    except (KeyError, TypeError, ValueError):
        pass
    seconds = content.get("expires_in")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        seconds = LIFE_SECONDS
    return seconds if seconds > EPOCH_SECONDS_MIN else time.time() + seconds
