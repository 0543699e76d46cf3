"""
From a `[chains.NAME]` section to the service that it describes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from oracle import faults
from oracle.config import checked_endpoint, read_secret_file, secret, variable_of
from oracle.errors import ConfigError, RevertedError
from oracle.evm import TRANSACTION_GAS_CAP

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AsyncExitStack

    from oracle.chain.reader import Web3Reader
    from oracle.chain.wallets import LocalSigner
    from oracle.config import ChainSettings
    from oracle.service import Service
    from oracle.store.engine import Database
    from oracle.store.pool import Pool

_GWEI = 10**9


class ConfiguredChain:
    """
    One coordinator on one chain, before its endpoints have answered and afterwards.
    """

    def __init__(self, name: str, settings: ChainSettings, stack: AsyncExitStack) -> None:
        """
        Read the wallet and name the endpoints; `stack` closes them.

        Raises `ConfigError` for what is wrong whatever the chain says.
        """
        from oracle.chain.reader import Web3Reader  # noqa: PLC0415 - web3 is slow to import

        urls = _endpoints(name, settings)
        self.name = name
        self.settings = settings
        self.signer = configured_signer(name, settings)
        self.service: Service | None = None
        self._readers: list[Web3Reader] = []
        for url in urls:
            reader = Web3Reader(url)
            stack.push_async_callback(reader.close)
            self._readers.append(reader)

    async def check(self) -> None:
        """
        Compare what the configuration claims with what the endpoints say; touch nothing.

        Raises `ConfigError` for what a person has to correct, `EndpointError` when an endpoint
        does not answer.
        """
        for reader in self._readers:
            await self._check_endpoint(reader)
        await self._check_contract(self._readers[0])

    async def connect(self, database: Database, pool: Pool) -> Service:
        """
        Return the service, checked and ready to work; the same one when called again.

        Raises as `check` does, and `ConfigError` when the database knows another chain by this id.
        """
        if self.service is None:
            await self.check()
            self.service = await self._build(database, pool)
        return self.service

    async def _check_endpoint(self, reader: Web3Reader) -> None:
        name, settings = self.name, self.settings
        actual = await reader.chain_id()
        if actual != settings.chain_id:
            raise ConfigError(
                f"chains.{name}.chain_id is {settings.chain_id}, but {reader.name} serves chain "
                f"{actual}: correct one of them"
            )
        if settings.devnet and not await reader.is_devnet():
            raise ConfigError(
                f"chains.{name}.devnet is true, but {reader.name} is no anvil or Hardhat node: "
                "remove `devnet`"
            )

    async def _check_contract(self, reader: Web3Reader) -> None:
        from oracle.chain.probe import probe_block_hash  # noqa: PLC0415 - web3 is slow to import
        from oracle.protocols.coordinator import CoordinatorProtocol  # noqa: PLC0415

        name, settings, wallet = self.name, self.settings, self.signer.address
        if settings.devnet:
            faults.arm()
        if not await reader.code(settings.coordinator):
            raise ConfigError(
                f"there is no contract at chains.{name}.coordinator {settings.coordinator}: "
                "deploy one with `oracle deploy`"
            )
        try:
            operator = (await reader.call(settings.coordinator, CoordinatorProtocol.OPERATOR))[
                -20:
            ]
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
        largest = CoordinatorProtocol.largest_gas(most)
        if largest > min(TRANSACTION_GAS_CAP, (await reader.block()).gas_limit):
            raise ConfigError(
                f"a request to {settings.coordinator} can need {largest} gas, more than a "
                "transaction of this chain may have: deploy a coordinator with less callback gas"
            )
        if operator.hex() != wallet[2:].lower():
            raise ConfigError(
                f"the operator of {settings.coordinator} is 0x{operator.hex()}, not the "
                f"configured wallet {wallet}: use that wallet, or have the owner call setOperator"
            )
        if settings.depth > window // 2:
            raise ConfigError(
                f"chains.{name}.confirmations is {settings.depth}, above half of the "
                f"coordinator's window of {window} blocks: requests would expire before they are "
                "confirmed"
            )
        await probe_block_hash(reader)

    async def _build(self, database: Database, pool: Pool) -> Service:
        # Imported here: together they take a second, and `--help` needs none of them.
        from oracle.chain.fees import FeePolicy  # noqa: PLC0415
        from oracle.chain.sender import Web3Sender  # noqa: PLC0415
        from oracle.lane import Lane  # noqa: PLC0415
        from oracle.protocols.coordinator import CoordinatorProtocol  # noqa: PLC0415
        from oracle.service import Service  # noqa: PLC0415

        settings = self.settings
        reader, *others = self._readers
        window, start_block = [
            CoordinatorProtocol.decode_uint(await reader.call(settings.coordinator, view))
            for view in (CoordinatorProtocol.WINDOW, CoordinatorProtocol.DEPLOYED_AT)
        ]
        await self._check_genesis(database, (await reader.block(0)).hash.hex())
        lane = Lane(
            chain_id=settings.chain_id,
            contract=settings.coordinator,
            signer=self.signer,
            fees=FeePolicy(
                max_fee=int(settings.max_fee_gwei * _GWEI),
                priority_fee=int(settings.priority_fee_gwei * _GWEI),
                max_priority_fee=int(settings.max_priority_fee_gwei * _GWEI),
            ),
            key=pool.key,
        )
        await self._check_lane(database)
        await lane.prepare(database, reader)
        return Service(
            chain_id=settings.chain_id,
            contract=settings.coordinator,
            database=database,
            pool=pool,
            reader=reader,
            witnesses=() if settings.is_trusted else tuple(others),
            sender=Web3Sender(reader),
            lane=lane,
            protocol=CoordinatorProtocol(settings.chain_id, settings.coordinator),
            depth=settings.depth,
            window=window,
            start_block=start_block,
            runway=settings.runway,
            devnet=settings.devnet,
        )

    async def _check_lane(self, database: Database) -> None:
        from oracle.store.transactions import SlotState, slots_of  # noqa: PLC0415

        settings = self.settings
        async with database.read() as connection:
            slots = await slots_of(connection, settings.chain_id, self.signer.address)
        closed = (SlotState.FINAL, SlotState.LOST)
        for slot in slots:
            if slot.contract != settings.coordinator and slot.state not in closed:
                raise ConfigError(
                    f"the wallet {slot.wallet} of chains.{self.name} has transactions for "
                    f"{slot.contract} under way: serve that coordinator until they are final, or "
                    "use another wallet"
                )

    async def _check_genesis(self, database: Database, genesis: str) -> None:
        from oracle.store.cursors import get_setting, put_setting  # noqa: PLC0415

        chain_id = self.settings.chain_id
        async with database.write() as tx:
            known = await get_setting(tx, f"genesis:{chain_id}")
            if known is None:
                await put_setting(tx, f"genesis:{chain_id}", genesis)
            elif known != genesis:
                raise ConfigError(
                    f"the database belongs to another chain with id {chain_id}: use a new "
                    "database file (a devnet that was restarted is a new chain)"
                )


def configured_chains(
    chains: Mapping[str, ChainSettings], stack: AsyncExitStack
) -> list[ConfiguredChain]:
    """
    Return all configured chains.

    Raises `ConfigError` as `ConfiguredChain` does, and when two coordinators of one chain share a
    wallet: a nonce has one owner.
    """
    configured = [ConfiguredChain(name, settings, stack) for name, settings in chains.items()]
    owners: dict[tuple[int, str], str] = {}
    for chain in configured:
        lane = (chain.settings.chain_id, chain.signer.address)
        if lane in owners:
            raise ConfigError(
                f"chains.{owners[lane]} and chains.{chain.name} use one wallet, {lane[1]}, on one "
                "chain: give each a wallet of its own"
            )
        owners[lane] = chain.name
    return configured


def _endpoints(name: str, settings: ChainSettings) -> list[str]:
    urls = [
        checked_endpoint(url.get_secret_value(), f"chains.{name}.endpoints")
        for url in settings.endpoints
    ]
    if settings.is_trusted:
        return urls
    # Two paths to one host are one opinion.
    if len({urlsplit(url).hostname for url in urls}) < 2:  # noqa: PLR2004 - a second opinion
        raise ConfigError(
            f"chains.{name} has one endpoint that is not declared trusted, and a lying endpoint "
            "could extract values early: add an endpoint of somebody else, or run your own node "
            "and set trusted = true"
        )
    return urls


def configured_signer(name: str, settings: ChainSettings) -> LocalSigner:
    """
    Load the wallet of a chain.

    Raises `ConfigError` when it cannot be, or is a well-known one and the chain no devnet.
    """
    from oracle.chain import wallets  # noqa: PLC0415 - web3 is slow to import

    wallet = settings.wallet
    if wallet.keystore is None:
        signer = wallets.from_private_key(
            secret(
                wallet.key,
                wallet.key_file,
                what=f"wallet for chains.{name}",
                variable=variable_of("chains", name, "wallet", "key"),
            )
        )
    else:
        text = read_secret_file(wallet.keystore)
        password = secret(
            wallet.password,
            wallet.password_file,
            what=f"password for the keystore of chains.{name}",
            variable=variable_of("chains", name, "wallet", "password"),
        )
        signer = wallets.from_keystore(text, password, wallet.keystore)
    if not settings.devnet and signer.address in wallets.WELL_KNOWN:
        raise ConfigError(
            f"the wallet {signer.address} is a well-known test key: create one with `oracle "
            "wallet create`"
        )
    return signer
