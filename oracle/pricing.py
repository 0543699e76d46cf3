"""
What requests cost beside what they pay, before anything is sent. Pure; amounts in wei.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle.protocols.coordinator import BATCH, COMMIT_SIZE, CoordinatorProtocol
from oracle.store.costs import split

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from oracle.chain.fees import Price
    from oracle.request import RandomnessRequest, RequestKey
    from oracle.store.costs import Work

    Run = Sequence[RandomnessRequest]


# A margin is in 1/10,000 of the gas that the contract reckons with, at the base fee. A fee is left
# alone while it would change by no more than a tenth.
_HYSTERESIS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeBand:
    """
    Where the operator lets the gas margin be, in 1/10,000, what fees shall bring above costs, and
    the blocks between two changes.
    """

    lowest: int
    highest: int
    gain_percent: int
    pause: int

    def clamp(self, margin: int) -> int:
        """
        Return the margin of the band that is closest.
        """
        return min(max(margin, self.lowest), self.highest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """
    What a coordinator asks for one request now.
    """

    fee: int
    flat: int  #: the part of it that is not for gas
    margin: int

    def at(self, margin: int) -> int:
        """
        Return the fee at another margin, while this one is not 0.
        """
        return self.flat + (self.fee - self.flat) * margin // self.margin


def cost_of(work: Work, price: Price) -> int:
    """
    Return what one of the requests of past work would cost at a price, on average: with its part
    of reverts and fillers, and of the commit of its seed.
    """
    size = CoordinatorProtocol.size_of(len(work.served), work.transactions)
    commit = price.of(CoordinatorProtocol.commit_gas(1), COMMIT_SIZE)
    return price.of(work.gas_used, size) // len(work.served) + commit // BATCH


def margin_for(cost: int, quote: Quote, band: FeeBand) -> int:
    """
    Return the margin at which the fee covers a cost and the gain, as far as the band allows; the
    present one where that is good enough: in the band, and the fee within a tenth.
    """
    asked = quote.fee - quote.flat
    # Without a margin, or a base fee, the fee says nothing of gas.
    if quote.margin == 0 or asked == 0:
        return band.clamp(quote.margin)
    wanted = max(0, cost * (100 + band.gain_percent) // 100 - quote.flat)
    margin = band.clamp(-(-wanted * quote.margin // asked))
    close = abs(quote.at(margin) - quote.fee) * _HYSTERESIS <= quote.fee
    return quote.margin if close and band.clamp(quote.margin) == quote.margin else margin


def expected_costs(run: Run, price: Price) -> list[int]:
    """
    Return what each request of a run is reckoned to cost: shares as those that are kept once it is
    mined.
    """
    gaps = run[-1].seed_index - run[0].seed_index + 1 - len(run)
    total = price.of(
        CoordinatorProtocol.expected_gas(run, gaps=gaps),
        CoordinatorProtocol.expected_size(run, gaps=gaps),
    )
    return split(total, list(map(CoordinatorProtocol.item_gas, run)))


def within_limit(
    runs: Sequence[Run],
    *,
    price: Price,
    max_loss: int,
    always: Collection[RequestKey],
    plan: Callable[[Run], Sequence[Run]],
) -> tuple[list[list[RandomnessRequest]], list[RandomnessRequest]]:
    """
    Return the runs without the requests whose cost would be above their fee by more than
    `max_loss`, and those requests.

    Guarantees: in the runs that are returned nobody's share is above that limit, but for those of
    `always`, all of which are in them; so that n others lose n times the limit at most.

    Who leaves a run leaves its fixed costs to the others, who are looked at again. `plan` splits
    again what then has too wide gaps.
    """
    todo = [list(run) for run in reversed(runs)]
    kept: list[list[RandomnessRequest]] = []
    losing: list[RandomnessRequest] = []
    while todo:
        run = todo.pop()
        whole = len(run)
        while run:
            shares = expected_costs(run, price)
            paying = [
                request
                for request, cost in zip(run, shares, strict=True)
                if request.key in always or cost - request.fee <= max_loss
            ]
            if len(paying) == len(run):
                break
            stays = {request.key for request in paying}
            losing += [request for request in run if request.key not in stays]
            run = paying
        if len(run) == whole:
            kept.append(run)
        elif run:
            todo += [list(part) for part in reversed(plan(run))]
    return kept, sorted(losing, key=lambda request: request.seed_index)
