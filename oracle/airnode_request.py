"""
What Airnode RRP v0 speaks of: requests, templates, what became of them, and the ids that the
contract gives. Pure; no network, no keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from oracle.errors import ForgedLogError
from oracle.evm import keccak

if TYPE_CHECKING:
    from oracle.request import RequestKey

# What `fulfill` says when the callback failed; anything else was said by the sponsor wallet.
CALLBACK_FAILED = "Fulfillment failed unexpectedly"


class Kind(StrEnum):
    """
    How a request names its endpoint.
    """

    FULL = "full"  #: by its id
    TEMPLATE = "template"  #: through a template, which holds parameters too


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    Where a log is. It is another log when any of it changes.
    """

    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AirnodeRequest:
    """
    A request as its log tells it. Exactly one of `endpoint_id` and `template_id` is there.

    `parameters` are what the requester wrote, not decoded; `requester_count` is the number of the
    requester's requests, plus one, before this one.
    """

    key: RequestKey
    airnode: str
    requester: str
    requester_count: int
    endpoint_id: bytes | None = None
    template_id: bytes | None = None
    sponsor: str
    sponsor_wallet: str
    fulfill_address: str
    fulfill_function_id: bytes
    parameters: bytes
    place: Place

    @property
    def kind(self) -> Kind:
        """
        Full or template.
        """
        return Kind.FULL if self.template_id is None else Kind.TEMPLATE

    @property
    def block_number(self) -> int:
        """
        The block that holds its log.
        """
        return self.place.block_number

    @property
    def block_hash(self) -> bytes:
        """
        That block's hash.
        """
        return self.place.block_hash

    @property
    def transaction_hash(self) -> bytes:
        """
        The transaction that made it.
        """
        return self.place.transaction_hash

    @property
    def log_index(self) -> int:
        """
        Where in the block its log is.
        """
        return self.place.log_index

    def log_context(self) -> dict[str, object]:
        """
        Return what a log line says to name this request.
        """
        return {"request_id": "0x" + self.key.request_id.hex(), "sponsor": self.sponsor}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fulfilled:
    """
    A request was fulfilled with `data`, and its callback succeeded or had no code.
    """

    request_id: bytes
    data: bytes
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """
    A request was ended without its number: its callback failed, or its sponsor wallet gave it up.

    `message` is text of whoever holds the wallet that the request named: a stranger can write it.
    """

    request_id: bytes
    message: str
    place: Place

    @property
    def by_callback(self) -> bool:
        """
        Whether a fulfillment was tried, and so its number is public.

        Not proven by the log alone: a sponsor wallet may say the same words.
        """
        return self.message == CALLBACK_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalRequested:
    """
    A sponsor wants back what its sponsor wallet holds.
    """

    withdrawal_id: bytes
    sponsor: str
    sponsor_wallet: str
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalFulfilled:
    """
    A sponsor got back `amount` wei.
    """

    withdrawal_id: bytes
    sponsor: str
    sponsor_wallet: str
    amount: int
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """
    What requests can refer to: an endpoint of an Airnode, and parameters for it.
    """

    airnode: str
    endpoint_id: bytes
    parameters: bytes

    @property
    def id(self) -> bytes:
        """
        The id that the contract gives it: the hash of what it holds.
        """
        return keccak(_raw(self.airnode) + self.endpoint_id + self.parameters)


def request_id(request: AirnodeRequest) -> bytes:
    """
    Return the id that the contract gives to a request.

    A template request's does not hold the Airnode: the template's id does, see `check_template`.
    """
    if request.template_id is not None:
        named = request.template_id
    elif request.endpoint_id is not None:
        named = _raw(request.airnode) + request.endpoint_id
    else:
        raise ValueError("a request names an endpoint or a template")
    return keccak(
        request.key.chain_id.to_bytes(32, "big")
        + _raw(request.key.contract)
        + _raw(request.requester)
        + request.requester_count.to_bytes(32, "big")
        + named
        + _raw(request.sponsor)
        + _raw(request.sponsor_wallet)
        + _raw(request.fulfill_address)
        + request.fulfill_function_id
        + request.parameters
    )


def withdrawal_id(chain_id: int, contract: str, sponsor: str, count: int) -> bytes:
    """
    Return the id of a sponsor's withdrawal, the first of which has the count 1.
    """
    return keccak(
        chain_id.to_bytes(32, "big") + _raw(contract) + _raw(sponsor) + count.to_bytes(32, "big")
    )


def digest(request_id: bytes, data: bytes) -> bytes:
    """
    Return the 32 bytes that an Airnode signs (EIP-191) to fulfill a request with `data`.
    """
    return keccak(request_id + data)


def check_template(request: AirnodeRequest, template: Template) -> None:
    """
    Raise `ForgedLogError` unless this is the template that a request names, of its Airnode.
    """
    if template.id != request.template_id or template.airnode != request.airnode:
        raise ForgedLogError(
            f"the template of request 0x{request.key.request_id.hex()} is another one than the "
            "request names: the endpoint lies, or the contract is another one"
        )


def _raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])
