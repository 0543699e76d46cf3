"""
Airnode ABI: the names and values that a requester writes into a request's parameters, and what
the random number endpoints make of them. Pure.

    abi.encode(bytes32 header, bytes32 name, T value, bytes32 name, T value, …)

The header is the text `1`, the version, and a letter for the type of each value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from oracle.errors import BadParametersError, UndecodableParametersError
from oracle.evm import checksum_address
from oracle.protocols.airnode_calls import MAX_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: A decoded value: integers as decimal digits, bytes and addresses as `0x` and hex digits.
Value = str | bool
Parameters = dict[str, Value]

SIZE = "size"
MIN_CONFIRMATIONS = "_minConfirmations"
# Airnode looks back so many blocks, and so can wait for no more.
MAX_MIN_CONFIRMATIONS = 300

_VERSION = "1"
_WORD = 32
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
# What JavaScript's Number() understands; what it strips before.
_RADIX = re.compile(r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_SPACES = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    What a request wants of a random number endpoint.

    `min_confirmations` is the requester's own wish; `ignored` are the names that it gave and that
    change nothing, as at an Airnode whose endpoint does not list them.
    """

    array: bool
    words: int
    min_confirmations: int | None
    ignored: tuple[str, ...]


def decode_parameters(encoded: bytes) -> Parameters:
    """
    Return the parameters by name; of a name that is given twice, the last.

    Raises `UndecodableParametersError` wherever Airnode would not decode them, also when encoding
    them again gives other bytes.
    """
    if not encoded:
        return {}
    header = _text32(encoded[:_WORD], "header", "the header of the parameters is no text")
    if header[:1] != _VERSION:
        raise UndecodableParametersError(
            "the parameters are not of version 1 of Airnode ABI", reason="parameters_version"
        )
    letters = header[1:]
    if unknown := [letter for letter in letters if letter not in _TYPES]:
        raise UndecodableParametersError(
            f"the parameters have a type that Airnode ABI does not know: {unknown[0]!r}",
            reason="parameters_type",
        )
    types = ["bytes32"]
    for letter in letters:
        types += ["bytes32", _TYPES[letter][0]]
    try:
        values = decode(types, encoded, strict=False)
        again = encode(types, values)
    except (DecodingError, ValueError, OverflowError):
        raise UndecodableParametersError(
            "the parameters are not what their header says", reason="parameters_malformed"
        ) from None
    if again != encoded:
        raise UndecodableParametersError(
            "the parameters give other bytes when they are encoded again",
            reason="parameters_reencoding",
        )
    return {
        _text32(name, "name", "the name of a parameter is no text"): _TYPES[letter][1](value)
        for letter, name, value in zip(letters, values[1::2], values[2::2], strict=True)
    }


def merge(template: Mapping[str, Value], request: Mapping[str, Value]) -> Parameters:
    """
    Return the parameters of a template request: what it says itself goes before its template.
    """
    return {**template, **request}


def read_wanted(parameters: Mapping[str, Value], *, array: bool) -> Wanted:
    """
    Return what a request wants: `size` words of the array endpoint, one word of the other.

    Raises `BadParametersError` for an array without a size of 1…510, written in decimal digits.
    Other parameters change nothing: reserved ones other than `_minConfirmations` are fixed by the
    endpoint, or not among those that it lists.
    """
    known = {MIN_CONFIRMATIONS, SIZE} if array else {MIN_CONFIRMATIONS}
    return Wanted(
        array=array,
        words=_size(parameters) if array else 1,
        min_confirmations=_min_confirmations(parameters.get(MIN_CONFIRMATIONS)),
        ignored=tuple(sorted(name for name in parameters if name not in known)),
    )


def _size(parameters: Mapping[str, Value]) -> int:
    size = parameters.get(SIZE)
    if size is None:
        raise BadParametersError(
            'the endpoint wants a parameter "size", the number of words', reason="size_missing"
        )
    if not isinstance(size, str) or not _DIGITS.fullmatch(size):
        raise BadParametersError('the parameter "size" is no number', reason="size_malformed")
    # Long numbers are slow to read, and none is in range.
    digits = size.lstrip("0")
    if len(digits) > len(str(MAX_WORDS)) or not 1 <= int(digits or "0") <= MAX_WORDS:
        raise BadParametersError(
            f'the parameter "size" is not between 1 and {MAX_WORDS}', reason="size_out_of_range"
        )
    return int(digits)


def _min_confirmations(value: Value | None) -> int | None:
    """
    Return the depth that a requester wishes for; nothing where Airnode ignores the parameter.
    """
    number = javascript_number(value) if value else None
    if number is None or not number.is_integer() or not 0 <= number <= MAX_MIN_CONFIRMATIONS:
        return None
    return int(number)


def javascript_number(value: Value) -> float | None:
    """
    Return what JavaScript's `Number(value)` is; nothing where it is not a number.
    """
    if isinstance(value, bool):
        return float(value)
    text = value.strip(_SPACES)
    if not text:
        return 0.0
    if _RADIX.fullmatch(text):
        try:
            return float(int(text, 0))
        except OverflowError:
            return float("inf")
    return float(text) if _DECIMAL.fullmatch(text) else None


def _text32(word: bytes, what: str, complaint: str) -> str:
    # As ethers reads it: zero bytes end the text, one at least, and others may stand inside.
    if len(word) != _WORD or word[-1]:
        raise UndecodableParametersError(complaint, reason=f"parameters_{what}")
    return _utf8(word.rstrip(b"\0"), what, complaint)


def _utf8(raw: bytes, what: str, complaint: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UndecodableParametersError(complaint, reason=f"parameters_{what}") from None


def _hex(raw: bytes) -> str:
    return f"0x{raw.hex()}"


_NO_TEXT = "the value of a parameter is no text"

# Letter → its type in Solidity, and how its value is told. A string is read as bytes, because
# that it is no text is found afterwards.
_TYPES: dict[str, tuple[str, Callable[[Any], Value]]] = {
    "B": ("bytes", _hex),
    "b": ("bytes32", _hex),
    "S": ("bytes", lambda raw: _utf8(raw, "value", _NO_TEXT)),
    "s": ("bytes32", lambda word: _text32(word, "value", _NO_TEXT)),
    "a": ("address", checksum_address),
    "i": ("int256", str),
    "u": ("uint256", str),
    "f": ("bool", bool),
}
