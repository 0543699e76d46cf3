"""
ANU's first API: free, without a key, one request a minute, to be retired some day.

An item of type `hex16` and size 64 is 64 bytes here, while the newer API counts size in units of
two bytes. The certificate has been expired for long times: then the source is down.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx

from oracle.entropy.endpoint import Endpoint

if TYPE_CHECKING:
    from oracle.entropy.source import Reply, Sample
    from oracle.errors import SourceError

ITEM_BYTES = 64
ITEMS_MAX = 1024
THROTTLE_SECONDS = 61.0

_PATH = "API/jsonI.php"
_ITEM = re.compile(r"[0-9a-f]{128}")
_LIMITED = "is limited to 1 request"


class AnuLegacy:
    """
    The ANU QRNG API of `qrng.anu.edu.au`, or a gateway that speaks its dialect.

    The base URL is what stands before `/API/jsonI.php`.
    """

    max_bytes = ITEM_BYTES * ITEMS_MAX

    def __init__(
        self,
        *,
        client: httpx.AsyncClient,
        base_url: str,
        allow_simulated: bool,
        name: str = "anu-legacy",
    ) -> None:
        self.name = name
        self._endpoint = Endpoint(
            client=client, name=name, base_url=base_url, allow_simulated=allow_simulated
        )

    async def fetch(self, n_bytes: int) -> Sample:
        """
        Make one call and return all that it delivered: 64 bytes per item, at most 1,024 items.

        Guarantees and errors are those of `EntropySource.fetch`.
        """
        if n_bytes < 1:
            raise ValueError("Ask for at least one byte.")
        length = min(ITEMS_MAX, -(-n_bytes // ITEM_BYTES))
        reply = await self._endpoint.ask(
            "GET",
            _PATH,
            n_bytes=length * ITEM_BYTES,
            params={"length": length, "type": "hex16", "size": ITEM_BYTES},
        )
        if reply.status != httpx.codes.OK:
            raise self._refusal(reply)
        return self._endpoint.sample(reply, self._bytes(reply.json(), length))

    def _refusal(self, reply: Reply) -> SourceError:
        # The rate limit is a server error, told from an outage by its text alone.
        limited = reply.status == httpx.codes.INTERNAL_SERVER_ERROR
        if limited and _LIMITED in reply.body.decode("utf-8", "replace"):
            return self._endpoint.throttled(reply, THROTTLE_SECONDS)
        return self._endpoint.refusal(reply)

    def _bytes(self, reply: dict[str, Any] | None, length: int) -> bytes:
        if reply is None:
            raise self._endpoint.unavailable("the server answers with no JSON")
        success, items = reply.get("success"), reply.get("data")
        if success is False or (success is True and items in (None, [])):
            raise self._endpoint.unavailable("the server has no numbers")
        if success is not True or reply.get("type") != "hex16":
            raise self._endpoint.malformed("not a success of type hex16")
        if str(reply.get("length")) != str(length) or str(reply.get("size")) != str(ITEM_BYTES):
            raise self._endpoint.malformed("another length or size than asked for")
        if not isinstance(items, list) or len(items) != length:
            raise self._endpoint.malformed("another number of items than asked for")
        if not all(isinstance(item, str) and _ITEM.fullmatch(item) for item in items):
            raise self._endpoint.malformed("an item is not 128 lowercase hexadecimal digits")
        return self._endpoint.joined([bytes.fromhex(item) for item in items], length, ITEM_BYTES)
