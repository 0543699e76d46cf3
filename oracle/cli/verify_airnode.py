"""
The part of `oracle verify` that is about Airnodes.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from oracle.cli.options import print_json
from oracle.errors import ConfigError
from oracle.given import checked_address, checked_endpoint, read_secret_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from oracle.verify.airnode_checks import AirnodeExamination
    from oracle.verify.airnode_pair import Judgement
    from oracle.verify.airnode_proof import Fulfillment

_SHOWN = {
    "ok": "[green]ok[/green]",
    "failed": "[red]FAILED[/red]",
    "not_checkable": "[yellow]not checkable[/yellow]",
}
_HASH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """
    What was said of a request to an Airnode on the command line.
    """

    rpc_url: str | None = None
    rrp: str | None = None
    airnode: str | None = None
    xpub: str | None = None
    from_block: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AirnodePlace:
    """
    Where a request to an Airnode is looked for; no `rrp`: where API3 put it on that chain.
    """

    url: str
    rrp: str | None
    airnode: str | None
    xpub: str | None
    from_block: int


def places(
    given: Given, deployments: Path | None, config: Path | None, chain: str | None
) -> list[AirnodePlace]:
    """
    Return where a request to an Airnode can be: as said, or as the files say.
    """
    if config is not None:
        found = _configured(given, config, chain)
    elif deployments is not None:
        found = _deployed(given, deployments)
    elif given.rrp or given.airnode or given.xpub:
        found = [given]
    else:
        found = []
    return [
        AirnodePlace(
            url=checked_endpoint(one.rpc_url, "the endpoint"),
            rrp=None if one.rrp is None else checked_address(one.rrp, "--rrp"),
            airnode=None if one.airnode is None else checked_address(one.airnode, "--airnode"),
            xpub=one.xpub,
            from_block=one.from_block or 0,
        )
        for one in found
        if one.rpc_url
    ]


def _configured(given: Given, config: Path, chain: str | None) -> list[Given]:
    from oracle.chain.mnemonics import announced  # noqa: PLC0415 - slow to import
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    known = Settings.load(config)
    section = known.airnode
    if section is None:
        return [given] if given.rrp else []
    if chain is not None and chain not in {*known.chains, *section.chains}:
        raise ConfigError(
            f"choose one of {config}'s chains with --chain: "
            + ", ".join(sorted({*known.chains, *section.chains}))
        )
    xpub = announced(read_secret_file(section.mnemonic_file), section.mnemonic_file)
    return [
        Given(
            rpc_url=given.rpc_url or settings.endpoints[0].get_secret_value(),
            rrp=given.rrp or settings.contract,
            airnode=given.airnode or xpub.airnode,
            xpub=given.xpub or str(xpub),
            from_block=given.from_block,
        )
        for name, settings in section.chains.items()
        if chain in (None, name)
    ]


def _deployed(given: Given, deployments: Path) -> list[Given]:
    try:
        found = json.loads(deployments.read_text(encoding="utf-8"))
        if given.rrp is None and "airnodeRrp" not in found:
            return []
        return [
            Given(
                rpc_url=given.rpc_url or found["rpcUrl"],
                rrp=given.rrp or found["airnodeRrp"],
                airnode=given.airnode or found.get("airnode"),
                xpub=given.xpub or found.get("airnodeXpub"),
                from_block=given.from_block,
            )
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"{deployments} is no file of deployments: give the one that `oracle devnet` writes"
        ) from None


def verify(request_id: bytes, found: Sequence[AirnodePlace], *, as_json: bool) -> NoReturn:
    """
    Check a request where it can be, print what was found, and exit by it.
    """
    if not found:
        raise ConfigError("there is no endpoint: give --rpc-url, --config or --deployments")
    for place in found:
        examination = asyncio.run(_examine(request_id, place))
        if examination.state != "not_found":
            break
    if as_json:
        print_json(document(examination))
    else:
        _print(examination)
    sys.exit(0 if examination.fits else 1)


async def _examine(request_id: bytes, place: AirnodePlace) -> AirnodeExamination:
    from oracle.chain.reader import Web3Reader  # noqa: PLC0415 - web3 is slow to import
    from oracle.protocols.airnode_published import rrp_address  # noqa: PLC0415
    from oracle.verify.airnode_checks import examine_airnode  # noqa: PLC0415
    from oracle.verify.airnode_evidence import gather_airnode  # noqa: PLC0415

    reader = Web3Reader(place.url)
    try:
        chain_id = await reader.chain_id()
        contract = place.rrp or rrp_address(chain_id)
        if contract is None:
            raise ConfigError(f"API3 published no AirnodeRrpV0 on chain {chain_id}: give --rrp")
        return examine_airnode(
            await gather_airnode(
                reader,
                chain_id,
                contract,
                request_id,
                from_block=place.from_block,
                airnode=place.airnode,
                xpub=place.xpub,
            )
        )
    finally:
        await reader.close()


def document(examination: AirnodeExamination) -> dict[str, Any]:
    """
    Return what `oracle verify --json` prints of a request to an Airnode.
    """
    evidence, asked = examination.evidence, examination.asked
    settled = evidence.settled
    return {
        "requestId": _hex(evidence.request_id),
        "chainId": evidence.chain_id,
        "airnodeRrp": evidence.contract,
        "block": evidence.head.number,
        "state": str(examination.state),
        "explanation": examination.explanation,
        "fits": examination.fits,
        "checks": [
            {
                "name": check.name,
                "verdict": str(check.verdict),
                "reason": check.reason,
                "detail": check.detail,
            }
            for check in examination.checks
        ],
        "words": [_hex(word) for word in examination.words],
        "request": asked
        and {
            "block": asked.log.block_number,
            "transaction": _hex(asked.log.transaction_hash),
            "airnode": asked.airnode,
            "requester": asked.requester,
            "endpointId": asked.endpoint_id and _hex(asked.endpoint_id),
            "templateId": asked.template_id and _hex(asked.template_id),
            "sponsor": asked.sponsor,
            "sponsorWallet": asked.sponsor_wallet,
            "fulfillAddress": asked.target,
            "fulfillFunctionId": _hex(asked.function),
            "parameters": _hex(asked.parameters),
        },
        "settlement": settled
        and {
            "block": settled.log.block_number,
            "transaction": _hex(settled.log.transaction_hash),
        },
    }


def _print(examination: AirnodeExamination) -> None:
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415

    # Where nobody looks, nothing is folded.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False)
    console.print(f"request {_hex(examination.evidence.request_id)} to an Airnode")
    console.print(f"{examination.state.replace('_', ' ')}: {examination.explanation}")
    table = Table(show_header=False)
    for check in examination.checks:
        table.add_row(check.name, _SHOWN[check.verdict], check.detail)
    Console(width=console.width, highlight=False).print(table)
    if examination.words:
        console.print("the Airnode's answer:")
    for word in examination.words:
        click.echo(_hex(word))
    if examination.failed:
        click.echo(f"{len(examination.failed)} of the checks failed", err=True)


def print_pair(pair: tuple[str, str], url: str | None, *, as_json: bool) -> NoReturn:
    """
    Judge two fulfillments, print what they prove, and exit with 1 if that is misbehaviour.
    """
    from oracle.verify.airnode_pair import PairVerdict, judge_pair  # noqa: PLC0415 - slow to import

    first, second = asyncio.run(_calldata(pair, url))
    judgement = judge_pair(first, second)
    if judgement.verdict is PairVerdict.NO_FULFILLMENT:
        raise ConfigError(f"{judgement.detail}: give two that are")
    if as_json:
        print_json(_pair_document(judgement))
    else:
        click.echo(judgement.detail)
        for given in judgement.fulfillments:
            click.echo(f"  data 0x{given.data.hex()}  signature 0x{given.signature.hex()}")
    sys.exit(1 if judgement.proves else 0)


async def _calldata(pair: tuple[str, str], url: str | None) -> tuple[bytes, bytes]:
    first, second = [await _read(text, url) for text in pair]
    return first, second


async def _read(text: str, url: str | None) -> bytes:
    from oracle.verify.airnode_pair import calldata_of  # noqa: PLC0415 - slow to import
    from oracle.verify.airnode_proof import read_fulfillment  # noqa: PLC0415

    if not re.fullmatch(r"0x([0-9a-fA-F]{2})+", text):
        raise ConfigError("a fulfillment is given as 0x and hexadecimal digits")
    raw = bytes.fromhex(text[2:])
    if len(raw) == _HASH:
        return await _fetch(raw, url)
    return raw if read_fulfillment(raw) else calldata_of(raw) or raw


async def _fetch(transaction_hash: bytes, url: str | None) -> bytes:
    from oracle.chain.reader import Web3Reader  # noqa: PLC0415 - web3 is slow to import

    if url is None:
        raise ConfigError("a hash needs an endpoint: give --rpc-url, or the signed transactions")
    reader = Web3Reader(url)
    try:
        # Also one that was not mined, which the endpoint has in its mempool.
        found = await reader.rpc("eth_getTransactionByHash", _hex(transaction_hash))
    finally:
        await reader.close()
    try:
        return bytes.fromhex(found["input"].removeprefix("0x"))
    except (TypeError, KeyError, AttributeError, ValueError):
        raise ConfigError(
            f"the endpoint knows no transaction {_hex(transaction_hash)}: give the signed "
            "transaction itself"
        ) from None


def _pair_document(judgement: Judgement) -> dict[str, Any]:
    def shown(given: Fulfillment) -> dict[str, object]:
        return {
            "requestId": _hex(given.request_id),
            "airnode": given.airnode,
            "data": _hex(given.data),
            "signature": _hex(given.signature),
        }

    return {
        "verdict": str(judgement.verdict),
        "misbehaviour": judgement.proves,
        "detail": judgement.detail,
        "fulfillments": [shown(given) for given in judgement.fulfillments],
    }


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
