"""
The `oracle` command and its verbs, each loaded when it is called.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from oracle import __version__
from oracle.errors import ConfigError, OracleError, PoolKeyError, SourceCredentialsError

if TYPE_CHECKING:
    from collections.abc import Sequence

# Verb → module, function, and the line that `oracle --help` shows without loading either.
_VERBS = {
    "demo": (
        "demo",
        "demo",
        "Watch the whole service work, and survive a kill, in under a minute.",
    ),
    "devnet": (
        "devnet",
        "devnet",
        "Run a local chain with coordinator, node and entropy service.",
    ),
    "init": ("init", "init", "Write a configuration with its keys."),
    "check": ("check", "check", "Look at all that a node needs, and say what would go wrong."),
    "deploy": ("deploy", "deploy", "Deploy a coordinator."),
    "run": ("run", "run", "Run the node."),
    "commit": ("commit", "commit", "Commit seeds now, without the node."),
    "request": ("request", "request", "Ask a coordinator for random words and wait for them."),
    "requests": ("requests", "requests", "Look at the requests that this node knows."),
    "nodes": ("nodes", "nodes", "Look at the nodes that share a database."),
    "recover": (
        "recover",
        "recover",
        "Make a new database from the chain after the old one was lost.",
    ),
    "verify": ("verify", "verify", "Check a request from an endpoint alone."),
    "audit": ("audit", "audit", "Hold chain, store and pool against each other."),
    "backup": ("backup", "backup", "Copy the database to a file, also while the node runs."),
    "entropy": ("entropy", "entropy", "Look at the sources and the pool; create the pool key."),
    "gateway": ("gateway", "gateway", "Serve QRNG APIs over HTTP."),
    "wallet": ("wallet", "wallet", "Create, import, look at and empty wallets."),
    "doctor": ("doctor", "doctor", "Say how a consumer of API3 QRNG moves to this oracle."),
    "coordinator": (
        "coordinator",
        "coordinator",
        "Look at a coordinator; act as its owner or operator.",
    ),
    "completion": ("completion", "completion", "Print what completes verbs in your shell."),
    "bench": ("bench", "bench", "Measure what things cost, beside others."),
}


class _Verbs(click.Group):
    """
    A group that imports a verb only when it is used: web3 alone takes most of a second.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _VERBS:
            return None
        module, function, _ = _VERBS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"oracle.cli.{module}"), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = not args or args[0] in _VERBS or args[0].startswith("-")
        if not known and not ctx.resilient_parsing:
            close = difflib.get_close_matches(args[0], _VERBS, n=1)
            known_are = f"known are {', '.join(_VERBS)}"
            ctx.fail(
                f"no verb {args[0]!r}: " + (f"did you mean {close[0]}?" if close else known_are)
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, line) for name, (_, _, line) in _VERBS.items()])


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Begin with `oracle demo`. Every verb has its own --help with an example.",
)
@click.version_option(__version__, prog_name="oracle")
def cli() -> None:
    """
    Quantum randomness for Solidity contracts: committed ahead, fulfilled exactly once.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run a verb; exit with 0 when it went well, 1 when it failed, 2 for usage and configuration.
    """
    try:
        cli.main(args=arguments, prog_name="oracle", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except OracleError as error:
        _exit_with(error)
    except ExceptionGroup as group:
        known, unknown = group.split(OracleError)
        if known is None or unknown is not None:
            raise
        _exit_with(_first(known))


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def _exit_with(error: BaseException) -> NoReturn:
    click.echo(f"oracle: {error}", err=True)
    # What only a person can put right.
    mistaken = isinstance(error, ConfigError | PoolKeyError | SourceCredentialsError)
    sys.exit(2 if mistaken else 1)
