"""
From the `[airnode]` section to the services that it describes.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from oracle import faults, log
from oracle.cli import claims
from oracle.cli.chains import checked_endpoints, configured_endpoints, configured_heads
from oracle.errors import ConfigError, InconsistentChainError, RevertedError
from oracle.given import read_secret_file, secret, variable_of

if TYPE_CHECKING:
    from contextlib import AsyncExitStack

    from oracle.airnode_policy import AirnodePolicy
    from oracle.airnode_service import AirnodeService
    from oracle.airnode_settings import AirnodeChainSettings, AirnodeSettings
    from oracle.chain.reader import Web3Reader
    from oracle.chain.sponsor_wallets import AirnodeKeys
    from oracle.store.engine import Database
    from oracle.store.pool import Pool
    from oracle.store.stores_file import StoresFile

_GWEI = 10**9
# Blocks below the head from which a new Airnode reads: nobody can have asked it before.
_LOOK_BACK = 300


class ConfiguredAirnode:
    """
    An Airnode on one chain, before its endpoints have answered and afterwards.
    """

    def __init__(
        self,
        name: str,
        settings: AirnodeChainSettings,
        keys: AirnodeKeys,
        stores: StoresFile,
        stack: AsyncExitStack,
        *,
        keep_days: float,
    ) -> None:
        """
        Name the endpoints; `stack` closes them.

        Raises `ConfigError` for what is wrong whatever the chain says.
        """
        self.place = f"airnode.chains.{name}"
        urls = checked_endpoints(self.place, settings)
        check_mnemonic(self.place, settings, keys)
        self.name = f"airnode.{name}"
        self.settings = settings
        self.keys = keys
        self.stores = stores
        #: Whether the database takes the place of one that is lost.
        self.succeed = False
        self.lease = f"airnode:{settings.chain_id}:{settings.contract.lower()}"
        self.heads = configured_heads(self.place, settings)
        self.keep_days = keep_days
        self.service: AirnodeService | None = None
        self.endpoints = configured_endpoints(self.place, settings, urls)
        stack.push_async_callback(self.endpoints.close)

    async def check(self) -> None:
        """
        Compare what the configuration claims with what the endpoints say; touch nothing.

        Raises `ConfigError` for what a person has to correct, `EndpointError` when no endpoint
        answers.
        """
        settings = self.settings
        first, *_ = await self.endpoints.admit()
        if settings.devnet:
            faults.arm()
        await check_rrp(self.place, settings, first)

    async def connect(self, database: Database, pool: Pool) -> AirnodeService:
        """
        Return the service for the next pass, checked and ready to work; the same one when called
        again, but for the endpoints.

        Raises as `check` does, and `ConfigError` when the database knows another chain by this id,
        or another Airnode, or when the Airnode is known to answer from another database.
        """
        if self.service is None:
            await self.check()
            self.service = await self._build(database, pool)
        view = self.endpoints.view()
        if (view.reader, view.witnesses) != (self.service.reader, self.service.witnesses):
            self.service = replace(
                self.service,
                reader=view.reader,
                witnesses=view.witnesses,
                estimator=view.reader,
            )
        return self.service

    async def _build(self, database: Database, pool: Pool) -> AirnodeService:
        # Imported here: together they take a second, and `--help` needs none of them.
        from oracle.airnode_service import AirnodeService  # noqa: PLC0415
        from oracle.chain.fees import FeePolicy  # noqa: PLC0415
        from oracle.protocols.airnode_rrp_v0 import AirnodeProtocol  # noqa: PLC0415
        from oracle.store.stores_file import Claim  # noqa: PLC0415

        settings = self.settings
        view = self.endpoints.view()
        reader = view.reader
        heads = [(await one.block()).number for one in await self.endpoints.admit()]
        genesis = (await reader.block(0)).hash.hex()
        chain_id, contract = settings.chain_id, settings.contract
        async with database.write() as tx:
            await claims.keep_genesis(tx, chain_id, genesis)
            await claims.keep_airnode(tx, chain_id, contract, self.keys.address)
            store_id = await claims.keep_store_id(tx)
        await asyncio.to_thread(
            self.stores.claim,
            Claim(
                airnode=self.keys.address,
                chain_id=chain_id,
                contract=contract,
                store_id=store_id,
                database=database.name,
                genesis=genesis,
            ),
            devnet=settings.devnet,
            succeed=self.succeed,
        )
        async with database.write() as tx:
            start = await claims.first_block(
                tx, chain_id, contract, settings.start_block, max(0, heads[0] - _LOOK_BACK)
            )
            # An endpoint that is behind does not know what the original has seen.
            restored_at = await claims.restored_at(tx, chain_id, contract, max(heads))
        return AirnodeService(
            chain_id=chain_id,
            contract=contract,
            database=database,
            pool=pool,
            reader=reader,
            witnesses=view.witnesses,
            sender=self.endpoints,
            depth=settings.depth,
            start_block=start,
            devnet=settings.devnet,
            protocol=AirnodeProtocol(contract, self.keys.address, chain_id),
            keys=self.keys,
            fees=FeePolicy(
                max_fee=int(settings.max_fee_gwei * _GWEI),
                priority_fee=int(settings.priority_fee_gwei * _GWEI),
                max_priority_fee=int(settings.max_priority_fee_gwei * _GWEI),
                legacy=(await reader.block()).legacy,
            ),
            policy=policy_of(settings),
            estimator=reader,
            restored_at=restored_at,
            keep_days=self.keep_days,
            rollup=await _charges_for_data(reader),
        )


async def _charges_for_data(reader: Web3Reader) -> bool:
    """
    Say whether the chain is a rollup of the OP stack that tells what it takes beside gas.
    """
    from oracle.chain.probe import is_op_stack  # noqa: PLC0415 - web3 is slow to import

    try:
        return await is_op_stack(reader)
    except ConfigError as error:
        # A wallet may lack more than is said; nothing else depends on it.
        log.get().warning("rollup_fee_unknown", error=str(error))
        return False


def check_mnemonic(place: str, settings: AirnodeChainSettings, keys: AirnodeKeys) -> None:
    """
    Let nobody's numbers be signed by a key that everybody has.
    """
    if keys.well_known and not settings.devnet:
        raise ConfigError(
            f"the mnemonic of airnode.mnemonic_file is a well-known one, and {place} is no "
            "devnet: create one with `oracle wallet create-mnemonic`"
        )


async def check_rrp(place: str, settings: AirnodeChainSettings, reader: Web3Reader) -> None:
    """
    Find an AirnodeRrpV0 where the configuration says that there is one.
    """
    from oracle.protocols.airnode_calls import (  # noqa: PLC0415 - slow to import
        decode_bool,
        encode_awaiting,
    )

    if not await reader.code(settings.contract):
        raise ConfigError(
            f"there is no contract at {settings.contract} on chain {settings.chain_id}: set "
            f"{place}.rrp to the chain's AirnodeRrpV0"
        )
    try:
        answer = await reader.call(settings.contract, encode_awaiting(bytes(32)))
        genuine = not decode_bool(answer)
    except (RevertedError, InconsistentChainError):
        genuine = False
    if not genuine:
        raise ConfigError(
            f"the contract at {settings.contract} is no AirnodeRrpV0: correct {place}.rrp"
        )


def policy_of(settings: AirnodeChainSettings) -> AirnodePolicy:
    """
    Return the policy that a section describes.

    Raises `ConfigError` when an endpoint id is to answer with one number and with an array.
    """
    from oracle.airnode_policy import AirnodePolicy, Choice  # noqa: PLC0415 - slow to import

    both = sorted(set(settings.uint256) & set(settings.uint256_array))
    if both:
        raise ConfigError(
            f"the endpoint id {both[0]} stands in uint256 and in uint256_array: an id answers in "
            "one way"
        )
    endpoints = {bytes.fromhex(one[2:]): False for one in settings.uint256}
    endpoints |= {bytes.fromhex(one[2:]): True for one in settings.uint256_array}
    hours = settings.max_age_hours
    return AirnodePolicy(
        endpoints=endpoints,
        authorizers=settings.authorizers,
        allowed=frozenset(settings.allowed),
        lower_confirmations=settings.lower_confirmations,
        draws_per_day=settings.draws_per_day,
        max_age=None if hours is None else round(hours * 3_600_000),
        hold=round(settings.hold_minutes * 60_000),
        held=Choice(settings.held),
        exposed=Choice(settings.exposed),
        gas_floor=settings.gas_floor,
        withdrawal_wait=round(settings.withdrawal_wait_minutes * 60_000),
    )


def load_airnode_keys(settings: AirnodeSettings) -> AirnodeKeys:
    """
    Open the mnemonic. Raises `ConfigError` when it cannot be.
    """
    from oracle.chain.mnemonics import unseal  # noqa: PLC0415 - eth_account is slow to import
    from oracle.chain.sponsor_wallets import AirnodeKeys  # noqa: PLC0415

    password = secret(
        settings.password,
        settings.password_file,
        what="password for the mnemonic",
        variable=variable_of("airnode", "password"),
    )
    path = settings.mnemonic_file
    return AirnodeKeys(unseal(read_secret_file(path), password, path))


def stores_file_of(settings: AirnodeSettings) -> StoresFile:
    """
    Return where it is written down which database answers for the Airnode.
    """
    from oracle.store.stores_file import StoresFile  # noqa: PLC0415 - slow to import

    mnemonic = settings.mnemonic_file
    return StoresFile(settings.stores_file or mnemonic.with_name(mnemonic.name + ".stores"))


def configured_airnodes(
    settings: AirnodeSettings | None, stack: AsyncExitStack, *, keep_days: float = 0
) -> list[ConfiguredAirnode]:
    """
    Return the Airnode on all of its chains; without `keep_days` nothing of it is ever pruned.

    Raises `ConfigError` as `ConfiguredAirnode` does, and where it cannot be written down which
    database answers.
    """
    if settings is None:
        return []
    keys = load_airnode_keys(settings)
    stores = stores_file_of(settings)
    stores.check_writable()
    return [
        ConfiguredAirnode(name, chain, keys, stores, stack, keep_days=keep_days)
        for name, chain in settings.chains.items()
    ]
