"""
What sponsor wallets can pay for, and what they lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from oracle import log
from oracle.chain.fees import Fees, Price, least_price
from oracle.chain.probe import price_at
from oracle.store import airnode, transactions
from oracle.store.airnode import Shortage
from oracle.together import together

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.airnode_request import AirnodeRequest
    from oracle.airnode_service import AirnodeService
    from oracle.evm import Block
    from oracle.request import Tracked

# A shortage is news when it has moved by more than this part.
_NEWS = 16
# Balances that are asked for at once.
_AT_ONCE = 20
# What a transaction has beside its calldata, and a fulfillment with one number in all, in bytes.
ENVELOPE, FULFILL_SIZE = 130, 550


@dataclass(frozen=True, slots=True)
class Tariff:
    """
    What is offered per gas under a head, and what the chain takes beside it.
    """

    fees: Fees
    base_fee: int
    beside: Price

    @property
    def enough(self) -> int:
        """
        The wei per gas with which a transaction can be in the next block.
        """
        return min(self.fees.max_fee, least_price(self.base_fee, self.fees.priority_fee))

    def least(self, gas: int, size: int) -> int:
        """
        Return the wei that a transaction of so much gas and so many bytes needs at least.
        """
        return gas * self.enough + self.beside.of(gas, size)

    def most(self, gas: int, size: int) -> int:
        """
        Return the wei that such a transaction can take at most, offered as it is.
        """
        return gas * self.fees.max_fee + self.beside.of(gas, size)

    def payable(self, wei: int, gas: int, size: int, least_gas: int) -> tuple[int, Fees] | None:
        """
        Return gas and fees that so many wei pay: all of the gas, or as much of it as they do, and
        less head room for the base fee if they are short; nothing if they do not even pay for
        `least_gas` in the next block.
        """
        left = wei - self.beside.of(gas, size)
        limit = min(gas, max(left // max(1, self.enough), least_gas))
        most = left // limit
        if most < self.enough:
            return None
        return limit, Fees(min(most, self.fees.max_fee), self.fees.priority_fee)


async def tariff_at(service: AirnodeService, head: Block) -> Tariff | None:
    """
    Return what transactions are offered now; nothing while the base fee is above the cap.
    """
    fees = service.fees.quote(head.base_fee)
    if fees is None:
        return None
    beside = await price_at(service.reader, 0) if service.rollup else Price(gas=0)
    return Tariff(fees, head.base_fee, beside)


@dataclass(slots=True)
class Purse:
    """
    The wei that a wallet has, and those that it can still promise.
    """

    balance: int
    left: int

    def promise(self, gas: int, wei: int) -> Shortage | None:
        """
        Promise what a transaction of so much gas needs; return what lacks if that is not left.
        """
        if wei <= self.left:
            self.left -= wei
            return None
        return Shortage(gas=gas, needed=wei + self.balance - self.left, had=self.balance)


async def open_purses(
    connection: AsyncConnection,
    service: AirnodeService,
    balances: Mapping[str, int],
    each: int,
) -> dict[str, Purse]:
    """
    Return what wallets that hold so much can still promise: less what is under way, and less
    `each` for every number that they have yet to deliver.
    """
    names = sorted(balances)
    numbers = await airnode.undelivered(connection, service.chain_id, service.contract, names)
    under_way = await transactions.promised(connection, service.chain_id, names)
    promised = {name: under_way[name] + numbers.get(name, 0) * each for name in names}
    return {name: Purse(balances[name], balances[name] - promised[name]) for name in names}


async def balances_of(service: AirnodeService, wallets: Collection[str]) -> dict[str, int]:
    """
    Return what wallets hold, in wei.
    """
    names = sorted(wallets)
    told = await together([partial(service.reader.balance, name) for name in names], _AT_ONCE)
    return dict(zip(names, told, strict=True))


def is_news(tracked: Tracked[AirnodeRequest], known: Shortage | None, shortage: Shortage) -> bool:
    """
    Return whether what a wallet lacks is to be written down, and say it the first time: again once
    that is another amount or the wallet was funded in part; a base fee that moves a little is no
    news.
    """
    if tracked.reason != "wallet_unfunded" or known is None:
        log.get().warning(
            "wallet_unfunded",
            **tracked.log_context(),
            wallet=tracked.request.sponsor_wallet,
            shortfall_wei=shortage.missing,
        )
        return True
    return known.had != shortage.had or abs(shortage.needed - known.needed) * _NEWS > known.needed
