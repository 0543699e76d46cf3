"""
The audit of an Airnode's store: its rows, draws and withdrawals against the book of the chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle.airnode_request import AirnodeRequest, request_id
from oracle.audit.airnode_chain import Ages
from oracle.audit.airnode_ledger import FULFILLED, GIVEN_UP, OPEN, SETTLED
from oracle.audit.airnode_report import Waiting
from oracle.audit.rows import PAGE, Claims, StoreRows
from oracle.errors import ConfigError
from oracle.evm import keccak
from oracle.request import State
from oracle.store import airnode, airnode_evidence, cursors, withdrawals
from oracle.store.schema import airnode_withdrawals
from oracle.store.withdrawals import WithdrawalState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.audit.airnode_ledger import AirnodeLedger, Entry, WithdrawalEntry
    from oracle.audit.airnode_report import AirnodeReport
    from oracle.audit.rows import Reach
    from oracle.chain.airnode_xpub import AirnodeXpub
    from oracle.chain.interfaces import ChainReader
    from oracle.request import Tracked
    from oracle.store.airnode import Answer
    from oracle.store.engine import Database
    from oracle.store.retention import Pruned
    from oracle.store.withdrawals import Withdrawal

    _Tracked = Tracked[AirnodeRequest]

_SETTLED = "settled"
_CLAIMS = Claims(
    open=OPEN,
    ends={State.MINED: _SETTLED, State.DONE: _SETTLED},
    answered=_SETTLED,
    outcome="end",
)
_UNDECIDED = frozenset({State.OBSERVED, State.CONFIRMED, State.DRAWN, State.SIGNED})
# Blocks that the node may read without saying why a request waits.
_PATIENCE = 100


@dataclass(frozen=True, slots=True)
class _Proof:
    """
    What the store knows of a request's answer beside its row.
    """

    answer: Answer
    foreign: bool
    bound: bool
    sent: bool


class AirnodeStoreAudit(StoreRows[AirnodeRequest, _Proof]):
    """
    One store beside the book of one Airnode.
    """

    _report: AirnodeReport

    def __init__(
        self,
        database: Database,
        ledger: AirnodeLedger,
        xpub: AirnodeXpub,
        *,
        depth: int,
        withdrawal_wait: int,
        page: int = PAGE,
    ) -> None:
        """
        Name what is held against each other; `withdrawal_wait` are the milliseconds that a
        withdrawal may wait.
        """
        report = ledger.report
        super().__init__(database, airnode.BOOK, report, _CLAIMS, page=page, first=report.first)
        self._ledger = ledger
        self._xpub = xpub
        self._depth = depth
        self._withdrawal_wait = withdrawal_wait
        self._restored = -1

    async def check_chain(self, reader: ChainReader) -> None:
        """
        Raise `ConfigError` when the store is another chain's, or another Airnode's.
        """
        await super().check_chain(reader)
        chain_id, contract = self._place
        async with self._reading() as connection:
            served = await cursors.get_setting(connection, f"airnode:{chain_id}:{contract}")
            self._restored = await airnode_evidence.restored_block(connection, *self._place)
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
        await self._check_pool()

    async def _known(self, connection: AsyncConnection, rows: Sequence[Pruned]) -> list[bool]:
        bound = await airnode_evidence.bound_among(connection, [row.key for row in rows])
        return [row.key.request_id in bound for row in rows]

    def _check_tombstone(self, row: Pruned, reach: Reach, *, known: bool) -> None:
        id_, done = row.key.request_id, row.state is State.DONE
        self._ledger.mark_seen(id_, kept=str(row.state), reason=None, exposed=done, held=False)
        entry = self._in_both(row, self._ledger.get(id_), reach)
        if entry is None:
            return
        if entry.block not in (None, row.block_number):
            self._find(row, "terms_differ", "the chain has it in another block")
        settled = entry.state in SETTLED
        if done and not settled and not reach.beyond:
            self._find(row, "state_differs", "the chain says that it is open")
        elif done and settled:
            ends = (entry.settled_block, entry.state == FULFILLED)
            if (row.outcome_block, row.callback_succeeded) != ends:
                self._find(row, "outcome_differs", "the chain has another end")
        restored = (entry.settled_block or 0) <= self._restored
        if entry.number is not None and not known and not restored:
            self._find(row, "draw_missing", "no block of the pool is bound to it")

    async def _proofs(self, connection: AsyncConnection, rows: Sequence[_Tracked]) -> list[_Proof]:
        keys = [row.request.key for row in rows]
        answers = await airnode.answers(connection, keys)
        foreign = await airnode_evidence.foreign_among(connection, keys)
        bound = await airnode_evidence.bound_among(connection, keys)
        settled = {}
        for key in keys:
            entry = self._ledger.get(key.request_id)
            settled[key] = entry.settled_transaction if entry else None
        sent = await airnode_evidence.sent_among(connection, filter(None, settled.values()))
        return [
            _Proof(
                answer=answers[key],
                foreign=key.request_id in foreign,
                bound=key.request_id in bound,
                sent=settled[key] in sent,
            )
            for key in keys
        ]

    def _check(self, row: _Tracked, reach: Reach, *, proof: _Proof) -> None:
        made, id_ = row.request, row.request.key.request_id
        if proof.answer.drawn_at is not None and not proof.bound:
            self._find(row, "draw_missing", "no block of the pool is bound to it")
        if request_id(made) != id_:
            self._find(row, "terms_differ", "its id is not the hash of what the store has")
        self._ledger.mark_seen(
            id_,
            kept=str(row.state),
            reason=row.reason,
            exposed=proof.answer.exposed_at is not None,
            held=proof.answer.held_since is not None,
        )
        entry = self._in_both(row, self._ledger.get(id_), reach)
        if entry is None:
            return
        place = (entry.block, entry.block_hash, entry.transaction_hash, entry.log_index)
        stored = (made.block_number, made.block_hash, made.transaction_hash, made.log_index)
        if entry.block is not None and place != stored:
            self._find(row, "terms_differ", "the chain has it in another block or transaction")
        settled = entry.state in SETTLED
        self._check_claim(
            row,
            entry,
            reach,
            end=_SETTLED if settled else OPEN,
            succeeded=entry.state == FULFILLED,
        )
        if settled and (entry.settled_block or 0) <= reach.block:
            self._check_answer(row, entry, proof)
        elif entry.state == OPEN:
            self._check_progress(row, reach)

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

    def _check_progress(self, row: _Tracked, reach: Reach) -> None:
        waited = reach.block - row.request.block_number - self._depth
        if row.state in _UNDECIDED and row.reason is None and waited > _PATIENCE:
            self._find(
                row, "overdue", f"nothing is said of why it waits, {waited} blocks after its depth"
            )

    def _check_unseen(self, last_block: int) -> None:
        for entry in self._ledger.unseen(last_block):
            self._report.not_in_store += 1
            self._judge_unseen(entry)

    def _judge_unseen(self, entry: Entry) -> None:
        report = self._report
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
        async for page, _ in self._pages(self._draws_after, "", lambda draw: draw[0]):
            for _, id_, count, known in page:
                if count > 1:
                    self._report.find("drawn_twice", f"{count} blocks are bound to it", id_)
                if not known:
                    self._report.find(
                        "drawn_for_nobody",
                        "a block of the pool is bound to it, and the store does not know it",
                        id_,
                    )

    async def _draws_after(
        self, connection: AsyncConnection, after: str
    ) -> list[tuple[str, bytes, int, bool]]:
        return await airnode_evidence.draws_after(connection, *self._place, after, self._page)

    async def _check_withdrawals(self, reader: ChainReader) -> None:
        after, ages = b"", Ages(reader, self._report.block)
        while page := self._ledger.withdrawals(after, self._page):
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
        self, entry: WithdrawalEntry, row: Withdrawal | None, reach: Reach, ages: Ages
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
