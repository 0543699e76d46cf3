"""
A chain in memory: blocks with hashes, a mempool with nonces, and reorgs.

It stands in for an EVM where thousands of short lives are to be tried. Real nodes are tried
against anvil, in `tests/integration`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from oracle.chain.fees import GWEI
from oracle.evm import Block, Log, Receipt, checksum_address, keccak
from tests.model_coordinator import Coordinator, Emitted, RevertError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GAS_LIMIT = 30_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tx:
    """
    A transaction; those of users have no nonce, and are never short of money.
    """

    hash: bytes
    sender: str
    to: str
    data: bytes
    value: int = 0
    nonce: int | None = None
    gas_limit: int = 1_000_000
    max_fee: int = 10**15
    priority_fee: int = GWEI


@dataclass
class World:
    """
    What holds after a block.
    """

    nonces: dict[str, int] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)
    contracts: dict[str, Coordinator] = field(default_factory=dict)

    def copy(self) -> World:
        return World(
            dict(self.nonces),
            dict(self.balances),
            {address: one.copy() for address, one in self.contracts.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """
    A block with what is in it, and the world after it.
    """

    header: Block
    txs: tuple[Tx, ...]
    receipts: tuple[Receipt, ...]
    world: World


def read_signed(signed: bytes) -> Tx:
    """
    Read signed bytes as an endpoint does.
    """
    fields = TypedTransaction.from_bytes(HexBytes(signed)).as_dict()
    return Tx(
        hash=keccak(signed),
        sender=Account.recover_transaction(HexBytes(signed)),
        to=checksum_address(bytes(fields["to"])),
        data=bytes(fields["data"]),
        value=fields["value"],
        nonce=fields["nonce"],
        gas_limit=fields["gas"],
        max_fee=fields["maxFeePerGas"],
        priority_fee=fields["maxPriorityFeePerGas"],
    )


class ModelChain:
    """
    One chain, as it really is.
    """

    def __init__(self, chain_id: int, world: World) -> None:
        self.chain_id = chain_id
        self.base_fee = GWEI
        self.salt = 0
        #: Of wallets, by sender and nonce; and of users, in the order of their arrival.
        self.mempool: dict[tuple[str, int], Tx] = {}
        self.waiting: list[Tx] = []
        #: How often a fulfillment of an index reverts before it goes through.
        self.poison: dict[tuple[str, int], int] = {}
        self._count = 0
        self.blocks = [self._seal(None, (), (), world)]

    def fork(self) -> ModelChain:
        """
        Return a chain that has the same past.
        """
        other = ModelChain(self.chain_id, World())
        other.base_fee, other.salt = self.base_fee, self.salt + 1_000_003
        other.blocks = list(self.blocks)
        other.mempool = dict(self.mempool)
        return other

    @property
    def head(self) -> Mined:
        return self.blocks[-1]

    @property
    def number(self) -> int:
        return self.head.header.number

    def user_tx(self, sender: str, to: str, data: bytes = b"", value: int = 0) -> Tx:
        """
        Return a user's transaction that is like no other.
        """
        self._count += 1
        hash_ = keccak(f"{self.chain_id} {self.salt} {self._count}".encode())
        return Tx(hash=hash_, sender=sender, to=to, data=data, value=value)

    def accept(self, tx: Tx) -> str:
        """
        Take a wallet's transaction into the mempool; return what an endpoint says to it.
        """
        assert tx.nonce is not None
        place = (tx.sender, tx.nonce)
        world, old = self.head.world, self.mempool.get(place)
        if tx.nonce < world.nonces.get(tx.sender, 0):
            return "nonce too low"
        if old is not None and old.hash == tx.hash:
            return "already known"
        if world.balances.get(tx.sender, 0) < tx.value + tx.gas_limit * tx.max_fee:
            return "insufficient funds for gas * price + value"
        if old is not None and (
            tx.max_fee * 10 < old.max_fee * 11 or tx.priority_fee * 10 < old.priority_fee * 11
        ):
            return "replacement transaction underpriced"
        self.mempool[place] = tx
        return ""

    def mine(self, *, wallets: bool = True) -> None:
        """
        Mine a block of what waits; without `wallets` only users get into it.
        """
        world = self.head.world.copy()
        number = self.number + 1
        done: list[Tx] = []
        receipts: list[Receipt] = []
        events: list[list[Emitted]] = []
        queue = list(self.waiting)
        self.waiting = []
        if wallets:
            queue += [self.mempool[place] for place in sorted(self.mempool)]
        room = GAS_LIMIT
        for tx in queue:
            if tx.nonce is not None:
                affordable = world.balances.get(tx.sender, 0) >= (
                    tx.value + tx.gas_limit * tx.max_fee
                )
                if (
                    tx.nonce != world.nonces.get(tx.sender, 0)
                    or tx.max_fee < self.base_fee
                    or not affordable
                    or tx.gas_limit > room
                ):
                    continue
                room -= tx.gas_limit
                del self.mempool[tx.sender, tx.nonce]
            ok, emitted = self._execute(world, tx, number)
            done.append(tx)
            events.append(emitted)
            receipts.append(self._receipt(tx, number, ok=ok))
        block = self._seal(self.head, done, receipts, world, events)
        self.blocks.append(block)
        # What can never be mined again.
        for sender, nonce in list(self.mempool):
            if nonce < world.nonces.get(sender, 0):
                del self.mempool[sender, nonce]

    def rewind(self, depth: int, *, keep: Callable[[Tx], bool]) -> None:
        """
        Take blocks away; what was in them waits again if `keep` says so. What is mined next has
        other hashes.
        """
        assert 1 <= depth <= self.number
        gone, self.blocks = self.blocks[-depth:], self.blocks[:-depth]
        self.salt += 1
        back = [tx for block in gone for tx in block.txs if keep(tx)]
        self.waiting = [tx for tx in back if tx.nonce is None] + self.waiting
        for tx in back:
            if tx.nonce is not None:
                self.mempool.setdefault((tx.sender, tx.nonce), tx)

    def _execute(self, world: World, tx: Tx, number: int) -> tuple[bool, list[Emitted]]:
        if tx.nonce is not None:
            world.nonces[tx.sender] = tx.nonce + 1
            price = min(tx.max_fee, self.base_fee + tx.priority_fee)
            world.balances[tx.sender] -= price * tx.gas_limit // 2 + tx.value
        contract = world.contracts.get(tx.to)
        if contract is None:
            world.balances[tx.to] = world.balances.get(tx.to, 0) + tx.value
            return True, []
        attempt = contract.copy()
        try:
            emitted = attempt.call(
                tx.sender,
                tx.data,
                value=tx.value,
                gas=tx.gas_limit,
                transaction=tx.hash,
                block=number,
                hash_of=lambda number: self.blocks[number].header.hash,
            )
            self._check_poison(contract, attempt)
        except RevertError:
            return False, []
        world.contracts[tx.to] = attempt
        return True, emitted

    def _check_poison(self, before: Coordinator, after: Coordinator) -> None:
        for id_, index in before.pending.items():
            place = (before.address, index)
            if id_ in after.fulfilled and self.poison.get(place, 0) > 0:
                self.poison[place] -= 1
                raise RevertError("poisoned")

    def _receipt(self, tx: Tx, number: int, *, ok: bool) -> Receipt:
        return Receipt(
            transaction_hash=tx.hash,
            block_number=number,
            block_hash=b"",
            ok=ok,
            gas_used=tx.gas_limit // 2,
            gas_price=min(tx.max_fee, self.base_fee + tx.priority_fee),
            logs=(),
        )

    def _seal(
        self,
        parent: Mined | None,
        txs: Sequence[Tx],
        receipts: Sequence[Receipt],
        world: World,
        events: Sequence[Sequence[Emitted]] = (),
    ) -> Mined:
        number = 0 if parent is None else parent.header.number + 1
        parent_hash = bytes(32) if parent is None else parent.header.hash
        content = [self.chain_id, self.salt, number, parent_hash, *(tx.hash for tx in txs)]
        hash_ = keccak(repr(content).encode())
        header = Block(
            number=number,
            hash=hash_,
            parent_hash=parent_hash,
            timestamp=12 * number,
            base_fee=self.base_fee,
            gas_limit=GAS_LIMIT,
        )
        finished, at = [], 0
        for tx, receipt, emitted in zip(txs, receipts, events, strict=True):
            logs = tuple(
                Log(
                    address=tx.to,
                    topics=topics,
                    data=data,
                    block_number=number,
                    block_hash=hash_,
                    transaction_hash=tx.hash,
                    index=index,
                )
                for index, (topics, data) in enumerate(emitted, at)
            )
            at += len(logs)
            finished.append(replace(receipt, block_hash=hash_, logs=logs))
        return Mined(header=header, txs=tuple(txs), receipts=tuple(finished), world=world)
