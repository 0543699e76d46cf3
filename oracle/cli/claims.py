"""
What a `[chains.NAME]` section claims, held against the chain: one function per claim.

Each raises `ConfigError` with what a person has to correct, and `EndpointError` when the endpoint
does not answer. `oracle run` stops at the first, `oracle check` goes through them all.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle.errors import ConfigError, RevertedError
from oracle.evm import TRANSACTION_GAS_CAP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from oracle.chain.reader import Web3Reader
    from oracle.chain_settings import EndpointSettings
    from oracle.config import ChainSettings
    from oracle.evm import Block
    from oracle.store.engine import Database
    from oracle.store.pool import Pool
    from oracle.store.seal import EpochFile


STORE_ID = "store_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """
    What a coordinator says of itself: gas, and blocks.
    """

    operator: str  #: in small letters
    most_callback_gas: int
    window: int


async def check_chain_id(place: str, settings: EndpointSettings, reader: Web3Reader) -> None:
    """
    Compare the chain id.
    """
    actual = await reader.chain_id()
    if actual != settings.chain_id:
        raise ConfigError(
            f"{place}.chain_id is {settings.chain_id}, but {reader.name} serves chain "
            f"{actual}: correct one of them"
        )


async def check_devnet(place: str, settings: EndpointSettings, reader: Web3Reader) -> None:
    """
    Let nothing but a devnet be called one.
    """
    if settings.devnet and not await reader.is_devnet():
        raise ConfigError(
            f"{place}.devnet is true, but {reader.name} is no anvil or Hardhat node: "
            "remove `devnet`"
        )


async def check_code(name: str, settings: ChainSettings, reader: Web3Reader) -> None:
    """
    Find a contract at the coordinator's address.
    """
    if not await reader.code(settings.coordinator):
        raise ConfigError(
            f"there is no contract at chains.{name}.coordinator {settings.coordinator}: "
            "deploy one with `oracle deploy`"
        )


async def read_terms(name: str, settings: ChainSettings, reader: Web3Reader) -> Terms:
    """
    Ask the coordinator for its terms.
    """
    from oracle.protocols.coordinator import CoordinatorProtocol  # noqa: PLC0415 - slow to import

    try:
        operator = await reader.call(settings.coordinator, CoordinatorProtocol.OPERATOR)
        most, window = [
            CoordinatorProtocol.decode_uint(await reader.call(settings.coordinator, view))
            for view in (
                CoordinatorProtocol.CALLBACK_GAS_LIMIT_MAX,
                CoordinatorProtocol.WINDOW,
            )
        ]
    except RevertedError:
        raise ConfigError(
            f"the contract at chains.{name}.coordinator {settings.coordinator} is no "
            "QuantumCoordinator: deploy one with `oracle deploy`"
        ) from None
    return Terms(operator="0x" + operator[-20:].hex(), most_callback_gas=most, window=window)


def check_gas(settings: ChainSettings, terms: Terms, head: Block) -> None:
    """
    Let every request that the coordinator takes fit into a transaction.
    """
    from oracle.protocols.coordinator import CoordinatorProtocol  # noqa: PLC0415 - slow to import

    largest = CoordinatorProtocol.largest_gas(terms.most_callback_gas)
    if largest > min(TRANSACTION_GAS_CAP, head.gas_limit):
        raise ConfigError(
            f"a request to {settings.coordinator} can need {largest} gas, more than a "
            "transaction of this chain may have: deploy a coordinator with less callback gas"
        )


def check_operator(settings: ChainSettings, terms: Terms, wallet: str) -> None:
    """
    Compare the coordinator's operator with the wallet.
    """
    if terms.operator != wallet.lower():
        raise ConfigError(
            f"the operator of {settings.coordinator} is {terms.operator}, not the "
            f"configured wallet {wallet}: use that wallet, or have the owner run "
            f"`oracle coordinator set-operator {wallet}`"
        )


def check_depth(name: str, settings: ChainSettings, terms: Terms) -> None:
    """
    Leave half of a window for the fulfillment.
    """
    if settings.depth > terms.window // 2:
        raise ConfigError(
            f"chains.{name}.confirmations is {settings.depth}, above half of the "
            f"coordinator's window of {terms.window} blocks: requests would expire before they "
            "are confirmed"
        )


async def check_fee_band(name: str, settings: ChainSettings, reader: Web3Reader) -> None:
    """
    Compare the highest gas margin that the node may set with the coordinator's bound.
    """
    from oracle.protocols import roles  # noqa: PLC0415 - slow to import
    from oracle.protocols.coordinator import CoordinatorProtocol  # noqa: PLC0415

    if settings.fee is None:
        return
    contract, highest = settings.coordinator, settings.fee.gas_margin_bps_max
    operator = roles.decode_address(await reader.call(contract, CoordinatorProtocol.OPERATOR))
    try:
        await reader.call(contract, roles.encode_set_fee(0, highest), sender=operator)
    except RevertedError as error:
        refusal = roles.decode_refusal(error.data)
        bound = refusal.values[1] if refusal and refusal.name == "FeeOutOfBounds" else "less"
        raise ConfigError(
            f"chains.{name}.fee.gas_margin_bps_max is {highest}, and the coordinator allows "
            f"{bound}, fixed at deployment: lower it"
        ) from None


def check_wallets(chains: Iterable[tuple[str, int, str]]) -> None:
    """
    Let no two coordinators of one chain share a wallet, because a nonce has one owner; `chains`
    are names, chain ids and wallets.
    """
    owners: dict[tuple[int, str], str] = {}
    for name, chain_id, wallet in chains:
        owner = owners.setdefault((chain_id, wallet), name)
        if owner != name:
            raise ConfigError(
                f"chains.{owner} and chains.{name} use one wallet, {wallet}, on one chain: give "
                "each a wallet of its own"
            )


async def check_lane(name: str, settings: ChainSettings, wallet: str, database: Database) -> None:
    """
    Let the wallet have nothing under way for another coordinator.
    """
    from oracle.store.transactions import SlotState, slots_of  # noqa: PLC0415 - slow to import

    async with database.read() as connection:
        slots = await slots_of(connection, settings.chain_id, wallet)
    closed = (SlotState.FINAL, SlotState.LOST)
    for slot in slots:
        if slot.contract != settings.coordinator and slot.state not in closed:
            raise ConfigError(
                f"the wallet {slot.wallet} of chains.{name} has transactions for "
                f"{slot.contract} under way: serve that coordinator until they are final, or "
                "use another wallet"
            )


def genesis_setting(chain_id: int) -> str:
    """
    Name what the database keeps of a chain's first block.
    """
    return f"genesis:{chain_id}"


async def check_genesis(connection: AsyncConnection, chain_id: int, genesis: str) -> str | None:
    """
    Compare the chain's first block with the one that the database knows, and return that one;
    nothing before its first use.
    """
    from oracle.store.cursors import get_setting  # noqa: PLC0415 - SQLAlchemy is slow to import

    known = await get_setting(connection, genesis_setting(chain_id))
    if known not in (None, genesis):
        raise ConfigError(
            f"the database belongs to another chain with id {chain_id}: use a new "
            "database file (a devnet that was restarted is a new chain)"
        )
    return known


async def keep_genesis(tx: AsyncConnection, chain_id: int, genesis: str) -> None:
    """
    Compare the chain's first block with the one that the database knows, or keep it.
    """
    from oracle.store.cursors import put_setting  # noqa: PLC0415 - SQLAlchemy is slow to import

    if await check_genesis(tx, chain_id, genesis) is None:
        await put_setting(tx, genesis_setting(chain_id), genesis)


async def check_airnode(
    connection: AsyncConnection, chain_id: int, contract: str, airnode: str
) -> str | None:
    """
    Compare the Airnode with the one that the database serves on this chain, and return that one;
    nothing before its first use.
    """
    from oracle.store.cursors import get_setting  # noqa: PLC0415 - SQLAlchemy is slow to import

    known = await get_setting(connection, _airnode_setting(chain_id, contract))
    if known not in (None, airnode):
        raise ConfigError(
            f"the database serves the Airnode {known} on chain {chain_id}, and "
            f"airnode.mnemonic_file is that of {airnode}: use its mnemonic, or a new database file"
        )
    return known


async def keep_airnode(tx: AsyncConnection, chain_id: int, contract: str, airnode: str) -> None:
    """
    Compare the Airnode with the one that the database serves on this chain, or keep it.
    """
    from oracle.store.cursors import put_setting  # noqa: PLC0415 - SQLAlchemy is slow to import

    if await check_airnode(tx, chain_id, contract, airnode) is None:
        await put_setting(tx, _airnode_setting(chain_id, contract), airnode)


def _airnode_setting(chain_id: int, contract: str) -> str:
    return f"airnode:{chain_id}:{contract}"


async def keep_store_id(tx: AsyncConnection) -> str:
    """
    Return what tells this database from all others but its own copies; made once.
    """
    from oracle.store.cursors import get_setting, put_setting  # noqa: PLC0415 - slow to import

    known = await get_setting(tx, STORE_ID)
    if known is None:
        known = secrets.token_hex(16)
        await put_setting(tx, STORE_ID, known)
    return known


async def first_block(
    tx: AsyncConnection, chain_id: int, contract: str, given: int | None, otherwise: int
) -> int:
    """
    Return the block from which a contract is read: as configured, or as at the first start.
    """
    from oracle.store.cursors import get_setting, put_setting  # noqa: PLC0415 - slow to import

    if given is not None:
        return given
    name = f"start:{chain_id}:{contract}"
    known = await get_setting(tx, name)
    if known is None:
        await put_setting(tx, name, str(otherwise))
        return otherwise
    return int(known)


async def restored_at(tx: AsyncConnection, chain_id: int, contract: str, head: int) -> int | None:
    """
    Return the block up to which requests without a number wait for the operator's word; nothing
    unless the database was restored from a backup.
    """
    from oracle.store.cursors import get_setting, put_setting  # noqa: PLC0415 - slow to import
    from oracle.store.epochs import RESTORED  # noqa: PLC0415

    epoch = await get_setting(tx, RESTORED)
    if epoch is None:
        return None
    name = f"restored:{chain_id}:{contract}"
    known = await get_setting(tx, name)
    if known is not None:
        seen, _, block = known.partition(":")
        if seen == epoch:
            return int(block)
    await put_setting(tx, name, f"{epoch}:{head}")
    return head


def check_not_lost(place: str, epoch: EpochFile) -> None:
    """
    Raise `ConfigError` where there is no database and the epoch file says that there was one:
    whoever starts on a new one serves nothing that was committed from the old one.
    """
    written = epoch.read()
    if written is not None and written.number:
        raise ConfigError(
            f"there is no database at {place}, and the epoch file beside the pool key says that "
            "there was one: correct `database`, put it back, or restore a backup; if it is lost, "
            "`oracle recover` makes a new one from the chain, and says what that costs"
        )


async def check_not_simulated(connection: AsyncConnection, pool: Pool, place: str) -> None:
    """
    Raise `ConfigError` where a node that serves more than devnets would reveal what anybody who
    ran the simulator may know.
    """
    if await pool.holds_simulated(connection):
        raise ConfigError(
            f"the database {place} holds simulated entropy, which was drawn for a devnet: name "
            "another database for other chains"
        )
