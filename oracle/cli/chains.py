"""
From a `[chains.NAME]` section to the service that it describes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from oracle import faults
from oracle.cli import claims
from oracle.errors import ConfigError
from oracle.given import (
    checked_endpoint,
    checked_websocket,
    read_secret_file,
    secret,
    variable_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AsyncExitStack
    from decimal import Decimal

    from oracle.chain.failover import Endpoint, Endpoints
    from oracle.chain.heads import HeadSubscription
    from oracle.chain.wallets import LocalSigner
    from oracle.chain_settings import EndpointSettings
    from oracle.config import ChainSettings
    from oracle.coordinator_service import Service
    from oracle.store.engine import Database
    from oracle.store.pool import Pool

_GWEI = 10**9


class ConfiguredChain:
    """
    One coordinator on one chain, before its endpoints have answered and afterwards.
    """

    def __init__(
        self, name: str, settings: ChainSettings, stack: AsyncExitStack, *, keep_days: float
    ) -> None:
        """
        Read the wallet and name the endpoints; `stack` closes them.

        Raises `ConfigError` for what is wrong whatever the chain says.
        """
        urls = checked_endpoints(f"chains.{name}", settings)
        self.name = name
        self.settings = settings
        self.lease = f"native:{settings.chain_id}:{settings.coordinator.lower()}"
        self.heads = configured_heads(f"chains.{name}", settings)
        self.keep_days = keep_days
        self.signer = configured_signer(name, settings)
        self.service: Service | None = None
        self.endpoints = configured_endpoints(f"chains.{name}", settings, urls)
        stack.push_async_callback(self.endpoints.close)

    async def check(self) -> None:
        """
        Compare what the configuration claims with what the endpoints say; touch nothing.

        Raises `ConfigError` for what a person has to correct, `EndpointError` when no endpoint
        answers.
        """
        from oracle.chain.probe import probe_block_hash  # noqa: PLC0415 - web3 is slow to import

        name, settings = self.name, self.settings
        first, *_ = await self.endpoints.admit()
        if settings.devnet:
            faults.arm()
        await claims.check_code(name, settings, first)
        terms = await claims.read_terms(name, settings, first)
        claims.check_gas(settings, terms, await first.block())
        claims.check_operator(settings, terms, self.signer.address)
        claims.check_depth(name, settings, terms)
        await claims.check_fee_band(name, settings, first)
        await probe_block_hash(first)

    async def connect(self, database: Database, pool: Pool) -> Service:
        """
        Return the service for the next pass, checked and ready to work; the same one when called
        again, but for the endpoints.

        Raises as `check` does, and `ConfigError` when the database knows another chain by this id.
        """
        if self.service is None:
            await self.check()
            self.service = await self._build(database, pool)
        view = self.endpoints.view()
        if (view.reader, view.witnesses) != (self.service.reader, self.service.witnesses):
            self.service = replace(self.service, reader=view.reader, witnesses=view.witnesses)
        return self.service

    async def _build(self, database: Database, pool: Pool) -> Service:
        # Imported here: together they take a second, and `--help` needs none of them.
        from oracle.chain.fees import FeePolicy  # noqa: PLC0415
        from oracle.coordinator_service import Service  # noqa: PLC0415
        from oracle.lane import Lane  # noqa: PLC0415
        from oracle.pricing import FeeBand  # noqa: PLC0415
        from oracle.protocols.coordinator import CoordinatorProtocol  # noqa: PLC0415
        from oracle.store.cursors import put_window  # noqa: PLC0415

        settings = self.settings
        view = self.endpoints.view()
        reader = view.reader
        window, start_block = [
            CoordinatorProtocol.decode_uint(await reader.call(settings.coordinator, view))
            for view in (CoordinatorProtocol.WINDOW, CoordinatorProtocol.DEPLOYED_AT)
        ]
        genesis = (await reader.block(0)).hash.hex()
        async with database.write() as tx:
            await claims.keep_genesis(tx, settings.chain_id, genesis)
            await put_window(tx, settings.chain_id, settings.coordinator, window)
        lane = Lane(
            chain_id=settings.chain_id,
            contract=settings.coordinator,
            signer=self.signer,
            fees=FeePolicy(
                max_fee=int(settings.max_fee_gwei * _GWEI),
                priority_fee=int(settings.priority_fee_gwei * _GWEI),
                max_priority_fee=int(settings.max_priority_fee_gwei * _GWEI),
                legacy=(await reader.block()).legacy,
            ),
            key=pool.key,
        )
        await claims.check_lane(self.name, settings, self.signer.address, database)
        await lane.prepare(database, reader, view.witnesses)
        return Service(
            chain_id=settings.chain_id,
            contract=settings.coordinator,
            database=database,
            pool=pool,
            reader=reader,
            witnesses=view.witnesses,
            sender=self.endpoints,
            lane=lane,
            protocol=CoordinatorProtocol(settings.chain_id, settings.coordinator),
            depth=settings.depth,
            window=window,
            start_block=start_block,
            runway=settings.runway,
            max_loss=_wei(settings.max_loss_gwei),
            fee_band=None
            if settings.fee is None
            else FeeBand(
                lowest=settings.fee.gas_margin_bps_min,
                highest=settings.fee.gas_margin_bps_max,
                gain_percent=settings.fee.gain_percent,
                pause=settings.fee.pause_blocks,
            ),
            devnet=settings.devnet,
            keep_days=self.keep_days,
        )


def _wei(gwei: Decimal | None) -> int | None:
    return None if gwei is None else int(gwei * _GWEI)


def configured_chains(
    chains: Mapping[str, ChainSettings], stack: AsyncExitStack, *, keep_days: float = 0
) -> list[ConfiguredChain]:
    """
    Return all configured chains; without `keep_days` nothing of theirs is ever pruned.

    Raises `ConfigError` as `ConfiguredChain` does, and when two coordinators of one chain share a
    wallet: a nonce has one owner.
    """
    configured = [
        ConfiguredChain(name, settings, stack, keep_days=keep_days)
        for name, settings in chains.items()
    ]
    claims.check_wallets(
        [(chain.name, chain.settings.chain_id, chain.signer.address) for chain in configured]
    )
    return configured


def checked_endpoints(place: str, settings: EndpointSettings) -> list[str]:
    """
    Return the URLs of a chain's endpoints.

    Raises `ConfigError` when one is none, or when nobody gives a second opinion.
    """
    urls = [
        checked_endpoint(url.get_secret_value(), f"{place}.endpoints")
        for url in settings.endpoints
    ]
    if settings.is_trusted:
        return urls
    # Two paths to one host are one opinion.
    if len({urlsplit(url).hostname for url in urls}) < 2:  # noqa: PLR2004 - a second opinion
        raise ConfigError(
            f"{place} has one endpoint that is not declared trusted, and a lying endpoint "
            "could extract values early: add an endpoint of somebody else, or run your own node "
            "and set trusted = true"
        )
    return urls


def configured_endpoints(place: str, settings: EndpointSettings, urls: Sequence[str]) -> Endpoints:
    """
    Return a chain's endpoints, none of which has answered yet.
    """
    from oracle.chain.failover import Endpoints  # noqa: PLC0415 - web3 is slow to import

    async def admit(endpoint: Endpoint) -> None:
        await claims.check_chain_id(place, settings, endpoint)
        await claims.check_devnet(place, settings, endpoint)

    return Endpoints(urls, settings.chain_id, trusted=settings.is_trusted, admit=admit)


def configured_heads(place: str, settings: EndpointSettings) -> HeadSubscription | None:
    """
    Return what announces a chain's heads, if anything is configured to.

    Raises `ConfigError` when its URL is none.
    """
    from oracle.chain.heads import HeadSubscription  # noqa: PLC0415 - aiohttp is slow to import

    if settings.websocket is None:
        return None
    url = checked_websocket(settings.websocket.get_secret_value(), f"{place}.websocket")
    return HeadSubscription(url, settings.chain_id)


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
