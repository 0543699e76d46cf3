"""
What is asked of AirnodeRrpV0 and sent to it, and what it calls. Pure; no network, no keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from oracle.airnode_request import Template
from oracle.errors import InconsistentChainError
from oracle.evm import checksum_address, keccak

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.airnode_request import AirnodeRequest

# Airnode's own limits: the longest response in bytes, and the longest reason in characters.
MAX_RESPONSE = 16_384
MAX_MESSAGE = 100
MAX_WORDS = (MAX_RESPONSE - 64) // 32

_SIGNATURE = 65


def encode_words(words: Sequence[int], *, array: bool) -> bytes:
    """
    Return the response of an endpoint: `uint256[]` for an array, else the one `uint256`.

    Raises `ValueError` for a response that is longer than Airnode's, or for no single word.
    """
    if array:
        data = encode(["uint256[]"], [list(words)])
        if len(data) > MAX_RESPONSE:
            raise ValueError(f"a response holds up to {MAX_WORDS} words, not {len(words)}")
        return data
    [word] = words
    return encode(["uint256"], [word])


def encode_fulfill(request: AirnodeRequest, data: bytes, signature: bytes) -> bytes:
    """
    Return the call with which the sponsor wallet fulfills a request.
    """
    if len(signature) != _SIGNATURE:
        raise ValueError(f"a signature has {_SIGNATURE} bytes, not {len(signature)}")
    return _call(
        "fulfill",
        ["bytes32", "address", "address", "bytes4", "bytes", "bytes"],
        [*_commitment(request), data, signature],
    )


def encode_fail(request: AirnodeRequest, message: str) -> bytes:
    """
    Return the call with which the sponsor wallet gives a request up: its slot is cleared, and its
    requester is not called. The message is cut to 100 characters, as Airnode does.
    """
    return _call(
        "fail",
        ["bytes32", "address", "address", "bytes4", "string"],
        [*_commitment(request), _cut(message)],
    )


def encode_callback(request: AirnodeRequest, data: bytes) -> bytes:
    """
    Return the call that the contract makes to the requester's function.
    """
    return request.fulfill_function_id + encode(
        ["bytes32", "bytes"], [request.key.request_id, data]
    )


def encode_fulfill_withdrawal(airnode: str, withdrawal_id: bytes, sponsor: str) -> bytes:
    """
    Return the call with which the sponsor wallet returns its funds: the value of the transaction.
    """
    return _call(
        "fulfillWithdrawal",
        ["bytes32", "address", "address"],
        [withdrawal_id, airnode, sponsor],
    )


def encode_request_withdrawal(airnode: str, sponsor_wallet: str) -> bytes:
    """
    Return the call with which a sponsor asks for its funds back.
    """
    return _call("requestWithdrawal", ["address", "address"], [airnode, sponsor_wallet])


def encode_withdrawal_count(sponsor: str) -> bytes:
    """
    Return the call that asks how many withdrawals a sponsor has requested.
    """
    return _call("sponsorToWithdrawalRequestCount", ["address"], [sponsor])


def encode_awaiting(request_id: bytes) -> bytes:
    """
    Return the call that asks whether a request is neither fulfilled nor failed.
    """
    return _call("requestIsAwaitingFulfillment", ["bytes32"], [request_id])


def encode_sponsored(sponsor: str, requester: str) -> bytes:
    """
    Return the call that asks whether a requester may name this sponsor.
    """
    return _call(
        "sponsorToRequesterToSponsorshipStatus", ["address", "address"], [sponsor, requester]
    )


def encode_set_sponsorship(requester: str, *, sponsored: bool) -> bytes:
    """
    Return the call with which a sponsor lets a requester name it, or no longer.
    """
    return _call("setSponsorshipStatus", ["address", "bool"], [requester, sponsored])


def encode_create_template(template: Template) -> bytes:
    """
    Return the call that creates a template; anybody may, and twice.
    """
    return _call(
        "createTemplate",
        ["address", "bytes32", "bytes"],
        [template.airnode, template.endpoint_id, template.parameters],
    )


def encode_get_templates(ids: Sequence[bytes]) -> bytes:
    """
    Return the call that asks what templates hold.
    """
    return _call("getTemplates", ["bytes32[]"], [list(ids)])


def decode_templates(ids: Sequence[bytes], answer: bytes) -> dict[bytes, Template]:
    """
    Read the answer to `encode_get_templates` for the same ids; unknown ones are left out.

    Raises `InconsistentChainError` when what it says of an id does not hash to it.
    """
    try:
        airnodes, endpoints, parameters = decode(["address[]", "bytes32[]", "bytes[]"], answer)
        found = {
            id_: Template(
                airnode=checksum_address(airnode), endpoint_id=endpoint, parameters=given
            )
            for id_, airnode, endpoint, given in zip(
                ids, airnodes, endpoints, parameters, strict=True
            )
            if int(airnode, 16)
        }
    except (DecodingError, ValueError, OverflowError):
        raise InconsistentChainError("the endpoint garbled the templates") from None
    if any(template.id != id_ for id_, template in found.items()):
        raise InconsistentChainError(
            "a template is not what its id is the hash of: the endpoint lies, or the contract is "
            "another one"
        )
    return found


def encode_check_authorization_statuses(
    authorizers: Sequence[str],
    airnode: str,
    requests: Sequence[tuple[AirnodeRequest, bytes]],
) -> bytes:
    """
    Return the call that asks whether any of the authorizers lets each request through; beside each
    request stands its endpoint's id.

    Without authorizers the contract says no to all. To an Airnode none means that all are let
    through: it does not ask.
    """
    return _call(
        "checkAuthorizationStatuses",
        ["address[]", "address", "bytes32[]", "bytes32[]", "address[]", "address[]"],
        [
            list(authorizers),
            airnode,
            [request.key.request_id for request, _ in requests],
            [endpoint_id for _, endpoint_id in requests],
            [request.sponsor for request, _ in requests],
            [request.requester for request, _ in requests],
        ],
    )


def decode_authorization_statuses(count: int, answer: bytes) -> list[bool]:
    """
    Read the answer to `encode_check_authorization_statuses` for so many requests.
    """
    try:
        (statuses,) = decode(["bool[]"], answer)
    except (DecodingError, ValueError, OverflowError):
        statuses = None
    if statuses is None or len(statuses) != count:
        raise InconsistentChainError("the endpoint garbled the authorizations")
    return list(statuses)


def decode_bool(answer: bytes) -> bool:
    """
    Read the answer of a view that returns one truth value.
    """
    try:
        (value,) = decode(["bool"], answer)
    except (DecodingError, ValueError):
        raise InconsistentChainError("the endpoint garbled a yes or no") from None
    return bool(value)


def _commitment(request: AirnodeRequest) -> list[object]:
    return [
        request.key.request_id,
        request.airnode,
        request.fulfill_address,
        request.fulfill_function_id,
    ]


def _cut(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 3] + "..."


def _call(name: str, types: Sequence[str], values: Sequence[object]) -> bytes:
    return keccak(f"{name}({','.join(types)})".encode())[:4] + encode(types, values)
