"""
The sponsor wallets in `oracle wallet balances`: what they have, and what their open requests need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from oracle.cli.acts import Place, airnode_place, ether, opened
from oracle.cli.words import counted
from oracle.errors import EndpointError, OracleError
from oracle.given import read_secret_file
from oracle.request import State

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.airnode_settings import AirnodeChainSettings
    from oracle.chain.airnode_xpub import AirnodeXpub
    from oracle.config import Settings
    from oracle.store.engine import Database

_GWEI = 10**9
_UNSIGNED = (State.OBSERVED, State.CONFIRMED, State.DRAWN)


@dataclass(slots=True)
class _Purse:
    """
    What is open of one sponsor's requests: `gas` of those that are not signed, `promised` wei of
    those that are.
    """

    sponsor: str
    requests: int = 0
    unsigned: int = 0
    gas: int = 0
    promised: int = 0
    #: Whether the gas of all of them is known, and not at least the floor.
    exact: bool = True


async def sponsor_balances(settings: Settings) -> list[dict[str, Any]]:
    """
    Return a row for every sponsor wallet that has open requests, on every chain of the Airnode.
    """
    from oracle.store.engine import Access, Database  # noqa: PLC0415 - SQLAlchemy is slow to import

    if settings.airnode is None:
        return []
    rows: list[dict[str, Any]] = []
    database = await Database.find(settings.database, Access.VISIT)
    if database is None:
        return []
    xpub = _xpub(settings)
    try:
        for name, chain in settings.airnode.chains.items():
            purses = await _purses(database, chain, xpub)
            try:
                rows += await _rows(airnode_place(settings, name), chain, purses)
            except EndpointError as error:
                rows += [
                    {
                        "chain": f"airnode.{name}",
                        "address": wallet,
                        "sponsor": purse.sponsor,
                        "error": str(error),
                    }
                    for wallet, purse in purses.items()
                ]
    finally:
        await database.close()
    return rows


def _xpub(settings: Settings) -> AirnodeXpub | None:
    from oracle.chain.mnemonics import announced  # noqa: PLC0415 - eth_account is slow to import

    assert settings.airnode is not None
    path = settings.airnode.mnemonic_file
    try:
        return announced(read_secret_file(path), path)
    except OracleError:
        return None


async def _purses(
    database: Database, chain: AirnodeChainSettings, xpub: AirnodeXpub | None
) -> dict[str, _Purse]:
    """
    Return what is open, by sponsor wallet. What names another wallet than its sponsor's is left
    out: it will be rejected.
    """
    from oracle.store import transactions  # noqa: PLC0415 - SQLAlchemy is slow to import

    async with database.read() as connection:
        found = await _open(connection, chain)
        purses: dict[str, _Purse] = {}
        right: dict[str, str] = {}
        for sponsor, wallet, gas, state in found:
            if xpub is not None:
                if sponsor not in right:
                    right[sponsor] = xpub.sponsor_wallet(sponsor)
                if right[sponsor] != wallet:
                    continue
            purse = purses.setdefault(wallet, _Purse(sponsor))
            purse.requests += 1
            if state in _UNSIGNED:
                purse.unsigned += 1
                purse.gas += gas or chain.gas_floor
                purse.exact &= gas is not None
        for wallet, purse in purses.items():
            purse.promised = (await transactions.promised(connection, chain.chain_id, [wallet]))[
                wallet
            ]
    return purses


async def _open(
    connection: AsyncConnection, chain: AirnodeChainSettings
) -> list[tuple[str, str, int | None, State]]:
    """
    Return sponsor, sponsor wallet, gas where it is known, and state of the open requests.
    """
    from oracle.store import airnode  # noqa: PLC0415 - SQLAlchemy is slow to import

    place = (chain.chain_id, chain.contract)
    tracked = await airnode.BOOK.in_states(
        connection, *place, [*_UNSIGNED, State.SIGNED, State.SENT], limit=None
    )
    gas = await airnode.short_gas(connection, *place)
    return [
        (
            one.request.sponsor,
            one.request.sponsor_wallet,
            gas.get(one.request.key.request_id),
            one.state,
        )
        for one in tracked
    ]


async def _rows(
    place: Place, chain: AirnodeChainSettings, purses: dict[str, _Purse]
) -> list[dict[str, Any]]:
    from oracle.chain.fees import least_price  # noqa: PLC0415 - not needed for --help

    if not purses:
        return []
    rows = []
    async with opened(place) as (reader, chain_id):
        base_fee = (await reader.block()).base_fee
        price = least_price(base_fee, int(chain.priority_fee_gwei * _GWEI))
        for wallet, purse in purses.items():
            balance = await reader.balance(wallet)
            needed = purse.promised + purse.gas * price
            rows.append(
                {
                    "chain": place.chain_name,
                    "chainId": chain_id,
                    "address": wallet,
                    "sponsor": purse.sponsor,
                    "balanceWei": balance,
                    "openRequests": purse.requests,
                    "unsignedRequests": purse.unsigned,
                    "baseFeeWei": base_fee,
                    "neededWei": needed,
                    "neededIsExact": purse.exact,
                    "missingWei": max(0, needed - balance),
                }
            )
    return rows


def print_sponsor(row: dict[str, Any]) -> None:
    """
    Say what a sponsor wallet has and lacks.
    """
    click.echo(
        f"{row['chain']}: {row['address']} of the sponsor {row['sponsor']} has "
        f"{ether(row['balanceWei'])} for {counted(row['openRequests'], 'open request')}"
    )
    least = "" if row["neededIsExact"] else "at least "
    said = f"  they need {least}{ether(row['neededWei'])} now"
    if row["missingWei"]:
        said += f": {ether(row['missingWei'])} is missing"
    click.echo(said)
