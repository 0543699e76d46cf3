"""
What `oracle check` finds of the Airnode: its mnemonic, and what its chains say.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from oracle.cli import claims
from oracle.cli.airnodes import (
    check_mnemonic,
    check_rrp,
    load_airnode_keys,
    policy_of,
    stores_file_of,
)
from oracle.cli.chains import checked_endpoints
from oracle.cli.check_chains import check_endpoints, check_heads, check_logs, check_opinions
from oracle.cli.findings import Findings
from oracle.errors import ConfigError
from oracle.given import read_secret_file
from oracle.protocols.airnode_published import CONFIRMATIONS

if TYPE_CHECKING:
    from oracle.airnode_settings import AirnodeChainSettings, AirnodeSettings
    from oracle.chain.sponsor_wallets import AirnodeKeys
    from oracle.cli.check_chains import Answering
    from oracle.config import Settings
    from oracle.store.engine import Database


async def check_airnode(settings: Settings, findings: Findings, database: Database | None) -> None:
    """
    Look at the Airnode on all of its chains at the same time; nothing where there is none.
    """
    if settings.airnode is None:
        return
    keys = _check_keys(settings.airnode, findings)
    chains = settings.airnode.chains
    # Each has its own, so that they stay together in the table.
    parts = [Findings() for _ in chains]
    await asyncio.gather(
        *(
            _check_chain(f"airnode.chains.{name}", chain, settings, part, keys, database)
            for (name, chain), part in zip(chains.items(), parts, strict=True)
        )
    )
    for part in parts:
        findings.found += part.found


def _check_keys(settings: AirnodeSettings, findings: Findings) -> AirnodeKeys | None:
    from oracle.chain.mnemonics import announced  # noqa: PLC0415 - eth_account is slow to import

    keys = None
    with findings.looking("airnode", "mnemonic"):
        keys = load_airnode_keys(settings)
        findings.ok("airnode", "mnemonic", f"it opens: the Airnode is {keys.address}")
        path = settings.mnemonic_file
        said = announced(read_secret_file(path), path)
        if str(said) != str(keys.xpub):
            raise ConfigError(
                f"{path} announces the Airnode {said.airnode}, and its mnemonic is that of "
                f"{keys.address}: requesters that derive wallets from that xpub are never "
                "answered; import the mnemonic anew with `oracle wallet import-mnemonic`"
            )
    return keys


async def _check_chain(
    where: str,
    chain: AirnodeChainSettings,
    settings: Settings,
    findings: Findings,
    keys: AirnodeKeys | None,
    database: Database | None,
) -> None:
    if keys is not None:
        with findings.looking(where, "mnemonic", "it may be used on this chain"):
            check_mnemonic(where, chain, keys)
    with findings.looking(where, "opinions"):
        check_opinions(where, chain, checked_endpoints(where, chain), findings)
    _check_policy(where, chain, findings)
    _check_depth(where, chain, findings)
    await check_heads(where, chain, settings, findings)
    async with AsyncExitStack() as stack:
        answering = await check_endpoints(where, chain, findings, stack)
        if answering:
            await _check_contracts(where, chain, answering[0], findings)
            if database is not None:
                await _check_store(where, chain, answering[0], keys, database, findings)
            if keys is not None:
                await _check_claim(where, chain, answering[0], keys, settings, database, findings)


def _check_policy(where: str, chain: AirnodeChainSettings, findings: Findings) -> None:
    with findings.looking(where, "endpoint ids"):
        policy_of(chain)
        single, array = len(chain.uint256), len(chain.uint256_array)
        if not single + array:
            raise ConfigError(
                f"{where} serves no endpoint id, so every request is refused: leave uint256 and "
                "uint256_array out, for the published ones, or name yours"
            )
        said = f"{single} are answered with one number, {array} with an array"
        findings.ok(where, "endpoint ids", said)
    if chain.draws_per_day is None and not chain.devnet:
        findings.warn(
            where,
            "cap",
            "a sponsor may have as many numbers as it wants",
            "requests cost nothing here, and one sponsor can empty the pool: set "
            "draws_per_sponsor",
        )


def _check_depth(where: str, chain: AirnodeChainSettings, findings: Findings) -> None:
    published = CONFIRMATIONS.get(chain.chain_id)
    if chain.devnet or published is None or chain.depth >= published:
        said = f"{chain.depth} confirmations"
        if published is None and not chain.devnet:
            said += ", on a chain that API3's QRNG did not serve"
        findings.ok(where, "depth", said)
    else:
        findings.warn(
            where,
            "depth",
            f"{chain.depth} confirmations, fewer than the {published} of API3's QRNG",
            "a number that was broadcast is public before a request that a reorg includes again: "
            "leave `confirmations` out",
        )
    if chain.lower_confirmations and not chain.devnet:
        findings.warn(
            where,
            "requesters' depth",
            "`_minConfirmations` may lower the depth, down to 0",
            "a requester that does so can have its number replayed by a reorg: set "
            "lower_confirmations = false",
        )


async def _check_contracts(
    where: str, chain: AirnodeChainSettings, first: Answering, findings: Findings
) -> None:
    await check_logs(where, chain.contract, first, findings)
    with findings.looking(where, "contract", f"AirnodeRrpV0 is at {chain.contract}"):
        await check_rrp(where, chain, first.reader)
    for authorizer in chain.authorizers:
        with findings.looking(where, "authorizer", f"there is a contract at {authorizer}"):
            if not await first.reader.code(authorizer):
                raise ConfigError(
                    f"there is no contract at the authorizer {authorizer}, so nobody can be "
                    f"asked and no request is let through: correct {where}.authorizers"
                )


async def _check_store(
    where: str,
    chain: AirnodeChainSettings,
    first: Answering,
    keys: AirnodeKeys | None,
    database: Database,
    findings: Findings,
) -> None:
    with findings.looking(where, "database", "the database is of this chain and this Airnode"):
        genesis = (await first.reader.block(0)).hash.hex()
        async with database.read() as connection:
            await claims.check_genesis(connection, chain.chain_id, genesis)
            if keys is not None:
                await claims.check_airnode(
                    connection, chain.chain_id, chain.contract, keys.address
                )


async def _check_claim(  # noqa: PLR0913, PLR0917 - what is held together
    where: str,
    chain: AirnodeChainSettings,
    first: Answering,
    keys: AirnodeKeys,
    settings: Settings,
    database: Database | None,
    findings: Findings,
) -> None:
    """
    See whether another database answers, as a start would; one that is yet to be made is another.
    """
    from oracle.store.cursors import get_setting  # noqa: PLC0415 - slow to import
    from oracle.store.stores_file import Claim  # noqa: PLC0415 - as above

    assert settings.airnode is not None
    with findings.looking(where, "answers", "no other database answers for the Airnode here"):
        store_id = None
        if database is not None:
            async with database.read() as connection:
                store_id = await get_setting(connection, claims.STORE_ID)
        claim = Claim(
            airnode=keys.address,
            chain_id=chain.chain_id,
            contract=chain.contract,
            store_id=store_id or "",
            database="" if database is None else database.name,
            genesis=(await first.reader.block(0)).hash.hex(),
        )
        stores = stores_file_of(settings.airnode)
        await asyncio.to_thread(stores.check, claim, devnet=chain.devnet)
