"""
The audit of a store: its rows against the book of the chain. It reads, a page at a time.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from oracle.audit.ledger import CANCELLED, FULFILLED, PENDING
from oracle.audit.report import Named
from oracle.errors import ConfigError, InvariantError
from oracle.request import State
from oracle.store import batches, cursors, pool, requests, retention
from oracle.store.batches import BatchState
from oracle.store.schema import requests as table
from oracle.verify.events import BATCH
from oracle.verify.proof import climb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.audit.ledger import Entry, Ledger, Root
    from oracle.chain.reader import ChainReader
    from oracle.request import TrackedRequest
    from oracle.store.engine import Database
    from oracle.store.retention import Pruned

_PAGE = 500
_HELD = frozenset(State) - {State.ORPHANED}
# What a state of the store claims about the chain; the others are the node's own judgement.
_CLAIMS = {State.MINED: FULFILLED, State.DONE: FULFILLED, State.CANCELLED: CANCELLED}


@dataclass(frozen=True, slots=True)
class _Reach:
    """
    The last audited block that the node had read, and whether it had read more than is audited.
    """

    block: int
    beyond: bool


class StoreAudit:
    """
    One store beside the book of one coordinator.

    A node may run meanwhile: a row is held against the chain only as far as the node had read it
    when the row was read.
    """

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger
        self._report = ledger.report
        self._place = (ledger.report.chain_id, ledger.report.contract)
        # First indices of the roots on chain that this store built.
        self._ours: set[int] = set()

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
        Raise `ConfigError` when the store is another chain's.
        """
        chain_id, _ = self._place
        async with self._reading() as connection:
            genesis = await cursors.get_setting(connection, f"genesis:{chain_id}")
        if genesis not in (None, (await reader.block(0)).hash.hex()):
            raise ConfigError(
                f"the database {self._database.name} belongs to another chain with id {chain_id}"
            )

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
        async with self._reading() as connection:
            for what in await pool.bound_twice(connection, _PAGE):
                self._report.find("bound_twice", f"two blocks of the pool have the same {what}")

    async def _reach(self, connection: AsyncConnection) -> _Reach:
        cursor = await cursors.get_cursor(connection, *self._place)
        if cursor is None:
            return _Reach(-1, beyond=False)
        audited = self._report.block
        return _Reach(min(cursor.number, audited), beyond=cursor.number > audited)

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

    async def _check_requests(self) -> None:
        after, read = b"", None
        while True:
            async with self._reading() as connection:
                reach = await self._reach(connection)
                rows = await requests.page(connection, *self._place, after, _PAGE)
                indices = [row.request.seed_index for row in rows]
                exposed = await pool.exposed_among(connection, *self._place, indices)
            # What the node had read before the first page is in the pages.
            read = reach.block if read is None else read
            for row in rows:
                self._check(row, reach, exposed=row.request.seed_index in exposed)
            if len(rows) < _PAGE:
                break
            after = rows[-1].request.key.request_id
        await self._check_pruned()
        for entry in self._ledger.unseen(read):
            self._report.not_in_store += 1
            if entry.state == PENDING:
                self._report.find(
                    "not_in_store",
                    f"it is pending since block {entry.block}, and the store does not know it",
                    entry.request_id,
                )

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
                indices = [row.seed_index for row in rows if row.seed_index is not None]
                exposed = await pool.exposed_among(connection, *self._place, indices)
            for row in rows:
                self._check_tombstone(row, reach, exposed=row.seed_index in exposed)
            if len(rows) < _PAGE:
                return
            after = rows[-1].key.request_id

    def _check_tombstone(self, row: Pruned, reach: _Reach, *, exposed: bool) -> None:
        request_id = row.key.request_id
        entry = self._ledger.get(request_id)
        says = f"the store pruned it as {row.state} since block {row.block_number}, and"
        if entry is None:
            if row.block_number <= reach.block:
                self._report.find("not_on_chain", f"{says} the chain does not have it", request_id)
            return
        self._ledger.mark_seen(request_id)
        if entry.block > reach.block:
            return
        if (row.seed_index, row.block_number) != (entry.terms.index, entry.block):
            self._report.find(
                "terms_differ",
                f"{says} the chain has another index or block",
                request_id,
            )
        if entry.state != _CLAIMS[row.state] and not (entry.state == PENDING and reach.beyond):
            self._report.find(
                "state_differs", f"{says} the chain says that it is {entry.state}", request_id
            )
        elif entry.state == FULFILLED and (row.outcome_block, row.callback_succeeded) != (
            entry.settled_block,
            entry.success,
        ):
            self._report.find(
                "outcome_differs",
                f"{says} the chain has another fulfillment or callback result",
                request_id,
            )
        self._check_reveal(request_id, entry, exposed=exposed)

    def _check(self, row: TrackedRequest, reach: _Reach, *, exposed: bool) -> None:
        made, request_id = row.request, row.request.key.request_id
        entry = self._ledger.get(request_id)
        if entry is None:
            if row.state is not State.ORPHANED and made.block_number <= reach.block:
                self._find(row, "not_on_chain", "the chain does not have it")
            return
        self._ledger.mark_seen(request_id)
        if entry.block > reach.block:
            return
        if row.state is State.ORPHANED:
            self._find(row, "state_differs", f"the chain has it in block {entry.block}")
            return
        if differing := _differences(row, entry):
            self._find(row, "terms_differ", f"the chain has another {' and '.join(differing)}")
        self._check_state(row, entry, reach)
        if (entry.settled_block or 0) <= reach.block:
            self._check_reveal(request_id, entry, exposed=exposed)

    def _check_reveal(self, request_id: bytes, entry: Entry, *, exposed: bool) -> None:
        index = entry.terms.index
        ours = index // BATCH * BATCH in self._ours
        if entry.state == FULFILLED and ours and not exposed:
            self._report.find(
                "revealed_elsewhere",
                f"the store knows it, and the seed of its index {index} is public and was never "
                "revealed from here: another node runs on a copy, or the pool key leaked",
                request_id,
            )

    def _check_state(self, row: TrackedRequest, entry: Entry, reach: _Reach) -> None:
        settled = entry.state if (entry.settled_block or 0) <= reach.block else PENDING
        claim, outcome = _CLAIMS.get(row.state, PENDING), row.outcome
        if claim != PENDING and settled == PENDING:
            later = reach.beyond and (outcome is None or outcome.block_number > self._report.block)
            if not later:
                self._find(row, "state_differs", "the chain says that it is pending")
        elif claim != settled:
            self._find(
                row,
                "state_differs",
                f"the chain says that it was {settled} in block {entry.settled_block}",
            )
        elif claim == FULFILLED and (
            outcome is None
            or (outcome.transaction_hash, outcome.block_number, outcome.block_hash)
            != (entry.settled_transaction, entry.settled_block, entry.settled_hash)
            or outcome.callback_succeeded != entry.success
        ):
            self._find(
                row, "outcome_differs", "the chain has another fulfillment or callback result"
            )

    async def _list_exposed(self) -> None:
        index = -1
        while True:
            async with self._reading() as connection:
                page = await pool.exposed_after(connection, *self._place, index, _PAGE)
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
            if len(page) < _PAGE:
                return

    async def _is_taken_later(self, index: int) -> bool:
        async with self._reading() as connection:
            [*rows] = await requests.in_states(
                connection, *self._place, _HELD, table.c.seed_index == index
            )
        return any(row.request.block_number > self._report.block for row in rows)

    def _find(self, row: TrackedRequest, code: str, but: str) -> None:
        self._report.find(
            code,
            f"the store has it as {row.state} since block {row.request.block_number}, and {but}",
            row.request.key.request_id,
        )


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
