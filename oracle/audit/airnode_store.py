"""
The audit of an Airnode's store: its rows against the book of the chain, read a page at a time.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from oracle.airnode_request import request_id
from oracle.audit.airnode_chain import Ages
from oracle.audit.airnode_ledger import FULFILLED, GIVEN_UP, OPEN, SETTLED
from oracle.audit.airnode_report import Waiting
from oracle.errors import ConfigError, InvariantError
from oracle.evm import keccak
from oracle.request import State
from oracle.store import airnode, airnode_evidence, cursors, pool, retention, withdrawals
from oracle.store.schema import airnode_withdrawals
from oracle.store.withdrawals import WithdrawalState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.airnode_request import AirnodeRequest
    from oracle.audit.airnode_ledger import AirnodeLedger, Entry, WithdrawalEntry
    from oracle.chain.airnode_xpub import AirnodeXpub
    from oracle.chain.reader import ChainReader
    from oracle.request import Tracked
    from oracle.store.airnode import Answer
    from oracle.store.engine import Database
    from oracle.store.retention import Pruned
    from oracle.store.withdrawals import Withdrawal

    _Tracked = Tracked[AirnodeRequest]

_PAGE = 500
_SETTLED = frozenset({State.MINED, State.DONE})
_UNDECIDED = frozenset({State.OBSERVED, State.CONFIRMED, State.DRAWN, State.SIGNED})
# Blocks that the node may read without saying why a request waits.
_PATIENCE = 100


@dataclass(frozen=True, slots=True)
class _Reach:
    """
    The last audited block that the node had read, and whether it had read more than is audited.
    """

    block: int
    beyond: bool


@dataclass(frozen=True, slots=True)
class _Proof:
    """
    What the store knows of a request's answer beside its row.
    """

    answer: Answer
    foreign: bool
    bound: bool
    sent: bool


class AirnodeStoreAudit:
    """
    One store beside the book of one Airnode.

    A node may run meanwhile: a row is held against the chain only as far as the node had read it
    when the row was read.
    """

    def __init__(
        self,
        database: Database,
        ledger: AirnodeLedger,
        xpub: AirnodeXpub,
        *,
        depth: int,
        withdrawal_wait: int,
    ) -> None:
        """
        Name what is held against each other; `withdrawal_wait` are the milliseconds that a
        withdrawal may wait.
        """
        self._database = database
        self._ledger = ledger
        self._report = ledger.report
        self._xpub = xpub
        self._depth = depth
        self._withdrawal_wait = withdrawal_wait
        self._place = (ledger.report.chain_id, ledger.report.contract)
        self._restored = -1

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._database.read() as connection:
                yield connection
        except (SQLAlchemyError, ValueError):
            raise InvariantError(
                f"{self._database.name} holds rows that cannot be read: the file is damaged, or "
                "was tampered with"
            ) from None

    async def check_chain(self, reader: ChainReader) -> None:
        """
        Raise `ConfigError` when the store is another chain's, or another Airnode's.
        """
        chain_id, contract = self._place
        async with self._reading() as connection:
            genesis = await cursors.get_setting(connection, f"genesis:{chain_id}")
            served = await cursors.get_setting(connection, f"airnode:{chain_id}:{contract}")
            self._restored = await airnode_evidence.restored_block(connection, *self._place)
        if genesis not in (None, (await reader.block(0)).hash.hex()):
            raise ConfigError(
                f"the database {self._database.name} belongs to another chain with id {chain_id}"
            )
        if served not in (None, self._report.airnode):
            raise ConfigError(
                f"the database {self._database.name} serves the Airnode {served} on chain "
                f"{chain_id}, and airnode.mnemonic_file is that of {self._report.airnode}"
            )

    async def audit(self, reader: ChainReader) -> None:
        """
        Hold every row against the book, after the chain's own audit.
        """
        await self._check_requests()
        await self._check_draws()
        await self._check_withdrawals(reader)
        async with self._reading() as connection:
            for what in await pool.bound_twice(connection, _PAGE):
                self._report.find("bound_twice", f"two blocks of the pool have the same {what}")

    async def _reach(self, connection: AsyncConnection) -> _Reach:
        cursor = await cursors.get_cursor(connection, *self._place)
        if cursor is None:
            return _Reach(-1, beyond=False)
        audited = self._report.block
        return _Reach(min(cursor.number, audited), beyond=cursor.number > audited)

    async def _check_requests(self) -> None:
        after, read = b"", None
        while True:
            async with self._reading() as connection:
                reach = await self._reach(connection)
                rows = await airnode.BOOK.page(connection, *self._place, after, _PAGE)
                proofs = await self._proofs(connection, rows)
            # What the node had read before the first page is in the pages.
            read = reach.block if read is None else read
            for row in rows:
                self._check(row, reach, proofs[row.request.key.request_id])
            if len(rows) < _PAGE:
                break
            after = rows[-1].request.key.request_id
        await self._check_pruned()
        for entry in self._ledger.unseen(read):
            self._check_unseen(entry)

    async def _check_pruned(self) -> None:
        """
        Hold the tombstones against the book, after the requests: one that is pruned meanwhile is
        among them.
        """
        after = b""
        while True:
            async with self._reading() as connection:
                reach = await self._reach(connection)
                rows = await retention.page(connection, *self._place, after, _PAGE)
                bound = await airnode_evidence.bound_among(connection, [row.key for row in rows])
            for row in rows:
                self._check_tombstone(row, reach, bound=row.key.request_id in bound)
            if len(rows) < _PAGE:
                return
            after = rows[-1].key.request_id

    def _check_tombstone(self, row: Pruned, reach: _Reach, *, bound: bool) -> None:
        id_, report = row.key.request_id, self._report
        says = f"the store pruned it as {row.state} since block {row.block_number}, and"
        entry = self._ledger.get(id_)
        if entry is None:
            if report.first <= row.block_number <= reach.block:
                report.find("not_on_chain", f"{says} the chain does not have it", id_)
            return
        done = row.state is State.DONE
        self._ledger.mark_seen(id_, kept=str(row.state), reason=None, exposed=done, held=False)
        if (entry.block or 0) > reach.block:
            return
        if entry.block not in (None, row.block_number):
            report.find("terms_differ", f"{says} the chain has it in another block", id_)
        settled = entry.state in SETTLED
        if done and not settled and not reach.beyond:
            report.find("state_differs", f"{says} the chain says that it is open", id_)
        elif done and settled:
            ends = (entry.settled_block, entry.state == FULFILLED)
            if (row.outcome_block, row.callback_succeeded) != ends:
                report.find("outcome_differs", f"{says} the chain has another end", id_)
        restored = (entry.settled_block or 0) <= self._restored
        if entry.number is not None and not bound and not restored:
            report.find("draw_missing", f"{says} no block of the pool is bound to it", id_)

    async def _proofs(
        self, connection: AsyncConnection, rows: list[_Tracked]
    ) -> dict[bytes, _Proof]:
        keys = [row.request.key for row in rows]
        answers = await airnode.answers(connection, keys)
        foreign = await airnode_evidence.foreign_among(connection, keys)
        bound = await airnode_evidence.bound_among(connection, keys)
        settled = {}
        for key in keys:
            entry = self._ledger.get(key.request_id)
            settled[key] = entry.settled_transaction if entry else None
        sent = await airnode_evidence.sent_among(connection, filter(None, settled.values()))
        return {
            key.request_id: _Proof(
                answer=answers[key],
                foreign=key.request_id in foreign,
                bound=key.request_id in bound,
                sent=settled[key] in sent,
            )
            for key in keys
        }

    def _check(self, row: _Tracked, reach: _Reach, proof: _Proof) -> None:
        report, made = self._report, row.request
        id_ = made.key.request_id
        if proof.answer.drawn_at is not None and not proof.bound:
            self._find(row, "draw_missing", "no block of the pool is bound to it")
        if request_id(made) != id_:
            self._find(row, "terms_differ", "its id is not the hash of what the store has")
        entry = self._ledger.get(id_)
        if entry is None:
            if report.first <= made.block_number <= reach.block and row.state != State.ORPHANED:
                self._find(row, "not_on_chain", "the chain does not have it")
            return
        self._ledger.mark_seen(
            id_,
            kept=str(row.state),
            reason=row.reason,
            exposed=proof.answer.exposed_at is not None,
            held=proof.answer.held_since is not None,
        )
        if (entry.block or 0) > reach.block:
            return
        if row.state is State.ORPHANED:
            self._find(row, "state_differs", f"the chain has it in block {entry.block}")
            return
        place = (entry.block, entry.block_hash, entry.transaction_hash, entry.log_index)
        stored = (made.block_number, made.block_hash, made.transaction_hash, made.log_index)
        if entry.block is not None and place != stored:
            self._find(row, "terms_differ", "the chain has it in another block or transaction")
        self._check_state(row, entry, reach)
        if entry.state in SETTLED and (entry.settled_block or 0) <= reach.block:
            self._check_answer(row, entry, proof)
        elif entry.state == OPEN:
            self._check_progress(row, reach)

    def _check_state(self, row: _Tracked, entry: Entry, reach: _Reach) -> None:
        outcome, claims = row.outcome, row.state in _SETTLED
        settled = entry.state in SETTLED and (entry.settled_block or 0) <= reach.block
        if claims and not settled:
            later = reach.beyond and (outcome is None or outcome.block_number > self._report.block)
            if not later:
                self._find(row, "state_differs", "the chain says that it is open")
        elif claims != settled:
            self._find(
                row,
                "state_differs",
                f"the chain says that it was {entry.state} in block {entry.settled_block}",
            )
        elif claims and (
            outcome is None
            or (outcome.transaction_hash, outcome.block_number, outcome.block_hash)
            != (entry.settled_transaction, entry.settled_block, entry.settled_hash)
            or outcome.callback_succeeded != (entry.state == FULFILLED)
        ):
            self._find(row, "outcome_differs", "the chain has another end or callback result")

    def _check_answer(self, row: _Tracked, entry: Entry, proof: _Proof) -> None:
        """
        Hold what answered a request against the number that this store drew for it.
        """
        answer, id_ = proof.answer, row.request.key.request_id
        restored = (entry.settled_block or 0) <= self._restored
        if entry.number is None:
            # Whoever names a wallet of its own as its sponsor wallet can give its request up.
            ours = entry.state == GIVEN_UP and self._is_ours(row.request)
            if ours and not proof.sent and not restored:
                self._find(
                    row,
                    "foreign_failure",
                    "its sponsor wallet gave it up in a transaction that is not of this store",
                )
            return
        if answer.drawn_at is None and restored:
            self._report.before_restore.add(id_)
            return
        differs = answer.data is not None and keccak(answer.data) != entry.number
        if differs or proof.foreign or answer.drawn_at is None:
            self._find(
                row,
                "foreign_fulfillment",
                "it was answered with a number that is not this store's: another node, or an "
                "earlier copy of this database, has the same mnemonic",
            )
        elif not proof.sent and not restored:
            self._find(
                row,
                "revealed_elsewhere",
                "its number went out in a transaction that is not of this store: another node "
                "runs on a copy",
            )

    def _is_ours(self, request: AirnodeRequest) -> bool:
        return self._xpub.sponsor_wallet(request.sponsor) == request.sponsor_wallet

    def _check_progress(self, row: _Tracked, reach: _Reach) -> None:
        waited = reach.block - row.request.block_number - self._depth
        if row.state in _UNDECIDED and row.reason is None and waited > _PATIENCE:
            self._find(
                row, "overdue", f"nothing is said of why it waits, {waited} blocks after its depth"
            )

    def _check_unseen(self, entry: Entry) -> None:
        report = self._report
        report.not_in_store += 1
        if entry.number is not None:
            if (entry.settled_block or 0) <= self._restored:
                report.before_restore.add(entry.request_id)
                return
            report.find(
                "foreign_fulfillment",
                "the store does not know it, and it was answered with a number that this Airnode "
                "signed: another node, or an earlier copy of this database, has the same mnemonic",
                entry.request_id,
            )
        elif entry.state == OPEN:
            report.find(
                "not_in_store",
                f"it is open since block {entry.block}, and the store does not know it",
                entry.request_id,
            )

    async def _check_draws(self) -> None:
        after = ""
        while True:
            async with self._reading() as connection:
                page = await airnode_evidence.draws_after(connection, *self._place, after, _PAGE)
            for _, id_, count, known in page:
                if count > 1:
                    self._report.find("drawn_twice", f"{count} blocks are bound to it", id_)
                if not known:
                    self._report.find(
                        "drawn_for_nobody",
                        "a block of the pool is bound to it, and the store does not know it",
                        id_,
                    )
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    async def _check_withdrawals(self, reader: ChainReader) -> None:
        after, ages = b"", Ages(reader, self._report.block)
        while page := self._ledger.withdrawals(after, _PAGE):
            async with self._reading() as connection:
                reach = await self._reach(connection)
                rows = await withdrawals.find(
                    connection,
                    *self._place,
                    airnode_withdrawals.c.withdrawal_id.in_([one.withdrawal_id for one in page]),
                )
            stored = {row.withdrawal_id: row for row in rows}
            for one in page:
                await self._check_withdrawal(one, stored.get(one.withdrawal_id), reach, ages)
            after = page[-1].withdrawal_id

    async def _check_withdrawal(
        self, entry: WithdrawalEntry, row: Withdrawal | None, reach: _Reach, ages: Ages
    ) -> None:
        report, name = self._report, f"withdrawal 0x{entry.withdrawal_id.hex()}"
        done = row is not None and row.state is WithdrawalState.DONE
        if entry.block is None or entry.block > reach.block:
            return
        if row is None:
            report.find("not_in_store", f"{name} is not in the store")
        elif entry.paid_block is None:
            if done and not reach.beyond:
                report.find("state_differs", f"{name} is done in the store, and open on chain")
            elif row.state is not WithdrawalState.REFUSED:
                await self._list_late(entry, row, ages)
        elif entry.paid_block <= reach.block and not done:
            report.find("state_differs", f"{name} is {row.state} in the store, and paid on chain")

    async def _list_late(self, entry: WithdrawalEntry, row: Withdrawal, ages: Ages) -> None:
        assert entry.block is not None
        seconds = await ages.seconds(entry.block)
        if seconds * 1000 <= self._withdrawal_wait:
            return
        self._report.withdrawals_late.add(
            Waiting(
                id=entry.withdrawal_id,
                sponsor=entry.sponsor or "",
                block=entry.block,
                age_blocks=self._report.block - entry.block,
                age_seconds=seconds,
                reason=str(row.state),
            )
        )

    def _find(self, row: _Tracked, code: str, but: str) -> None:
        self._report.find(
            code,
            f"the store has it as {row.state} since block {row.request.block_number}, and {but}",
            row.request.key.request_id,
        )
