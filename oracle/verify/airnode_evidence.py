"""
Asking an endpoint for everything that is known about a request to an Airnode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from oracle.chain.ranges import logs_in_ranges
from oracle.errors import ConfigError, RevertedError
from oracle.evm import checksum_address, keccak
from oracle.verify.airnode_events import Answered, Asked, Ended, read_airnode_event
from oracle.verify.evidence import SPAN, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.chain.interfaces import ChainReader
    from oracle.evm import Block, Transaction
    from oracle.verify.judgment import Place

    Life = Sequence[Asked | Answered | Ended]

_AWAITING = keccak(b"requestIsAwaitingFulfillment(bytes32)")[:4]
_TEMPLATES = keccak(b"templates(bytes32)")[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """
    What the contract says that a template holds.
    """

    airnode: str
    endpoint_id: bytes
    parameters: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AirnodeEvidence:
    """
    What an endpoint says about a request as of a block; `life` are the events that name it.

    `airnode` and `xpub` are what whoever asks knows of the operator, not the endpoint's word.
    """

    chain_id: int
    contract: str
    request_id: bytes
    head: Block
    life: Life
    airnode: str | None = None
    xpub: str | None = None
    awaiting: bool = False
    made: Place | None = None
    settled: Place | None = None
    transaction: Transaction | None = None
    template: Template | None = None


async def gather_airnode(  # noqa: PLR0913 - a request, and what is known of its operator
    reader: ChainReader,
    chain_id: int,
    contract: str,
    request_id: bytes,
    *,
    from_block: int = 0,
    airnode: str | None = None,
    xpub: str | None = None,
) -> AirnodeEvidence:
    """
    Collect the evidence about a request as of the head; it is looked for from there back to
    `from_block`.

    Raises `ConfigError` when there is no AirnodeRrpV0 at the address.
    """
    if not await reader.code(contract):
        raise ConfigError(f"there is no contract at {contract}: check the address and the chain")
    head = await reader.block()
    awaiting = await _awaiting(reader, contract, request_id, head.number)
    life = await _life(reader, contract, request_id, from_block, head.number)
    made = next((event for event in life if isinstance(event, Asked)), None)
    settled = next((event for event in life if not isinstance(event, Asked)), None)
    return AirnodeEvidence(
        chain_id=chain_id,
        contract=contract,
        request_id=request_id,
        head=head,
        life=life,
        airnode=airnode,
        xpub=xpub,
        awaiting=awaiting,
        made=await place_of(reader, made.log) if made else None,
        settled=await place_of(reader, settled.log) if settled else None,
        transaction=await reader.transaction(settled.log.transaction_hash) if settled else None,
        template=await _template(reader, contract, made.template_id)
        if made and made.template_id
        else None,
    )


async def _life(
    reader: ChainReader, contract: str, request_id: bytes, first: int, last: int
) -> Life:
    """
    Return the request's events in the chain's order. Nothing of it is older than what made it.
    """
    life: list[Asked | Answered | Ended] = []
    async for found in logs_in_ranges(
        reader,
        contract,
        first,
        last,
        span=SPAN,
        topics=(None, None, request_id),
        newest_first=True,
    ):
        events = [read_airnode_event(item) for item in dict.fromkeys(found)]
        life[:0] = [one for one in events if isinstance(one, Asked | Answered | Ended)]
        if any(isinstance(one, Asked) for one in life):
            break
    return life


async def _awaiting(reader: ChainReader, contract: str, request_id: bytes, block: int) -> bool:
    try:
        answer = await reader.call(contract, _AWAITING + request_id, block)
    except RevertedError:
        answer = b""
    if len(answer) != 32 or any(answer[:31]):  # noqa: PLR2004 - a word that is 0 or 1
        raise ConfigError(f"the contract at {contract} is no AirnodeRrpV0: give its address")
    return bool(answer[31])


async def _template(reader: ChainReader, contract: str, template_id: bytes) -> Template | None:
    try:
        answer = await reader.call(contract, _TEMPLATES + encode(["bytes32"], [template_id]))
        airnode, endpoint_id, parameters = decode(["address", "bytes32", "bytes"], answer)
    except (RevertedError, DecodingError):
        return None
    return Template(
        airnode=checksum_address(airnode), endpoint_id=endpoint_id, parameters=parameters
    )
