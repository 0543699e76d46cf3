"""
Whether a consumer can move to another Airnode, and with which transactions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from eth_abi.abi import encode

from oracle.chain.fees import GWEI
from oracle.errors import EndpointError
from oracle.evm import keccak
from oracle.protocols.airnode_published import (
    PROVIDERS,
    UINT256_ARRAY_ENDPOINTS,
    UINT256_ENDPOINTS,
)

if TYPE_CHECKING:
    from oracle.chain.airnode_xpub import AirnodeXpub
    from oracle.chain.reader import Web3Reader
    from oracle.doctor.examine import Asked, Consumer

ETHER = 10**18
# What one answer to a small consumer costs at most; a callback that does much costs more.
GAS_PER_ANSWER = 150_000
# Who sends when nobody is known: what works for it works for everybody.
ANYBODY = "0x000000000000000000000000000000000000dEaD"

AIRNODE, SINGLE, ARRAY, WALLET = "airnode", "endpointIdUint256", "endpointIdUint256Array", "wallet"

# The functions with which consumers are told whom to ask, and what each argument is. The first is
# that of API3's QrngExample, which most consumers were made from.
SETTERS: dict[str, tuple[str, ...]] = {
    "setRequestParameters(address,bytes32,bytes32,address)": (AIRNODE, SINGLE, ARRAY, WALLET),
    "setRequestParameters(address,bytes32,address)": (AIRNODE, SINGLE, WALLET),
    "setAirnode(address)": (AIRNODE,),
    "setEndpointIdUint256(bytes32)": (SINGLE,),
    "setEndpointIdUint256Array(bytes32)": (ARRAY,),
    "setEndpointId(bytes32)": (SINGLE,),
    "setSponsorWallet(address)": (WALLET,),
}


class Verdict(StrEnum):
    """
    Whether a consumer can be told to ask another Airnode.
    """

    MOVABLE = "movable"
    NOT_MOVABLE = "not_movable"
    UNCLEAR = "unclear"  #: its source has to be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """
    A transaction to be sent: `value` in wei, `sender` nothing where anybody or nobody known may.
    """

    purpose: str
    sender: str | None
    to: str
    value: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """
    A verdict with its reasons, and what to send.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    moved: bool = False
    wallet: str | None = None
    balance: int | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    Where to move: an Airnode and the ids of its endpoints, those of the consumer if unset, and for
    how many answers to pay ahead.
    """

    xpub: AirnodeXpub
    uint256: bytes | None
    uint256_array: bytes | None
    answers: int


async def advise(
    reader: Web3Reader, consumer: Consumer, target: Target | None, *, sender: str | None = None
) -> Advice:
    """
    Judge a consumer; with a target, say what to send. Nothing is sent, but tried: as `sender`, who
    is the consumer's owner if unset.
    """
    setters = _setters(consumer)
    if not setters:
        return _immovable(consumer)
    reasons = [f"its code has {', '.join(setters)}"]
    if consumer.upgradeable:
        reasons.append("it is behind an upgradeable proxy: what is said here holds for today")
    sender = sender or consumer.owner
    if sender is not None and not int(sender, 16):
        sender = None
    values = _values(consumer, target)
    refusals = [
        refusal
        for signature in setters
        if (refusal := await _refusal(reader, consumer, sender, _call(signature, values)))
    ]
    if refusals:
        return _refused(consumer, sender, tuple(reasons), refusals[0])
    reasons += _endpoint_remarks(consumer.asked, target)
    if target is None:
        reasons += await _wallet_remarks(reader, consumer)
        return Advice(verdict=Verdict.MOVABLE, reasons=tuple(reasons))
    moved = _points(consumer.asked, values)
    wallet = target.xpub.sponsor_wallet(consumer.sponsor)
    steps = [
        Step(
            purpose=f"name the Airnode with {signature}",
            sender=sender,
            to=consumer.address,
            value=0,
            data=_call(signature, values),
        )
        for signature in setters
        if not moved
    ]
    balance = await reader.balance(wallet)
    price = 2 * (await reader.block()).base_fee + GWEI
    if (missing := target.answers * GAS_PER_ANSWER * price - balance) > 0:
        steps.append(
            Step(
                purpose=f"fund the sponsor wallet for {target.answers} answers",
                sender=None,
                to=wallet,
                value=missing,
                data=b"",
            )
        )
    return Advice(
        verdict=Verdict.MOVABLE,
        reasons=tuple(reasons + await _remarks(reader, consumer, wallet, target)),
        moved=moved,
        wallet=wallet,
        balance=balance,
        steps=tuple(steps),
    )


def _setters(consumer: Consumer) -> list[str]:
    """
    Return the fewest functions of the consumer that name both Airnode and wallet; none if it lacks
    one.
    """
    chosen: list[str] = []
    covered: set[str] = set()
    for signature, roles in SETTERS.items():
        if not set(roles) <= covered and consumer.has(signature):
            chosen.append(signature)
            covered |= set(roles)
        if len(roles) > 1 and chosen:
            break
    return chosen if {AIRNODE, WALLET} <= covered else []


def _values(consumer: Consumer, target: Target | None) -> dict[str, object]:
    asked = consumer.asked
    default = PROVIDERS[0]
    if target is None:
        # Something to try the functions with.
        wallet = asked.wallet or ANYBODY
        return {
            AIRNODE: asked.airnode or ANYBODY,
            SINGLE: asked.uint256 or default.uint256,
            ARRAY: asked.uint256_array or default.uint256_array,
            WALLET: wallet,
        }
    # Ids that API3 published are served by default, so that they can stay as they are.
    single = asked.uint256 if asked.uint256 in UINT256_ENDPOINTS else default.uint256
    array = (
        asked.uint256_array
        if asked.uint256_array in UINT256_ARRAY_ENDPOINTS
        else default.uint256_array
    )
    return {
        AIRNODE: target.xpub.airnode,
        SINGLE: target.uint256 or single,
        ARRAY: target.uint256_array or array,
        WALLET: target.xpub.sponsor_wallet(consumer.sponsor),
    }


def _points(asked: Asked, values: dict[str, object]) -> bool:
    wanted = (values[AIRNODE], values[WALLET])
    endpoints = asked.uint256 in {None, values[SINGLE]}
    arrays = asked.uint256_array in {None, values[ARRAY]}
    return (asked.airnode, asked.wallet) == wanted and endpoints and arrays


def _call(signature: str, values: dict[str, object]) -> bytes:
    types = signature[signature.index("(") + 1 : -1].split(",")
    return keccak(signature.encode())[:4] + encode(
        types, [values[role] for role in SETTERS[signature]]
    )


async def _refusal(
    reader: Web3Reader, consumer: Consumer, sender: str | None, data: bytes
) -> str | None:
    try:
        await reader.call(consumer.address, data, sender=sender or ANYBODY)
    except EndpointError as error:
        return str(error)
    return None


def _refused(
    consumer: Consumer, sender: str | None, reasons: tuple[str, ...], refusal: str
) -> Advice:
    if consumer.owner is not None and not int(consumer.owner, 16):
        return Advice(
            verdict=Verdict.NOT_MOVABLE,
            reasons=(*reasons, "its owner has renounced: nobody may call that any more"),
        )
    who = f"from {sender}" if sender else "from an account that nobody knows"
    return Advice(
        verdict=Verdict.UNCLEAR,
        reasons=(*reasons, f"tried {who} it reverts: name who may call it with --from", refusal),
    )


def _immovable(consumer: Consumer) -> Advice:
    """
    Say why a consumer without known setters does not move.
    """
    request = consumer.request
    template = None if request is None else request.template_id
    verdict = Verdict.UNCLEAR
    none = "no function that is known names an Airnode and a sponsor wallet"
    if consumer.upgradeable:
        reason = f"{none}, but it is behind an upgradeable proxy: whoever upgrades it can move it"
    elif (airnode := consumer.hard_coded()) is not None:
        verdict = Verdict.NOT_MOVABLE
        reason = (
            f"the Airnode {airnode} is written into its code, and {none}: only that Airnode's key "
            "can answer it"
        )
    elif template is not None and template in consumer.code:
        verdict = Verdict.NOT_MOVABLE
        reason = f"the template 0x{template.hex()} is written into its code, and names its Airnode"
    elif any(AIRNODE in names for names in consumer.slots.values()):
        reason = (
            f"{none}; its storage holds what it asks for, so that a function of a name of its own "
            "may change it: read its source"
        )
    else:
        reason = f"{none}, and where it keeps the Airnode cannot be seen: read its source"
    return Advice(verdict=verdict, reasons=(reason,))


def _endpoint_remarks(asked: Asked, target: Target | None) -> list[str]:
    """
    Say which endpoint ids nobody serves by default, and what the transactions make of them.
    """
    remarks = []
    for id_, named, published, others, what, option in (
        (
            asked.uint256,
            target and target.uint256,
            UINT256_ENDPOINTS,
            UINT256_ARRAY_ENDPOINTS,
            "one word",
            "--endpoint-id",
        ),
        (
            asked.uint256_array,
            target and target.uint256_array,
            UINT256_ARRAY_ENDPOINTS,
            UINT256_ENDPOINTS,
            "arrays",
            "--array-endpoint-id",
        ),
    ):
        if id_ is None or not any(id_) or id_ in published or id_ == named:
            continue
        kind = "is API3's for the other kind" if id_ in others else "is none that API3 published"
        remark = (
            f"its endpoint id for {what}, 0x{id_.hex()}, {kind}: unless the operator serves it"
        )
        remark += ", no request with it is answered"
        if target is not None and named is None:
            remark += f"; the transactions set ANU's, {option} names another"
        remarks.append(remark)
    return remarks


async def _wallet_remarks(reader: Web3Reader, consumer: Consumer) -> list[str]:
    wallet = consumer.asked.wallet
    if wallet is None or not int(wallet, 16) or await reader.balance(wallet):
        return []
    return [f"its sponsor wallet {wallet} holds nothing: no request is answered from it"]


async def _remarks(
    reader: Web3Reader, consumer: Consumer, wallet: str, target: Target
) -> list[str]:
    remarks = []
    if not consumer.sponsored:
        remarks.append(
            f"{consumer.sponsor} does not sponsor it: its requests revert unless that calls "
            f"setSponsorshipStatus({consumer.address}, true) on {consumer.rrp}"
        )
    old = consumer.asked.wallet
    if old not in {None, wallet} and consumer.asked.airnode == target.xpub.airnode:
        remarks.append(
            f"it names this Airnode already, and with it a sponsor wallet, {old}, that is not the "
            f"one of {consumer.sponsor} there: no request with it is answered"
        )
    elif old is not None and old != wallet and (left := await reader.balance(old)):
        remarks.append(
            f"its present sponsor wallet {old} holds {left} wei ({left / ETHER:.6f} ether): only "
            "that wallet's Airnode can return them"
        )
    return remarks
