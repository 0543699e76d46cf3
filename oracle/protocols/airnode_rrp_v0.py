"""
Airnode RRP v0: its events. Pure; no network, no keys.

The contract is API3's `AirnodeRrpV0`, unmodified. What its events speak of is in
`airnode_request`, what is sent to it in `airnode_calls`, and what a requester writes into a
request's parameters in `airnode_abi`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from oracle.airnode_request import (
    AirnodeRequest,
    Failed,
    Fulfilled,
    Place,
    WithdrawalFulfilled,
    WithdrawalRequested,
    request_id,
)
from oracle.errors import ForgedLogError, InconsistentChainError
from oracle.evm import Log, checksum_address, keccak
from oracle.recent import DECODED, Recent
from oracle.request import RequestKey

if TYPE_CHECKING:
    from collections.abc import Sequence

MADE_FULL = keccak(
    b"MadeFullRequest(address,bytes32,uint256,uint256,address,bytes32,address,address,address,"
    b"bytes4,bytes)"
)
MADE_TEMPLATE = keccak(
    b"MadeTemplateRequest(address,bytes32,uint256,uint256,address,bytes32,address,address,address,"
    b"bytes4,bytes)"
)
FULFILLED = keccak(b"FulfilledRequest(address,bytes32,bytes)")
FAILED = keccak(b"FailedRequest(address,bytes32,string)")
WITHDRAWAL_REQUESTED = keccak(b"RequestedWithdrawal(address,address,bytes32,address)")
WITHDRAWAL_FULFILLED = keccak(b"FulfilledWithdrawal(address,address,bytes32,address,uint256)")

_MADE = [
    *("uint256", "uint256", "address", "bytes32"),
    *("address", "address", "address", "bytes4", "bytes"),
]


Event = AirnodeRequest | Fulfilled | Failed | WithdrawalRequested | WithdrawalFulfilled


class AirnodeProtocol:
    """
    Translation for one Airnode on one chain's AirnodeRrpV0.

    Guarantees: a request is returned only if its id is the hash of what its log says, on this
    chain and contract. A template request's Airnode is proven only by `check_template`. A
    withdrawal's id cannot be recomputed from its log, see `withdrawal_id`.
    """

    def __init__(self, rrp_address: str, airnode_address: str, chain_id: int) -> None:
        self.contract = checksum_address(rrp_address)
        self.airnode = checksum_address(airnode_address)
        self.chain_id = chain_id
        self._decoded: Recent[Log, Event] = Recent(DECODED)

    @property
    def topics(self) -> tuple[bytes | None, ...]:
        """
        The filter that returns all that concerns the Airnode, and nothing else.
        """
        return (None, bytes(12) + _raw(self.airnode))

    def decode(self, log: Log) -> Event | None:
        """
        Return what a log says; nothing for logs of other contracts and Airnodes, and for events
        that concern no request and no withdrawal.

        Raises `ForgedLogError` when a request's log contradicts itself, which the contract cannot
        bring about, and `InconsistentChainError` when a log is malformed. No requester can bring
        about either.
        """
        # Every pass reads those of the last blocks again.
        known = self._decoded.get(log)
        if known is not None:
            return known
        try:
            event = self._decode(log)
        except (DecodingError, IndexError, ValueError, OverflowError):
            raise InconsistentChainError(
                f"a log of block {log.block_number} is malformed: the endpoint garbles it, or the "
                "contract is another one"
            ) from None
        if event is not None:
            self._decoded.put(log, event)
        return event

    def _decode(self, log: Log) -> Event | None:
        if log.address != self.contract or not log.topics:
            return None
        if any(len(topic) != 32 for topic in log.topics):  # noqa: PLR2004 - a word
            raise ValueError("a topic is no word")
        topic = log.topics[0]
        if topic not in _EVENTS or _address(log.topics[1]) != self.airnode:
            return None
        place = Place(
            block_number=log.block_number,
            block_hash=log.block_hash,
            transaction_hash=log.transaction_hash,
            log_index=log.index,
        )
        if topic in {MADE_FULL, MADE_TEMPLATE}:
            return self._decode_request(log, place)
        if topic in {WITHDRAWAL_REQUESTED, WITHDRAWAL_FULFILLED}:
            return _decode_withdrawal(log, place)
        (said,) = _read(["bytes"], log)
        if topic == FULFILLED:
            return Fulfilled(request_id=log.topics[2], data=said, place=place)
        # As bytes: whoever a request names as its sponsor wallet can write any into it.
        message = said.decode("utf-8", errors="replace")
        return Failed(request_id=log.topics[2], message=message, place=place)

    def _decode_request(self, log: Log, place: Place) -> AirnodeRequest:
        count, chain_id, requester, named, sponsor, wallet, target, function, parameters = _read(
            _MADE, log
        )
        if count >> 63:
            raise ValueError("nobody has made so many requests")
        full = log.topics[0] == MADE_FULL
        request = AirnodeRequest(
            key=RequestKey(
                chain_id=self.chain_id, contract=self.contract, request_id=log.topics[2]
            ),
            airnode=self.airnode,
            requester=checksum_address(requester),
            requester_count=count,
            endpoint_id=named if full else None,
            template_id=None if full else named,
            sponsor=checksum_address(sponsor),
            sponsor_wallet=checksum_address(wallet),
            fulfill_address=checksum_address(target),
            fulfill_function_id=function,
            parameters=parameters,
            place=place,
        )
        if chain_id != self.chain_id or request_id(request) != request.key.request_id:
            raise ForgedLogError(
                f"the log of request 0x{log.topics[2].hex()} contradicts itself: the endpoint "
                "lies, or the contract is another one"
            )
        return request


_EVENTS = frozenset(
    {MADE_FULL, MADE_TEMPLATE, FULFILLED, FAILED, WITHDRAWAL_REQUESTED, WITHDRAWAL_FULFILLED}
)


def _decode_withdrawal(log: Log, place: Place) -> WithdrawalRequested | WithdrawalFulfilled:
    sponsor, id_ = _address(log.topics[2]), log.topics[3]
    if log.topics[0] == WITHDRAWAL_REQUESTED:
        (wallet,) = _read(["address"], log)
        return WithdrawalRequested(
            withdrawal_id=id_,
            sponsor=sponsor,
            sponsor_wallet=checksum_address(wallet),
            place=place,
        )
    wallet, amount = _read(["address", "uint256"], log)
    return WithdrawalFulfilled(
        withdrawal_id=id_,
        sponsor=sponsor,
        sponsor_wallet=checksum_address(wallet),
        amount=amount,
        place=place,
    )


def _read(types: Sequence[str], log: Log) -> tuple[Any, ...]:
    # Padding is nobody's concern here, and the id's hash covers what matters.
    return decode(types, log.data, strict=False)


def _address(topic: bytes) -> str:
    if any(topic[:12]):
        raise ValueError("a topic is no address")
    return checksum_address(topic[12:])


def _raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])
