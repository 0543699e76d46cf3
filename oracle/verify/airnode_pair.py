"""
Two signatures of one Airnode over different data for one request: proof that it drew again. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from oracle.verify.airnode_proof import read_fulfillment

if TYPE_CHECKING:
    from oracle.verify.airnode_proof import Fulfillment

# Where a transaction's calldata stands among its fields, by its type (EIP-2718).
_DATA_AT = {1: 6, 2: 7, 3: 7, 4: 7}
_LEGACY_DATA_AT = 5


class PairVerdict(StrEnum):
    """
    What two fulfillments prove together.
    """

    MISBEHAVIOUR = "misbehaviour"
    SAME_NUMBER = "same_number"
    OTHER_REQUESTS = "other_requests"
    OTHER_AIRNODES = "other_airnodes"
    NOT_SIGNED = "not_signed"
    NO_FULFILLMENT = "no_fulfillment"


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    What was found, in one sentence.
    """

    verdict: PairVerdict
    detail: str
    fulfillments: tuple[Fulfillment, ...] = ()

    @property
    def proves(self) -> bool:
        """
        Whether it proves misbehaviour.
        """
        return self.verdict is PairVerdict.MISBEHAVIOUR


def judge_pair(first: bytes, second: bytes) -> Judgement:
    """
    Judge the calldata of two fulfillments. Whether they were mined does not matter: an honest
    Airnode signs one number for a request, whatever becomes of it.
    """
    found = [read_fulfillment(data) for data in (first, second)]
    given = tuple(one for one in found if one is not None)
    if len(given) < len(found):
        place = "first" if found[0] is None else "second"
        return Judgement(
            PairVerdict.NO_FULFILLMENT,
            f"the {place} of the two is no call of AirnodeRrpV0.fulfill",
        )
    one, other = given
    for place, item in (("first", one), ("second", other)):
        if not item.is_signed:
            return Judgement(
                PairVerdict.NOT_SIGNED,
                f"the {place} of the two is not signed by the Airnode {item.airnode} that it "
                "names, so anybody can have written it: it proves nothing",
                given,
            )
    if one.request_id != other.request_id:
        return Judgement(
            PairVerdict.OTHER_REQUESTS, "they answer different requests: it proves nothing", given
        )
    if one.airnode != other.airnode:
        return Judgement(
            PairVerdict.OTHER_AIRNODES,
            "different Airnodes signed them: only one of the two was asked, and it proves nothing",
            given,
        )
    if one.data == other.data:
        return Judgement(
            PairVerdict.SAME_NUMBER,
            f"{one.airnode} signed the same data twice, as in a retry: nothing is wrong",
            given,
        )
    return Judgement(
        PairVerdict.MISBEHAVIOUR,
        f"misbehaviour: the Airnode {one.airnode} signed two different answers to the request "
        f"0x{one.request_id.hex()}, so its number was drawn again",
        given,
    )


def calldata_of(raw: bytes) -> bytes | None:
    """
    Return the calldata of a signed transaction, of any type; nothing when it is none.
    """
    try:
        if raw[:1] and raw[0] in _DATA_AT:
            fields, at = _list(raw[1:]), _DATA_AT[raw[0]]
        else:
            fields, at = _list(raw), _LEGACY_DATA_AT
        field = fields[at]
    except (IndexError, ValueError, RecursionError):
        return None
    return field if isinstance(field, bytes) else None


_Item = bytes | list["_Item"]


def _list(raw: bytes) -> list[_Item]:
    """
    Read a list in RLP, with nothing behind it.
    """
    item, end = _item(raw, 0)
    if end != len(raw) or not isinstance(item, list):
        raise ValueError("this is no list")
    return item


def _item(raw: bytes, at: int) -> tuple[_Item, int]:
    head = raw[at]
    if head < 0x80:  # noqa: PLR2004 - RLP: a byte stands for itself
        return raw[at : at + 1], at + 1
    is_list = head >= 0xC0  # noqa: PLR2004 - RLP: lists begin here
    size, start = head - (0xC0 if is_list else 0x80), at + 1
    if size > 55:  # noqa: PLR2004 - RLP: so many bytes of length follow
        start += size - 55
        size = int.from_bytes(raw[at + 1 : start], "big")
    end = start + size
    if end > len(raw):
        raise ValueError("it is cut off")
    if not is_list:
        return raw[start:end], end
    items: list[_Item] = []
    while start < end:
        item, start = _item(raw, start)
        items.append(item)
    return items, end
