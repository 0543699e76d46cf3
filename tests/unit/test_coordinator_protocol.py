from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from oracle import artifacts
from oracle.errors import InconsistentChainError
from oracle.evm import Log
from oracle.protocols import coordinator
from oracle.protocols.coordinator import (
    BATCH,
    CoordinatorProtocol,
    Counters,
    Reveal,
    pack_terms,
    words,
)
from oracle.protocols.coordinator_events import Cancelled, Committed, Discarded
from oracle.request import Outcome, RandomnessRequest
from tests.factories import (
    CHAIN_ID,
    COORDINATOR,
    PROTOCOL,
    addresses,
    any_request,
    hash32,
    make_log,
    make_request,
    make_seed,
    words32,
)

pytestmark = pytest.mark.unit

ABI = artifacts.load("QuantumCoordinator").abi
TERMS = {
    "seed_index": 2**64 - 1,
    "callback_gas_limit": 2**32 - 1,
    "num_words": 2**16 - 1,
    "confirmations": 2**8 - 1,
    "block_number": 2**40 - 1,
    "fee": 2**96 - 1,
}

WORDS = [
    "2f50bced28450481a189eeb52bded5413faaf081bdef0e5b35848d3c547183e6",
    "77fcc9da43da02255dff99845311b4d4b446a000a96fc00d9a3f9810ff0c0f9e",
]


def abi_type(entry: dict[str, Any]) -> str:
    kind: str = entry["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(map(abi_type, entry['components']))}){kind.removeprefix('tuple')}"


def entry_of(kind: str, name: str) -> dict[str, Any]:
    [entry] = [item for item in ABI if item["type"] == kind and item["name"] == name]
    return entry


def types_of(entries: list[dict[str, Any]]) -> list[str]:
    return [abi_type(item) for item in entries]


def signature(entry: dict[str, Any]) -> bytes:
    return keccak(f"{entry['name']}({','.join(types_of(entry['inputs']))})".encode())


def selector(name: str) -> bytes:
    return signature(entry_of("function", name))[:4]


def event_log(name: str, *values: object, block_number: int = 7) -> Log:
    """
    Encode an event as the artifact's ABI says.
    """
    inputs = entry_of("event", name)["inputs"]
    pairs = list(zip(inputs, values, strict=True))
    indexed = [encode([abi_type(item)], [value]) for item, value in pairs if item["indexed"]]
    plain = [(abi_type(item), value) for item, value in pairs if not item["indexed"]]
    return Log(
        address=COORDINATOR,
        topics=(signature(entry_of("event", name)), *indexed),
        data=encode([kind for kind, _ in plain], [value for _, value in plain]),
        block_number=block_number,
        block_hash=hash32("block", block_number),
        transaction_hash=hash32("transaction"),
        index=3,
    )


@pytest.mark.parametrize(
    ("topic", "event"),
    [
        (coordinator.REQUESTED, "RandomnessRequested"),
        (coordinator.FULFILLED, "RandomnessFulfilled"),
        (coordinator.CANCELLED, "RequestCancelled"),
        (coordinator.COMMITTED, "RootsCommitted"),
        (coordinator.DISCARDED, "SeedsDiscarded"),
    ],
)
def test_topic_is_that_of_the_artifact(topic: bytes, event: str) -> None:
    assert topic == signature(entry_of("event", event))


@pytest.mark.parametrize(
    ("call", "function", "values"),
    [
        (
            PROTOCOL.encode_commit(512, [hash32(1), hash32(2)]),
            "commit",
            (512, (hash32(1), hash32(2))),
        ),
        (
            PROTOCOL.encode_request(100_000, 3, 2, hash32("user")),
            "requestRandomness",
            (100_000, 3, 2, hash32("user")),
        ),
        (PROTOCOL.encode_fee_at(100_000, 3, 10**9), "feeAt", (100_000, 3, 10**9)),
        (PROTOCOL.encode_root_of(3), "rootOf", (3,)),
    ],
)
def test_call_decodes_by_the_artifact(
    call: bytes, function: str, values: tuple[object, ...]
) -> None:
    assert call[:4] == selector(function)
    assert decode(types_of(entry_of("function", function)["inputs"]), call[4:]) == values


@pytest.mark.parametrize(
    ("used", "function", "outputs"),
    [
        (PROTOCOL.SEEDS, "seeds", ["uint64", "uint64"]),
        (PROTOCOL.WINDOW, "window", ["uint256"]),
        (PROTOCOL.OPERATOR, "operator", ["address"]),
        (PROTOCOL.CALLBACK_GAS_LIMIT_MAX, "callbackGasLimitMax", ["uint256"]),
        (PROTOCOL.DEPLOYED_AT, "deployedAt", ["uint256"]),
    ],
)
def test_view_is_that_of_the_artifact(used: bytes, function: str, outputs: list[str]) -> None:
    assert used == selector(function)
    assert types_of(entry_of("function", function)["inputs"]) == []
    assert types_of(entry_of("function", function)["outputs"]) == outputs


def test_answers_of_views_are_read() -> None:
    assert PROTOCOL.decode_counters(encode(["uint64", "uint64"], [3, 512])) == Counters(3, 512)
    assert PROTOCOL.decode_uint(encode(["uint256"], [8191])) == 8191


def test_domain_binds_chain_and_contract() -> None:
    expected = keccak(encode(["uint256", "address"], [CHAIN_ID, COORDINATOR]))
    assert PROTOCOL.domain == expected
    assert CoordinatorProtocol(1, COORDINATOR).domain != expected


@given(any_request)
def test_terms_fill_one_word_field_by_field(request: RandomnessRequest) -> None:
    # As in the contract's Terms.sol: the index lowest, the fee highest.
    terms = pack_terms(request)
    assert 0 <= terms < 2**256
    for name, mask in TERMS.items():
        assert terms & mask == getattr(request, name)
        terms >>= mask.bit_length()
    assert terms == 0


@given(any_request)
def test_request_survives_the_way_through_its_log(request: RandomnessRequest) -> None:
    assert PROTOCOL.decode(make_log(request)) == request


@given(any_request)
def test_id_is_the_hash_of_domain_requester_terms_and_user_seed(
    request: RandomnessRequest,
) -> None:
    encoded = encode(
        ["bytes32", "address", "uint256", "bytes32"],
        [PROTOCOL.domain, request.requester, pack_terms(request), request.user_seed],
    )
    assert request.key.request_id == keccak(encoded)


def changed(log: Log, **changes: int) -> Log:
    """
    Return the log with other terms under the old id.
    """
    request = PROTOCOL.decode(log)
    assert isinstance(request, RandomnessRequest)
    forged = replace(request, **changes)  # type: ignore[arg-type]
    return replace(log, data=encode(["uint256", "bytes32"], [pack_terms(forged), bytes(32)]))


@pytest.mark.parametrize("field", ["fee", "num_words", "confirmations", "seed_index"])
def test_log_whose_id_does_not_match_its_terms_is_refused(field: str) -> None:
    log = changed(make_log(make_request()), **{field: 77})
    with pytest.raises(InconsistentChainError, match="contradicts itself"):
        PROTOCOL.decode(log)


def test_log_of_another_requester_is_refused() -> None:
    log = make_log(make_request())
    forged = replace(log, topics=(*log.topics[:2], bytes(31) + b"\x01"))
    with pytest.raises(InconsistentChainError):
        PROTOCOL.decode(forged)


def test_log_of_another_user_seed_is_refused() -> None:
    request = make_request()
    data = encode(["uint256", "bytes32"], [pack_terms(request), hash32("other")])
    with pytest.raises(InconsistentChainError):
        PROTOCOL.decode(replace(make_log(request), data=data))


def test_log_of_another_chain_or_contract_is_refused() -> None:
    log = make_log(make_request())
    for other in (
        CoordinatorProtocol(1, COORDINATOR),
        CoordinatorProtocol(CHAIN_ID, "0x" + "11" * 20),
    ):
        with pytest.raises(InconsistentChainError):
            other.decode(log)


def test_log_in_another_block_than_its_terms_is_refused() -> None:
    log = make_log(make_request(block_number=100))
    with pytest.raises(InconsistentChainError):
        PROTOCOL.decode(replace(log, block_number=101))


@given(words32, words32, st.booleans())
def test_fulfillment_is_decoded(id_: bytes, seed: bytes, success: bool) -> None:  # noqa: FBT001 - drawn
    log = event_log("RandomnessFulfilled", id_, seed, success)
    assert PROTOCOL.decode(log) == Outcome(
        request_id=id_,
        callback_succeeded=success,
        transaction_hash=log.transaction_hash,
        block_number=log.block_number,
        block_hash=log.block_hash,
    )


@given(words32, st.integers(0, 2**64 - 1), addresses, st.integers(0, 2**128))
def test_cancellation_is_decoded(id_: bytes, index: int, to: str, amount: int) -> None:
    log = event_log("RequestCancelled", id_, index, to, amount)
    assert PROTOCOL.decode(log) == Cancelled(id_, index)


@given(st.integers(0, 2**63 - 1), st.lists(words32, max_size=20))
def test_commit_is_decoded(first: int, roots: list[bytes]) -> None:
    log = event_log("RootsCommitted", first, roots)
    assert PROTOCOL.decode(log) == Committed(first, tuple(roots))


@given(st.integers(0, 2**63 - 2), st.integers(1, 2**63 - 1))
def test_discard_is_decoded(first: int, count: int) -> None:
    up_to = min(first + count, 2**63 - 1)
    log = event_log("SeedsDiscarded", first, up_to)
    assert PROTOCOL.decode(log) == Discarded(
        first_index=first,
        up_to=up_to,
        block_number=log.block_number,
        block_hash=log.block_hash,
    )


@pytest.mark.parametrize(("first", "up_to"), [(3, 3), (4, 3), (3, 2**63), (2**255, 2**256 - 1)])
def test_discard_that_no_contract_makes_is_refused(first: int, up_to: int) -> None:
    with pytest.raises(InconsistentChainError):
        PROTOCOL.decode(event_log("SeedsDiscarded", first, up_to))


def test_events_of_the_owner_concern_nobody() -> None:
    assert PROTOCOL.decode(event_log("FeeChanged", 1, 2)) is None
    assert PROTOCOL.decode(replace(event_log("FeeChanged", 1, 2), topics=())) is None


@given(words32, words32, words32, st.integers(0, 20))
def test_words_are_the_documented_hashes(
    seed: bytes, id_: bytes, beacon: bytes, count: int
) -> None:
    output = keccak(encode(["bytes32"] * 3, [seed, id_, beacon]))
    expected = [
        int.from_bytes(keccak(encode(["bytes32", "uint256"], [output, i])), "big")
        for i in range(count)
    ]
    assert words(seed, id_, beacon, count) == expected


def test_words_never_change_between_versions() -> None:
    seed, id_, beacon = (hashlib.sha256(name).digest() for name in (b"seed", b"id", b"beacon"))
    assert [f"{word:x}" for word in words(seed, id_, beacon, 2)] == WORDS


runs = st.integers(0, 10).flatmap(
    lambda batch: st.sets(st.integers(0, BATCH - 1), min_size=1, max_size=12).map(
        lambda places: [batch * BATCH + place for place in sorted(places)]
    )
)


@given(runs, st.lists(words32, max_size=16))
def test_fulfill_gives_back_items_and_siblings(indices: list[int], siblings: list[bytes]) -> None:
    reveals = [Reveal(request=make_request(index), seed=make_seed(index)) for index in indices]
    call = PROTOCOL.encode_fulfill(reveals, siblings)
    assert call[:4] == selector("fulfill")
    items, sent = decode(types_of(entry_of("function", "fulfill")["inputs"]), call[4:])
    assert [(item[0][1], item[1]) for item in items] == [
        (pack_terms(reveal.request), reveal.seed) for reveal in reveals
    ]
    assert {(item[0][0], item[0][2]) for item in items} == {
        (reveals[0].request.requester.lower(), reveals[0].request.user_seed)
    }
    assert list(sent) == siblings


def test_seed_is_not_in_the_representation_of_a_reveal() -> None:
    seed = make_seed(1)
    shown = repr(Reveal(request=make_request(), seed=seed))
    assert repr(seed) not in shown
    assert seed.hex() not in shown


@given(st.lists(any_request, min_size=1, max_size=5), st.integers(0, 255), st.integers(0, 16))
def test_gas_covers_every_promised_callback(
    requests: list[RandomnessRequest], gaps: int, proof: int
) -> None:
    gas = PROTOCOL.fulfill_gas(requests, gaps=gaps, proof=proof)
    promised = sum(request.callback_gas_limit * 64 // 63 for request in requests)
    assert gas >= promised + 21_000


@pytest.mark.parametrize(
    "event",
    [
        "RandomnessRequested",
        "RandomnessFulfilled",
        "RequestCancelled",
        "RootsCommitted",
        "SeedsDiscarded",
    ],
)
def test_malformed_log_is_refused(event: str) -> None:
    topic = signature(entry_of("event", event))
    bare = replace(event_log("FeeChanged", 1, 2), topics=(topic,), data=b"")
    for log in (bare, replace(bare, topics=(topic, bytes(32), bytes(32)), data=b"short")):
        with pytest.raises(InconsistentChainError):
            PROTOCOL.decode(log)


def test_malformed_counters_are_refused() -> None:
    with pytest.raises(InconsistentChainError):
        PROTOCOL.decode_counters(b"short")
