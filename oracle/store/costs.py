"""
What serving costs: each request's share of its fulfillment, and the balance of a coordinator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import bindparam, select, update

from oracle.request import Request, State
from oracle.store.requests import BOOK
from oracle.store.schema import attempts, requests, transactions
from oracle.store.transactions import Purpose, SlotState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.request import RandomnessRequest
    from oracle.store.book import Book

R = TypeVar("R", bound=Request)

_FULFILLED = (State.MINED, State.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earnings:
    """
    What a coordinator's requests brought and what its transactions cost, in wei.

    Every transaction that is in the chain counts once: `fulfillments` served a request at least,
    `reverted` ones did nothing, `passed_over` ones found their requests served by others,
    `fillers` used up a nonce.
    """

    fulfilled: int  #: requests
    by_others: int  #: those of them that somebody else paid for
    fees: int
    fulfillments: int
    commits: int
    fee_changes: int
    reverted: int
    passed_over: int
    fillers: int

    @property
    def costs(self) -> int:
        """
        All that was paid.
        """
        return (
            self.fulfillments
            + self.commits
            + self.fee_changes
            + self.reverted
            + self.passed_over
            + self.fillers
        )

    @property
    def net(self) -> int:
        """
        What is left of the fees.
        """
        return self.fees - self.costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """
    The newest transactions that served requests or tried to, and what they served.
    """

    transactions: int
    gas_used: int
    served: list[RandomnessRequest]


def split(total: int, weights: Sequence[int]) -> list[int]:
    """
    Split an amount by weights, none of which is 0 or less.

    Guarantees: the shares add up to the amount, and each is less than one unit away from exact.
    """
    whole, before, shares = sum(weights), 0, []
    for weight in weights:
        after = before + weight
        shares.append(total * after // whole - total * before // whole)
        before = after
    return shares


async def share(
    tx: AsyncConnection,
    book: Book[R],
    transaction_hashes: Collection[bytes],
    weigh: Callable[[R], int],
) -> None:
    """
    Write on every request that one of the transactions fulfilled what it has cost, by its weight.

    Guarantees: the costs add up to what a transaction took, whichever of receipt and event was
    read first, and as often as this is called. Does nothing for transactions of others, and
    nothing before the receipt is known.
    """
    if not transaction_hashes:
        return
    slots = {
        slot.mined_hash: slot
        for slot in await tx.execute(
            select(transactions)
            .join(attempts, attempts.c.transaction_id == transactions.c.id)
            .where(
                attempts.c.transaction_hash.in_(transaction_hashes),
                transactions.c.mined_hash == attempts.c.transaction_hash,
            )
        )
    }
    columns = book.table.c
    shares: list[dict[str, object]] = []
    for (chain_id, contract), ours in _by_contract(slots.values()).items():
        served: dict[bytes, list[R]] = {}
        rows = await tx.execute(
            select(book.table)
            .where(
                columns.chain_id == chain_id,
                columns.contract == contract,
                columns.state.in_(_FULFILLED),
                columns.outcome_block.in_({slot.mined_block for slot in ours}),
                columns.outcome_hash.in_([slot.mined_hash for slot in ours]),
            )
            .order_by(*book.order)
        )
        for row in rows:
            if row.outcome_block_hash == slots[row.outcome_hash].mined_block_hash:
                served.setdefault(row.outcome_hash, []).append(book.from_row(row).request)
        for transaction_hash, requests_ in served.items():
            slot = slots[transaction_hash]
            total = _cost(slot.gas_used, slot.gas_price, slot.l1_fee)
            weights = [weigh(request) for request in requests_]
            shares += [
                {
                    "chain": chain_id,
                    "at": contract,
                    "id": request.key.request_id,
                    "share": amount,
                }
                for request, amount in zip(requests_, split(total, weights), strict=True)
            ]
    if shares:
        await tx.execute(
            update(book.table)
            .where(
                columns.chain_id == bindparam("chain"),
                columns.contract == bindparam("at"),
                columns.request_id == bindparam("id"),
            )
            .values(cost=bindparam("share")),
            shares,
        )


def _by_contract(slots: Iterable[Row[Any]]) -> dict[tuple[int, str], list[Row[Any]]]:
    found: dict[tuple[int, str], list[Row[Any]]] = {}
    for slot in slots:
        found.setdefault((slot.chain_id, slot.contract), []).append(slot)
    return found


async def earnings(connection: AsyncConnection, chain_id: int, contract: str) -> Earnings:
    """
    Add up everything that is known of a coordinator. It reads all of its rows.
    """
    paid = {
        row.mined_hash: row
        for row in await connection.execute(
            select(
                transactions.c.mined_hash,
                transactions.c.purpose,
                transactions.c.gas_used,
                transactions.c.gas_price,
                transactions.c.l1_fee,
                transactions.c.reverted,
            ).where(
                transactions.c.chain_id == chain_id,
                transactions.c.contract == contract,
                transactions.c.state.in_([SlotState.MINED, SlotState.FINAL]),
            )
        )
    }
    served: set[bytes] = set()
    fulfilled = by_others = fees = 0
    for made in await connection.execute(
        select(requests.c.outcome_hash, requests.c.fee).where(
            requests.c.chain_id == chain_id,
            requests.c.contract == contract,
            requests.c.state.in_(_FULFILLED),
        )
    ):
        fulfilled += 1
        fees += made.fee
        by_others += made.outcome_hash not in paid
        served.add(made.outcome_hash)
    kinds = {
        Purpose.FULFILL: "passed_over",
        Purpose.COMMIT: "commits",
        Purpose.FEE: "fee_changes",
        Purpose.FILLER: "fillers",
    }
    sums = dict.fromkeys(("fulfillments", "reverted", *kinds.values()), 0)
    for transaction_hash, row in paid.items():
        # A filler that came too late leaves the slot to the fulfillment that it was to replace.
        kind = "fulfillments" if transaction_hash in served else kinds[Purpose(row.purpose)]
        sums["reverted" if row.reverted else kind] += _cost(
            row.gas_used, row.gas_price, row.l1_fee
        )
    return Earnings(fulfilled=fulfilled, by_others=by_others, fees=fees, **sums)


async def recent_work(
    connection: AsyncConnection, chain_id: int, contract: str, limit: int
) -> Work:
    """
    Return the newest mined transactions of a coordinator that were to serve requests: reverts,
    fillers, and those that came second among them.
    """
    rows: list[Row[Any]] = []
    # One query each, which walks an index from its end.
    for state in (SlotState.MINED, SlotState.FINAL):
        rows.extend(
            await connection.execute(
                select(transactions.c.id, transactions.c.mined_hash, transactions.c.gas_used)
                .where(
                    transactions.c.chain_id == chain_id,
                    transactions.c.contract == contract,
                    transactions.c.state == state,
                    transactions.c.purpose.in_([Purpose.FULFILL, Purpose.FILLER]),
                )
                .order_by(transactions.c.id.desc())
                .limit(limit)
            )
        )
    newest = sorted(rows, key=lambda row: row.id)[-limit:]
    mined = {row.mined_hash for row in newest}
    served = []
    if newest:
        found = await connection.execute(
            select(requests).where(requests.c.transaction_id.in_([row.id for row in newest]))
        )
        # An outcome is there while the request is fulfilled.
        served = [BOOK.from_row(row).request for row in found if row.outcome_hash in mined]
    return Work(
        transactions=len(newest), gas_used=sum(row.gas_used for row in newest), served=served
    )


def _cost(gas_used: int, gas_price: int, l1_fee: int | None) -> int:
    return gas_used * gas_price + (l1_fee or 0)
