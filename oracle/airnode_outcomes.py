"""
What Airnode requests were answered with: as this store has it, and as the chain tells it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle import log
from oracle.airnode_policy import FAILED_BY_POLICY, by_policy_message
from oracle.entropy.expansion import expand
from oracle.protocols.airnode_calls import encode_words
from oracle.request import Outcome
from oracle.store import airnode
from oracle.store.airnode import airnode_purpose
from oracle.store.airnode_evidence import note_foreign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.airnode_request import AirnodeRequest
    from oracle.request import RequestKey, Tracked
    from oracle.store.airnode import Answer
    from oracle.store.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class AirnodeOutcome(Outcome):
    """
    A fulfillment or failure as its log tells it; `data` is the response, where the log has it, and
    `message` why it was failed.
    """

    data: bytes | None
    message: str | None


async def response(
    connection: AsyncConnection, pool: Pool, keys: Mapping[RequestKey, Answer]
) -> dict[RequestKey, bytes]:
    """
    Return the responses to requests that have their number: from the pool, or, once that is
    erased, as the chain has them.
    """
    if not keys:
        return {}
    purposes = {airnode_purpose(key): key for key in keys}
    seeds = await pool.seeds_for(connection, purposes)
    found = {key: answer.data for key, answer in keys.items() if answer.data is not None}
    for purpose, seed in seeds.items():
        key = purposes[purpose]
        answer = keys[key]
        if answer.num_words is not None:
            words = expand(seed, key.request_id, answer.num_words)
            found[key] = encode_words(words, array=bool(answer.array))
    return found


async def keep_public(
    tx: AsyncConnection,
    pool: Pool,
    outcomes: Sequence[tuple[Tracked[AirnodeRequest], Outcome]],
) -> None:
    """
    Keep what was answered, now that it is public, if it is this store's number.

    Another one is an endpoint's word, which must never become what is signed here.
    """
    await _note_failed_by_policy(tx, pool, outcomes)
    told = {
        tracked.request.key: outcome.data
        for tracked, outcome in outcomes
        if isinstance(outcome, AirnodeOutcome) and outcome.data is not None
    }
    known = await airnode.answers(tx, list(told))
    ours = await response(tx, pool, known)
    by_key = {tracked.request.key: tracked for tracked, _ in outcomes}
    await airnode.put_data(tx, {key: data for key, data in told.items() if ours.get(key) == data})
    for key in (key for key, data in told.items() if ours.get(key) != data):
        await note_foreign(tx, by_key[key])
        log.get().error(
            "foreign_fulfillment",
            request_id="0x" + key.request_id.hex(),
            advice="a number that is not this store's was signed for this request: "
            "another node, or an earlier copy of this database, holds the same mnemonic",
        )


async def _note_failed_by_policy(
    tx: AsyncConnection, pool: Pool, outcomes: Sequence[tuple[Tracked[AirnodeRequest], Outcome]]
) -> None:
    """
    Keep that a request was failed with its number: by then the message is public.
    """
    said = {
        tracked.request.key: outcome.message
        for tracked, outcome in outcomes
        if isinstance(outcome, AirnodeOutcome)
        and (outcome.message or "").startswith(FAILED_BY_POLICY)
    }
    drawn = await response(tx, pool, await airnode.answers(tx, list(said)))
    for key, data in drawn.items():
        if said[key] == by_policy_message(data):
            await airnode.put(tx, [key], failure=said[key])
