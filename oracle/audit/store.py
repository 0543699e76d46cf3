"""
The audit of a coordinator's store: its rows and batches against the book of the chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam

from oracle.audit.ledger import CANCELLED, FULFILLED, PENDING
from oracle.audit.report import Named
from oracle.audit.rows import PAGE, Claims, StoreRows
from oracle.request import RandomnessRequest, State
from oracle.store import batches, pool, requests
from oracle.store.batches import BatchState
from oracle.store.schema import requests as table
from oracle.verify.events import BATCH
from oracle.verify.proof import climb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.audit.ledger import Entry, Ledger, Root
    from oracle.audit.report import Report
    from oracle.audit.rows import Reach
    from oracle.request import TrackedRequest
    from oracle.store.engine import Database
    from oracle.store.retention import Pruned

_HELD = frozenset(State) - {State.ORPHANED}
_OF_INDEX = table.c.seed_index == bindparam("index")
_CLAIMS = Claims(
    open=PENDING,
    ends={State.MINED: FULFILLED, State.DONE: FULFILLED, State.CANCELLED: CANCELLED},
    answered=FULFILLED,
    outcome="fulfillment",
)


class StoreAudit(StoreRows[RandomnessRequest, bool]):
    """
    One store beside the book of one coordinator. Of a request it also knows whether its seed may
    have left the node.
    """

    _report: Report

    def __init__(self, database: Database, ledger: Ledger, page: int = PAGE) -> None:
        super().__init__(database, requests.BOOK, ledger.report, _CLAIMS, page=page)
        self._ledger = ledger
        # First indices of the roots on chain that this store built.
        self._ours: set[int] = set()

    async def leaves_of(self, root: Root) -> Sequence[bytes] | None:
        """
        Return the leaves of a root on chain, if this store built it.
        """
        async with self._reading() as connection:
            batch = await batches.get(connection, *self._place, root.first)
        if batch is None or batch.root != root.root:
            return None
        self._ours.add(root.first)
        if climb(dict(enumerate(batch.leaves)), ()) != batch.root:
            self._report.find(
                "leaves_differ",
                f"the stored leaves of the batch at index {root.first} do not give its root",
            )
            return None
        return batch.leaves

    async def audit(self) -> None:
        """
        Hold every row against the book, after the chain's own audit.
        """
        await self._check_batches()
        await self._check_requests()
        await self._list_exposed()
        await self._check_pool()

    async def _check_batches(self) -> None:
        async with self._reading() as connection:
            states = dict(await batches.places(connection, *self._place))
            reach = await self._reach(connection)
        for root in self._ledger.roots():
            state = states.pop(root.first, None)
            if root.first not in self._ours:
                self._report.foreign_roots.add(root.first)
                if self._ledger.has_open(root.first):
                    self._report.find(
                        "foreign_root",
                        f"the seeds from index {root.first} on are not in this store: requests "
                        "that take them cannot be served from here",
                    )
                expected = {None, BatchState.LOST, BatchState.ERASED}
            else:
                expected = {BatchState.COMMITTED}
            if root.block <= reach.block and state not in expected:
                self._report.find(
                    "batch_differs",
                    f"the store has the batch at index {root.first} as {state}, and its root was "
                    f"committed in block {root.block}",
                )
        for first, state in states.items():
            if state is BatchState.COMMITTED and not reach.beyond:
                self._report.find(
                    "batch_differs",
                    f"the store has the batch at index {first} as {state}, and the chain has no "
                    "root for it",
                )

    async def _proofs(
        self, connection: AsyncConnection, rows: Sequence[TrackedRequest]
    ) -> list[bool]:
        return await self._exposed(connection, [row.request.seed_index for row in rows])

    async def _known(self, connection: AsyncConnection, rows: Sequence[Pruned]) -> list[bool]:
        return await self._exposed(connection, [row.seed_index for row in rows])

    async def _exposed(
        self, connection: AsyncConnection, indices: Sequence[int | None]
    ) -> list[bool]:
        known = [index for index in indices if index is not None]
        exposed = await pool.exposed_among(connection, *self._place, known)
        return [index in exposed for index in indices]

    def _check(self, row: TrackedRequest, reach: Reach, *, proof: bool) -> None:
        request_id = row.request.key.request_id
        self._ledger.mark_seen(request_id)
        entry = self._in_both(row, self._ledger.get(request_id), reach)
        if entry is None:
            return
        if differing := _differences(row, entry):
            self._find(row, "terms_differ", f"the chain has another {' and '.join(differing)}")
        self._check_claim(row, entry, reach, end=entry.state, succeeded=entry.success)
        if (entry.settled_block or 0) <= reach.block:
            self._check_reveal(entry, exposed=proof)

    def _check_tombstone(self, row: Pruned, reach: Reach, *, known: bool) -> None:
        request_id = row.key.request_id
        self._ledger.mark_seen(request_id)
        entry = self._in_both(row, self._ledger.get(request_id), reach)
        if entry is None:
            return
        if (row.seed_index, row.block_number) != (entry.terms.index, entry.block):
            self._find(row, "terms_differ", "the chain has another index or block")
        later = entry.state == PENDING and reach.beyond
        if entry.state != _CLAIMS.of(row.state) and not later:
            self._find(row, "state_differs", f"the chain says that it is {entry.state}")
        elif entry.state == FULFILLED and (row.outcome_block, row.callback_succeeded) != (
            entry.settled_block,
            entry.success,
        ):
            self._find(
                row, "outcome_differs", "the chain has another fulfillment or callback result"
            )
        self._check_reveal(entry, exposed=known)

    def _check_unseen(self, last_block: int) -> None:
        for entry in self._ledger.unseen(last_block):
            self._report.not_in_store += 1
            if entry.state == PENDING:
                self._report.find(
                    "not_in_store",
                    f"it is pending since block {entry.block}, and the store does not know it",
                    entry.request_id,
                )

    def _check_reveal(self, entry: Entry, *, exposed: bool) -> None:
        index = entry.terms.index
        ours = index // BATCH * BATCH in self._ours
        if entry.state == FULFILLED and ours and not exposed:
            self._report.find(
                "revealed_elsewhere",
                f"the store knows it, and the seed of its index {index} is public and was never "
                "revealed from here: another node runs on a copy, or the pool key leaked",
                entry.request_id,
            )

    async def _list_exposed(self) -> None:
        async for page, _ in self._pages(self._exposed_after, -1, lambda index: index):
            for index in page:
                entry = self._ledger.at(index)
                if entry is not None and entry.state == FULFILLED:
                    continue
                if entry is None and await self._is_taken_later(index):
                    continue
                self._report.exposed.add(
                    Named(
                        index=index,
                        request_id=entry.request_id if entry else None,
                        reason=entry.state if entry else "not_taken",
                    )
                )

    async def _exposed_after(self, connection: AsyncConnection, index: int) -> list[int]:
        return await pool.exposed_after(connection, *self._place, index, self._page)

    async def _is_taken_later(self, index: int) -> bool:
        async with self._reading() as connection:
            [*rows] = await requests.in_states(
                connection, *self._place, _HELD, _OF_INDEX, index=index
            )
        return any(row.request.block_number > self._report.block for row in rows)


def _differences(row: TrackedRequest, entry: Entry) -> list[str]:
    made, terms = row.request, entry.terms
    pairs = {
        "index": (made.seed_index, terms.index),
        "requester": (made.requester, entry.requester),
        "callback gas limit": (made.callback_gas_limit, terms.callback_gas_limit),
        "number of words": (made.num_words, terms.num_words),
        "number of confirmations": (made.confirmations, terms.confirmations),
        "fee": (made.fee, terms.fee),
        "user seed": (made.user_seed, entry.user_seed),
        "block": ((made.block_number, made.block_hash), (entry.block, entry.block_hash)),
        "transaction": (
            (made.transaction_hash, made.log_index),
            (entry.transaction_hash, entry.log_index),
        ),
    }
    return [name for name, (stored, chain) in pairs.items() if stored != chain]
