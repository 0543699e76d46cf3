"""
One coordinator on one chain, as the steps see it: everything that they are handed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle.protocols.coordinator import WINDOW_MARGIN

if TYPE_CHECKING:
    from oracle.chain.reader import ChainReader
    from oracle.chain.sender import Broadcaster
    from oracle.evm import Block
    from oracle.lane import Lane
    from oracle.protocols.coordinator import CoordinatorProtocol
    from oracle.request import RandomnessRequest
    from oracle.store.engine import Database
    from oracle.store.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """
    What the steps of one coordinator share; depths and windows in blocks, `runway` in seeds.
    """

    chain_id: int
    contract: str
    database: Database
    pool: Pool
    reader: ChainReader
    #: Endpoints of others, one of which has to show a request too before its seed is revealed;
    #: none where the reader's own is trusted.
    witnesses: tuple[ChainReader, ...]
    sender: Broadcaster
    lane: Lane
    protocol: CoordinatorProtocol
    #: Blocks on top of a block before it counts as settled.
    depth: int
    #: Blocks from a request's own to the last in which it can be fulfilled.
    window: int
    #: The first block that can hold anything of the contract.
    start_block: int
    #: How many seeds are to be committed ahead of the next request.
    runway: int
    #: On a devnet the next block is as good as here: a request is confirmed one block earlier.
    devnet: bool

    def is_deep(self, request: RandomnessRequest, head: int) -> bool:
        """
        Return whether a request is as deep below a head as it and the configuration demand.
        """
        lead = 1 if self.devnet else 0
        return head >= request.block_number + max(request.confirmations - lead, self.depth)

    def too_late(self, request: RandomnessRequest, head: Block, *, exposed: bool) -> bool:
        """
        Return whether a request is to be left alone: no seed is revealed for the first time in the
        last blocks of a window, and nothing is sent after it.
        """
        left = request.block_number + self.window - (head.number + 1)
        return left < (0 if exposed else WINDOW_MARGIN)
