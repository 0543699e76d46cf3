"""
What `oracle check` asks the endpoints of a chain.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from oracle.chain.probe import probe_block_hash
from oracle.chain.reader import Web3Reader
from oracle.cli import claims
from oracle.cli.acts import configured_place, ether
from oracle.cli.chains import checked_endpoints, configured_heads, configured_signer
from oracle.cli.check_seeds import check_runway, check_seeds
from oracle.cli.findings import Findings
from oracle.cli.wallet_money import balance_of
from oracle.errors import EndpointError, OracleError
from oracle.given import checked_endpoint, is_near
from oracle.log import redact_urls
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.steps.commit import MAX_ROOTS
from oracle.steps.watch import RANGE
from oracle.store.engine import Database

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.chain_settings import EndpointSettings
    from oracle.config import ChainSettings, Settings
    from oracle.evm import Block


_LAG = 5  # blocks
_FUTURE, _STANDSTILL = 15, 300  # seconds
_FEW = 100  # fulfillments
_GWEI = 10**9


@dataclass(frozen=True, slots=True)
class Answering:
    """
    An endpoint, and its head.
    """

    reader: Web3Reader
    head: Block


async def check_chains(settings: Settings, findings: Findings, database: Database | None) -> None:
    """
    Look at every chain, all at the same time.
    """
    # Each has its own, so that they stay together in the table.
    parts = [Findings() for _ in settings.chains]
    wallets = await asyncio.gather(
        *(
            _check_chain(name, chain, settings, part, database)
            for (name, chain), part in zip(settings.chains.items(), parts, strict=True)
        )
    )
    for part in parts:
        findings.found += part.found
    with findings.looking("chains", "wallets"):
        claims.check_wallets(
            (name, chain.chain_id, wallet)
            for (name, chain), wallet in zip(settings.chains.items(), wallets, strict=True)
            if wallet is not None
        )


async def _check_chain(
    name: str,
    chain: ChainSettings,
    settings: Settings,
    findings: Findings,
    database: Database | None,
) -> str | None:
    where = f"chains.{name}"
    wallet = None
    with findings.looking(where, "wallet"):
        wallet = configured_signer(name, chain).address
        findings.ok(where, "wallet", f"its key loads: {wallet}")
    with findings.looking(where, "opinions"):
        check_opinions(where, chain, checked_endpoints(where, chain), findings)
    await check_heads(where, chain, settings, findings)
    async with AsyncExitStack() as stack:
        answering = await check_endpoints(where, chain, findings, stack)
        if answering:
            first = answering[0]
            await _check_contract(name, chain, first, wallet, findings)
            with findings.looking(where, "seeds"):
                if database is not None or not await Database.exists(settings.database):
                    await check_seeds(where, chain, first.reader, database, findings)
            if wallet is not None:
                await _check_money(name, settings, first, wallet, findings)
            if database is not None:
                await _check_store(name, chain, first, wallet, database, findings)
    return wallet


def check_opinions(
    where: str, chain: EndpointSettings, urls: Sequence[str], findings: Findings
) -> None:
    """
    Say who has to agree, and who cannot disagree.
    """
    said = "the first endpoint is trusted" if chain.is_trusted else "two hosts have to agree"
    findings.ok(where, "opinions", said)
    owners: dict[str, list[str]] = {}
    for url in urls:
        owners.setdefault(provider_of(urlsplit(url).hostname or ""), []).append(redact_urls(url))
    for owner, names in owners.items():
        if len(names) > 1:
            findings.warn(
                where,
                "opinions",
                f"{' and '.join(names)} are both of {owner}",
                "what one provider serves in two places fails together, and is one opinion: add "
                "an endpoint of somebody else",
            )


def provider_of(host: str) -> str:
    """
    Return whose a host seems to be: the domain under which names are given away, or the host
    itself where it has none.
    """
    labels = host.lower().rstrip(".").split(".")
    if is_near(host) or all(label.isdigit() for label in labels) or ":" in host:
        return host
    # "co.uk" and its like give names away too.
    many = 3 if len(labels[-1]) == 2 and len(labels[-2]) <= 3 else 2  # noqa: PLR2004 - letters
    return ".".join(labels[-many:])


async def check_endpoints(
    where: str, chain: EndpointSettings, findings: Findings, stack: AsyncExitStack
) -> list[Answering]:
    """
    Return the endpoints that serve the chain, with their heads, and hold them against each other.
    """
    readers = []
    for url in chain.endpoints:
        with findings.looking(where, "endpoint"):
            checked = checked_endpoint(url.get_secret_value(), f"{where}.endpoints")
            readers.append(Web3Reader(checked))
            stack.push_async_callback(readers[-1].close)

    async def asked(reader: Web3Reader) -> Answering | None:
        with findings.looking(where, f"endpoint {reader.name}"):
            await claims.check_chain_id(where, chain, reader)
            await claims.check_devnet(where, chain, reader)
            head = await reader.block()
            findings.ok(
                where,
                f"endpoint {reader.name}",
                f"serves chain {chain.chain_id}, head is block {head.number}",
            )
            return Answering(reader, head)
        return None

    answering = [one for one in await asyncio.gather(*map(asked, readers)) if one is not None]
    if answering:
        _check_agreement_of_clocks(where, chain, answering, findings)
        await _check_branch(where, chain, answering, findings)
    return answering


async def check_heads(
    where: str, chain: EndpointSettings, settings: Settings, findings: Findings
) -> None:
    """
    Try whoever announces the chain's heads.
    """
    with findings.looking(where, "websocket"):
        heads = configured_heads(where, chain)
        if heads is None:
            return
        try:
            await heads.probe()
        except EndpointError as error:
            findings.warn(
                where,
                f"websocket {heads.name}",
                str(error),
                "the node works without it, and asks for the head every "
                f"{settings.poll_seconds:g} seconds",
            )
        else:
            said = f"announces the heads of chain {chain.chain_id}"
            findings.ok(where, f"websocket {heads.name}", said)


def _check_agreement_of_clocks(
    where: str, chain: EndpointSettings, answering: Sequence[Answering], findings: Findings
) -> None:
    newest = max((one.head for one in answering), key=lambda head: head.number)
    for one in answering:
        if (behind := newest.number - one.head.number) > _LAG:
            findings.warn(where, f"endpoint {one.reader.name}", f"is {behind} blocks behind")
    if chain.devnet:
        return
    age = round(time.time() - newest.timestamp)
    if age < -_FUTURE:
        findings.fail(
            where,
            "clock",
            f"the head is {-age} seconds ahead of this machine's clock",
            "set the clock, as with NTP: quotas and certificates depend on it",
        )
    elif age > _STANDSTILL:
        findings.warn(
            where,
            "clock",
            f"the head is {age} seconds old",
            "the chain or the endpoint stands still, or this machine's clock is ahead",
        )
    else:
        findings.ok(where, "clock", f"the head is {max(0, age)} seconds old")


async def _check_branch(
    where: str, chain: EndpointSettings, answering: Sequence[Answering], findings: Findings
) -> None:
    number = max(0, min(one.head.number for one in answering) - chain.depth)
    hashes = {}
    for one in answering:
        with findings.looking(where, f"endpoint {one.reader.name}"):
            hashes[one.reader.name] = (await one.reader.block(number)).hash
    if len(set(hashes.values())) > 1:
        findings.fail(
            where,
            "agreement",
            f"the endpoints show different blocks {number}: {', '.join(hashes)}",
            "one of them is on another branch, or lies: nothing is revealed before they agree",
        )
    elif len(hashes) > 1:
        findings.ok(where, "agreement", f"{len(hashes)} endpoints show the same block {number}")


async def _check_contract(
    name: str, chain: ChainSettings, first: Answering, wallet: str | None, findings: Findings
) -> None:
    where, reader, head = f"chains.{name}", first.reader, first.head
    with findings.looking(where, "block hashes", "BLOCKHASH is the hash of the headers"):
        await probe_block_hash(reader)
    await check_logs(where, chain.coordinator, first, findings)
    try:
        await claims.check_code(name, chain, reader)
        terms = await claims.read_terms(name, chain, reader)
    except OracleError:
        with findings.looking(where, "coordinator"):
            raise
        return
    findings.ok(where, "coordinator", f"{chain.coordinator}, a window of {terms.window} blocks")
    with findings.looking(where, "callback gas", f"at most {terms.most_callback_gas} gas"):
        claims.check_gas(chain, terms, head)
    with findings.looking(where, "depth", f"{chain.depth} confirmations of {terms.window}"):
        claims.check_depth(name, chain, terms)
    if chain.fee is not None:
        with findings.looking(where, "fee band", "within the coordinator's bound"):
            await claims.check_fee_band(name, chain, reader)
    if wallet is not None:
        with findings.looking(where, "operator", "the wallet is the operator"):
            claims.check_operator(chain, terms, wallet)
    with findings.looking(where, "runway"):
        await check_runway(where, chain, first.reader, findings)


async def check_logs(where: str, contract: str, first: Answering, findings: Findings) -> None:
    """
    Ask for logs of as many blocks as the node asks for.
    """
    head = first.head.number
    try:
        await first.reader.logs(contract, max(0, head - RANGE + 1), head)
    except EndpointError as error:
        with findings.looking(where, "logs"):
            await first.reader.logs(contract, head, head)
            findings.warn(
                where,
                "logs",
                f"{RANGE} blocks at once are refused: {error}",
                "the node asks for fewer, which takes longer after a pause",
            )
    else:
        findings.ok(where, "logs", f"eth_getLogs answers for {RANGE} blocks at once")


async def _check_money(
    name: str, settings: Settings, first: Answering, wallet: str, findings: Findings
) -> None:
    where, chain = f"chains.{name}", settings.chains[name]
    with findings.looking(where, "balance"):
        row = await balance_of(
            configured_place(settings, name), first.reader, chain.chain_id, wallet
        )
        price = row["baseFeeWei"] + int(chain.priority_fee_gwei * _GWEI)
        commit = CoordinatorProtocol.commit_gas(MAX_ROOTS) * price
        wanted = _FEW * row["fulfillmentWei"] + commit
        balance = row["balanceWei"]
        commits = "any number of" if not commit else str(balance // commit)
        said = (
            f"{wallet} has {ether(balance)}: at this base fee {row['fulfillments']} fulfillments "
            f"or {commits} commits of {MAX_ROOTS} roots"
        )
        if not balance:
            findings.fail(where, "balance", said, f"send it {ether(wanted)} to begin with")
        elif balance < wanted:
            findings.warn(where, "balance", said, f"send it {ether(wanted - balance)} more")
        else:
            findings.ok(where, "balance", said)
        if price > chain.max_fee_gwei * _GWEI:
            findings.warn(
                where,
                "fees",
                f"gas costs {price / _GWEI:.9g} gwei now, above max_fee_gwei",
                "nothing is sent until it falls: raise the cap if requests must not wait",
            )


async def _check_store(
    name: str,
    chain: ChainSettings,
    first: Answering,
    wallet: str | None,
    database: Database,
    findings: Findings,
) -> None:
    where = f"chains.{name}"
    with findings.looking(where, "database", "the database is of this chain"):
        genesis = (await first.reader.block(0)).hash.hex()
        async with database.read() as connection:
            await claims.check_genesis(connection, chain.chain_id, genesis)
        if wallet is not None:
            await claims.check_lane(name, chain, wallet, database)
