"""
ANU Quantum Numbers: vacuum fluctuations, from the Australian National University through AWS.

One item of type `hex16` and size 10 is twenty bytes as forty hexadecimal digits: the type that
delivers most for a request that is counted.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import httpx

from oracle.entropy.source import Reply, Sample, checked_key, checked_url, exchange
from oracle.errors import (
    SourceCredentialsError,
    SourceError,
    SourceQuotaError,
    SourceReplyError,
    SourceThrottledError,
    SourceUnavailableError,
)

ITEM_BYTES = 20
ITEMS_MAX = 1024
REPLY_CAP = 128 * 1024
THROTTLE_SECONDS = 1.0

_ITEM = re.compile(r"[0-9a-f]{40}")


class AnuQuantumNumbers:
    """
    The ANU Quantum Numbers API, or a gateway that speaks its dialect.

    The base URL is used as it is written, with or without a slash at its end. The client is
    handed in and stays its giver's to close.
    """

    max_bytes = ITEM_BYTES * ITEMS_MAX

    def __init__(
        self,
        *,
        client: httpx.AsyncClient,
        base_url: str,
        api_key: str,
        allow_simulated: bool,
        name: str = "anu",
    ) -> None:
        self.name = name
        self._client = client
        self._url = checked_url(name, base_url)
        self._key = checked_key(name, api_key)
        self._allow_simulated = allow_simulated

    async def fetch(self, n_bytes: int) -> Sample:
        """
        Make one call and return all that it delivered: twenty bytes per item, at most 1,024 items.

        Guarantees and errors are those of `EntropySource.fetch`.
        """
        if n_bytes < 1:
            raise ValueError("Ask for at least one byte.")
        length = min(ITEMS_MAX, -(-n_bytes // ITEM_BYTES))
        request = self._client.build_request(
            "GET",
            self._url,
            params={"length": length, "type": "hex16", "size": ITEM_BYTES // 2},
            headers={"x-api-key": self._key, "Accept": "application/json"},
        )
        reply = await exchange(
            self._client,
            request,
            source=self.name,
            cap=REPLY_CAP,
            allow_simulated=self._allow_simulated,
        )
        if reply.status != httpx.codes.OK:
            raise self._refusal(reply)
        data = self._bytes(reply.json(), length)
        return Sample(self.name, data, datetime.now(UTC), reply.simulated)

    def _refusal(self, reply: Reply) -> SourceError:
        status = reply.status
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return SourceCredentialsError(f"{self.name}: the API key is refused: replace it.")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            if str((reply.json() or {}).get("message")).lower() == "limit exceeded":
                return SourceQuotaError(
                    f"{self.name}: the plan's requests are used up:"
                    " raise the plan or wait for its next month."
                )
            return SourceThrottledError(
                f"{self.name}: too many requests: wait.",
                retry_after=reply.retry_after(THROTTLE_SECONDS),
            )
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return SourceUnavailableError(f"{self.name}: the server answers {status}: wait.")
        return SourceReplyError(
            f"{self.name}: the server answers {status} to a correct request: check the base URL."
        )

    def _bytes(self, reply: dict[str, Any] | None, length: int) -> bytes:
        if reply is None:
            raise self._malformed("no JSON object")
        success, items, stated = reply.get("success"), reply.get("data"), reply.get("length")
        if success is False or (success is True and items in (None, [])):
            raise SourceUnavailableError(f"{self.name}: the server has no numbers: wait.")
        if success is not True or reply.get("type") != "hex16":
            raise self._malformed("not a success of type hex16")
        if str(stated) != str(length):
            raise self._malformed("another length than asked for")
        if not isinstance(items, list) or len(items) != length:
            raise self._malformed("another number of items than asked for")
        if not all(isinstance(item, str) and _ITEM.fullmatch(item) for item in items):
            raise self._malformed("an item is not forty lowercase hexadecimal digits")
        data = bytes.fromhex("".join(items))
        if len(set(items)) != length or len(set(data)) == 1:
            raise self._malformed("items repeat")
        return data

    def _malformed(self, what: str) -> SourceReplyError:
        return SourceReplyError(
            f"{self.name}: the reply was destroyed ({what}): check the base URL and the provider."
        )
