"""
Requests to coordinators, as `oracle requests` shows them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from oracle.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.config import Settings
    from oracle.explain import Reason
    from oracle.request import TrackedRequest
    from oracle.store.retention import Pruned

NATIVE = "native"


def prefix_of(request_id: str) -> bytes:
    """
    Return the first bytes of an id. Raises `ConfigError` where there is none.
    """
    digits = request_id.removeprefix("0x").rstrip("….")
    # A digit alone is half a byte: it says little more.
    digits = digits[: len(digits) // 2 * 2]
    try:
        prefix = bytes.fromhex(digits)
    except ValueError:
        prefix = b""
    if not prefix:
        raise ConfigError(
            f"{request_id!r} is no request id: give 0x and its first hexadecimal digits"
        )
    return prefix


def stamp(milliseconds: int) -> str:
    """
    Return a time as people read it.
    """
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


async def document_of(
    connection: AsyncConnection, settings: Settings, tracked: TrackedRequest
) -> dict[str, Any]:
    """
    Return everything that is known of a request, for people and programs.
    """
    return _document(tracked, await _explained(connection, settings, tracked))


async def _explained(
    connection: AsyncConnection, settings: Settings, tracked: TrackedRequest
) -> Reason:
    from oracle.explain import Known, explain  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.protocols.coordinator import BATCH  # noqa: PLC0415
    from oracle.store import batches, transactions  # noqa: PLC0415
    from oracle.store.attempts import attempts_of  # noqa: PLC0415
    from oracle.store.cursors import get_cursor, get_window  # noqa: PLC0415

    request = tracked.request
    place = (request.key.chain_id, request.key.contract)
    chain = next(
        (one for one in settings.chains.values() if (one.chain_id, one.coordinator) == place),
        None,
    )
    cursor = await get_cursor(connection, *place)
    slot, attempts = None, []
    if tracked.transaction_id is not None:
        slot = await transactions.get_slot(connection, tracked.transaction_id)
        attempts = await attempts_of(connection, slot.id)
    return explain(
        Known(
            tracked=tracked,
            depth=None if chain is None else chain.depth,
            devnet=chain is not None and chain.devnet,
            scanned=None if cursor is None else cursor.number,
            slot=slot,
            attempts=attempts,
            batch=await batches.state_at(connection, *place, request.seed_index // BATCH * BATCH),
            window=await get_window(connection, *place),
        )
    )


def tombstone(pruned: Pruned) -> dict[str, Any]:
    """
    Return what is known of a request that was pruned.
    """
    from oracle.explain import explain_pruned  # noqa: PLC0415 - SQLAlchemy is slow to import

    why = explain_pruned(pruned)
    return {
        "requestId": "0x" + pruned.key.request_id.hex(),
        "protocol": NATIVE,
        "state": str(pruned.state),
        "prunedAt": stamp(pruned.pruned_at),
        "reason": why.code,
        "explanation": why.sentence,
        "chainId": pruned.key.chain_id,
        "coordinator": pruned.key.contract,
        "index": pruned.seed_index,
        "requestBlock": pruned.block_number,
        "fulfillmentBlock": pruned.outcome_block,
        "callbackSucceeded": pruned.callback_succeeded,
    }


def _document(tracked: TrackedRequest, why: Reason) -> dict[str, Any]:
    made = tracked.request
    outcome = tracked.outcome
    return {
        "requestId": "0x" + made.key.request_id.hex(),
        "protocol": NATIVE,
        "state": str(tracked.state),
        "prunedAt": None,
        "reason": why.code,
        "explanation": why.sentence,
        "chainId": made.key.chain_id,
        "coordinator": made.key.contract,
        "index": made.seed_index,
        "requester": made.requester,
        "callbackGasLimit": made.callback_gas_limit,
        "numWords": made.num_words,
        "confirmations": made.confirmations,
        "feeWei": made.fee,
        "costWei": tracked.cost,
        "gainWei": None if tracked.cost is None else made.fee - tracked.cost,
        "requestBlock": made.block_number,
        "requestTransaction": "0x" + made.transaction_hash.hex(),
        "fulfillmentBlock": outcome.block_number if outcome else None,
        "fulfillmentTransaction": "0x" + outcome.transaction_hash.hex() if outcome else None,
        "callbackSucceeded": outcome.callback_succeeded if outcome else None,
    }
