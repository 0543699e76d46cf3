"""
ANU Quantum Numbers: vacuum fluctuations, from the Australian National University through AWS.

One item of type `hex16` and size 10 is twenty bytes as forty hexadecimal digits: the type that
delivers most for a request that is counted.
"""

from __future__ import annotations

import re
from typing import Any

import httpx

from oracle.entropy.endpoint import Endpoint, next_month
from oracle.entropy.source import Reply, Sample, checked_key
from oracle.errors import SourceCredentialsError, SourceError, SourceQuotaError

ITEM_BYTES = 20
ITEMS_MAX = 1024
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
        self._endpoint = Endpoint(
            client=client, name=name, base_url=base_url, allow_simulated=allow_simulated
        )
        self._key = checked_key(name, api_key)

    async def fetch(self, n_bytes: int) -> Sample:
        """
        Make one call and return all that it delivered: twenty bytes per item, at most 1,024 items.

        Guarantees and errors are those of `EntropySource.fetch`.
        """
        if n_bytes < 1:
            raise ValueError("Ask for at least one byte.")
        length = min(ITEMS_MAX, -(-n_bytes // ITEM_BYTES))
        reply = await self._endpoint.ask(
            "GET",
            n_bytes=length * ITEM_BYTES,
            params={"length": length, "type": "hex16", "size": ITEM_BYTES // 2},
            headers={"x-api-key": self._key},
        )
        if reply.status != httpx.codes.OK:
            raise self._refusal(reply)
        return self._endpoint.sample(reply, self._bytes(reply.json(), length))

    def _refusal(self, reply: Reply) -> SourceError:
        if reply.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return SourceCredentialsError(f"{self.name}: the API key is refused: replace it.")
        if reply.status == httpx.codes.TOO_MANY_REQUESTS:
            if str((reply.json() or {}).get("message")).lower() == "limit exceeded":
                return SourceQuotaError(
                    f"{self.name}: the plan's requests are used up:"
                    " raise the plan or wait for its next month.",
                    resets_at=next_month(),
                )
            return self._endpoint.throttled(reply, THROTTLE_SECONDS)
        return self._endpoint.refusal(reply)

    def _bytes(self, reply: dict[str, Any] | None, length: int) -> bytes:
        malformed = self._endpoint.malformed
        if reply is None:
            raise malformed("no JSON object")
        success, items, stated = reply.get("success"), reply.get("data"), reply.get("length")
        if success is False or (success is True and items in (None, [])):
            raise self._endpoint.unavailable("the server has no numbers")
        if success is not True or reply.get("type") != "hex16":
            raise malformed("not a success of type hex16")
        # A text here, a number in the older API.
        if str(stated) != str(length):
            raise malformed("another length than asked for")
        if not isinstance(items, list) or len(items) != length:
            raise malformed("another number of items than asked for")
        if not all(isinstance(item, str) and _ITEM.fullmatch(item) for item in items):
            raise malformed("an item is not forty lowercase hexadecimal digits")
        return self._endpoint.joined([bytes.fromhex(item) for item in items], length, ITEM_BYTES)
