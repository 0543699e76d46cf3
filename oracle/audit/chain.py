"""
The audit of a coordinator's chain: its logs against each other, its storage and its money.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.audit.history import read_logs, unmoved
from oracle.audit.ledger import CANCELLED, PENDING, Ledger
from oracle.audit.money import read_storage, settle_accounts
from oracle.audit.report import Named, Report
from oracle.verify.checks import PENDING as STATUS_PENDING
from oracle.verify.events import BATCH, output_of
from oracle.verify.evidence import ask, known_code
from oracle.verify.proof import leaf_of, read_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from oracle.audit.ledger import Entry, Root
    from oracle.chain.interfaces import ChainReader
    from oracle.verify.proof import Run

    LeavesOf = Callable[[Root], Awaitable[Sequence[bytes] | None]]

# A request that can be fulfilled and has waited for this part of its window is overdue.
_PATIENCE = 4


async def open_ledger(reader: ChainReader, chain_id: int, contract: str, depth: int) -> Ledger:
    """
    Fix the block of an audit, `depth` blocks below the head, and open its book.

    Raises `ConfigError` when there is no coordinator.
    """
    head = await reader.block()
    code = await known_code(reader, contract)
    start = await ask(reader, contract, "deployedAt()")
    block = min(head.number, max(start, head.number - depth))
    report = Report(chain_id=chain_id, contract=contract, block=block)
    if code is None:
        report.find("unknown_code", f"the code at {contract} is no coordinator of this version")
    return Ledger(report, window=await ask(reader, contract, "window()"))


async def audit_chain(reader: ChainReader, ledger: Ledger, leaves_of: LeavesOf) -> None:
    """
    Enter every log of the coordinator into the book, and judge what it says.

    `leaves_of` gives the leaves of a root where somebody has them; without them the proof of a
    seed is read from calldata. Raises `InconsistentChainError` when a reorg came between.
    """
    report = ledger.report
    contract, block = report.contract, report.block
    async with unmoved(reader, block):
        # First: an endpoint may keep the state of a block for minutes only, and its logs for ever.
        storage = await read_storage(reader, contract, block)
        start = await ask(reader, contract, "deployedAt()")
        async for found in read_logs(reader, report, start):
            for log in found:
                ledger.enter(log)
        settle_accounts(ledger, storage)
        for root in ledger.roots():
            await _prove(reader, ledger, root, await leaves_of(root))
        for entry in ledger.failed():
            await _check_output(reader, report, entry)
        await _check_pending(reader, ledger)
        _list_late(ledger)


async def _prove(
    reader: ChainReader, ledger: Ledger, root: Root, leaves: Sequence[bytes] | None
) -> None:
    """
    Check that the seeds of a batch's fulfilled requests are the committed ones.
    """
    runs: dict[bytes, Run | None] = {}
    for entry in ledger.batch(root.first):
        assert entry.seed is not None
        assert entry.settled_transaction is not None
        index = entry.terms.index
        if leaves is not None:
            right = leaves[index % BATCH] == leaf_of(ledger.domain, index, entry.seed)
        else:
            hash_ = entry.settled_transaction
            if hash_ not in runs:
                runs[hash_] = await _run(reader, ledger, hash_)
            run = runs[hash_]
            if run is None or run.is_beside(index):
                ledger.report.unproved += 1
                continue
            right = run.root(ledger.domain) == root.root and any(
                (item.request_id, item.seed) == (entry.request_id, entry.seed)
                for item in run.items
            )
        if not right:
            ledger.report.wrong += 1
            ledger.report.find(
                "wrong_seed",
                f"the seed that was revealed for index {index} is not the committed one",
                entry.request_id,
            )


async def _run(reader: ChainReader, ledger: Ledger, transaction_hash: bytes) -> Run | None:
    transaction = await reader.transaction(transaction_hash)
    if transaction is None or transaction.to != ledger.report.contract:
        return None
    return read_run(ledger.domain, transaction.data)


async def _check_output(reader: ChainReader, report: Report, entry: Entry) -> None:
    """
    Check the value that a failed callback put on record.
    """
    if entry.success is not False or entry.output is None:
        report.find(
            "callback_contradiction",
            "its fulfillment and the record of failed callbacks contradict each other",
            entry.request_id,
        )
        return
    assert entry.seed is not None
    beacon = (await reader.block(entry.block)).hash
    if entry.output != output_of(entry.seed, entry.request_id, beacon):
        report.wrong += 1
        report.find(
            "output_differs",
            "the output on record for its redelivery does not follow from seed, id and block hash",
            entry.request_id,
        )


async def _check_pending(reader: ChainReader, ledger: Ledger) -> None:
    report = ledger.report
    for entry in ledger.in_state(PENDING):
        index, id_ = entry.terms.index, entry.request_id
        status = await ask(
            reader, report.contract, "status(uint64,bytes32)", index, id_, block=report.block
        )
        if status != STATUS_PENDING:
            report.find(
                "logs_missing",
                "no log settles it, and the coordinator does not call it pending: the endpoint "
                "loses logs",
                id_,
            )


def _list_late(ledger: Ledger) -> None:
    report = ledger.report
    for entry in ledger.in_state(CANCELLED):
        report.withheld.add(_named(entry, "cancelled"))
    for entry in ledger.in_state(PENDING):
        terms = entry.terms
        waited = report.block - (terms.block + terms.confirmations)
        if report.block >= terms.block + ledger.window:
            report.withheld.add(_named(entry, "window_closed"))
        elif waited > ledger.window // _PATIENCE:
            report.overdue.add(_named(entry, "unfulfilled"))
            report.find(
                "overdue",
                f"it could have been fulfilled for {waited} blocks, and can be until block "
                f"{terms.block + ledger.window}",
                entry.request_id,
            )


def _named(entry: Entry, reason: str) -> Named:
    return Named(index=entry.terms.index, request_id=entry.request_id, reason=reason)
