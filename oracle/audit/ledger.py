"""
The chain's own book: every request, root and payment of a coordinator, entered log by log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle.audit.scratch import ChainEntry, Scratch
from oracle.errors import InconsistentChainError
from oracle.verify import events
from oracle.verify.events import BATCH, domain_of, id_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from oracle.audit.report import Report
    from oracle.evm import Log

PENDING, FULFILLED, CANCELLED = "pending", "fulfilled", "cancelled"

_SCHEMA = """
CREATE TABLE requests (
    id BLOB PRIMARY KEY, seed_index INTEGER NOT NULL, requester TEXT NOT NULL,
    terms BLOB NOT NULL, user_seed BLOB NOT NULL, block INTEGER NOT NULL, hash BLOB NOT NULL,
    tx BLOB NOT NULL, log_index INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', seed BLOB, success INTEGER, output BLOB,
    settled_block INTEGER, settled_hash BLOB, settled_tx BLOB, seen INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE UNIQUE INDEX by_index ON requests (seed_index);
CREATE TABLE roots (first INTEGER PRIMARY KEY, root BLOB NOT NULL, block INTEGER NOT NULL,
    log_index INTEGER NOT NULL);
CREATE TABLE seeds (seed BLOB PRIMARY KEY, seed_index INTEGER NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = (
    "id, requester, terms, user_seed, block, hash, tx, log_index, state, seed, success, output,"
    " settled_block, settled_hash, settled_tx"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(ChainEntry):
    """
    A request as the chain tells it up to the audited block.
    """

    block: int
    requester: str
    terms: events.Terms
    user_seed: bytes
    block_hash: bytes
    transaction_hash: bytes
    log_index: int
    seed: bytes | None
    success: bool | None
    output: bytes | None


@dataclass(frozen=True, slots=True)
class Root:
    """
    A committed root of 256 seeds and where it was committed.
    """

    first: int
    root: bytes
    block: int


class Ledger(Scratch[Entry]):
    """
    The book of one coordinator. Logs are entered in the chain's order; what contradicts the
    protocol goes to the report at once.
    """

    def __init__(self, report: Report, window: int) -> None:
        super().__init__(_SCHEMA, _COLUMNS)
        self.report = report
        self.window = window
        self.domain = domain_of(report.chain_id, report.contract)
        self.next_index = 0
        self.committed = 0
        self.fees = self.escrow = self.refunded = self.withdrawn = 0

    def enter(self, log: Log) -> None:
        """
        Enter a log of the coordinator.

        Raises `InconsistentChainError` when it is malformed.
        """
        try:
            self._enter(log)
        except OverflowError:
            raise InconsistentChainError(
                f"a log of block {log.block_number} names an index that was never reached"
            ) from None

    def _enter(self, log: Log) -> None:
        match events.read_event(log):
            case events.Made() as made:
                self._made(made)
            case events.Fulfilled() as fulfilled:
                self._fulfilled(fulfilled)
            case events.Failed(request_id=request_id, output=output):
                self._update(request_id, output=output)
                self.report.failed_callbacks += 1
            case events.Redelivered(request_id=request_id):
                self._redelivered(request_id)
            case events.Cancelled() as cancelled:
                self._cancelled(cancelled)
            case events.Committed() as committed:
                self._committed(committed)
            case events.Discarded(first=first, up_to=up_to):
                self._discarded(first, up_to)
            case events.Withdrawn(amount=amount):
                self.withdrawn += amount

    def _made(self, made: events.Made) -> None:
        report, terms, log = self.report, made.terms, made.log
        if id_of(self.domain, made.requester, made.terms_word, made.user_seed) != made.request_id:
            report.find(
                "id_differs", "its id is not the hash of what its log says", made.request_id
            )
        if terms.block != log.block_number:
            report.find("other_block", "its terms name another block", made.request_id)
        if not self.next_index == terms.index < self.committed:
            report.find(
                "index_out_of_order",
                f"it took index {terms.index}, where {self.next_index} was next and "
                f"{self.committed} were committed",
                made.request_id,
            )
        self.next_index = max(self.next_index, terms.index + 1)
        added = self._insert(
            "requests",
            id=made.request_id,
            seed_index=terms.index,
            requester=made.requester,
            terms=made.terms_word,
            user_seed=made.user_seed,
            block=log.block_number,
            hash=log.block_hash,
            tx=log.transaction_hash,
            log_index=log.index,
        )
        if not added:
            report.find(
                "made_twice", f"it, or its index {terms.index}, was there before", made.request_id
            )
            return
        report.requests += 1
        report.pending += 1
        self.escrow += terms.fee

    def _fulfilled(self, fulfilled: events.Fulfilled) -> None:
        report, request_id = self.report, fulfilled.request_id
        entry = self.get(request_id)
        if entry is None or entry.state != PENDING:
            report.duplicates += 1
            what = "was never made" if entry is None else f"was {entry.state} before"
            report.find("not_pending", f"it was fulfilled, and {what}", request_id)
            return
        block, terms = fulfilled.log.block_number, entry.terms
        if not terms.confirmations <= block - terms.block <= self.window:
            report.find(
                "out_of_time",
                f"it was fulfilled {block - terms.block} blocks after its own: "
                f"{terms.confirmations} to {self.window} are allowed",
                request_id,
            )
        self._settle(entry, FULFILLED, fulfilled.log)
        self._update(request_id, seed=fulfilled.seed, success=fulfilled.success)
        report.fulfilled += 1
        self.fees += terms.fee
        if not self._insert("seeds", seed=fulfilled.seed, seed_index=terms.index):
            report.seeds_reused += 1
            report.find(
                "seed_reused",
                f"the seed of its index {terms.index} was another index's before",
                request_id,
            )

    def _redelivered(self, request_id: bytes) -> None:
        entry = self.get(request_id)
        if entry is None or entry.output is None:
            self.report.find(
                "redelivered_without_failure",
                "it was redelivered, but its callback did not fail",
                request_id,
            )
            return
        self.report.failed_callbacks -= 1

    def _cancelled(self, cancelled: events.Cancelled) -> None:
        report, request_id = self.report, cancelled.request_id
        entry = self.get(request_id)
        if entry is None or entry.state != PENDING:
            what = "was never made" if entry is None else f"was {entry.state} before"
            report.find("not_pending", f"it was cancelled, and {what}", request_id)
            return
        if cancelled.amount != entry.terms.fee:
            report.find(
                "refund_differs",
                f"{cancelled.amount} wei of its fee of {entry.terms.fee} went back",
                request_id,
            )
        if cancelled.log.block_number <= entry.terms.block + self.window:
            report.find("out_of_time", "it was cancelled inside its window", request_id)
        self._settle(entry, CANCELLED, cancelled.log)
        report.cancelled += 1
        self.refunded += cancelled.amount

    def _settle(self, entry: Entry, state: str, log: Log) -> None:
        self._end(entry.request_id, state, log)
        self.report.pending -= 1
        self.escrow -= entry.terms.fee

    def _committed(self, committed: events.Committed) -> None:
        if committed.first != self.committed:
            self.report.find(
                "commit_out_of_order",
                f"roots were committed from index {committed.first} on, where {self.committed} "
                "was next",
            )
        self._book.executemany(
            "INSERT OR REPLACE INTO roots VALUES (?, ?, ?, ?)",
            [
                (
                    committed.first + place * BATCH,
                    root,
                    committed.log.block_number,
                    committed.log.index,
                )
                for place, root in enumerate(committed.roots)
            ],
        )
        self.committed = committed.first + len(committed.roots) * BATCH

    def _discarded(self, first: int, up_to: int) -> None:
        if not self.next_index == first < up_to <= self.committed:
            self.report.find(
                "discard_out_of_order",
                f"indices {first} to {up_to} were discarded, where {self.next_index} was next "
                f"and {self.committed} were committed",
            )
        self.next_index = max(self.next_index, up_to)

    def at(self, index: int) -> Entry | None:
        """
        Return the request that took an index.
        """
        return next(self._entries("WHERE seed_index = ?", index), None)

    def batch(self, first: int) -> Iterator[Entry]:
        """
        Yield the fulfilled requests of a batch, in the order of their indices.
        """
        return self._entries(
            "WHERE seed_index >= ? AND seed_index < ? AND state = 'fulfilled' ORDER BY seed_index",
            first,
            first + BATCH,
        )

    def has_open(self, first: int) -> bool:
        """
        Say whether an index of a batch is pending, or still to be taken.
        """
        pending = self._entries(
            "WHERE seed_index >= ? AND seed_index < ? AND state = 'pending'", first, first + BATCH
        )
        return self.next_index < first + BATCH or next(pending, None) is not None

    def in_state(self, state: str) -> Iterator[Entry]:
        """
        Yield the requests in a state, in the order of their indices.
        """
        return self._entries("WHERE state = ? ORDER BY seed_index", state)

    def failed(self) -> Iterator[Entry]:
        """
        Yield the requests whose callback failed, by their log or by the output on record.
        """
        return self._entries("WHERE success = 0 OR output IS NOT NULL ORDER BY seed_index")

    def roots(self) -> Iterator[Root]:
        """
        Yield all roots in the order of their indices.
        """
        for row in self._book.execute("SELECT first, root, block FROM roots ORDER BY first"):
            yield Root(*row)

    def root_at(self, first: int) -> Root | None:
        """
        Return the root of the batch that begins at an index.
        """
        row = self._book.execute(
            "SELECT first, root, block FROM roots WHERE first = ?", (first,)
        ).fetchone()
        return Root(*row) if row else None

    def mark_seen(self, request_id: bytes) -> None:
        """
        Remember that the store knows a request.
        """
        self._update(request_id, seen=1)

    def unseen(self, last_block: int) -> Iterator[Entry]:
        """
        Yield the requests up to a block that the store does not know.
        """
        return self._entries("WHERE NOT seen AND block <= ? ORDER BY seed_index", last_block)

    def _read(self, row: tuple[Any, ...]) -> Entry:
        return Entry(
            request_id=row[0],
            requester=row[1],
            terms=events.Terms.read(row[2]),
            user_seed=row[3],
            block=row[4],
            block_hash=row[5],
            transaction_hash=row[6],
            log_index=row[7],
            state=row[8],
            seed=row[9],
            success=None if row[10] is None else bool(row[10]),
            output=row[11],
            settled_block=row[12],
            settled_hash=row[13],
            settled_transaction=row[14],
        )
