from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import BadParametersError, UndecodableParametersError
from oracle.protocols.airnode_abi import (
    Wanted,
    decode_parameters,
    javascript_number,
    merge,
    read_wanted,
)
from tests.factories import addresses, words32
from tests.javascript import AirnodePeer, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import SearchStrategy

pytestmark = pytest.mark.unit

TYPES = {
    "B": "bytes",
    "b": "bytes32",
    "S": "string",
    "s": "string32",
    "a": "address",
    "i": "int256",
    "u": "uint256",
    "f": "bool",
}
# A number that an array consumer asks for as API3's documentation shows it.
ARRAY_OF_FIVE = b"1u".ljust(32, b"\0") + b"size".ljust(32, b"\0") + (5).to_bytes(32, "big")


def short(text: str) -> str:
    """
    Cut a text to what fits into 31 bytes.
    """
    return text.encode("utf-8", "ignore")[:31].decode("utf-8", "ignore").replace("\0", "")


texts = st.text(max_size=40)
names = texts.map(short)
values: dict[str, SearchStrategy[Any]] = {
    "B": st.binary(max_size=70),
    "b": words32,
    "S": texts.map(lambda text: text.encode("utf-8", "ignore").decode()),
    "s": names,
    "a": addresses,
    "i": st.integers(-(2**255), 2**255 - 1),
    "u": st.integers(0, 2**256 - 1),
    "f": st.booleans(),
}
parameters = st.lists(
    st.sampled_from(sorted(TYPES)).flatmap(
        lambda letter: st.tuples(st.just(letter), names, values[letter])
    ),
    max_size=6,
    unique_by=lambda parameter: parameter[1],
)
# Headers and names as a hostile requester may write them.
words_of_text = st.one_of(
    st.lists(st.sampled_from("BbSsaiufX"), max_size=6).map(lambda found: "1" + "".join(found)),
    st.text(max_size=31),
).map(lambda text: text.encode("utf-8", "ignore")[:32].ljust(32, b"\0"))


@pytest.fixture(scope="module")
def peer() -> Iterator[AirnodePeer]:
    with AirnodePeer() as running:
        yield running


def told(letter: str, value: object) -> object:
    """
    Return a value as it is written for Airnode, and as it comes back.
    """
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    return value if letter == "f" else str(value)


def theirs(peer: AirnodePeer, encoded: bytes) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = peer.ask("decode", encoded=encoded)
    except Refused:
        return None
    return found


def ours(encoded: bytes) -> dict[str, Any] | None:
    try:
        return dict(decode_parameters(encoded))
    except UndecodableParametersError:
        return None


@given(given_parameters=parameters)
def test_what_airnode_encodes_is_decoded(
    peer: AirnodePeer, given_parameters: list[tuple[str, str, Any]]
) -> None:
    expected = {name: told(letter, value) for letter, name, value in given_parameters}
    encoded = peer.bytes(
        "encode",
        parameters=[
            {"type": TYPES[letter], "name": name, "value": told(letter, value)}
            for letter, name, value in given_parameters
        ],
    )
    assert decode_parameters(encoded) == expected


@given(data=st.data())
def test_malformed_parameters_are_refused_where_airnode_refuses_them(
    peer: AirnodePeer, data: st.DataObject
) -> None:
    header = data.draw(words_of_text)
    letters = header.rstrip(b"\0").decode("utf-8", "replace")[1:]
    types, given_values = ["bytes32"], [header]
    for letter in letters:
        if letter not in TYPES:
            break
        kind = {"s": "bytes32", "S": "bytes"}.get(letter, TYPES[letter])
        value = data.draw({"s": words32, "S": st.binary(max_size=40)}.get(letter, values[letter]))
        types += ["bytes32", kind]
        given_values += [data.draw(words_of_text), value]
    encoded = bytearray(encode(types, given_values))
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, len(encoded) - 1))
        encoded[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(encoded)), st.integers(0, len(encoded))))
    more = data.draw(st.one_of(st.just(b""), st.binary(max_size=33)))
    hostile = bytes(encoded[:cut]) + more
    assert ours(hostile) == theirs(peer, hostile)


@given(hostile=st.binary(max_size=300))
def test_garbage_is_refused_where_airnode_refuses_it(peer: AirnodePeer, hostile: bytes) -> None:
    assert ours(hostile) == theirs(peer, hostile)


def test_published_examples_are_decoded() -> None:
    assert decode_parameters(b"") == {}
    assert decode_parameters(ARRAY_OF_FIVE) == {"size": "5"}
    # As users sent it to API3's QRNG.
    depth = encode(["bytes32"] * 3, [b"1s", b"_minConfirmations", b"10"])
    assert read_wanted(decode_parameters(depth), array=False).min_confirmations == 10


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"\1", "parameters_header"),
        (b"x" * 32, "parameters_header"),
        (b"\xff".ljust(32, b"\0"), "parameters_header"),
        (bytes(32), "parameters_version"),
        (b"2u".ljust(32, b"\0"), "parameters_version"),
        (b"1x".ljust(32, b"\0"), "parameters_type"),
        (ARRAY_OF_FIVE[:-1], "parameters_malformed"),
        (ARRAY_OF_FIVE + bytes(32), "parameters_reencoding"),
        (encode(["bytes32"] * 3, [b"1u", b"n" * 32, bytes(32)]), "parameters_name"),
        (encode(["bytes32"] * 3, [b"1s", b"name", b"v" * 32]), "parameters_value"),
        (encode(["bytes32"] * 2 + ["bytes"], [b"1S", b"name", b"\xff"]), "parameters_value"),
        (encode(["bytes32"] * 3, [b"1a", b"name", b"\xff" * 32]), "parameters_malformed"),
        (
            # A tail that is a gigabyte away.
            b"1B".ljust(32, b"\0") + bytes(32) + (1 << 255).to_bytes(32, "big"),
            "parameters_malformed",
        ),
    ],
)
def test_each_malformation_has_its_word(encoded: bytes, reason: str) -> None:
    with pytest.raises(UndecodableParametersError) as caught:
        decode_parameters(encoded)
    assert caught.value.reason == reason


def test_request_goes_before_its_template() -> None:
    template: dict[str, str | bool] = {"size": "5", "a": "template"}
    request: dict[str, str | bool] = {"size": "7", "b": True}
    assert merge(template, request) == {"size": "7", "a": "template", "b": True}


@pytest.mark.parametrize(("size", "words"), [("1", 1), ("510", 510), ("007", 7)])
def test_size_is_how_many_words_an_array_has(size: str, words: int) -> None:
    wanted = read_wanted({"size": size, "other": "1", "_type": "int256"}, array=True)
    assert wanted == Wanted(
        array=True, words=words, min_confirmations=None, ignored=("_type", "other")
    )


@pytest.mark.parametrize(
    ("given_parameters", "reason"),
    [
        ({}, "size_missing"),
        ({"size": ""}, "size_malformed"),
        ({"size": "five"}, "size_malformed"),
        ({"size": "-1"}, "size_malformed"),
        ({"size": "5.0"}, "size_malformed"),
        ({"size": "\N{ARABIC-INDIC DIGIT FIVE}"}, "size_malformed"),
        ({"size": True}, "size_malformed"),
        ({"size": "0"}, "size_out_of_range"),
        ({"size": "511"}, "size_out_of_range"),
        ({"size": "9" * 5000}, "size_out_of_range"),
    ],
)
def test_array_without_a_size_in_range_is_refused(
    given_parameters: dict[str, str | bool], reason: str
) -> None:
    with pytest.raises(BadParametersError) as caught:
        read_wanted(given_parameters, array=True)
    assert caught.value.reason == reason
    assert not isinstance(caught.value, UndecodableParametersError)


def test_single_word_has_no_size() -> None:
    wanted = read_wanted({"size": "nonsense", "_path": "x"}, array=False)
    assert wanted == Wanted(
        array=False, words=1, min_confirmations=None, ignored=("_path", "size")
    )


@pytest.mark.parametrize(
    ("value", "depth"),
    [
        ("0", 0),
        ("10", 10),
        (" 10\n", 10),
        ("1e2", 100),
        ("0x0a", 10),
        ("10.0", 10),
        ("-0", 0),
        ("300", 300),
        ("301", None),
        ("-1", None),
        ("1.5", None),
        ("ten", None),
        ("", None),
        ("Infinity", None),
        ("NaN", None),
        ("1_0", None),
        ("9" * 400, None),
        ("0x" + "f" * 400, None),
        (True, 1),
        (False, None),
    ],
)
def test_wished_depth_is_read_as_airnode_reads_it(value: str | bool, depth: int | None) -> None:  # noqa: FBT001 - as decoded
    wanted = read_wanted({"_minConfirmations": value}, array=False)
    assert wanted.min_confirmations == depth
    assert wanted.ignored == ()


numbers = st.one_of(
    st.text(alphabet="0123456789+-.eExXoObBaAfF_ \t\n\u2003\ufeffIn", max_size=12),
    st.floats(0, 1000).map(repr),
    st.integers(-(10**30), 10**30).map(str),
    st.text(max_size=6),
)


@given(value=numbers)
def test_numbers_are_javascripts(peer: AirnodePeer, value: str) -> None:
    value = value.encode("utf-8", "ignore").decode()
    number = javascript_number(value)
    expected = peer.ask("number", value=value)
    if expected is None:
        assert number is None or not number.is_integer()
    else:
        assert number == float(expected)
