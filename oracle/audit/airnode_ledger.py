"""
The chain's own book of an Airnode: every request, answer and withdrawal, entered log by log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle.audit.scratch import ChainEntry, Scratch
from oracle.evm import keccak
from oracle.verify import airnode_events as events

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from oracle.audit.airnode_report import AirnodeReport
    from oracle.evm import Log

OPEN, FULFILLED, CALLBACK_FAILED, GIVEN_UP = "open", "fulfilled", "callback_failed", "given_up"
SETTLED = frozenset({FULFILLED, CALLBACK_FAILED, GIVEN_UP})

_SCHEMA = """
CREATE TABLE requests (
    id BLOB PRIMARY KEY, state TEXT NOT NULL, block INTEGER, hash BLOB, tx BLOB,
    log_index INTEGER, sponsor TEXT, wallet TEXT, number BLOB, settled_block INTEGER,
    settled_hash BLOB, settled_tx BLOB, seen INTEGER NOT NULL DEFAULT 0, kept TEXT, reason TEXT,
    exposed INTEGER, held INTEGER
) WITHOUT ROWID;
CREATE INDEX by_state ON requests (state, block, log_index);
CREATE TABLE numbers (number BLOB PRIMARY KEY, id BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE withdrawals (
    id BLOB PRIMARY KEY, sponsor TEXT, block INTEGER, paid_block INTEGER
) WITHOUT ROWID;
"""
_COLUMNS = (
    "id, state, block, hash, tx, log_index, sponsor, wallet, number, settled_block, settled_hash,"
    " settled_tx, kept, reason, exposed, held"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(ChainEntry):
    """
    A request as the chain tells it up to the audited block; one that was made before the first
    audited block has no place. `number` is the hash of what it was answered with.

    `kept` and what follows is the store's word, once it was asked.
    """

    block_hash: bytes | None
    transaction_hash: bytes | None
    log_index: int | None
    sponsor: str | None
    wallet: str | None
    number: bytes | None
    kept: str | None
    reason: str | None
    exposed: bool
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalEntry:
    """
    A withdrawal as the chain tells it; `paid_block` is where it was fulfilled.
    """

    withdrawal_id: bytes
    sponsor: str | None
    block: int | None
    paid_block: int | None


class AirnodeLedger(Scratch[Entry]):
    """
    The book of one Airnode. Logs are entered in the chain's order; what contradicts the protocol
    goes to the report at once.
    """

    def __init__(self, report: AirnodeReport) -> None:
        super().__init__(_SCHEMA, _COLUMNS)
        self.report = report

    def enter(self, log: Log) -> None:
        """
        Enter a log of the Airnode.

        Raises `InconsistentChainError` when it is malformed.
        """
        match events.read_airnode_event(log):
            case events.Asked() as asked:
                self._asked(asked)
            case events.Answered(request_id=request_id, data=data):
                if self._settle(request_id, FULFILLED, log):
                    self.report.fulfilled += 1
                    self.put_number(request_id, data)
            case events.Ended(request_id=request_id, message=events.CALLBACK_FAILED):
                self.report.failed_callbacks += self._settle(request_id, CALLBACK_FAILED, log)
            case events.Ended(request_id=request_id):
                self.report.given_up += self._settle(request_id, GIVEN_UP, log)
            case events.WithdrawalAsked() as wish:
                self._withdrawal_asked(wish)
            case events.WithdrawalPaid(withdrawal_id=id_, sponsor=sponsor):
                self._withdrawal_paid(id_, sponsor, log.block_number)

    def _asked(self, asked: events.Asked) -> None:
        report, log, id_ = self.report, asked.log, asked.request_id
        derived = events.airnode_id_of(report.chain_id, report.contract, asked)
        if derived != id_ or asked.chain_id != report.chain_id:
            report.find("id_differs", "its id is not the hash of what its log says", id_)
        added = self._insert(
            "requests",
            id=id_,
            state=OPEN,
            block=log.block_number,
            hash=log.block_hash,
            tx=log.transaction_hash,
            log_index=log.index,
            sponsor=asked.sponsor,
            wallet=asked.sponsor_wallet,
        )
        if not added:
            report.find("made_twice", "it was there before", id_)
            return
        report.requests += 1

    def _settle(self, request_id: bytes, state: str, log: Log) -> bool:
        """
        Settle a request; false if it was settled before.
        """
        report, entry = self.report, self.get(request_id)
        if entry is None:
            # The contract settles only what was made: before the audited blocks.
            report.earlier += 1
            if report.first == 0:
                report.find("never_made", f"it was {state}, and no log makes it", request_id)
            self._insert("requests", id=request_id, state=OPEN)
        elif entry.state != OPEN:
            report.duplicates += 1
            report.find(
                "settled_twice",
                f"it was {state} in block {log.block_number}, and {entry.state} in block "
                f"{entry.settled_block} before",
                request_id,
            )
            return False
        self._end(request_id, state, log)
        return True

    def put_number(self, request_id: bytes, data: bytes) -> None:
        """
        Note with what a request was answered. No number answers two requests.
        """
        number = keccak(data)
        self._update(request_id, number=number)
        if not self._insert("numbers", number=number, id=request_id):
            self.report.numbers_reused += 1
            self.report.find(
                "number_reused", "it was answered as another request was before", request_id
            )

    def _withdrawal_asked(self, wish: events.WithdrawalAsked) -> None:
        added = self._insert(
            "withdrawals",
            id=wish.withdrawal_id,
            sponsor=wish.sponsor,
            block=wish.log.block_number,
        )
        if not added:
            self.report.find(
                "made_twice", f"withdrawal 0x{wish.withdrawal_id.hex()} was made twice"
            )
            return
        self.report.withdrawals += 1

    def _withdrawal_paid(self, withdrawal_id: bytes, sponsor: str, block: int) -> None:
        self._book.execute(
            "INSERT OR IGNORE INTO withdrawals (id, sponsor) VALUES (?, ?)",
            (withdrawal_id, sponsor),
        )
        paid = self._book.execute(
            "UPDATE withdrawals SET paid_block = ? WHERE id = ? AND paid_block IS NULL",
            (block, withdrawal_id),
        )
        if not paid.rowcount:
            self.report.find("settled_twice", f"withdrawal 0x{withdrawal_id.hex()} was paid twice")
            return
        self.report.withdrawals_paid += 1

    def in_state(self, state: str) -> Iterator[Entry]:
        """
        Yield the requests in a state, in the chain's order.
        """
        return self._entries("WHERE state = ? ORDER BY block, log_index", state)

    def page(self, state: str, after: bytes, limit: int) -> Sequence[Entry]:
        """
        Return the next requests in a state, in the order of their ids.
        """
        return list(
            self._entries("WHERE state = ? AND id > ? ORDER BY id LIMIT ?", state, after, limit)
        )

    def move(self, request_id: bytes, state: str) -> None:
        """
        Put a request into another state.
        """
        self._update(request_id, state=state)

    def mark_seen(
        self, request_id: bytes, *, kept: str, reason: str | None, exposed: bool, held: bool
    ) -> None:
        """
        Remember what the store says of a request.
        """
        self._update(request_id, seen=1, kept=kept, reason=reason, exposed=exposed, held=held)

    def unseen(self, last_block: int) -> Iterator[Entry]:
        """
        Yield the requests that the store does not know, as far as it had read.
        """
        return self._entries(
            "WHERE NOT seen AND coalesce(block, settled_block) <= ? ORDER BY block, log_index",
            last_block,
        )

    def withdrawals(self, after: bytes, limit: int) -> Sequence[WithdrawalEntry]:
        """
        Return the next withdrawals in the order of their ids.
        """
        rows = self._book.execute(
            "SELECT id, sponsor, block, paid_block FROM withdrawals WHERE id > ? ORDER BY id"
            " LIMIT ?",
            (after, limit),
        )
        return [
            WithdrawalEntry(withdrawal_id=row[0], sponsor=row[1], block=row[2], paid_block=row[3])
            for row in rows
        ]

    def _read(self, row: tuple[Any, ...]) -> Entry:
        return Entry(
            request_id=row[0],
            state=row[1],
            block=row[2],
            block_hash=row[3],
            transaction_hash=row[4],
            log_index=row[5],
            sponsor=row[6],
            wallet=row[7],
            number=row[8],
            settled_block=row[9],
            settled_hash=row[10],
            settled_transaction=row[11],
            kept=row[12],
            reason=row[13],
            exposed=bool(row[14]),
            held=bool(row[15]),
        )
