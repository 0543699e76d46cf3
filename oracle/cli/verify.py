"""
`oracle verify`: one request, checked from an endpoint alone.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oracle.cli.acts import check_coordinators
from oracle.cli.options import json_option, print_json
from oracle.errors import ConfigError
from oracle.given import checked_address, checked_endpoint

if TYPE_CHECKING:
    from oracle.config import ChainSettings, Settings
    from oracle.verify.judgment import Examination

_SHOWN = {
    "ok": "[green]ok[/green]",
    "failed": "[red]FAILED[/red]",
    "not_checkable": "[yellow]not checkable[/yellow]",
}


@click.command(
    epilog="Example: oracle verify 0x5f2c…91 --rpc-url http://127.0.0.1:8545 "
    "--coordinator 0x5FbDB2315678afecb367f032d93F642f64180aa3"
)
@click.argument("request_id", metavar="REQUEST", required=False)
@click.option(
    "--rpc-url", envvar="ORACLE_RPC_URL", help="JSON-RPC endpoint; or set ORACLE_RPC_URL."
)
@click.option("--coordinator", help="Address of the QuantumCoordinator.")
@click.option("--rrp", help="A request to an Airnode: address of AirnodeRrpV0. Default: API3's.")
@click.option("--airnode", help="A request to an Airnode: whom its operator announced.")
@click.option("--xpub", help="That Airnode's xpub: checks the sponsor wallet too.")
@click.option(
    "--deployments",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take what is not given from the file that `oracle devnet` writes.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take what is not given from a node's configuration.",
)
@click.option("--chain", help="Which of the configuration's chains, where there are several.")
@click.option(
    "--from-block",
    type=click.IntRange(0),
    help="Look for the request from here on. Default: the coordinator's deployment.",
)
@click.option(
    "--pair",
    nargs=2,
    metavar="TX1 TX2",
    help="Instead of REQUEST: two fulfillments of an Airnode, each the hash of a transaction, a "
    "signed transaction, or its calldata.",
)
@json_option
def verify(  # noqa: PLR0913, PLR0917 - one parameter per option
    request_id: str | None,
    rpc_url: str | None,
    coordinator: str | None,
    rrp: str | None,
    airnode: str | None,
    xpub: str | None,
    deployments: Path | None,
    config: Path | None,
    chain: str | None,
    from_block: int | None,
    pair: tuple[str, str] | None,
    *,
    as_json: bool,
) -> None:
    """
    Check a request (0x and 64 digits) with nothing but an endpoint.

    That its seed was committed before it, that the proof leads there, that its words follow from
    seed, id and block hash, and what became of its callback. Exit code 0 when it was fulfilled
    and everything fits; 1 when anything does not, or it is not fulfilled: then it says why.

    A request to an Airnode (--rrp, --airnode, or as configured): its id, its sponsor wallet, the
    Airnode's signature over its number, and what nothing can prove. With --pair: whether two
    fulfillments prove that an Airnode signed two numbers for one request; then exit code 1.
    """
    from oracle.cli import verify_airnode  # noqa: PLC0415 - not needed for --help

    if pair:
        if request_id is not None:
            raise ConfigError("give a REQUEST, or --pair and two fulfillments, not both")
        verify_airnode.print_pair(pair, _endpoint(rpc_url, deployments, config), as_json=as_json)
        return
    if request_id is None:
        raise ConfigError("there is nothing to verify: give a REQUEST, or --pair and two of them")
    if not re.fullmatch(r"0x[0-9a-fA-F]{64}", request_id):
        raise ConfigError(f"{request_id!r} is no request id: give 0x and 64 hexadecimal digits")
    id_ = bytes.fromhex(request_id[2:])
    given = verify_airnode.Given(
        rpc_url=rpc_url, rrp=rrp, airnode=airnode, xpub=xpub, from_block=from_block
    )
    places = verify_airnode.places(given, deployments, config, chain)
    only_airnode = rrp or airnode or xpub
    if not only_airnode and _is_native(coordinator, deployments, config, chain):
        if config is not None and not (rpc_url and coordinator):
            from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

            settings = _chain(Settings.load(config), config, chain)
            rpc_url = rpc_url or settings.endpoints[0].get_secret_value()
            coordinator = coordinator or settings.coordinator
        url, contract = _where(rpc_url, coordinator, deployments)
        examination = asyncio.run(_verify(url, contract, id_, from_block))
        # One that no coordinator knows may have been made for the Airnode.
        if examination.state != "not_found" or not places:
            if as_json:
                print_json(document(examination))
            else:
                _print(examination)
            sys.exit(0 if examination.fits else 1)
    verify_airnode.verify(id_, places, as_json=as_json)


def _is_native(
    coordinator: str | None, deployments: Path | None, config: Path | None, chain: str | None
) -> bool:
    """
    Say whether there is a coordinator to ask, or at least to ask for.
    """
    if config is None or coordinator or deployments:
        return True
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    settings = Settings.load(config)
    airnodes = settings.airnode.chains if settings.airnode else {}
    return not airnodes or (chain in settings.chains if chain else bool(settings.chains))


def _endpoint(rpc_url: str | None, deployments: Path | None, config: Path | None) -> str | None:
    """
    Return the endpoint that is named, if any is.
    """
    if rpc_url is None and deployments is not None:
        rpc_url = _deployment(deployments)["rpcUrl"]
    if rpc_url is None and config is not None:
        from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

        settings = Settings.load(config)
        chains = [*settings.chains.values()]
        airnodes = [*settings.airnode.chains.values()] if settings.airnode else []
        rpc_url = (airnodes or chains)[0].endpoints[0].get_secret_value()
    return None if rpc_url is None else checked_endpoint(rpc_url, "the endpoint")


def _chain(settings: Settings, path: Path, name: str | None) -> ChainSettings:
    check_coordinators(settings, path)
    chains = settings.chains
    if name is None and len(chains) == 1:
        [name] = chains
    if name is None or name not in chains:
        raise ConfigError(f"choose one of {path}'s chains with --chain: {', '.join(chains)}")
    return chains[name]


def _where(
    rpc_url: str | None, coordinator: str | None, deployments: Path | None
) -> tuple[str, str]:
    if deployments is not None and not (rpc_url and coordinator):
        found = _deployment(deployments)
        rpc_url, coordinator = rpc_url or found["rpcUrl"], coordinator or found["coordinator"]
    if not rpc_url:
        raise ConfigError("there is no endpoint: give --rpc-url, --config or --deployments")
    if not coordinator:
        raise ConfigError(
            "there is no coordinator: give --coordinator, --config or --deployments; or --rrp or "
            "--airnode for a request to an Airnode"
        )
    return (
        checked_endpoint(rpc_url, "the endpoint"),
        checked_address(coordinator, "the coordinator"),
    )


def _deployment(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: str(found[name]) for name in ("rpcUrl", "coordinator")}
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{path} is no file of deployments: give the one that `oracle devnet` writes"
        ) from None


async def _verify(
    url: str, contract: str, request_id: bytes, from_block: int | None
) -> Examination:
    from oracle.chain.reader import Web3Reader  # noqa: PLC0415 - web3 is slow to import
    from oracle.verify.checks import examine  # noqa: PLC0415
    from oracle.verify.evidence import gather  # noqa: PLC0415

    reader = Web3Reader(url)
    try:
        chain_id = await reader.chain_id()
        return examine(await gather(reader, chain_id, contract, request_id, from_block))
    finally:
        await reader.close()


def document(examination: Examination) -> dict[str, Any]:
    """
    Return what `oracle verify --json` prints.
    """
    from oracle.verify import events  # noqa: PLC0415 - not needed for --help
    from oracle.verify.judgment import first_of  # noqa: PLC0415

    evidence = examination.evidence
    made = first_of(evidence, events.Made)
    fulfilled = first_of(evidence, events.Fulfilled)
    again = first_of(evidence, events.Redelivered)
    cancelled = first_of(evidence, events.Cancelled)
    commit = evidence.commit
    root = commit.root_of(made.terms.index) if commit and made else None
    return {
        "requestId": _hex(evidence.request_id),
        "chainId": evidence.chain_id,
        "coordinator": evidence.contract,
        "contract": evidence.code,
        "block": evidence.head.number,
        "state": str(examination.state),
        "reason": examination.reason,
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
        "request": made
        and {
            **_at(made.log),
            "requester": made.requester,
            "index": made.terms.index,
            "numWords": made.terms.num_words,
            "confirmations": made.terms.confirmations,
            "callbackGasLimit": made.terms.callback_gas_limit,
            "feeWei": made.terms.fee,
            "userSeed": _hex(made.user_seed),
        },
        "commitment": commit and root and {**_at(commit.log), "root": _hex(root)},
        "fulfillment": fulfilled
        and {
            **_at(fulfilled.log),
            "seed": _hex(fulfilled.seed),
            "callbackSucceeded": fulfilled.success,
            "redelivered": again and _at(again.log),
        },
        "cancellation": cancelled
        and {**_at(cancelled.log), "to": cancelled.to, "refundWei": cancelled.amount},
    }


def _at(log: Any) -> dict[str, object]:
    return {"block": log.block_number, "transaction": _hex(log.transaction_hash)}


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _print(examination: Examination) -> None:
    from rich.console import Console  # noqa: PLC0415 - not needed for --help
    from rich.table import Table  # noqa: PLC0415

    from oracle.verify.events import Made  # noqa: PLC0415
    from oracle.verify.judgment import first_of  # noqa: PLC0415

    # Where nobody looks, nothing is folded.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    evidence = examination.evidence
    console.print(f"request 0x{evidence.request_id.hex()}")
    console.print(f"{examination.state.replace('_', ' ')}: {examination.explanation}")
    table = Table(show_header=False)
    for check in examination.checks:
        table.add_row(check.name, _SHOWN[check.verdict], check.detail)
    console.print(table)
    made = first_of(evidence, Made)
    if examination.words and made is not None:
        console.print(f"called back: {made.requester}")
        for word in examination.words:
            click.echo(f"0x{word.hex()}")
    if examination.failed:
        click.echo(f"{len(examination.failed)} of the checks failed", err=True)
