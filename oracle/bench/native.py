"""
What the coordinator costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import encode

from oracle import artifacts
from oracle.bench.figures import Figures, require_word
from oracle.chain.transact import CoordinatorConfig
from oracle.devnet.network import CHAIN_ID
from oracle.entropy import merkle
from oracle.evm import keccak
from oracle.protocols.coordinator import CoordinatorProtocol, Reveal, words
from oracle.request import RandomnessRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.bench.chain import Chain, Sent

COUNTS = (1, 10, 50)
# What the consumer asks for.
_CALLBACK_GAS = 100_000
# By the last round all storage but the words' is used.
_ROUNDS = 4
_WINDOW = 256
_FEE_AT = 10**9

_ASK = keccak(b"ask()")[:4]
_LAST, _WORD_OF = keccak(b"last()")[:4], keccak(b"wordOf(bytes32)")[:4]


async def measure(chain: Chain) -> Figures:
    """
    Measure the coordinator in its steady state, each count with the smallest ring for it.
    """
    figures = Figures(source="QuantumCoordinator of this version")
    for count in COUNTS:
        for fresh in (True, False):
            site = await Site.build(chain, count, fresh=fresh)
            for _ in range(_ROUNDS):
                asked, fulfilled = await site.serve_round()
            figures.add("request", asked, count)
            figures.add(f"fulfill_{count}_{'fresh' if fresh else 'used'}", [fulfilled], count)
    figures.add("commit", [await site.commit(1)], 1)
    return figures


@dataclass(frozen=True, slots=True)
class Site:
    """
    A coordinator, a consumer, and the seeds of the coordinator's first batches.
    """

    chain: Chain
    protocol: CoordinatorProtocol
    consumer: str
    count: int
    fresh: bool
    fee: int

    @classmethod
    async def build(cls, chain: Chain, count: int, *, fresh: bool) -> Site:
        """
        Deploy both, with the smallest ring that holds `count` requests, and commit a batch.
        """
        config = CoordinatorConfig(
            owner=chain.deployer.address,
            operator=chain.operator,
            window=_WINDOW,
            ring_size=1 << (count - 1).bit_length(),
        )
        coordinator = await chain.deploy(artifacts.load("QuantumCoordinator"), config.encode())
        consumer = await chain.deploy(
            artifacts.load("MinimalConsumer"), encode(["address", "bool"], [coordinator, fresh])
        )
        protocol = CoordinatorProtocol(CHAIN_ID, coordinator)
        quote = protocol.encode_fee_at(_CALLBACK_GAS, 1, _FEE_AT)
        fee = protocol.decode_uint(await chain.reader.call(coordinator, quote))
        site = cls(chain, protocol, consumer, count, fresh, fee)
        await site.commit(0)
        return site

    async def serve_round(self) -> tuple[list[Sent], Sent]:
        """
        Ask `count` times, wait some blocks, fulfill all at once; return both.
        """
        asked = [
            await self.chain.send(self.chain.user, self.consumer, _ASK, self.fee)
            for _ in range(self.count)
        ]
        await self.chain.mine(5)
        requests = [self._made(sent) for sent in asked]
        fulfilled = await self.chain.send(
            self.chain.operator, self.protocol.contract, self._fulfillment(requests)
        )
        await self._check(requests[-1])
        return asked, fulfilled

    async def commit(self, batch: int) -> Sent:
        """
        Commit the root of a batch.
        """
        call = self.protocol.encode_commit(
            batch * merkle.BATCH, [merkle.root(self._leaves(batch))]
        )
        return await self.chain.send(self.chain.operator, self.protocol.contract, call)

    def _fulfillment(self, requests: Sequence[RandomnessRequest]) -> bytes:
        reveals = [Reveal(request=each, seed=_seed(each.seed_index)) for each in requests]
        batch, position = divmod(requests[0].seed_index, merkle.BATCH)
        proof = merkle.proof(self._leaves(batch), position, len(requests))
        return self.protocol.encode_fulfill(reveals, proof)

    def _leaves(self, batch: int) -> list[bytes]:
        return [
            merkle.leaf(self.protocol.domain, index, _seed(index))
            for index in range(batch * merkle.BATCH, (batch + 1) * merkle.BATCH)
        ]

    def _made(self, sent: Sent) -> RandomnessRequest:
        events = [self.protocol.decode(log) for log in sent.receipt.logs]
        [request] = [event for event in events if isinstance(event, RandomnessRequest)]
        return request

    async def _check(self, request: RandomnessRequest) -> None:
        id_ = request.key.request_id
        [word] = words(_seed(request.seed_index), id_, request.block_hash, 1)
        call = _WORD_OF + id_ if self.fresh else _LAST
        kept = self.protocol.decode_uint(await self.chain.reader.call(self.consumer, call))
        require_word(word, kept)


def _seed(index: int) -> bytes:
    return keccak(b"benchmark seed" + index.to_bytes(8, "big"))
