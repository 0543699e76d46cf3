"""
What follows from evidence, without a chain: the reading, the trees, and every judgement.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from oracle import artifacts
from oracle.entropy import merkle
from oracle.evm import Block, Log, Receipt, Transaction
from oracle.protocols import coordinator as node
from oracle.verify import events
from oracle.verify.checks import CALLBACK_FAILED, NOT_PENDING, PENDING, examine
from oracle.verify.judgment import Evidence, Place, State
from oracle.verify.proof import climb, leaf_of, read_run
from tests.factories import (
    CHAIN_ID,
    COORDINATOR,
    PROTOCOL,
    any_request,
    hash32,
    make_log,
    make_request,
    make_seed,
    words32,
)

if TYPE_CHECKING:
    from oracle.request import RandomnessRequest

pytestmark = pytest.mark.unit

WINDOW = 64
LEAVES = [merkle.leaf(PROTOCOL.domain, index, make_seed(index)) for index in range(256)]


def header(number: int) -> Block:
    return Block(
        number=number,
        hash=hash32("block", number),
        parent_hash=hash32("block", number - 1),
        timestamp=0,
        base_fee=0,
        gas_limit=0,
    )


def log_of(topic: bytes, subject: bytes, data: bytes, block: int, index: int = 0) -> Log:
    return Log(
        address=COORDINATOR,
        topics=(topic, subject),
        data=data,
        block_number=block,
        block_hash=hash32("block", block),
        transaction_hash=hash32("transaction", topic, block),
        index=index,
    )


def place_of(log: Log) -> Place:
    receipt = Receipt(
        transaction_hash=log.transaction_hash,
        block_number=log.block_number,
        block_hash=log.block_hash,
        ok=True,
        gas_used=0,
        gas_price=0,
        logs=(log,),
    )
    return Place(log=log, header=header(log.block_number), receipt=receipt)


def fulfilled_log(request: RandomnessRequest, block: int, *, success: bool = True) -> Log:
    data = encode(["bytes32", "bool"], [make_seed(request.seed_index), success])
    return log_of(events.FULFILLED, request.key.request_id, data, block)


def cancelled_log(request: RandomnessRequest, block: int, fee: int | None = None) -> Log:
    refund = request.fee if fee is None else fee
    values = [request.seed_index, request.requester, refund]
    data = encode(["uint256", "address", "uint256"], values)
    return log_of(events.CANCELLED, request.key.request_id, data, block)


def evidence_of(
    request: RandomnessRequest,
    *more: Log,
    status: int = NOT_PENDING,
    commit_at: tuple[int, int] = (50, 0),
    run: tuple[int, ...] | None = None,
    head: int = 400,
) -> Evidence:
    """
    Return what an honest endpoint says of a request and what happened to it.
    """
    root = merkle.root(LEAVES)
    commit_log = log_of(events.COMMITTED, bytes(32), encode(["bytes32[]"], [[root]]), *commit_at)
    commit = events.read_event(commit_log)
    assert isinstance(commit, events.Committed)
    made_log = make_log(request)
    life = [event for log in (made_log, *more) if (event := events.read_event(log))]
    settled = next((log for log in more if log.topics[0] == events.FULFILLED), None)
    served = [
        request if index == request.seed_index else make_request(index)
        for index in run or (request.seed_index,)
    ]
    reveals = [node.Reveal(request=made, seed=make_seed(made.seed_index)) for made in served]
    first, last = served[0].seed_index, served[-1].seed_index
    taken = {made.seed_index for made in served}
    gaps = [LEAVES[index] for index in range(first, last + 1) if index not in taken]
    siblings = [*gaps, *merkle.proof(LEAVES, first, last - first + 1)]
    return Evidence(
        chain_id=CHAIN_ID,
        contract=COORDINATOR,
        request_id=request.key.request_id,
        head=header(head),
        code="QuantumCoordinator",
        window=WINDOW,
        life=life,
        status=status,
        made=place_of(made_log),
        next_parent=hash32("block", request.block_number),
        commit=commit,
        committed=place_of(commit_log),
        root=root,
        fulfilled=place_of(settled) if settled else None,
        transaction=Transaction(
            hash=settled.transaction_hash,
            sender=COORDINATOR,
            to=COORDINATOR,
            data=PROTOCOL.encode_fulfill(reveals, siblings),
            block_number=settled.block_number,
        )
        if settled
        else None,
    )


def reasons(evidence: Evidence) -> list[str]:
    return [check.reason for check in examine(evidence).checks if check.reason]


@given(any_request)
def test_a_request_is_read_as_its_node_packs_it(request: RandomnessRequest) -> None:
    made = events.read_event(make_log(request))
    assert isinstance(made, events.Made)
    assert made.terms == events.Terms(
        fee=request.fee,
        block=request.block_number,
        confirmations=request.confirmations,
        num_words=request.num_words,
        callback_gas_limit=request.callback_gas_limit,
        index=request.seed_index,
    )
    domain = events.domain_of(CHAIN_ID, COORDINATOR)
    id_ = events.id_of(domain, made.requester, made.terms_word, made.user_seed)
    assert id_ == request.key.request_id


@given(words32, words32, words32, st.integers(0, 5))
def test_words_are_those_of_the_node(
    seed: bytes, request_id: bytes, beacon: bytes, count: int
) -> None:
    words = events.words_of(events.output_of(seed, request_id, beacon), count)
    expected = node.words(seed, request_id, beacon, count)
    assert [int.from_bytes(word, "big") for word in words] == expected


@given(st.integers(0, 255), st.integers(1, 256))
def test_any_run_of_leaves_climbs_to_the_root_and_no_other_siblings_do(
    first: int, count: int
) -> None:
    count = min(count, 256 - first)
    leaves = dict(enumerate(LEAVES[first : first + count], first))
    proof = merkle.proof(LEAVES, first, count)
    root = merkle.root(LEAVES)
    assert climb(leaves, proof) == root
    assert climb(leaves, [*proof, bytes(32)]) is None
    if proof:
        assert climb(leaves, proof[:-1]) is None
        assert climb(leaves, [bytes(32), *proof[1:]]) != root


@given(st.sets(st.integers(0, 255), min_size=1, max_size=8))
def test_a_fulfillment_with_gaps_leads_to_its_root(served: set[int]) -> None:
    run = tuple(sorted(served))
    request = make_request(run[-1])
    evidence = evidence_of(request, fulfilled_log(request, 110), run=run)
    assert examine(evidence).fits


def test_calldata_of_something_else_is_no_run() -> None:
    domain = PROTOCOL.domain
    assert read_run(domain, b"") is None
    assert read_run(domain, node.CoordinatorProtocol.encode_commit(0, [bytes(32)])) is None
    assert read_run(domain, PROTOCOL.encode_fulfill([], [])) is None
    assert read_run(domain, PROTOCOL.encode_fulfill([], [])[:4] + b"\xff" * 64) is None
    assert leaf_of(domain, 3, make_seed(3)) == LEAVES[3]


def test_a_run_over_two_batches_has_no_root() -> None:
    reveals = [
        node.Reveal(request=make_request(index), seed=make_seed(index)) for index in (255, 256)
    ]
    run = read_run(PROTOCOL.domain, PROTOCOL.encode_fulfill(reveals, []))
    assert run is not None
    assert run.root(PROTOCOL.domain) is None


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (100, ["too_early"]),
        (101, []),
        (100 + WINDOW, []),
        (101 + WINDOW, ["too_late"]),
    ],
)
def test_a_fulfillment_has_its_time(block: int, expected: list[str]) -> None:
    request = make_request(3)
    assert reasons(evidence_of(request, fulfilled_log(request, block))) == expected


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((99, 9), []),
        ((100, 4), []),
        ((100, 6), ["committed_late"]),
        ((101, 0), ["committed_late"]),
    ],
)
def test_a_root_comes_before_its_request(place: tuple[int, int], expected: list[str]) -> None:
    request = make_request(3, log_index=5)
    evidence = evidence_of(request, fulfilled_log(request, 110), commit_at=place)
    assert reasons(evidence) == expected


def test_a_request_without_a_commit_does_not_fit() -> None:
    request = make_request(3)
    evidence = evidence_of(request, fulfilled_log(request, 110))
    found = reasons(replace(evidence, commit=None, committed=None, root=bytes(32)))
    assert found == ["not_committed", "proof_differs"]


def test_a_call_inside_another_fulfillment_is_not_checkable_unless_that_one_is_wrong() -> None:
    request = make_request(3)
    evidence = evidence_of(request, fulfilled_log(request, 110), run=(4, 5))
    assert reasons(evidence) == ["internal_call"]
    assert examine(evidence).fits
    assert evidence.transaction is not None
    data = evidence.transaction.data[:-1] + b"\x00"
    lied = replace(evidence, transaction=replace(evidence.transaction, data=data))
    assert reasons(lied) == ["other_request"]
    through = replace(evidence.transaction, to=None)
    assert reasons(replace(evidence, transaction=through)) == ["internal_call"]


def test_a_fulfilled_and_cancelled_request_does_not_fit() -> None:
    request = make_request(3)
    logs = (fulfilled_log(request, 110), cancelled_log(request, 200))
    assert reasons(evidence_of(request, *logs)) == ["fulfilled_and_cancelled"]


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (cancelled_log(make_request(3), 101 + WINDOW), []),
        (cancelled_log(make_request(3), 100 + WINDOW), ["cancelled_early"]),
        (cancelled_log(make_request(3), 200, fee=1), ["refund_differs"]),
    ],
)
def test_a_cancellation_is_checked(log: Log, expected: list[str]) -> None:
    evidence = evidence_of(make_request(3), log)
    assert reasons(evidence) == expected
    assert examine(evidence).state is State.CANCELLED
    assert not examine(evidence).fits


def failure(request: RandomnessRequest, *, wrong: bool = False) -> Log:
    beacon = bytes(32) if wrong else request.block_hash
    output = events.output_of(make_seed(request.seed_index), request.key.request_id, beacon)
    return log_of(events.FAILED, request.key.request_id, output, 110)


def test_callbacks_are_held_against_the_record_of_failures() -> None:
    request = make_request(3)
    ok, failed = (fulfilled_log(request, 110, success=good) for good in (True, False))
    again = log_of(events.REDELIVERED, request.key.request_id, b"", 120)
    on_record = failure(request)
    cases = [
        ((ok,), NOT_PENDING, []),
        ((ok,), CALLBACK_FAILED, ["status_differs"]),
        ((ok,), PENDING, ["still_pending", "status_differs"]),
        ((ok, on_record), CALLBACK_FAILED, ["callback_contradiction"]),
        ((ok, again), NOT_PENDING, ["redelivered_without_failure"]),
        ((failed, on_record), CALLBACK_FAILED, []),
        ((failed, on_record), NOT_PENDING, ["status_differs"]),
        ((failed,), CALLBACK_FAILED, ["callback_contradiction"]),
        ((failed, on_record, again), NOT_PENDING, []),
        ((failed, failure(request, wrong=True)), CALLBACK_FAILED, ["output_differs"]),
    ]
    for logs, status, expected in cases:
        assert reasons(evidence_of(request, *logs, status=status)) == expected


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (103, "waiting_for_confirmations"),
        (104, "waiting_for_fulfillment"),
        (99 + WINDOW, "waiting_for_fulfillment"),
        (100 + WINDOW, "window_closed"),
    ],
)
def test_a_pending_request_waits_for_something(head: int, reason: str) -> None:
    request = make_request(3, confirmations=5)
    evidence = evidence_of(request, status=PENDING, head=head)
    assert (examine(evidence).reason, reasons(evidence)) == (reason, [])
    assert reasons(replace(evidence, status=NOT_PENDING)) == ["logs_missing"]


def test_code_is_known_whatever_its_immutables_are() -> None:
    artifact = artifacts.load("QuantumCoordinator")
    code = bytearray(artifact.deployed_bytecode)
    for place in artifact.immutables:
        code[place] = b"\x55" * 32
    assert artifact.is_code(bytes(code))
    assert not artifact.is_code(bytes(code) + b"\x00")
    assert not artifact.is_code(b"\x00" + bytes(code[1:]))
