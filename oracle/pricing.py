"""
What requests cost beside what they pay, before anything is sent. Pure; amounts in wei.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.store.costs import split

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from oracle.chain.fees import Price
    from oracle.request import RandomnessRequest, RequestKey

    Run = Sequence[RandomnessRequest]


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
