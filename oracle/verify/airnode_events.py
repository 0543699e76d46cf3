"""
The events of Airnode RRP v0, read from the words that API3's `AirnodeRrpV0` gives them, and the
ids that follow from them. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from oracle.errors import InconsistentChainError
from oracle.evm import checksum_address, keccak

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle.evm import Log

_TERMS = "uint256,uint256,address,bytes32,address,address,address,bytes4,bytes"
MADE_FULL, MADE_TEMPLATE = (
    keccak(f"Made{kind}Request(address,bytes32,{_TERMS})".encode())
    for kind in ("Full", "Template")
)
ANSWERED = keccak(b"FulfilledRequest(address,bytes32,bytes)")
ENDED = keccak(b"FailedRequest(address,bytes32,string)")
WITHDRAWAL_ASKED = keccak(b"RequestedWithdrawal(address,address,bytes32,address)")
WITHDRAWN = keccak(b"FulfilledWithdrawal(address,address,bytes32,address,uint256)")

# What the contract itself says when a callback failed. A sponsor wallet may say the same.
CALLBACK_FAILED = "Fulfillment failed unexpectedly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """
    A request as its log tells it. Exactly one of `endpoint_id` and `template_id` is there.
    """

    log: Log
    airnode: str
    request_id: bytes
    count: int
    chain_id: int
    requester: str
    endpoint_id: bytes | None
    template_id: bytes | None
    sponsor: str
    sponsor_wallet: str
    target: str
    function: bytes
    parameters: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """
    A request was fulfilled with `data`, and its callback did not revert.
    """

    log: Log
    airnode: str
    request_id: bytes
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """
    A request was ended: its callback failed, or its sponsor wallet gave it up.
    """

    log: Log
    airnode: str
    request_id: bytes
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalAsked:
    """
    A sponsor wants back what a wallet holds.
    """

    log: Log
    airnode: str
    sponsor: str
    withdrawal_id: bytes
    sponsor_wallet: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalPaid:
    """
    A sponsor got back `amount` wei.
    """

    log: Log
    airnode: str
    sponsor: str
    withdrawal_id: bytes
    amount: int


AirnodeEvent = Asked | Answered | Ended | WithdrawalAsked | WithdrawalPaid


def read_airnode_event(log: Log) -> AirnodeEvent | None:
    """
    Return what a log of AirnodeRrpV0 says; nothing for templates and sponsorships.

    Raises `InconsistentChainError` when it is malformed.
    """
    reader = _READERS.get(log.topics[0]) if log.topics else None
    if reader is None:
        return None
    try:
        return reader(log)
    except (DecodingError, IndexError, ValueError, OverflowError):
        raise InconsistentChainError(
            f"a log of block {log.block_number} is malformed: the endpoint garbles it, or the "
            "contract is another one"
        ) from None


def airnode_id_of(chain_id: int, contract: str, asked: Asked) -> bytes:
    """
    Return the id that a request with these particulars must have.

    A template request's does not hold the Airnode: the template's id does.
    """
    named = asked.template_id
    if named is None:
        named = _raw(asked.airnode) + (asked.endpoint_id or b"")
    return keccak(
        b"".join(
            [
                chain_id.to_bytes(32, "big"),
                _raw(contract),
                _raw(asked.requester),
                asked.count.to_bytes(32, "big"),
                named,
                *map(_raw, (asked.sponsor, asked.sponsor_wallet, asked.target)),
                asked.function,
                asked.parameters,
            ]
        )
    )


def template_id_of(airnode: str, endpoint_id: bytes, parameters: bytes) -> bytes:
    """
    Return the id that a template with these particulars must have.
    """
    return keccak(_raw(airnode) + endpoint_id + parameters)


def _asked(log: Log) -> Asked:
    count, chain_id, requester, named, sponsor, wallet, target, function, parameters = decode(
        _TERMS.split(","), log.data, strict=False
    )
    full = log.topics[0] == MADE_FULL
    return Asked(
        log=log,
        airnode=_address(log.topics[1]),
        request_id=log.topics[2],
        count=count,
        chain_id=chain_id,
        requester=checksum_address(requester),
        endpoint_id=named if full else None,
        template_id=None if full else named,
        sponsor=checksum_address(sponsor),
        sponsor_wallet=checksum_address(wallet),
        target=checksum_address(target),
        function=function,
        parameters=parameters,
    )


def _answered(log: Log) -> Answered:
    (data,) = decode(["bytes"], log.data, strict=False)
    return Answered(log=log, airnode=_address(log.topics[1]), request_id=log.topics[2], data=data)


def _ended(log: Log) -> Ended:
    # As bytes: any can be written by whoever holds the wallet that a request names.
    (said,) = decode(["bytes"], log.data, strict=False)
    return Ended(
        log=log,
        airnode=_address(log.topics[1]),
        request_id=log.topics[2],
        message=said.decode("utf-8", errors="replace"),
    )


def _withdrawal_asked(log: Log) -> WithdrawalAsked:
    (wallet,) = decode(["address"], log.data)
    return WithdrawalAsked(
        log=log,
        airnode=_address(log.topics[1]),
        sponsor=_address(log.topics[2]),
        withdrawal_id=log.topics[3],
        sponsor_wallet=checksum_address(wallet),
    )


def _withdrawal_paid(log: Log) -> WithdrawalPaid:
    _, amount = decode(["address", "uint256"], log.data)
    return WithdrawalPaid(
        log=log,
        airnode=_address(log.topics[1]),
        sponsor=_address(log.topics[2]),
        withdrawal_id=log.topics[3],
        amount=amount,
    )


def _address(topic: bytes) -> str:
    if any(topic[:12]):
        raise ValueError("a topic is no address")
    return checksum_address(topic[12:])


def _raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])


_READERS: dict[bytes, Callable[[Log], AirnodeEvent]] = {
    MADE_FULL: _asked,
    MADE_TEMPLATE: _asked,
    ANSWERED: _answered,
    ENDED: _ended,
    WITHDRAWAL_ASKED: _withdrawal_asked,
    WITHDRAWN: _withdrawal_paid,
}
