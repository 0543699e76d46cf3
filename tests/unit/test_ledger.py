"""
The book that an audit keeps of a chain, and what it finds in a chain that breaks the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from oracle.audit.findings import Listing
from oracle.audit.history import unmoved
from oracle.audit.ledger import FULFILLED, PENDING, Ledger
from oracle.audit.money import Storage, settle_accounts
from oracle.audit.report import Report
from oracle.chain.ranges import logs_in_ranges
from oracle.errors import EndpointError, InconsistentChainError
from oracle.evm import Block, Log
from oracle.verify import events
from tests.factories import CHAIN_ID, COORDINATOR, hash32, make_log, make_request, make_seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oracle.request import RandomnessRequest

pytestmark = pytest.mark.unit

WINDOW = 64


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger(Report(chain_id=CHAIN_ID, contract=COORDINATOR, block=1000), WINDOW) as book:
        yield book


def log_of(topic: bytes, data: bytes, subject: bytes = bytes(32), block: int = 110) -> Log:
    return Log(
        address=COORDINATOR,
        topics=(topic, subject),
        data=data,
        block_number=block,
        block_hash=hash32("block", block),
        transaction_hash=hash32("transaction", block),
        index=0,
    )


def commit(first: int = 0, roots: int = 1) -> Log:
    data = encode(["bytes32[]"], [[bytes(32)] * roots])
    return log_of(events.COMMITTED, data, first.to_bytes(32, "big"), 50)


def fulfill(request: RandomnessRequest, *, block: int = 110, seed: bytes | None = None) -> Log:
    seed = seed or make_seed(request.seed_index)
    data = encode(["bytes32", "bool"], [seed, True])
    return log_of(events.FULFILLED, data, request.key.request_id, block)


def cancel(request: RandomnessRequest, *, block: int = 200, amount: int | None = None) -> Log:
    refund = request.fee if amount is None else amount
    values = [request.seed_index, request.requester, refund]
    data = encode(["uint256", "address", "uint256"], values)
    return log_of(events.CANCELLED, data, request.key.request_id, block)


def discard(first: int, up_to: int) -> Log:
    return log_of(events.DISCARDED, encode(["uint256", "uint256"], [first, up_to]))


ONE, TWO = make_request(0), make_request(1)
STRAY = make_request(0, requester="0x14dC79964da2C08b23698B3D3cc7Ca32193d9955")


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ([commit(), make_log(ONE), fulfill(ONE), make_log(TWO)], []),
        ([commit(), make_log(ONE), cancel(ONE)], []),
        ([commit(), make_log(ONE), discard(1, 7), make_log(make_request(7))], []),
        ([make_log(ONE)], ["index_out_of_order"]),
        ([commit(), make_log(TWO)], ["index_out_of_order"]),
        ([commit(), make_log(ONE), make_log(STRAY)], ["index_out_of_order", "made_twice"]),
        ([commit(), fulfill(ONE)], ["not_pending"]),
        ([commit(), make_log(ONE), fulfill(ONE), fulfill(ONE)], ["not_pending"]),
        ([commit(), make_log(ONE), fulfill(ONE), cancel(ONE)], ["not_pending"]),
        ([commit(), make_log(ONE), cancel(ONE), fulfill(ONE)], ["not_pending"]),
        ([commit(), make_log(ONE), fulfill(ONE, block=100)], ["out_of_time"]),
        ([commit(), make_log(ONE), fulfill(ONE, block=101 + WINDOW)], ["out_of_time"]),
        ([commit(), make_log(ONE), cancel(ONE, block=100 + WINDOW)], ["out_of_time"]),
        ([commit(), make_log(ONE), cancel(ONE, amount=1)], ["refund_differs"]),
        (
            [
                *(commit(), make_log(ONE), make_log(TWO), fulfill(ONE)),
                fulfill(TWO, seed=make_seed(0)),
            ],
            ["seed_reused"],
        ),
        ([commit(), commit()], ["commit_out_of_order"]),
        ([commit(256)], ["commit_out_of_order"]),
        ([commit(), discard(0, 257)], ["discard_out_of_order"]),
        ([commit(), discard(1, 2)], ["discard_out_of_order"]),
        (
            [commit(), log_of(events.REDELIVERED, b"", ONE.key.request_id)],
            ["redelivered_without_failure"],
        ),
    ],
)
def test_what_breaks_a_rule_is_found(
    ledger: Ledger, logs: Sequence[Log], expected: list[str]
) -> None:
    for log in logs:
        ledger.enter(log)
    assert [finding.code for finding in ledger.report.findings] == expected


def test_an_index_beyond_what_was_ever_reached_is_an_inconsistent_chain(ledger: Ledger) -> None:
    with pytest.raises(InconsistentChainError):
        ledger.enter(commit(1 << 200))
    with pytest.raises(InconsistentChainError):
        ledger.enter(make_log(make_request((1 << 64) - 1)))


@given(
    st.lists(
        st.tuples(st.sampled_from(["fulfill", "cancel", "leave"]), st.integers(0, 2**96 - 1)),
        max_size=20,
    ),
    st.integers(0, 100),
    st.integers(0, 2**90),
)
def test_whatever_becomes_of_requests_their_fees_are_all_accounted_for(
    fates: list[tuple[str, int]], withdrawn_percent: int, donated: int
) -> None:
    with Ledger(Report(chain_id=CHAIN_ID, contract=COORDINATOR, block=1000), WINDOW) as ledger:
        ledger.enter(commit())
        earned = escrow = 0
        for index, (fate, fee) in enumerate(fates):
            request = make_request(index, fee=fee)
            ledger.enter(make_log(request))
            if fate == "fulfill":
                ledger.enter(fulfill(request))
                earned += fee
            elif fate == "cancel":
                ledger.enter(cancel(request))
            else:
                escrow += fee
        withdrawn = earned * withdrawn_percent // 100
        data = encode(["uint256"], [withdrawn])
        ledger.enter(log_of(events.WITHDRAWN, data))
        storage = Storage(
            balance=earned - withdrawn + escrow + donated,
            earned=(earned - withdrawn) // 3,
            uncollected=(earned - withdrawn) - (earned - withdrawn) // 3,
            next_index=len(fates),
            committed=256,
            cancellations=sum(fate == "cancel" for fate, _ in fates),
        )
        settle_accounts(ledger, storage)
        report = ledger.report
        assert report.clean
        assert report.money is not None
        assert report.money.donated == donated
        assert report.requests == report.fulfilled + report.cancelled + report.pending
        settled = sum(1 for state in (FULFILLED, PENDING) for _ in ledger.in_state(state))
        assert settled == report.fulfilled + report.pending


def test_a_listing_keeps_a_thousand_and_counts_all() -> None:
    listing: Listing[int] = Listing()
    for number in range(1500):
        listing.add(number)
    assert listing.count == 1500
    assert list(listing) == list(range(1000))


class PickyReader:
    """
    Refuses more than so many blocks at once.
    """

    def __init__(self, most: int) -> None:
        self.most = most

    async def logs(
        self, address: str, first: int, last: int, topics: Sequence[bytes | None] = ()
    ) -> list[Log]:
        if last - first + 1 > self.most:
            raise EndpointError("too many blocks")
        return [log_of(b"", b"", block=block) for block in range(first, last + 1)]


@pytest.mark.parametrize("newest_first", [False, True])
@given(first=st.integers(0, 50), count=st.integers(0, 100), most=st.integers(1, 40))
async def test_every_block_of_a_range_is_read_once_whatever_an_endpoint_allows(
    first: int, count: int, most: int, *, newest_first: bool
) -> None:
    last = first + count - 1
    reader = PickyReader(most)
    ranges = [
        [log.block_number for log in found]
        async for found in logs_in_ranges(
            reader,  # type: ignore[arg-type] # nothing else is asked
            COORDINATOR,
            first,
            last,
            span=64,
            newest_first=newest_first,
        )
    ]
    if newest_first:
        ranges.reverse()
    assert [block for found in ranges for block in found] == list(range(first, last + 1))


async def test_an_endpoint_that_refuses_a_single_block_is_not_asked_for_ever() -> None:
    with pytest.raises(EndpointError):
        async for _ in logs_in_ranges(
            PickyReader(0),  # type: ignore[arg-type] # nothing else is asked
            COORDINATOR,
            0,
            9,
            span=64,
        ):
            pass


class ForkingReader:
    """
    An endpoint whose block has these hashes, one each time that it is asked for.
    """

    def __init__(self, *hashes: bytes) -> None:
        self._hashes = iter(hashes)

    async def block(self, number: int) -> Block:
        return Block(
            number=number,
            hash=next(self._hashes),
            parent_hash=bytes(32),
            timestamp=0,
            base_fee=0,
            gas_limit=0,
        )


async def test_a_block_that_is_replaced_meanwhile_ends_an_audit() -> None:
    one, other = hash32("block", 1), hash32("block", 2)
    async with unmoved(ForkingReader(one, one), 7):  # type: ignore[arg-type] # nothing else is asked
        pass
    with pytest.raises(InconsistentChainError, match="block 7 was replaced"):
        async with unmoved(ForkingReader(one, other), 7):  # type: ignore[arg-type] # as above
            pass
