"""
The book of Airnode requests, and what is kept beside it: draws, templates, lanes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, bindparam, func, insert, select, update

from oracle.airnode_request import (
    AirnodeRequest,
    Place,
    Template,
)
from oracle.request import RequestKey, State
from oracle.store.book import Book
from oracle.store.engine import now
from oracle.store.schema import airnode_requests, airnode_templates, lanes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.request import Tracked

# Why a request of before a restored backup gets no number.
WAITING_AFTER_RESTORE = "waiting_after_restore"


def airnode_purpose(key: RequestKey) -> str:
    """
    Name the one use of a block that answers an Airnode request.
    """
    return f"airnode:{key.chain_id}:{key.contract.lower()}:{key.request_id.hex()}"


class _AirnodeBook(Book[AirnodeRequest]):
    """
    Requests of Airnode RRP v0, in the order of the chain.
    """

    def _read(self, row: Row[Any]) -> AirnodeRequest:
        return AirnodeRequest(
            key=RequestKey(
                chain_id=row.chain_id, contract=row.contract, request_id=row.request_id
            ),
            airnode=row.airnode,
            requester=row.requester,
            requester_count=row.requester_count,
            endpoint_id=row.endpoint_id,
            template_id=row.template_id,
            sponsor=row.sponsor,
            sponsor_wallet=row.sponsor_wallet,
            fulfill_address=row.fulfill_address,
            fulfill_function_id=row.fulfill_function_id,
            parameters=row.parameters,
            place=Place(
                block_number=row.block_number,
                block_hash=row.block_hash,
                transaction_hash=row.transaction_hash,
                log_index=row.log_index,
            ),
        )

    def _terms(self, request: AirnodeRequest) -> dict[str, object]:
        return {
            "airnode": request.airnode,
            "requester": request.requester,
            "requester_count": request.requester_count,
            "endpoint_id": request.endpoint_id,
            "template_id": request.template_id,
            "sponsor": request.sponsor,
            "sponsor_wallet": request.sponsor_wallet,
            "fulfill_address": request.fulfill_address,
            "fulfill_function_id": request.fulfill_function_id,
            "parameters": request.parameters,
        }


BOOK = _AirnodeBook(
    airnode_requests,
    airnode_requests.c.block_number,
    airnode_requests.c.log_index,
    airnode_requests.c.request_id,
)


# Statements that every pass needs are made once: that takes longer than to execute them.
_columns = airnode_requests.c
_OF_CONTRACT = (
    _columns.chain_id == bindparam("chain"),
    _columns.contract == bindparam("at"),
)
_AMONG = (*_OF_CONTRACT, _columns.request_id.in_(bindparam("ids", expanding=True)))
_ANSWERS = select(
    _columns.request_id,
    _columns.num_words,
    _columns.array,
    _columns.failure,
    _columns.drawn_at,
    _columns.held_since,
    _columns.exposed_at,
    _columns.data,
    _columns.released_at,
    _columns.created_at,
    _columns.short_gas,
    _columns.short_needed,
    _columns.short_had,
).where(*_AMONG)
_PUT = update(airnode_requests).where(*_AMONG)
_UNDELIVERED = (
    select(_columns.sponsor_wallet, func.count().label("drawn"))
    .where(
        *_OF_CONTRACT,
        _columns.state == State.DRAWN,
        _columns.sponsor_wallet.in_(bindparam("wallets", expanding=True)),
    )
    .group_by(_columns.sponsor_wallet)
)
_DRAWN_SINCE = (
    select(_columns.sponsor, func.count().label("drawn"))
    .where(*_OF_CONTRACT, _columns.drawn_at > bindparam("since"))
    .group_by(_columns.sponsor)
)
_OPEN_LANE = (
    update(lanes)
    .where(
        lanes.c.chain_id == bindparam("chain"),
        lanes.c.wallet == bindparam("of"),
        lanes.c.sponsor.is_(None),
    )
    .values(sponsor=bindparam("whose"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """
    What a sponsor wallet lacked for a request when that was last tried: for a transaction of so
    much `gas` it has to hold `needed` wei, what is under way included, and held `had`.
    """

    gas: int
    needed: int
    had: int

    @property
    def missing(self) -> int:
        """
        The wei that have to be added.
        """
        return self.needed - self.had


#: The columns of a request whose wallet lacks nothing.
NO_SHORTAGE: dict[str, object] = {"short_gas": None, "short_needed": None, "short_had": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    What a request is answered with: so many words, as an array or not; or `failure`, the reason
    that goes on chain instead. Times in milliseconds since 1970.
    """

    num_words: int | None = None
    array: bool | None = None
    failure: str | None = None
    #: When a number was bound to it; it keeps that number for ever.
    drawn_at: int | None = None
    #: Since when its callback fails, or cannot be tried.
    held_since: int | None = None
    #: When its number first left the process.
    exposed_at: int | None = None
    #: The response, once it is in a block.
    data: bytes | None = None
    #: When the operator let a request of before a restore through.
    released_at: int | None = None
    #: When the request was first seen.
    created_at: int = 0
    #: Only while its reason is `wallet_unfunded`.
    shortage: Shortage | None = None


async def answers(
    connection: AsyncConnection, keys: Sequence[RequestKey]
) -> dict[RequestKey, Answer]:
    """
    Return what is known of the answers to requests of one contract.
    """
    if not keys:
        return {}
    rows = await connection.execute(_ANSWERS, _named(keys))
    key_of = {key.request_id: key for key in keys}
    return {
        key_of[row.request_id]: Answer(
            num_words=row.num_words,
            array=row.array,
            failure=row.failure,
            drawn_at=row.drawn_at,
            held_since=row.held_since,
            exposed_at=row.exposed_at,
            data=row.data,
            released_at=row.released_at,
            created_at=row.created_at,
            shortage=None
            if row.short_gas is None
            else Shortage(gas=row.short_gas, needed=row.short_needed, had=row.short_had),
        )
        for row in rows
    }


async def put_shortage(
    tx: AsyncConnection, keys: Sequence[RequestKey], shortage: Shortage | None
) -> None:
    """
    Write down what the sponsor wallet of requests lacks; nothing once it lacks nothing.
    """
    values = NO_SHORTAGE
    if shortage is not None:
        values = {
            "short_gas": shortage.gas,
            "short_needed": shortage.needed,
            "short_had": shortage.had,
        }
    await put(tx, keys, **values)


async def short_gas(connection: AsyncConnection, chain_id: int, contract: str) -> dict[bytes, int]:
    """
    Return the gas that requests need whose sponsor wallets cannot pay, by their ids.
    """
    columns = airnode_requests.c
    rows = await connection.execute(
        select(columns.request_id, columns.short_gas).where(
            columns.chain_id == chain_id,
            columns.contract == contract,
            columns.state == State.DRAWN,
            columns.short_gas.is_not(None),
        )
    )
    return {row.request_id: row.short_gas for row in rows}


async def undelivered(
    connection: AsyncConnection, chain_id: int, contract: str, wallets: Sequence[str]
) -> dict[str, int]:
    """
    Return how many requests wait, drawn, for a transaction of each of these sponsor wallets.
    """
    rows = await connection.execute(
        _UNDELIVERED, {"chain": chain_id, "at": contract, "wallets": list(wallets)}
    )
    return {row.sponsor_wallet: row.drawn for row in rows}


async def put(tx: AsyncConnection, keys: Sequence[RequestKey], **values: object) -> None:
    """
    Write down fields of `Answer` for requests of one contract.
    """
    if keys:
        await tx.execute(_PUT, {**_named(keys), **values})


async def put_data(tx: AsyncConnection, responses: Mapping[RequestKey, bytes]) -> None:
    """
    Write down responses to requests of one contract, which are public by now.
    """
    if not responses:
        return
    columns = airnode_requests.c
    key = next(iter(responses))
    await tx.execute(
        update(airnode_requests)
        .where(
            columns.chain_id == key.chain_id,
            columns.contract == key.contract,
            columns.request_id == bindparam("id"),
        )
        .values(data=bindparam("response")),
        [{"id": key.request_id, "response": data} for key, data in responses.items()],
    )


async def waiting_after_restore(connection: AsyncConnection) -> list[Tracked[AirnodeRequest]]:
    """
    Return the requests that wait for the operator's word, the oldest first.
    """
    columns = airnode_requests.c
    rows = await connection.execute(
        select(airnode_requests)
        .where(
            columns.state == State.CONFIRMED,
            columns.reason == WAITING_AFTER_RESTORE,
            columns.released_at.is_(None),
        )
        .order_by(*BOOK.order)
    )
    return [BOOK.from_row(row) for row in rows]


async def release(tx: AsyncConnection, key: RequestKey) -> bool:
    """
    Write down the operator's word for a request; true if it still waited for it.
    """
    columns = airnode_requests.c
    released = await tx.execute(
        update(airnode_requests)
        .where(
            *_AMONG,
            columns.state == State.CONFIRMED,
            columns.reason == WAITING_AFTER_RESTORE,
            columns.released_at.is_(None),
        )
        .values(released_at=now(), reason=None),
        _named([key]),
    )
    return bool(released.rowcount)


async def drawn_since(
    connection: AsyncConnection, chain_id: int, contract: str, since: int
) -> dict[str, int]:
    """
    Return for how many requests of each sponsor a number was drawn since a time.
    """
    rows = await connection.execute(
        _DRAWN_SINCE, {"chain": chain_id, "at": contract, "since": since}
    )
    return {row.sponsor: row.drawn for row in rows}


async def templates(connection: AsyncConnection, ids: Iterable[bytes]) -> dict[bytes, Template]:
    """
    Return those of the templates that are known.
    """
    wanted = list(ids)
    if not wanted:
        return {}
    rows = await connection.execute(
        select(airnode_templates).where(airnode_templates.c.template_id.in_(wanted))
    )
    return {
        row.template_id: Template(
            airnode=row.airnode, endpoint_id=row.endpoint_id, parameters=row.parameters
        )
        for row in rows
    }


async def add_templates(tx: AsyncConnection, found: Sequence[Template]) -> None:
    """
    Keep templates, whose ids were checked.
    """
    known = await templates(tx, [template.id for template in found])
    rows = [
        {
            "template_id": template.id,
            "airnode": template.airnode,
            "endpoint_id": template.endpoint_id,
            "parameters": template.parameters,
        }
        for template in found
        if template.id not in known
    ]
    if rows:
        await tx.execute(insert(airnode_templates), rows)


async def sponsor_of(connection: AsyncConnection, chain_id: int, wallet: str) -> str | None:
    """
    Return whose sponsor wallet a lane is; nothing if it is none.
    """
    return await connection.scalar(
        select(lanes.c.sponsor).where(lanes.c.chain_id == chain_id, lanes.c.wallet == wallet)
    )


async def open_lanes(tx: AsyncConnection, chain_id: int, sponsors: Mapping[str, str]) -> None:
    """
    Write down whose sponsor wallets lanes are, which have their next nonces already.
    """
    await tx.execute(
        _OPEN_LANE,
        [
            {"chain": chain_id, "of": wallet, "whose": sponsor}
            for wallet, sponsor in sponsors.items()
        ],
    )


def _named(keys: Sequence[RequestKey]) -> dict[str, object]:
    """
    Return what `_AMONG` is to be given for requests of one contract.
    """
    ids = [key.request_id for key in keys]
    return {"chain": keys[0].chain_id, "at": keys[0].contract, "ids": ids}
