"""
`oracle run`: puts the node together, after making sure that it can work.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import click

from oracle import faults, log
from oracle.cli.options import config_option, log_json_option
from oracle.cli.sources import compose_supplies
from oracle.config import Settings, checked_endpoint, read_secret_file, secret, variable_of
from oracle.errors import ConfigError, RevertedError
from oracle.evm import TRANSACTION_GAS_CAP

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.chain.reader import Web3Reader
    from oracle.chain.wallets import LocalSigner
    from oracle.config import ChainSettings, PoolSettings
    from oracle.runner import Runner
    from oracle.store.seal import EpochFile, PoolKey

_GWEI = 10**9


@click.command(epilog="Example: oracle run --config oracle.toml")
@config_option
@click.option("--verbose", is_flag=True, help="Log every pass over the chain.")
@log_json_option
def run(config: Path, *, verbose: bool, log_json: bool) -> None:
    """
    Run the node until SIGINT or SIGTERM: watch, commit, fulfill.

    Everything that it would need is checked first, and it refuses to start with one sentence if
    anything is missing. Killing it at any moment loses nothing.
    """
    log.configure("debug" if verbose else "info", json=log_json)
    asyncio.run(_run(Settings.load(config)))


async def _run(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        runner = await compose(settings, stack)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, runner.stop)
        log.get().info("node_started")
        await runner.run()
        log.get().info("node_stopped")


async def compose(settings: Settings, stack: AsyncExitStack) -> Runner:
    """
    Check everything that the configuration claims and build the node from it.

    Raises `ConfigError` or `PoolKeyError` for what a person has to correct, `EndpointError` when
    the chain does not answer.
    """
    # Imported here: together they take a second, and `--help` needs none of them.
    from oracle.chain.fees import FeePolicy  # noqa: PLC0415
    from oracle.chain.reader import Web3Reader  # noqa: PLC0415
    from oracle.chain.sender import Web3Sender  # noqa: PLC0415
    from oracle.lane import Lane  # noqa: PLC0415
    from oracle.protocols.coordinator import CoordinatorProtocol  # noqa: PLC0415
    from oracle.runner import Runner  # noqa: PLC0415
    from oracle.service import Service  # noqa: PLC0415
    from oracle.store.cursors import get_setting, put_setting  # noqa: PLC0415
    from oracle.store.engine import Database  # noqa: PLC0415
    from oracle.store.pool import Pool  # noqa: PLC0415

    [(chain_name, chain)] = settings.chains.items()
    key, epoch = load_pool_key(settings.pool)
    epoch.check_writable()
    signer = _signer(chain_name, chain)
    supplies = compose_supplies(settings, key, stack, allow_simulated=chain.devnet)

    url = checked_endpoint(chain.endpoints[0].get_secret_value(), f"chains.{chain_name}.endpoints")
    reader = Web3Reader(url)
    stack.push_async_callback(reader.close)
    await _check_chain(chain_name, chain, reader, signer)
    window = CoordinatorProtocol.decode_uint(
        await reader.call(chain.coordinator, CoordinatorProtocol.WINDOW)
    )
    if chain.depth > window // 2:
        raise ConfigError(
            f"chains.{chain_name}.confirmations is {chain.depth}, above half of the coordinator's "
            "window of "
            f"{window} blocks: requests would expire before they are confirmed"
        )
    start_block = CoordinatorProtocol.decode_uint(
        await reader.call(chain.coordinator, CoordinatorProtocol.DEPLOYED_AT)
    )

    database = await Database.open(settings.database, exclusive=True)
    stack.push_async_callback(database.close)
    pool = Pool(key, epoch)
    if dropped := await pool.unlock(database):
        log.get().warning(
            "backup_detected",
            blocks_dropped=dropped,
            advice="the epoch file is ahead of the database: unbound entropy was destroyed, it "
            "may be used already",
        )
    genesis = (await reader.block(0)).hash.hex()
    async with database.write() as tx:
        known = await get_setting(tx, f"genesis:{chain.chain_id}")
        if known is None:
            await put_setting(tx, f"genesis:{chain.chain_id}", genesis)
        elif known != genesis:
            raise ConfigError(
                f"the database {settings.database} belongs to another chain with id "
                f"{chain.chain_id}: "
                "use a new database file (a devnet that was restarted is a new chain)"
            )

    lane = Lane(
        chain_id=chain.chain_id,
        signer=signer,
        fees=FeePolicy(
            max_fee=int(chain.max_fee_gwei * _GWEI),
            priority_fee=int(chain.priority_fee_gwei * _GWEI),
            max_priority_fee=int(chain.max_priority_fee_gwei * _GWEI),
        ),
        key=key,
    )
    service = Service(
        chain_id=chain.chain_id,
        contract=chain.coordinator,
        database=database,
        pool=pool,
        reader=reader,
        sender=Web3Sender(reader),
        lane=lane,
        protocol=CoordinatorProtocol(chain.chain_id, chain.coordinator),
        depth=chain.depth,
        window=window,
        start_block=start_block,
        runway=chain.runway,
        devnet=chain.devnet,
    )
    return Runner(
        service,
        supplies,
        fresh=settings.pool.fresh,
        poll_seconds=settings.poll_seconds,
    )


async def _check_chain(
    name: str, chain: ChainSettings, reader: Web3Reader, signer: LocalSigner
) -> None:
    from oracle.chain.probe import probe_block_hash  # noqa: PLC0415 - web3 is slow to import
    from oracle.chain.wallets import WELL_KNOWN  # noqa: PLC0415
    from oracle.protocols.coordinator import CoordinatorProtocol  # noqa: PLC0415

    actual = await reader.chain_id()
    if actual != chain.chain_id:
        raise ConfigError(
            f"chains.{name}.chain_id is {chain.chain_id}, but {reader.name} serves chain "
            f"{actual}: correct one of them"
        )
    if chain.devnet and not await reader.is_devnet():
        raise ConfigError(
            f"chains.{name}.devnet is true, but {reader.name} is no anvil or Hardhat node: remove "
            "`devnet`"
        )
    if chain.devnet:
        faults.arm()
    elif not chain.trusted:
        raise ConfigError(
            f"chains.{name} has one endpoint that is not declared trusted, and a lying endpoint "
            "could extract "
            "values early: run your own node and set trusted = true"
        )
    if not chain.devnet and signer.address in WELL_KNOWN:
        raise ConfigError(
            f"the wallet {signer.address} is a well-known test key: create one with `oracle "
            "wallet create`"
        )
    if not await reader.code(chain.coordinator):
        raise ConfigError(
            f"there is no contract at chains.{name}.coordinator {chain.coordinator}: deploy one "
            "with `oracle deploy`"
        )
    try:
        operator = (await reader.call(chain.coordinator, CoordinatorProtocol.OPERATOR))[-20:]
        answer = await reader.call(chain.coordinator, CoordinatorProtocol.CALLBACK_GAS_LIMIT_MAX)
    except RevertedError:
        raise ConfigError(
            f"the contract at chains.{name}.coordinator {chain.coordinator} is no "
            "QuantumCoordinator: deploy one with `oracle deploy`"
        ) from None
    largest = CoordinatorProtocol.largest_gas(CoordinatorProtocol.decode_uint(answer))
    if largest > min(TRANSACTION_GAS_CAP, (await reader.block()).gas_limit):
        raise ConfigError(
            f"a request to {chain.coordinator} can need {largest} gas, more than a transaction of "
            "this chain may have: deploy a coordinator with less callback gas"
        )
    if operator.hex() != signer.address[2:].lower():
        raise ConfigError(
            f"the operator of {chain.coordinator} is 0x{operator.hex()}, not the configured "
            "wallet "
            f"{signer.address}: use that wallet, or have the owner call setOperator"
        )
    await probe_block_hash(reader)


def load_pool_key(pool: PoolSettings) -> tuple[PoolKey, EpochFile]:
    """
    Return the pool key and the epoch file beside it.
    """
    from oracle.store.seal import EpochFile, PoolKey  # noqa: PLC0415 - cryptography is slow to import

    text = secret(pool.key, pool.key_file, what="pool key", variable=variable_of("pool", "key"))
    epoch_file = pool.epoch_file
    if epoch_file is None:
        if pool.key_file is None:
            raise ConfigError(
                "pool.epoch_file is missing: with the pool key in a variable, name a file for the "
                "pool's epoch "
                "that is not backed up with the database"
            )
        epoch_file = pool.key_file.with_name(pool.key_file.name + ".epoch")
    return PoolKey.from_text(text), EpochFile(epoch_file)


def _signer(name: str, chain: ChainSettings) -> LocalSigner:
    from oracle.chain import wallets  # noqa: PLC0415 - web3 is slow to import

    wallet = chain.wallet
    if wallet.keystore is None:
        return wallets.from_private_key(
            secret(
                wallet.key,
                wallet.key_file,
                what=f"wallet for chains.{name}",
                variable=variable_of("chains", name, "wallet", "key"),
            )
        )
    text = read_secret_file(wallet.keystore)
    password = secret(
        wallet.password,
        wallet.password_file,
        what=f"password for the keystore of chains.{name}",
        variable=variable_of("chains", name, "wallet", "password"),
    )
    return wallets.from_keystore(text, password, wallet.keystore)
