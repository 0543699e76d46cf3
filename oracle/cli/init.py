"""
`oracle init`: a configuration, its keys, and what comes next.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oracle.cli.init_keys import make_keys, make_mnemonic
from oracle.cli.options import json_option, print_json
from oracle.errors import ConfigError
from oracle.given import (
    checked_address,
    checked_endpoint,
    checked_websocket,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.chain.airnode_xpub import AirnodeXpub

# The keys of `oracle.source_settings.KINDS`, which is slow to import.
KIND_NAMES = (
    "anu-legacy",
    "anu-quantum-numbers",
    "device",
    "json-http",
    "lfd",
    "outshift",
    "qci",
    "qrng-open-api",
    "qrypt",
    "quandela",
)
_NOWHERE = "0x" + 40 * "0"
_SECRET_FILES = ("key_file", "token_file")


@click.command(
    epilog="Example: oracle init --yes --chain sepolia --chain-id 11155111 "
    "--rpc-url http://127.0.0.1:8545 --trusted --source anu-quantum-numbers"
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("oracle.toml"),
    show_default=True,
    help="The file to write; never overwritten.",
)
@click.option(
    "--chain", help="A name for the chain: small letters, digits, underscores. Default: mainnet."
)
@click.option("--chain-id", type=click.IntRange(1), help="The id of the chain.")
@click.option(
    "--rpc-url",
    "endpoints",
    multiple=True,
    help="JSON-RPC endpoint; again for a second one, of another host.",
)
@click.option(
    "--websocket-url", "websocket", help="An endpoint that announces new heads, ws:// or wss://."
)
@click.option(
    "--trusted/--not-trusted", default=None, help="The first endpoint is a node of your own."
)
@click.option("--devnet", is_flag=True, help="The chain is anvil or Hardhat, on your machine.")
@click.option("--coordinator", help="Its address, if it is deployed already.")
@click.option(
    "--airnode/--airnode-only",
    "beside",
    default=None,
    help="Also answer API3's QRNG consumers on this chain, with a new mnemonic; or nobody else.",
)
@click.option(
    "--rrp", help="The chain's AirnodeRrpV0, where it is not the one that API3 published."
)
@click.option(
    "--source",
    "kinds",
    multiple=True,
    type=click.Choice(KIND_NAMES),
    help="A kind of entropy source; again for a second one.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="PLACE=VALUE",
    help="Any other setting of a source or the chain, as sources.device.path=/dev/qrandom0.",
)
@click.option("--yes", is_flag=True, help="Ask nothing: what is not given has its default.")
@json_option
def init(  # noqa: PLR0913 - one parameter per option
    config: Path,
    chain: str | None,
    chain_id: int | None,
    coordinator: str | None,
    *,
    endpoints: Sequence[str],
    websocket: str | None,
    trusted: bool | None,
    devnet: bool,
    beside: bool | None,
    rrp: str | None,
    kinds: Sequence[str],
    assignments: Sequence[str],
    yes: bool,
    as_json: bool,
) -> None:
    """
    Write a configuration with every setting explained, the pool key, and the operator's wallet,
    or, for an Airnode, its mnemonic.

    What is not given is asked for. Keys of vendors are never asked for: only the files that hold
    them. Pool key, keystore and its password go to keys/ beside the file, where they are kept if
    they are there.
    """
    if config.exists():
        raise ConfigError(f"{config} exists and is not overwritten: name another with --config")
    if not yes and nobody_is_here():
        raise ConfigError("nobody is here to be asked: add --yes, and give what has no default")
    ask = _Asker(yes=yes)
    name = chain or ask.text("Name of the chain", "mainnet")
    section: dict[str, Any] = {
        "chain_id": chain_id or ask.number("Chain id", "--chain-id"),
        "endpoints": list(endpoints) or ask.several("JSON-RPC endpoint", "--rpc-url"),
    }
    if websocket is not None:
        section["websocket"] = websocket
    _check_urls(section)
    if devnet:
        section["devnet"] = True
    elif trusted or (trusted is None and ask.yes_or_no("Is the first endpoint your own node?")):
        section["trusted"] = True
    served = _served(name, section, coordinator, rrp, beside)
    chosen = list(kinds) or ask.several("Kind of entropy source", "--source", KIND_NAMES)
    content: dict[str, Any] = {
        "database": "oracle.db",
        "pool": {"key_file": "keys/pool.key"},
        "sources": {kind.replace("-", "_"): {"kind": kind} for kind in chosen},
        **served,
    }
    for assignment in assignments:
        _assign(content, assignment)
    for source_name, source in content["sources"].items():
        _complete(source_name, source, ask)
    written = _write(config, content)
    wallet = make_keys(config.parent, written, wallet=bool(content["chains"]))
    xpub = make_mnemonic(config.parent, written) if "airnode" in content else None
    steps = _next_steps(config, content, wallet, xpub, deployed=coordinator is not None)
    if as_json:
        print_json(
            {
                "config": str(config),
                "wallet": wallet,
                "airnode": None if xpub is None else xpub.airnode,
                "xpub": None if xpub is None else str(xpub),
                "written": written,
                "nextSteps": steps,
            }
        )
        return
    click.echo(f"Written: {', '.join(written)}. Next:")
    for number, step in enumerate(steps, 1):
        click.echo(f"  {number}. {step}")


def _served(
    name: str,
    section: dict[str, Any],
    coordinator: str | None,
    rrp: str | None,
    beside: bool | None,  # noqa: FBT001 - as the option gives it
) -> dict[str, Any]:
    """
    Return the sections of what is served on the chain: a coordinator, an Airnode `beside` it, or
    where that is false an Airnode alone.
    """
    if beside is None and rrp is not None:
        raise ConfigError("--rrp is an Airnode's: give --airnode or --airnode-only too")
    if beside is False and coordinator is not None:
        raise ConfigError("--airnode-only and --coordinator exclude each other: give --airnode")
    served: dict[str, Any] = {"chains": {}}
    if beside is not False:
        served["chains"][name] = section | {
            "coordinator": checked_address(coordinator or _NOWHERE, "--coordinator"),
            "wallet": {"keystore": "keys/operator.json", "password_file": "keys/password"},
        }
    if beside is not None:
        where = {} if rrp is None else {"rrp": checked_address(rrp, "--rrp")}
        served["airnode"] = {
            "mnemonic_file": "keys/airnode.json",
            "password_file": "keys/airnode.password",
            "chains": {name: section | where},
        }
    return served


def _check_urls(section: dict[str, Any]) -> None:
    for url in section["endpoints"]:
        checked_endpoint(url, "--rpc-url")
    if "websocket" in section:
        checked_websocket(section["websocket"], "--websocket-url")


def nobody_is_here() -> bool:
    """
    Say whether there is no terminal to ask on.
    """
    return not sys.stdin.isatty()


class _Asker:
    """
    Questions on the terminal; with `yes` the defaults are the answers.
    """

    def __init__(self, *, yes: bool) -> None:
        self._yes = yes

    def text(self, question: str, default: str) -> str:
        """
        Ask for a text.
        """
        if self._yes:
            return default
        return str(click.prompt(question, default=default, err=True))

    def number(self, question: str, option: str) -> int:
        """
        Ask for a number that has no default.
        """
        if self._yes:
            raise ConfigError(f"{option} has no default: give it")
        return int(click.prompt(question, type=click.IntRange(1), err=True))

    def required(self, question: str, place: str) -> str:
        """
        Ask for a setting that has no default.
        """
        if self._yes:
            raise ConfigError(f"{place} has no default: give it with --set {place}=…")
        return str(click.prompt(question, err=True))

    def several(self, question: str, option: str, choices: Sequence[str] = ()) -> list[str]:
        """
        Ask for at least one.
        """
        if self._yes:
            raise ConfigError(f"{option} has no default: give it, more than once for several")
        kind = click.Choice(choices) if choices else None
        answers = [str(click.prompt(question, type=kind, err=True))]
        while more := click.prompt(
            "Another one, or nothing", default="", type=None, show_default=False, err=True
        ):
            if choices and more not in choices:
                click.echo(f"known are {', '.join(choices)}", err=True)
            else:
                answers.append(str(more))
        return answers

    def yes_or_no(self, question: str) -> bool:
        """
        Ask what is not so by default.
        """
        return not self._yes and click.confirm(question, err=True)


def _assign(content: dict[str, Any], assignment: str) -> None:
    place, found, value = assignment.partition("=")
    *above, name = place.split(".")
    if not found or not above:
        # Not repeated: it may hold a key.
        raise ConfigError("--set takes PLACE=VALUE, as sources.device.path=/dev/qrandom0")
    if name in {"key", "token", "password"}:
        raise ConfigError(
            f"{place} is a secret and was seen on the command line: replace it, put the new one "
            f"into a file, and give {place}_file"
        )
    section = content
    for part in above:
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            raise ConfigError(f"--set {place}: there is no section {'.'.join(above)}")
    section[name] = _value(value)


def _value(text: str) -> object:
    if text in {"true", "false"}:
        return text == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _complete(name: str, source: dict[str, Any], ask: _Asker) -> None:
    """
    Ask for what a source cannot do without.
    """
    from oracle.setting_docs import describe  # noqa: PLC0415 - it reads sources of modules
    from oracle.source_settings import KINDS  # noqa: PLC0415 - pydantic is slow to import

    kind = source.get("kind")
    if kind not in KIND_NAMES:
        raise ConfigError(f"sources.{name}.kind is none of {', '.join(KIND_NAMES)}")
    for doc in describe(KINDS[kind]):
        place = f"sources.{name}.{doc.name}"
        if doc.name in source:
            continue
        if doc.required:
            source[doc.name] = ask.required(f"{place} ({doc.comment})", place)
        elif doc.name in _SECRET_FILES and kind not in {"qrng-open-api", "json-http"}:
            # Where there may be none, --set names it.
            source[doc.name] = ask.text(f"{place} ({doc.comment})", f"keys/{name}.key")


def _write(config: Path, content: dict[str, Any]) -> list[str]:
    """
    Write the configuration and load it; what does not load is not kept.
    """
    from oracle.cli.secret_files import write_secret_file  # noqa: PLC0415
    from oracle.cli.template import rendered  # noqa: PLC0415 - it reads sources of modules
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    # Endpoints may hold keys.
    write_secret_file(config, rendered(content).rstrip("\n"))
    try:
        Settings.load(config)
    except ConfigError:
        config.unlink()
        raise
    return [str(config)]


def _next_steps(
    config: Path,
    content: dict[str, Any],
    wallet: str | None,
    xpub: AirnodeXpub | None,
    *,
    deployed: bool,
) -> list[str]:
    folder = config.parent
    steps = [
        f"Put the secret of {name} into {folder / source[field]} and `chmod 600` it."
        for name, source in content["sources"].items()
        for field in _SECRET_FILES
        if field in source and not (folder / source[field]).exists()
    ]
    if wallet is not None and deployed:
        steps.append(
            f"Fund {wallet}, and have the coordinator's owner make it the operator: `oracle "
            f"coordinator set-operator {wallet}`."
        )
    elif wallet is not None:
        steps.append(f"Fund {wallet}: deploying takes 2.4 million gas.")
    if xpub is not None:
        password = folder / content["airnode"]["password_file"]
        if not password.exists():
            steps.append(
                f"Put the password of the mnemonic that was there into {password} and `chmod 600` "
                "it, or name its file in `airnode.password_file`."
            )
        steps.append(
            f"Back up {folder / 'keys/airnode.json'} and, apart from it, its password: without "
            "either, the Airnode is lost."
        )
        steps.append(f"Announce the Airnode {xpub.airnode} with its xpub {xpub}.")
    if wallet is not None and not deployed:
        steps.append(
            f"ORACLE_WALLET_PASSWORD_FILE={folder / 'keys/password'} oracle deploy --rpc-url … "
            f"--keystore {folder / 'keys/operator.json'}; its address is `coordinator` in "
            f"{config}."
        )
    return [*steps, f"oracle check --config {config}", f"oracle run --config {config}"]
