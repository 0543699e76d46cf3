"""
Where a coordinator's ether belongs, and how its counters stand, beside what its logs say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle.audit.report import Money
from oracle.verify.evidence import ask, ask_all

if TYPE_CHECKING:
    from oracle.audit.ledger import Ledger
    from oracle.chain.interfaces import ChainReader

# A look-up takes 2,100 gas and a write 5,000: far below what endpoints allow a call.
_SLOTS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """
    What the coordinator itself says at a block; amounts in wei.
    """

    balance: int
    earned: int
    uncollected: int
    next_index: int
    committed: int
    cancellations: int


async def read_storage(reader: ChainReader, contract: str, block: int) -> Storage:
    """
    Read the coordinator's storage as of a block; what lies in its slots by collecting it in calls
    that change nothing.
    """
    slots = await ask(reader, contract, "slotCount()", block=block)
    uncollected = 0
    for first in range(0, slots, _SLOTS):
        count = min(_SLOTS, slots - first)
        uncollected += await ask(
            reader, contract, "collect(uint64,uint64)", first, count, block=block
        )
    next_index, committed = await ask_all(reader, contract, "seeds()", block=block)
    return Storage(
        balance=await reader.balance(contract, block),
        earned=await ask(reader, contract, "earned()", block=block),
        uncollected=uncollected,
        next_index=next_index,
        committed=committed,
        cancellations=await ask(reader, contract, "cancellations()", block=block),
    )


def settle_accounts(ledger: Ledger, storage: Storage) -> None:
    """
    Hold the storage against the logs of the same block.
    """
    report = ledger.report
    counted = (ledger.next_index, ledger.committed, report.cancelled)
    stored = (storage.next_index, storage.committed, storage.cancellations)
    if counted != stored:
        report.find(
            "logs_missing",
            f"next index, committed indices and cancellations are {stored} in the coordinator's "
            f"storage and {counted} in its logs: the endpoint loses logs, or makes some up",
        )
    report.money = money = Money(
        balance=storage.balance,
        earned=storage.earned,
        uncollected=storage.uncollected,
        withdrawn=ledger.withdrawn,
        fees=ledger.fees,
        escrow=ledger.escrow,
        refunded=ledger.refunded,
    )
    if money.fees != money.earned + money.uncollected + money.withdrawn:
        report.find(
            "earnings_differ",
            f"fulfilled requests paid {money.fees} wei, and {money.earned} earned, "
            f"{money.uncollected} uncollected and {money.withdrawn} withdrawn add up to "
            "something else",
        )
    if money.donated < 0:
        report.find(
            "insolvent",
            f"the balance is {-money.donated} wei short of earnings and what pending requests "
            "paid",
        )
