"""
A lane: one wallet on one chain, its nonces, and the bytes that it has signed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oracle import log
from oracle.chain.wallets import UnsignedTransaction
from oracle.errors import OracleError
from oracle.store import nonces, transactions
from oracle.store.attempts import Attempt, add_attempt, add_attempts, attempt_context, drop_unsent
from oracle.store.schema import attempts
from oracle.store.transactions import NewSlot, Purpose, SlotState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.chain.fees import FeePolicy, Fees
    from oracle.chain.interfaces import ChainReader
    from oracle.chain.wallets import Signer
    from oracle.store.engine import Database
    from oracle.store.seal import PoolKey
    from oracle.store.transactions import Slot

# A transfer of nothing to oneself, which uses up a nonce.
FILLER_GAS = 21_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """
    What a wallet is to send; `data` may hold seeds, `value` is in wei.
    """

    to: str
    data: bytes = field(repr=False)
    gas_limit: int
    fees: Fees
    value: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """
    A wallet of this node.

    Guarantees: a nonce is taken, and the bytes that fill it are stored, in the transaction of the
    caller; nothing here reaches the network.

    Does not: decide what is worth a transaction, or when to replace one.
    """

    chain_id: int
    contract: str  #: the coordinator that it serves
    signer: Signer
    fees: FeePolicy
    key: PoolKey

    @property
    def wallet(self) -> str:
        """
        The wallet's address.
        """
        return self.signer.address

    async def prepare(
        self,
        database: Database,
        reader: ChainReader,
        witnesses: Sequence[ChainReader] | None = None,
    ) -> None:
        """
        Agree with the chain on the next nonce, before anything is signed.
        """
        async with database.read() as connection:
            stored = await nonces.next_nonces(connection, self.chain_id, [self.wallet])
        used = await self.used(reader, witnesses, given_out=stored.get(self.wallet, 0))
        async with database.write() as tx:
            await nonces.skip_nonces(tx, self.chain_id, {self.wallet: used})

    async def used(
        self,
        reader: ChainReader,
        witnesses: Sequence[ChainReader] | None,
        *,
        given_out: int,
    ) -> int:
        """
        Return how many of the wallet's nonces the chain has used, where the store has `given_out`
        so many.

        Guarantees: where there are witnesses, nonces that the store has not given out are used
        only if one of them says so too. What is skipped for nothing holds up all that comes after
        it, and one endpoint alone could have the wallet skip them all.
        """
        used = await reader.nonce(self.wallet)
        if witnesses is None or used <= given_out:
            return used
        counts = []
        for witness in witnesses:
            try:
                counts.append(min(used, await witness.nonce(self.wallet)))
            except OracleError as error:
                if not error.retryable:
                    raise
        agreed = max(counts, default=given_out)
        if agreed < used:
            log.get().warning(
                "nonces_unconfirmed",
                wallet=self.wallet,
                used=used,
                agreed=agreed,
                advice="no second endpoint counts as many transactions: none is skipped",
            )
        return agreed

    async def sign(  # noqa: PLR0913
        self,
        tx: AsyncConnection,
        purpose: Purpose,
        *,
        to: str,
        data: bytes,
        gas_limit: int,
        fees: Fees,
        value: int = 0,
    ) -> int:
        """
        Take the next nonce, sign and store; return the slot's id.
        """
        call = Call(to=to, data=data, gas_limit=gas_limit, fees=fees, value=value)
        [slot_id] = await sign_all(tx, purpose, [(self, call)])
        return slot_id

    async def replace(self, tx: AsyncConnection, last: Attempt, fees: Fees) -> Attempt:
        """
        Sign the bytes of an attempt again with higher fees, at the same nonce, and store them.
        """
        signed, transaction_hash = self.signer.replace(self.signed_bytes(last), fees)
        attempt = self.sealed(last.slot_id, signed, transaction_hash, fees)
        await add_attempt(tx, attempt)
        return attempt

    async def fill(self, tx: AsyncConnection, slot: Slot, fees: Fees) -> Attempt:
        """
        Sign a filler for a slot whose bytes no longer fit, and store it as the slot's newest
        attempt; bytes that never left are erased.
        """
        signed, transaction_hash = self.signer.sign(
            UnsignedTransaction(
                chain_id=self.chain_id,
                nonce=slot.nonce,
                to=self.wallet,
                data=b"",
                gas_limit=FILLER_GAS,
                fees=fees,
                legacy=self.fees.legacy,
            )
        )
        await drop_unsent(tx, slot.id)
        await transactions.advance_slot(tx, slot, SlotState.SIGNED, purpose=Purpose.FILLER)
        attempt = self.sealed(slot.id, signed, transaction_hash, fees)
        await add_attempt(tx, attempt)
        return attempt

    async def fill_gap(self, tx: AsyncConnection, nonce: int, fees: Fees) -> None:
        """
        Open a slot for a nonce that somebody else used and a reorg freed again; a filler fills it.
        """
        slot_id = await transactions.open_slot(
            tx, self.chain_id, self.contract, self.wallet, nonce, Purpose.FILLER, FILLER_GAS
        )
        await self.fill(tx, await transactions.get_slot(tx, slot_id), fees)

    def signed_bytes(self, attempt: Attempt) -> bytes:
        """
        Return the signed bytes of an attempt.
        """
        return open_attempt(self.key, attempt)

    def sealed(self, slot_id: int, signed: bytes, transaction_hash: bytes, fees: Fees) -> Attempt:
        """
        Return an attempt to be stored.
        """
        return Attempt(
            transaction_hash=transaction_hash,
            slot_id=slot_id,
            max_fee=fees.max_fee,
            priority_fee=fees.priority_fee,
            sealed=self.key.seal(signed, attempt_context(transaction_hash)),
        )


async def sign_all(
    tx: AsyncConnection, purpose: Purpose, orders: Sequence[tuple[Lane, Call]]
) -> list[int]:
    """
    Take the next nonces of lanes of one chain, sign and store; return the slots' ids, in the same
    order.
    """
    if not orders:
        return []
    chain_id = orders[0][0].chain_id
    following = await nonces.next_nonces(tx, chain_id, {lane.wallet for lane, _ in orders})
    new, made = [], []
    for lane, call in orders:
        nonce = following[lane.wallet]
        following[lane.wallet] += 1
        new.append(
            NewSlot(
                chain_id=chain_id,
                contract=lane.contract,
                wallet=lane.wallet,
                nonce=nonce,
                purpose=purpose,
                gas_limit=call.gas_limit,
            )
        )
        made.append(
            lane.signer.sign(
                UnsignedTransaction(
                    chain_id=chain_id,
                    nonce=nonce,
                    to=call.to,
                    data=call.data,
                    gas_limit=call.gas_limit,
                    fees=call.fees,
                    value=call.value,
                    legacy=lane.fees.legacy,
                )
            )
        )
    slot_ids = await transactions.open_slots(tx, new)
    await add_attempts(
        tx,
        [
            lane.sealed(slot_id, signed, transaction_hash, call.fees)
            for (lane, call), slot_id, (signed, transaction_hash) in zip(
                orders, slot_ids, made, strict=True
            )
        ],
    )
    await nonces.set_next_nonces(tx, chain_id, following)
    return slot_ids


def open_attempt(key: PoolKey, attempt: Attempt) -> bytes:
    """
    Return the signed bytes of an attempt, whoever's wallet signed them.
    """
    assert attempt.sealed is not None, "the bytes of an open slot are kept"
    context = attempt_context(attempt.transaction_hash)
    return key.open(attempt.sealed, context, table=attempts.name)
