"""
Qrypt EaaS: quantum entropy in blocks of 1 KiB, paid for by the month.
"""

from __future__ import annotations

import httpx

from oracle.entropy.endpoint import Endpoint, next_month
from oracle.entropy.source import Reply, Sample, checked_key
from oracle.errors import SourceCredentialsError, SourceError, SourceQuotaError

BLOCK_BYTES = 1024
BLOCKS_MAX = 64  # the vendor gives 512; what is held in memory is kept small
THROTTLE_SECONDS = 10.0

_PATH = "quantum-entropy"


class Qrypt:
    """
    The `quantum-entropy` API of Qrypt, or a gateway that speaks its dialect.

    The base URL is what stands before `/quantum-entropy`. `reset_day` (1 to 28) is the day of the
    month on which the account was opened, and on which its allotment begins anew.
    """

    max_bytes = BLOCK_BYTES * BLOCKS_MAX

    def __init__(
        self,
        *,
        client: httpx.AsyncClient,
        base_url: str,
        token: str,
        allow_simulated: bool,
        reset_day: int | None = None,
        name: str = "qrypt",
    ) -> None:
        self.name = name
        self._endpoint = Endpoint(
            client=client, name=name, base_url=base_url, allow_simulated=allow_simulated
        )
        self._token = checked_key(name, token)
        self._reset_day = reset_day

    async def fetch(self, n_bytes: int) -> Sample:
        """
        Make one call and return all that it delivered: whole blocks of 1 KiB, at most 64.

        Guarantees and errors are those of `EntropySource.fetch`.
        """
        if n_bytes < 1:
            raise ValueError("Ask for at least one byte.")
        size = min(BLOCKS_MAX, -(-n_bytes // BLOCK_BYTES))
        reply = await self._endpoint.ask(
            "GET",
            _PATH,
            n_bytes=size * BLOCK_BYTES,
            params={"size": size},
            headers={"Authorization": f"Bearer {self._token}"},
        )
        if reply.status != httpx.codes.OK:
            raise self._refusal(reply)
        content = reply.json() or {}
        blocks = content.get("random")
        if not isinstance(blocks, list):
            raise self._endpoint.malformed("no array `random`")
        if content.get("size") not in (None, size):
            raise self._endpoint.malformed("another size than asked for")
        data = self._endpoint.joined(
            [self._endpoint.base64(block) for block in blocks], size, BLOCK_BYTES
        )
        return self._endpoint.sample(reply, data)

    def _refusal(self, reply: Reply) -> SourceError:
        if reply.status == httpx.codes.UNAUTHORIZED:
            return SourceCredentialsError(
                f"{self.name}: the token is invalid or expired: create one with the Entropy scope."
            )
        if reply.status == httpx.codes.FORBIDDEN:
            return SourceQuotaError(
                f"{self.name}: the month's allotment is used up: raise it, or wait for the day of"
                " the month on which the account was opened.",
                resets_at=next_month(self._reset_day) if self._reset_day else None,
            )
        if reply.status == httpx.codes.TOO_MANY_REQUESTS:
            return self._endpoint.throttled(reply, THROTTLE_SECONDS)
        return self._endpoint.refusal(reply)
