"""
What a coordinator says about itself, and what it would let an account do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle.errors import ChainError, ConfigError, InconsistentChainError, RevertedError
from oracle.evm import TRANSACTION_GAS_CAP
from oracle.protocols import roles
from oracle.protocols.coordinator import CoordinatorProtocol

if TYPE_CHECKING:
    from oracle.chain.reader import Web3Reader
    from oracle.protocols.roles import Ledger, Uncollected


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorState:
    """
    A coordinator at one block; amounts in wei.
    """

    block: int
    owner: str
    pending_owner: str | None
    operator: str
    window: int
    callback_gas_limit_max: int
    deployed_at: int
    cancellations: int
    slot_count: int
    balance: int
    ledger: Ledger


async def read_state(reader: Web3Reader, contract: str, option: str) -> CoordinatorState:
    """
    Read a coordinator at the head.

    Raises `ConfigError` naming the option when there is none at the address.
    """
    if not await reader.code(contract):
        raise ConfigError(
            f"there is no contract at {contract} on the chain behind {reader.name}: check "
            f"{option} and the endpoint"
        )
    block = (await reader.block()).number

    async def number(call: bytes) -> int:
        return CoordinatorProtocol.decode_uint(await reader.call(contract, call, block))

    async def address(call: bytes) -> str:
        return roles.decode_address(await reader.call(contract, call, block))

    try:
        pending = await address(roles.PENDING_OWNER)
        state = CoordinatorState(
            block=block,
            owner=await address(roles.OWNER),
            pending_owner=pending if int(pending, 16) else None,
            operator=await address(CoordinatorProtocol.OPERATOR),
            window=await number(CoordinatorProtocol.WINDOW),
            callback_gas_limit_max=await number(CoordinatorProtocol.CALLBACK_GAS_LIMIT_MAX),
            deployed_at=await number(CoordinatorProtocol.DEPLOYED_AT),
            cancellations=await number(roles.CANCELLATIONS),
            slot_count=await number(roles.SLOT_COUNT),
            balance=int(await reader.rpc("eth_getBalance", contract, hex(block)), 16),
            ledger=roles.decode_ledger(await reader.storage(contract, roles.COUNTERS_SLOT, block)),
        )
        earned = await number(roles.EARNED)
        seeds = CoordinatorProtocol.decode_counters(
            await reader.call(contract, CoordinatorProtocol.SEEDS, block)
        )
    except (RevertedError, InconsistentChainError):
        raise ConfigError(
            f"the contract at {contract} is no QuantumCoordinator: check {option}"
        ) from None
    ledger = state.ledger
    if (ledger.earned, ledger.next, ledger.committed) != (earned, seeds.next, seeds.committed):
        raise ChainError(
            f"the coordinator {contract} keeps its counters elsewhere than this version expects, "
            "or the endpoint contradicts itself"
        )
    return state


async def uncollected(
    reader: Web3Reader, contract: str, state: CoordinatorState
) -> list[Uncollected]:
    """
    Return what settled requests have earned and not collected, in ranges that one call can take.
    """
    head = await reader.block()
    size = roles.slots_per_collect(min(TRANSACTION_GAS_CAP, head.gas_limit // 2))
    found = []
    for slot, count in roles.slot_ranges(state.slot_count, size):
        answer = await reader.call(contract, roles.encode_collect(slot, count), state.block)
        found.append(roles.Uncollected(slot, count, CoordinatorProtocol.decode_uint(answer)))
    return found


async def fee_bounds(
    reader: Web3Reader, contract: str, state: CoordinatorState
) -> tuple[int, int]:
    """
    Return the highest flat fee (gwei) and gas margin (1/10,000) that the contract accepts.

    They have no view: what it says when it refuses more tells them.
    """
    return (
        await _bound(
            reader,
            contract,
            state,
            roles.encode_set_fee(roles.MAX_FLAT_FEE_GWEI, 0),
            roles.MAX_FLAT_FEE_GWEI,
        ),
        await _bound(
            reader,
            contract,
            state,
            roles.encode_set_fee(0, roles.MAX_GAS_MARGIN_BPS),
            roles.MAX_GAS_MARGIN_BPS,
        ),
    )


async def _bound(
    reader: Web3Reader, contract: str, state: CoordinatorState, call: bytes, highest: int
) -> int:
    try:
        await reader.call(contract, call, state.block, sender=state.operator)
    except RevertedError as error:
        refusal = roles.decode_refusal(error.data)
        if refusal is None or refusal.name != "FeeOutOfBounds":
            raise
        bound = refusal.values[1]
        assert isinstance(bound, int)
        return bound
    return highest


async def rehearse(reader: Web3Reader, sender: str, contract: str, call: bytes) -> None:
    """
    Make a call without sending it.

    Raises `ChainError` with the contract's own word when it would refuse it.
    """
    try:
        await reader.call(contract, call, sender=sender)
    except RevertedError as error:
        refusal = roles.decode_refusal(error.data)
        raise ChainError(
            f"the coordinator {contract} would refuse this from {sender}: "
            f"{refusal or 'it gives no reason'}"
        ) from None
