"""
What a reorg did to requests: which of them, or of their fulfillments, the chain no longer holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle import log
from oracle.errors import InconsistentChainError
from oracle.events import requests_in
from oracle.request import Outcome, State
from oracle.store import retention, transactions
from oracle.store.attempts import attempts_of
from oracle.store.book import NO_OUTCOME
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.evm import Block, Log
    from oracle.request import RequestKey, Tracked
    from oracle.service import ChainService
    from oracle.store.book import Book

# States in which the chain holds a request.
_HELD = tuple(state for state in State if state is not State.ORPHANED)


async def made_or_served(
    connection: AsyncConnection, service: ChainService[Any], first: int, last: int | None = None
) -> list[Tracked[Any]]:
    """
    Return the requests that were made or served from a block on, or in a range of them.
    """
    book, values = service.book, {"since": first}
    made, served = [book.made_from], [book.served_from]
    if last is not None:
        made.append(book.made_by)
        served.append(book.served_by)
        values["up_to"] = last
    found: dict[RequestKey, Tracked[Any]] = {}
    # One query each: for both at once the database would read all that was ever done.
    for where in (made, served):
        for tracked in await book.in_states(
            connection, service.chain_id, service.contract, _HELD, *where, limit=None, **values
        ):
            found[tracked.request.key] = tracked
    return list(found.values())


async def check_pruned(
    service: ChainService[Any], mark: retention.Mark | None, suspect: int, head: Block
) -> None:
    """
    Forget what was pruned if the blocks that finished it were replaced: it is read again.
    """
    if mark is None or mark.number < suspect:
        return
    if mark.number <= head.number and (await service.reader.block(mark.number)).hash == mark.hash:
        return
    async with service.database.write() as tx:
        forgotten = await retention.forget(tx, service.chain_id, service.contract)
    log.get().error("pruned_requests_replaced", up_to_block=mark.number, requests=forgotten)


async def drop_replaced(
    service: ChainService[Any], suspects: Sequence[Tracked[Any]], suspect: int, head: Block
) -> int:
    """
    Move those of the requests whose block, or whose fulfillment's block, is no longer canonical.

    This comes before any log is read, because what a reorg moved can lie in another range, or
    above the head.
    """
    hashes: dict[int, bytes] = {}

    async def replaced(number: int, block_hash: bytes) -> bool:
        if number > head.number:
            # Receipts can be younger than a pass's head. On a devnet it was rolled back.
            return service.devnet
        if number not in hashes:
            hashes[number] = (await service.reader.block(number)).hash
        return hashes[number] != block_hash

    found: list[tuple[Tracked[Any], State]] = []
    for tracked in suspects:
        made, outcome = tracked.request, tracked.outcome
        if made.block_number >= suspect and await replaced(made.block_number, made.block_hash):
            found.append((tracked, State.ORPHANED))
        elif (
            outcome is not None
            and outcome.block_number >= suspect
            and tracked.state in (State.MINED, State.DONE)
            and await replaced(outcome.block_number, outcome.block_hash)
        ):
            async with service.database.read() as connection:
                found.append((tracked, await _again(connection, tracked)))
    if found:
        async with service.database.write() as tx:
            await move(tx, service.book, found)
    return len(found) + await service.drops(suspect, replaced)


async def missing_from(
    service: ChainService[Any],
    events: Sequence[object],
    logs: Sequence[Log],
    held: Sequence[Tracked[Any]],
    first: int,
    last: int,
) -> list[tuple[Tracked[Any], State]]:
    """
    Return the requests that a reorg moved, and where to; `held` are all that were made or served
    in the range, and may be more.

    Raises `InconsistentChainError` when a block is still there and only its logs are missing: an
    endpoint that loses logs must not make the node drop what it has promised.
    """
    made = {request.key.request_id for request in requests_in(service, events)}
    fulfilled = {
        (event.request_id, event.block_hash) for event in events if isinstance(event, Outcome)
    }
    blocks = {item.block_number: item.block_hash for item in logs}
    found: list[tuple[Tracked[Any], State]] = []
    for tracked in held:
        number, id_ = tracked.request.block_number, tracked.request.key.request_id
        if first <= number <= last and id_ not in made:
            await _check_replaced(service, (number, tracked.request.block_hash), blocks)
            found.append((tracked, State.ORPHANED))
            continue
        outcome = tracked.outcome
        if (
            outcome is None
            or tracked.state not in (State.MINED, State.DONE)
            or not first <= outcome.block_number <= last
            or (id_, outcome.block_hash) in fulfilled
        ):
            continue
        await _check_replaced(service, (outcome.block_number, outcome.block_hash), blocks)
        async with service.database.read() as connection:
            found.append((tracked, await _again(connection, tracked)))
    return found


async def _check_replaced(
    service: ChainService[Any], place: tuple[int, bytes], blocks: dict[int, bytes]
) -> None:
    number, block_hash = place
    if number not in blocks:
        blocks[number] = (await service.reader.block(number)).hash
    if blocks[number] == block_hash:
        raise InconsistentChainError(f"the endpoint lost logs of block {number}")


async def _again(connection: AsyncConnection, tracked: Tracked[Any]) -> State:
    """
    Return where a request goes whose fulfillment vanished: to its own bytes, or to new ones.
    """
    if tracked.state is State.DONE or tracked.transaction_id is None:
        return State.CONFIRMED
    assert tracked.outcome is not None
    slot = await transactions.get_slot(connection, tracked.transaction_id)
    attempts = await attempts_of(connection, slot.id)
    ours = tracked.outcome.transaction_hash in {one.transaction_hash for one in attempts}
    open_ = slot.state is SlotState.SENT or (slot.state is SlotState.MINED and ours)
    return State.SENT if open_ and slot.purpose is Purpose.FULFILL else State.CONFIRMED


async def move(
    tx: AsyncConnection, book: Book[Any], found: Sequence[tuple[Tracked[Any], State]]
) -> None:
    """
    Move requests to where a reorg leaves them.
    """
    for tracked, after in found:
        await book.advance(
            tx,
            tracked.request.key,
            tracked.state,
            after,
            reason="reorg",
            **NO_OUTCOME,
        )
        log.get().warning("request_reorged", **tracked.log_context(), to=str(after))
