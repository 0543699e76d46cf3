"""
What the chain says of all requests, read from its events alone, with the code that verifiers use
and the node does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.verify import airnode_events as airnode
from oracle.verify import events as native
from tests.chaos.accounts import AIRNODE, NATIVE, Canonical, Made, Settled

if TYPE_CHECKING:
    from oracle.chain.reader import Web3Reader

_RANGE = 1000
_MADE = (native.MADE, airnode.MADE_FULL)
_SETTLED = (native.FULFILLED, native.CANCELLED, airnode.ANSWERED, airnode.ENDED)


class Tally:
    """
    Counts as it goes: cheap, and good enough to show that something moves.
    """

    def __init__(self, reader: Web3Reader, coordinator: str, rrp: str, movable: int) -> None:
        """
        The last `movable` blocks can be replaced, and are read again.
        """
        self._reader = reader
        self._contracts = (coordinator, rrp)
        self._movable = movable
        self._found: dict[int, tuple[int, int]] = {}

    async def count(self) -> tuple[int, int]:
        """
        Return how many requests the chain has, and how many ends of requests.
        """
        head = (await self._reader.block()).number
        first = max(0, min(max(self._found, default=0), head) - self._movable)
        self._found = {block: both for block, both in self._found.items() if block < first}
        for contract in self._contracts:
            for log in await self._reader.logs(contract, first, head):
                made, settled = self._found.get(log.block_number, (0, 0))
                made += log.topics[0] in _MADE
                settled += log.topics[0] in _SETTLED
                self._found[log.block_number] = (made, settled)
        return sum(made for made, _ in self._found.values()), sum(
            settled for _, settled in self._found.values()
        )


async def read_canonical(reader: Web3Reader, coordinator: str, rrp: str) -> Canonical:
    """
    Read every event of both contracts up to the head.
    """
    head = (await reader.block()).number
    made: dict[bytes, Made] = {}
    settled: list[Settled] = []
    for first in range(0, head + 1, _RANGE):
        last = min(head, first + _RANGE - 1)
        for log in await reader.logs(coordinator, first, last):
            event = native.read_event(log)
            if isinstance(event, native.Made):
                made[event.request_id] = Made(
                    request_id=event.request_id,
                    protocol=NATIVE,
                    block=log.block_number,
                    index=event.terms.index,
                    confirmations=event.terms.confirmations,
                )
            elif isinstance(event, native.Fulfilled):
                settled.append(
                    Settled(request_id=event.request_id, block=log.block_number, secret=event.seed)
                )
            elif isinstance(event, native.Cancelled):
                settled.append(
                    Settled(request_id=event.request_id, block=log.block_number, secret=None)
                )
        for log in await reader.logs(rrp, first, last):
            told = airnode.read_airnode_event(log)
            if isinstance(told, airnode.Asked):
                made[told.request_id] = Made(
                    request_id=told.request_id, protocol=AIRNODE, block=log.block_number
                )
            elif isinstance(told, airnode.Answered | airnode.Ended):
                settled.append(
                    Settled(
                        request_id=told.request_id,
                        block=log.block_number,
                        secret=told.data if isinstance(told, airnode.Answered) else None,
                    )
                )
    return Canonical(head=head, made=made, settled=settled)
