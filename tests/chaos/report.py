"""
What a run says in the end, for programs and for people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tests.chaos.accounts import ZERO

if TYPE_CHECKING:
    from tests.chaos.run import Outcome
    from tests.chaos.schedule import Plan

# Of a list, what is worth reading.
_MOST = 50


def document(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """
    Return the one document of `--json`.
    """
    account = outcome.account
    return {
        "requests": account.requests,
        "fulfilled": account.fulfilled,
        "refundable": len(account.refundable),
        "lost": len(account.lost),
        "duplicated": len(account.duplicated),
        "redrawn": len(account.redrawn),
        "seeds_reused": len(account.seeds_reused),
        "exposed": len(account.exposed),
        "faults": dict(sorted(outcome.faults.items())),
        "longestDelay": {"blocks": outcome.delay_blocks, "seconds": outcome.delay_seconds},
        "seed": plan.seed,
        "replay": replay(plan),
        "failures": outcome.failures,
        "auditClean": outcome.audit.get("clean"),
        "named": {
            "refundable": {f"0x{id_.hex()}": by for id_, by in account.refundable.items()},
            "lost": [f"0x{id_.hex()}" for id_ in account.lost[:_MOST]],
            "duplicated": [f"0x{id_.hex()}" for id_ in account.duplicated[:_MOST]],
            "redrawn": account.redrawn[:_MOST],
            "seeds_reused": account.seeds_reused[:_MOST],
            "exposed": account.exposed[:_MOST],
            "twice": outcome.twice[:_MOST],
        },
        "callsHit": dict(sorted(outcome.hits.items())),
        "faultPointsReached": dict(sorted(outcome.points.items())),
        "deepestReorg": outcome.deepest,
        "broadcasts": outcome.broadcasts,
        "exits": outcome.exits[:_MOST],
        "exitCodes": outcome.codes,
        "seconds": round(outcome.seconds, 1),
        "audit": outcome.audit,
    }


def replay(plan: Plan) -> str:
    """
    Return the command that makes the same schedule again.
    """
    return (
        f"scripts/chaos.sh --requests {plan.requests} --faults {plan.faults} --seed {plan.seed} "
        f"--database {plan.database} --nodes {plan.nodes}"
    )


def print_report(plan: Plan, outcome: Outcome) -> None:
    """
    Print a table, and what has to be looked at.
    """
    console = Console(width=None if Console().is_terminal else 200, highlight=False)
    found = document(plan, outcome)
    table = Table(
        title=f"{plan.requests} requests, {plan.faults} faults, {plan.nodes} node(s) on "
        f"{plan.database}, seed {plan.seed}",
        show_header=False,
    )
    for name in ("requests", "fulfilled", "refundable", *ZERO, "exposed"):
        count = found[name]
        bad = name in outcome.account.failures
        table.add_row(name.replace("_", " "), f"[red]{count}[/red]" if bad else str(count))
    delay = found["longestDelay"]
    table.add_row("longest delay", f"{delay['seconds']} s, {delay['blocks']} blocks")
    table.add_row("audit", "clean" if found["auditClean"] else "[red]findings[/red]")
    table.add_row("deepest reorg", f"{outcome.deepest} blocks")
    table.add_row("took", f"{outcome.seconds:.0f} s")
    table.add_section()
    for kind, count in found["faults"].items():
        table.add_row(kind, str(count))
    console.print(table)
    for name, entries in found["named"].items():
        if entries and name not in ("exposed", "refundable"):
            console.print(f"{name}: {entries}")
    for id_, by in found["named"]["refundable"].items():
        console.print(f"refundable: {id_}, {by}")
    for words in found["exits"]:
        console.print(f"ended by itself: {words}")
    if outcome.failures:
        console.print(f"[red]failed: {', '.join(outcome.failures)}[/red]")
    console.print(f"again: {found['replay']}")
