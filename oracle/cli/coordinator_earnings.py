"""
`oracle coordinator earnings`: what requests brought and what serving them cost.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import click

from oracle.cli.acts import check_coordinators, ether
from oracle.cli.options import config_option, json_option, print_json
from oracle.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.config import Settings

# The kinds of costs: in the store, in a document, and for people.
_KINDS = (
    ("fulfillments", "fulfillments", "fulfillments"),
    ("commits", "commits", "commits"),
    ("fee_changes", "feeChanges", "fee changes"),
    ("reverted", "reverted", "reverted"),
    ("passed_over", "passedOver", "passed over"),
    ("fillers", "fillers", "fillers"),
)


@click.command(epilog="Example: oracle coordinator earnings mainnet")
@click.argument("chain", required=False)
@config_option
@json_option
def earnings(chain: str | None, config: Path, *, as_json: bool) -> None:
    """
    Show what requests brought and what serving them cost, of one chain or of all.

    From the node's own store, also while it runs; no endpoint is asked.
    """
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    settings = Settings.load(config)
    check_coordinators(settings, config)
    if chain is not None and chain not in settings.chains:
        raise ConfigError(
            f"there is no [chains.{chain}] in {config}: known are {', '.join(settings.chains)}"
        )
    documents = asyncio.run(_earnings(settings, [chain] if chain else list(settings.chains)))
    if as_json:
        print_json(documents)
        return
    for document in documents:
        click.echo(f"{document['chain']} ({document['chainId']}), {document['coordinator']}")
        paid_by_others = document["fulfilledByOthers"]
        others = f", {paid_by_others} of them paid by others" if paid_by_others else ""
        click.echo(f"  fulfilled: {document['fulfilled']}{others}")
        click.echo(f"  fees: {ether(document['feesWei'])}")
        for _, name, label in _KINDS:
            click.echo(f"  {label}: {ether(document['costsWei'][name])}")
        click.echo(f"  net: {ether(document['netWei'])}")


async def _earnings(settings: Settings, names: list[str]) -> list[dict[str, Any]]:
    from oracle.store import costs  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.store.engine import Access, Database  # noqa: PLC0415

    documents = []
    database = await Database.open(settings.database, Access.VISIT)
    try:
        async with database.read() as connection:
            for name in names:
                place = settings.chains[name].chain_id, settings.chains[name].coordinator
                found = await costs.earnings(connection, *place)
                sums = dataclasses.asdict(found)
                documents.append(
                    {
                        "chain": name,
                        "chainId": place[0],
                        "coordinator": place[1],
                        "fulfilled": found.fulfilled,
                        "fulfilledByOthers": found.by_others,
                        "feesWei": found.fees,
                        "costsWei": {name: sums[kind] for kind, name, _ in _KINDS},
                        "netWei": found.net,
                    }
                )
    finally:
        await database.close()
    return documents
