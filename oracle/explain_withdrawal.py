"""
Why a sponsor's withdrawal is where it is: one code and one sentence, from what the store and the
configuration know. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle.explain import Reason, explain_earlier, explain_sent
from oracle.store.withdrawals import WithdrawalState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.store.attempts import Attempt
    from oracle.store.transactions import Slot
    from oracle.store.withdrawals import Withdrawal

_AGAIN = "nothing is returned for it; to have what the wallet holds then, its sponsor asks again"
#: Why one was refused.
REFUSALS = {
    "wrong_sponsor_wallet": "the wallet that it names was not derived for its sponsor from this "
    "Airnode's xpub, so its funds are not this Airnode's to return",
    "nothing_to_return": f"its wallet could not pay for returning anything: {_AGAIN}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWithdrawal:
    """
    What store and configuration know of a withdrawal.
    """

    withdrawal: Withdrawal
    #: Blocks on top of a block before it counts; nothing where no section serves its contract.
    depth: int | None
    #: The last block that was scanned.
    scanned: int | None = None
    slot: Slot | None = None
    attempts: Sequence[Attempt] = ()


def explain_withdrawal(  # noqa: PLR0911 - one case per state
    known: KnownWithdrawal,
) -> Reason:
    """
    Say why a withdrawal is where it is, and what its sponsor can do.
    """
    one = known.withdrawal
    match one.state:
        case WithdrawalState.DONE:
            return Reason("returned", "the funds of its wallet were returned to its sponsor")
        case WithdrawalState.REFUSED:
            reason = one.reason or "wrong_sponsor_wallet"
            return Reason(reason, REFUSALS[reason])
    if known.depth is None:
        return Reason(
            "chain_not_configured",
            "no section of the configuration serves its contract, so it goes no further",
        )
    if one.state is WithdrawalState.SIGNED:
        return explain_sent(known.slot, known.attempts)
    earlier = explain_earlier(known.slot)
    if earlier is not None:
        return earlier
    have = max(0, (known.scanned or 0) - one.block_number)
    if have < known.depth:
        return Reason(
            "waiting_confirmations",
            f"its block has {have} of the {known.depth} confirmations it needs",
        )
    return Reason(
        "waiting_to_return",
        "numbers that were broadcast from its wallet go first, or the wallet cannot pay for it at "
        "the present fees: it waits for withdrawal_wait_minutes at most",
    )
