from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.entropy.mixing import mix_seed
from oracle.errors import OracleError

pytestmark = pytest.mark.unit

ANU, QCI, OS = bytes(range(64)), bytes(range(100, 180)), b"\x07" * 32

names = st.text(min_size=1, max_size=8).filter(lambda name: name != "os")
inputs = st.dictionaries(names, st.binary(min_size=64, max_size=80), min_size=1, max_size=4)


def test_seed_is_the_documented_hmac() -> None:
    message = (
        (b"\x00\x03anu" + b"\x00\x00\x00\x40" + ANU)
        + (b"\x00\x03qci" + b"\x00\x00\x00\x50" + QCI)
        + (b"\x00\x02os" + b"\x00\x00\x00\x20" + OS)
    )
    expected = hmac.digest(b"quantum-oracle/seed/v1block-01", message, hashlib.sha512)[:32]
    seed = mix_seed(block_id=b"block-01", inputs=[("anu", ANU), ("qci", QCI)], os_entropy=OS)
    assert seed == expected


def test_seed_never_changes_between_versions() -> None:
    seed = mix_seed(block_id=b"block-01", inputs=[("anu", ANU), ("qci", QCI)], os_entropy=OS)
    assert seed.hex() == "2326e1ac523a8945d28ef45c796bff31e480b2c632f7a0f88aa0bb9c74b75ab0"


@given(inputs)
def test_order_of_the_sources_does_not_matter(sources: dict[str, bytes]) -> None:
    given_order = list(sources.items())
    other_order = given_order[::-1]
    assert mix_seed(block_id=b"b", inputs=given_order, os_entropy=OS) == mix_seed(
        block_id=b"b", inputs=other_order, os_entropy=OS
    )


@given(inputs, st.data())
def test_every_bit_of_every_input_takes_part(
    sources: dict[str, bytes], data: st.DataObject
) -> None:
    before = mix_seed(block_id=b"b", inputs=list(sources.items()), os_entropy=OS)
    name = data.draw(st.sampled_from(sorted(sources)))
    position = data.draw(st.integers(0, len(sources[name]) * 8 - 1))
    flipped = bytearray(sources[name])
    flipped[position // 8] ^= 1 << position % 8
    after = mix_seed(
        block_id=b"b", inputs=list({**sources, name: bytes(flipped)}.items()), os_entropy=OS
    )
    assert before != after


def test_block_and_operating_system_take_part() -> None:
    seeds = {
        mix_seed(block_id=block, inputs=[("anu", ANU)], os_entropy=os_entropy)
        for block in (b"1", b"2")
        for os_entropy in (OS, bytes(32))
    }
    assert len(seeds) == 4


def test_bytes_that_imitate_a_second_source_do_not_pass_for_it() -> None:
    two = mix_seed(block_id=b"b", inputs=[("a", ANU), ("b", QCI)], os_entropy=OS)
    imitation = ANU + b"\x00\x01b" + QCI
    assert two != mix_seed(block_id=b"b", inputs=[("a", imitation)], os_entropy=OS)


@pytest.mark.parametrize(
    ("block_id", "sources", "os_entropy"),
    [
        (b"", [("anu", ANU)], OS),
        (b"b", [], OS),
        (b"b", [("anu", ANU[:63])], OS),
        (b"b", [("anu", ANU), ("qci", b"")], OS),
        (b"b", [("anu", ANU), ("anu", QCI)], OS),
        (b"b", [("os", ANU)], OS),
        (b"b", [("", ANU)], OS),
        (b"b", [("a" * 65_536, ANU)], OS),
        (b"b", [("anu", ANU)], OS[:31]),
        (b"b", [("anu", ANU)], OS + b"\x00"),
    ],
    ids=[
        "no block id",
        "no source",
        "short source",
        "empty source",
        "source twice",
        "os as a source",
        "nameless source",
        "endless name",
        "short os",
        "long os",
    ],
)
def test_bad_inputs_are_refused(
    block_id: bytes, sources: list[tuple[str, bytes]], os_entropy: bytes
) -> None:
    with pytest.raises(OracleError) as caught:
        mix_seed(block_id=block_id, inputs=sources, os_entropy=os_entropy)
    assert isinstance(caught.value, ValueError)
