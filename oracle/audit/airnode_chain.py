"""
The audit of an Airnode's chain: its logs against each other, against calldata, and against what
AirnodeRrpV0 says is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.audit.airnode_ledger import CALLBACK_FAILED, GIVEN_UP, OPEN, AirnodeLedger
from oracle.audit.airnode_report import AirnodeReport, Waiting
from oracle.audit.history import read_logs, unmoved
from oracle.errors import ConfigError, RevertedError
from oracle.evm import keccak
from oracle.verify.airnode_proof import read_fulfillment

if TYPE_CHECKING:
    from oracle.audit.airnode_ledger import Entry
    from oracle.chain.interfaces import ChainReader

_PAGE = 500
# What the store says of those that it has ended, though the chain has them open.
_ENDED = frozenset({"rejected", "expired", "failed", "cancelled"})
_HELD = frozenset({"callback_fails", "callback_untried"})
_UNFUNDED = "wallet_unfunded"
_AWAITING = keccak(b"requestIsAwaitingFulfillment(bytes32)")[:4]


async def open_airnode_ledger(
    reader: ChainReader, chain_id: int, contract: str, airnode: str, depth: int, first: int
) -> AirnodeLedger:
    """
    Fix the block of an audit, `depth` blocks below the head, and open its book; `first` is the
    first block that the Airnode reads.

    Raises `ConfigError` when there is no contract.
    """
    if not await reader.code(contract):
        raise ConfigError(f"there is no contract at {contract}: check the address and the chain")
    head = await reader.block()
    report = AirnodeReport(
        chain_id=chain_id,
        contract=contract,
        airnode=airnode,
        first=first,
        block=max(0, head.number - depth),
    )
    return AirnodeLedger(report)


async def audit_airnode_chain(reader: ChainReader, ledger: AirnodeLedger) -> None:
    """
    Enter every log of the Airnode into the book, and judge what it says.

    Raises `InconsistentChainError` when a reorg came between.
    """
    report = ledger.report
    topics = (None, bytes(12) + bytes.fromhex(report.airnode[2:]))
    async with unmoved(reader, report.block):
        async for found in read_logs(reader, report, report.first, topics):
            # Some endpoints tell a log twice.
            for log in dict.fromkeys(found):
                ledger.enter(log)
        await _read_failures(reader, ledger)
        for entry in ledger.in_state(OPEN):
            if not await _is_open(reader, report, entry.request_id):
                report.find(
                    "logs_missing",
                    "no log settles it, and the contract does not call it open: the endpoint "
                    "loses logs",
                    entry.request_id,
                )


async def _read_failures(reader: ChainReader, ledger: AirnodeLedger) -> None:
    """
    Read from calldata with what the requests were answered whose callbacks failed.

    A sponsor wallet can give up a request in the contract's words: then no number is there.
    """
    report, after = ledger.report, b""
    while page := ledger.page(CALLBACK_FAILED, after, _PAGE):
        for entry in page:
            assert entry.settled_transaction is not None
            transaction = await reader.transaction(entry.settled_transaction)
            if transaction is None or transaction.to != report.contract:
                continue
            given = read_fulfillment(transaction.data)
            if given is None:
                ledger.move(entry.request_id, GIVEN_UP)
                report.failed_callbacks -= 1
                report.given_up += 1
            elif given.request_id != entry.request_id or not given.is_signed:
                report.find(
                    "calldata_differs",
                    "the transaction that answered it carries another request, or no valid "
                    "signature: the endpoint lies",
                    entry.request_id,
                )
            else:
                ledger.put_number(entry.request_id, given.data)
        after = page[-1].request_id


async def _is_open(reader: ChainReader, report: AirnodeReport, request_id: bytes) -> bool:
    # An endpoint may keep the state of a block for minutes only.
    for block in (None, report.block):
        try:
            answer = await reader.call(report.contract, _AWAITING + request_id, block)
        except RevertedError:
            answer = b""
        if len(answer) != len(request_id):
            raise ConfigError(f"the contract at {report.contract} is no AirnodeRrpV0")
        if any(answer):
            return True
    return False


class Ages:
    """
    How long ago blocks were mined, as of the audited one.
    """

    def __init__(self, reader: ChainReader, block: int) -> None:
        self._reader = reader
        self._block = block
        self._now: int | None = None
        self._last: tuple[int, int] | None = None

    async def seconds(self, block: int) -> int:
        """
        Return how many seconds before the audited block another one was mined.
        """
        if self._now is None:
            self._now = (await self._reader.block(self._block)).timestamp
        if self._last is None or self._last[0] != block:
            self._last = (block, (await self._reader.block(block)).timestamp)
        return self._now - self._last[1]


async def list_open(reader: ChainReader, ledger: AirnodeLedger) -> None:
    """
    List what the chain has open, the oldest first, with the store's reasons.
    """
    report, ages = ledger.report, Ages(reader, ledger.report.block)
    for entry in ledger.in_state(OPEN):
        assert entry.block is not None
        listed = [report.open]
        if entry.kept in _ENDED:
            listed.append(report.unserved)
        if entry.exposed:
            listed.append(report.exposed)
        if entry.held or entry.reason in _HELD:
            listed.append(report.held)
        if entry.reason == _UNFUNDED:
            listed.append(report.unfunded)
        full = all(listing.is_full for listing in listed)
        seconds = 0 if full else await ages.seconds(entry.block)
        for listing in listed:
            listing.add(_waiting(entry, report.block, seconds))


def _waiting(entry: Entry, block: int, seconds: int) -> Waiting:
    assert entry.block is not None
    return Waiting(
        id=entry.request_id,
        sponsor=entry.sponsor or "",
        block=entry.block,
        age_blocks=block - entry.block,
        age_seconds=seconds,
        reason=entry.reason or entry.kept or "not_read_yet",
    )
