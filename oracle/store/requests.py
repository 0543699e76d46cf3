"""
The book of the native protocol's requests.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, select

from oracle.errors import InconsistentChainError
from oracle.request import RandomnessRequest, RequestKey, State
from oracle.store import retention
from oracle.store.book import NO_OUTCOME, Book
from oracle.store.history import history
from oracle.store.schema import request_events, requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["NO_OUTCOME", "history"]


class _NativeBook(Book[RandomnessRequest]):
    """
    Requests of coordinators, in the order of their indices.
    """

    def _read(self, row: Row[Any]) -> RandomnessRequest:
        return RandomnessRequest(
            key=RequestKey(
                chain_id=row.chain_id, contract=row.contract, request_id=row.request_id
            ),
            seed_index=row.seed_index,
            requester=row.requester,
            callback_gas_limit=row.callback_gas_limit,
            num_words=row.num_words,
            confirmations=row.confirmations,
            fee=row.fee,
            user_seed=row.user_seed,
            block_number=row.block_number,
            block_hash=row.block_hash,
            transaction_hash=row.transaction_hash,
            log_index=row.log_index,
        )

    def _terms(self, request: RandomnessRequest) -> dict[str, object]:
        return {
            "seed_index": request.seed_index,
            "requester": request.requester,
            "callback_gas_limit": request.callback_gas_limit,
            "num_words": request.num_words,
            "confirmations": request.confirmations,
            "fee": request.fee,
            "user_seed": request.user_seed,
        }

    async def _check_new(
        self, tx: AsyncConnection, appearing: Sequence[RandomnessRequest]
    ) -> None:
        """
        Raise `InconsistentChainError` when another request that is not orphaned has the index of
        one: the chain gives an index to one request alone.
        """
        if not appearing:
            return
        key = appearing[0].key
        indices = [request.seed_index for request in appearing]
        taken = await tx.scalars(
            select(requests.c.seed_index).where(
                self.of(key.chain_id, key.contract),
                requests.c.seed_index.in_(indices),
                requests.c.state != State.ORPHANED,
            )
        )
        pruned = await retention.indices_among(tx, key.chain_id, key.contract, indices)
        twice = [
            *taken,
            *pruned,
            *(index for index, count in Counter(indices).items() if count > 1),
        ]
        if twice:
            raise InconsistentChainError(
                f"two requests claim index {twice[0]}: the endpoint shows two branches"
            )


BOOK = _NativeBook(requests, requests.c.seed_index)

observe = BOOK.observe
observe_all = BOOK.observe_all
advance = BOOK.advance
advance_all = BOOK.advance_all
note = BOOK.note
fulfilled = BOOK.fulfilled
fulfilled_all = BOOK.fulfilled_all
get = BOOK.get
find = BOOK.find
in_states = BOOK.in_states
of_transaction = BOOK.of_transaction
newest = BOOK.newest
page = BOOK.page
by_prefix = BOOK.by_prefix
count_by_state = BOOK.count_by_state

# The reason of a request that reverted alone, and what stands before the size of a larger run.
REVERTED = "reverted"
_REVERTED_AMONG = "reverted_among_"


def reverted_reason(size: int) -> str:
    """
    Return the reason of a request whose run of so many reverted.
    """
    return REVERTED if size == 1 else f"{_REVERTED_AMONG}{size}"


async def smallest_reverts(
    connection: AsyncConnection, keys: Sequence[RequestKey]
) -> dict[RequestKey, int]:
    """
    Return, for those requests of one contract that were in a run that reverted, the size of the
    smallest such run.
    """
    if not keys:
        return {}
    rows = await connection.execute(
        select(request_events.c.request_id, request_events.c.reason)
        .where(
            request_events.c.chain_id == keys[0].chain_id,
            request_events.c.contract == keys[0].contract,
            request_events.c.request_id.in_([key.request_id for key in keys]),
            request_events.c.reason.startswith(REVERTED),
        )
        .distinct()
    )
    smallest: dict[bytes, int] = {}
    for id_, reason in rows:
        size = 1 if reason == REVERTED else int(reason.removeprefix(_REVERTED_AMONG))
        smallest[id_] = min(size, smallest.get(id_, size))
    return {key: smallest[key.request_id] for key in keys if key.request_id in smallest}
