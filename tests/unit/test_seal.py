from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.errors import PoolKeyError
from oracle.store.seal import Epoch, EpochFile, PoolKey, Sealed

pytestmark = pytest.mark.unit

TEXT = "0123456789abcdef" * 4
KEY = PoolKey.from_text(TEXT)
OTHER = PoolKey(bytes(32))


@given(st.binary(max_size=500), st.binary(max_size=50))
def test_what_is_sealed_opens_again(plaintext: bytes, context: bytes) -> None:
    sealed = KEY.seal(plaintext, context)
    assert KEY.open(sealed, context) == plaintext
    assert len(sealed.nonce) == 12
    assert len(sealed.ciphertext) == len(plaintext) + 16


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_sealed_record_opens_in_its_own_context_alone(context: bytes, other: bytes) -> None:
    sealed = KEY.seal(b"seed", context)
    if context == other:
        return
    with pytest.raises(PoolKeyError, match="does not open"):
        KEY.open(sealed, other)


def test_sealed_record_opens_with_its_own_key_alone() -> None:
    with pytest.raises(PoolKeyError, match="does not open"):
        OTHER.open(KEY.seal(b"seed", b"context"), b"context")


@given(st.binary(min_size=1, max_size=100), st.data())
def test_changed_record_does_not_open(plaintext: bytes, data: st.DataObject) -> None:
    sealed = KEY.seal(plaintext, b"context")
    place = data.draw(st.integers(0, len(sealed.ciphertext) - 1))
    changed = bytearray(sealed.ciphertext)
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PoolKeyError):
        KEY.open(Sealed(sealed.nonce, bytes(changed)), b"context")


def test_the_same_record_is_sealed_differently_every_time() -> None:
    sealed = [KEY.seal(b"seed", b"context") for _ in range(100)]
    assert len({record.nonce for record in sealed}) == 100
    assert len({record.ciphertext for record in sealed}) == 100


def test_representation_shows_neither_key_nor_ciphertext() -> None:
    assert repr(KEY) == "PoolKey(…)"
    sealed = KEY.seal(b"seed", b"context")
    assert repr(sealed.ciphertext) not in repr(sealed)
    assert TEXT not in repr(vars(KEY))


def test_generated_keys_differ_and_can_be_read() -> None:
    texts = {PoolKey.generate() for _ in range(10)}
    assert len(texts) == 10
    for text in texts:
        assert len(text) == 64
        PoolKey.from_text(f" {text}\n")


@pytest.mark.parametrize("text", ["", "ab", TEXT[:-2], TEXT + "00", TEXT.replace("a", "x")])
def test_bad_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(PoolKeyError, match="a pool key") as caught:
        PoolKey.from_text(text)
    assert text == "" or text not in str(caught.value)
    assert caught.value.__cause__ is None


def test_digest_is_keyed_and_check_value_recognizes_the_key() -> None:
    assert KEY.digest(b"seed") == KEY.digest(b"seed")
    assert KEY.digest(b"seed") != OTHER.digest(b"seed")
    assert KEY.digest(b"seed") != KEY.digest(b"other")
    assert KEY.check_value() == PoolKey.from_text(TEXT).check_value() != OTHER.check_value()
    assert KEY.check_value() not in TEXT


def test_epoch_is_nothing_before_its_first_use(tmp_path: Path) -> None:
    assert EpochFile(tmp_path / "epoch").read() is None


def test_epoch_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "epoch"
    for value in (1, 2, 10**12):
        EpochFile(path).write(value)
        assert EpochFile(path).read() == Epoch(value)
    assert path.read_text(encoding="ascii") == f"{10**12}\n"
    assert list(tmp_path.iterdir()) == [path]


def test_epoch_that_is_being_advanced_carries_a_mark(tmp_path: Path) -> None:
    epoch = EpochFile(tmp_path / "epoch")
    epoch.write(8, "abc")
    assert epoch.read() == Epoch(8, "abc")
    epoch.write(8)
    assert epoch.read() == Epoch(8)


def test_epoch_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(self: Path, target: Path) -> None:
        raise OSError("power cut")

    epoch = EpochFile(tmp_path / "epoch")
    epoch.write(7)
    monkeypatch.setattr(Path, "replace", power_cut)
    with pytest.raises(OSError, match="power cut"):
        epoch.write(8)
    assert epoch.read() == Epoch(7)


@pytest.mark.parametrize("content", [b"", b"seven", b"7.5", b"\xff\xfe"])
def test_epoch_file_that_holds_no_number_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "epoch"
    path.write_bytes(content)
    with pytest.raises(PoolKeyError, match="does not hold a number") as caught:
        EpochFile(path).read()
    assert str(path) in str(caught.value)
