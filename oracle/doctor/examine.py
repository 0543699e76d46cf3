"""
Reading a deployed consumer: its code, its storage, its getters, and the requests it has made.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle.airnode_request import AirnodeRequest
from oracle.chain.ranges import SPAN, logs_in_ranges
from oracle.doctor.bytecode import IMPLEMENTATION_SLOT, clone_target, holds, pushed
from oracle.errors import EndpointError, OracleError
from oracle.evm import checksum_address, keccak
from oracle.protocols.airnode_calls import decode_bool, encode_sponsored
from oracle.protocols.airnode_published import PROVIDERS, provider_of, rrp_address
from oracle.protocols.airnode_rrp_v0 import MADE_FULL, MADE_TEMPLATE, AirnodeProtocol

if TYPE_CHECKING:
    from oracle.chain.reader import Web3Reader

# Slots of storage that are looked at: variables of a contract lie at its beginning.
SLOTS = 64
# Blocks in which a past request is looked for, unless told otherwise.
LOOK_BACK = 50_000

_COUNT = keccak(b"requesterToRequestCountPlusOne(address)")[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """
    Whom a consumer asks, as far as it is known.
    """

    airnode: str | None = None
    uint256: bytes | None = None
    uint256_array: bytes | None = None
    wallet: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """
    A consumer as the chain shows it.

    `constants` are what its code pushes; `slots` say what lies in which slot of its storage;
    `request` is the newest that was found, and `requests` how many it has made.
    """

    address: str
    chain_id: int
    rrp: str
    implementation: str | None
    upgradeable: bool
    constants: frozenset[bytes]
    code: bytes
    asked: Asked
    slots: dict[int, tuple[str, ...]]
    owner: str | None
    requests: int
    request: AirnodeRequest | None
    sponsor: str
    sponsored: bool

    def has(self, signature: str) -> bool:
        """
        Say whether a function is in its code.
        """
        return holds(self.constants, keccak(signature.encode())[:4])

    def hard_coded(self) -> str | None:
        """
        Return the Airnode that is written into its code.
        """
        known = [provider.airnode for provider in PROVIDERS]
        if self.request is not None:
            known.insert(0, self.request.airnode)
        return next((airnode for airnode in known if _raw(airnode) in self.code), None)


async def examine(
    reader: Web3Reader, address: str, *, rrp: str | None = None, first: int | None = None
) -> Consumer:
    """
    Read a consumer. Past requests are looked for from the block `first` on.

    Raises `OracleError` when there is no contract, or none that uses Airnode RRP.
    """
    chain_id = await reader.chain_id()
    code = await reader.code(address)
    if not code:
        raise OracleError(f"there is no contract at {address} on chain {chain_id}")
    implementation, upgradeable = await _implementation(reader, address, code)
    if implementation is not None:
        code += await reader.code(implementation)
    contract = rrp or await _address(reader, address, "airnodeRrp()") or rrp_address(chain_id)
    if contract is None or not await reader.code(contract):
        raise OracleError(
            f"AirnodeRrpV0 is not known on chain {chain_id}, and {address} does not name it with "
            "airnodeRrp(): give it with --rrp, if this is a consumer of Airnode RRP"
        )
    count = int.from_bytes(await reader.call(contract, _COUNT + _word(address)), "big")
    if not count and _raw(contract) not in code:
        raise OracleError(
            f"{address} is no consumer of AirnodeRrpV0 at {contract}: it has made no request, "
            "nobody sponsors it, and its code does not name it"
        )
    asked = Asked(
        airnode=await _address(reader, address, "airnode()"),
        uint256=await _getter(reader, address, "endpointIdUint256()"),
        uint256_array=await _getter(reader, address, "endpointIdUint256Array()"),
        wallet=await _address(reader, address, "sponsorWallet()"),
    )
    requests = max(count - 1, 0)
    request = None
    if requests:
        request = await _newest(reader, contract, chain_id, address, asked.airnode, first)
    asked = _completed(asked, request)
    sponsor = address if request is None else request.sponsor
    return Consumer(
        address=address,
        chain_id=chain_id,
        rrp=contract,
        implementation=implementation,
        upgradeable=upgradeable,
        constants=frozenset(pushed(code)),
        code=code,
        asked=asked,
        slots=await _slots(reader, address, asked),
        owner=await _address(reader, address, "owner()", zero=True),
        requests=requests,
        request=request,
        sponsor=sponsor,
        sponsored=decode_bool(await reader.call(contract, encode_sponsored(sponsor, address))),
    )


async def _implementation(
    reader: Web3Reader, address: str, code: bytes
) -> tuple[str | None, bool]:
    if (target := clone_target(code)) is not None:
        return target, False
    word = await _storage(reader, address, IMPLEMENTATION_SLOT)
    return (checksum_address(word[12:]), True) if any(word) else (None, False)


async def _newest(
    reader: Web3Reader,
    rrp: str,
    chain_id: int,
    requester: str,
    airnode: str | None,
    first: int | None,
) -> AirnodeRequest | None:
    """
    Return the newest request of a requester; nothing if there is none where it was looked for.
    """
    head = (await reader.block()).number
    start = max(head - LOOK_BACK, 0) if first is None else first
    topics = (None,) if airnode is None else (None, _word(airnode))
    async for found in logs_in_ranges(
        reader, rrp, start, head, span=SPAN, topics=topics, newest_first=True
    ):
        for log in reversed(found):
            if log.topics[0] not in {MADE_FULL, MADE_TEMPLATE}:
                continue
            named = checksum_address(log.topics[1][12:])
            event = AirnodeProtocol(rrp, named, chain_id).decode(log)
            if isinstance(event, AirnodeRequest) and event.requester == requester:
                return event
    return None


def _completed(asked: Asked, request: AirnodeRequest | None) -> Asked:
    """
    Fill in from a past request what no getter says.
    """
    if request is None:
        return asked
    provider = provider_of(request.airnode)
    single, array = asked.uint256, asked.uint256_array
    if request.endpoint_id is not None and request.endpoint_id not in {single, array}:
        if provider is not None and request.endpoint_id == provider.uint256_array:
            array = array or request.endpoint_id
        else:
            single = single or request.endpoint_id
    return Asked(
        airnode=asked.airnode or request.airnode,
        uint256=single,
        uint256_array=array,
        wallet=asked.wallet or request.sponsor_wallet,
    )


async def _slots(reader: Web3Reader, address: str, asked: Asked) -> dict[int, tuple[str, ...]]:
    known = {
        "airnode": asked.airnode and _raw(asked.airnode),
        "endpointIdUint256": asked.uint256,
        "endpointIdUint256Array": asked.uint256_array,
        "sponsorWallet": asked.wallet and _raw(asked.wallet),
    }
    words = await asyncio.gather(*(_storage(reader, address, slot) for slot in range(SLOTS)))
    found = {}
    for slot, word in enumerate(words):
        held = tuple(name for name, value in known.items() if value and value in word)
        if any(word) and held:
            found[slot] = held
    return found


async def _storage(reader: Web3Reader, address: str, slot: int) -> bytes:
    word = await reader.rpc("eth_getStorageAt", address, hex(slot), "latest")
    try:
        return bytes.fromhex(word[2:]).rjust(32, b"\0")
    except (TypeError, ValueError):
        raise EndpointError(f"{reader.name} answered with something malformed") from None


async def _getter(reader: Web3Reader, address: str, signature: str) -> bytes | None:
    """
    Return the word that a getter gives; nothing where there is none, or it is zero.
    """
    try:
        word = await reader.call(address, keccak(signature.encode())[:4])
    except EndpointError:
        return None
    return word if len(word) == 32 and any(word) else None  # noqa: PLR2004 - a word


async def _address(
    reader: Web3Reader, address: str, signature: str, *, zero: bool = False
) -> str | None:
    try:
        word = await reader.call(address, keccak(signature.encode())[:4])
    except EndpointError:
        return None
    if len(word) != 32 or any(word[:12]) or not (zero or any(word)):  # noqa: PLR2004 - a word
        return None
    return checksum_address(word[12:])


def _word(address: str) -> bytes:
    return bytes(12) + _raw(address)


def _raw(address: str) -> bytes:
    return bytes.fromhex(address[2:])
