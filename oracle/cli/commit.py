"""
`oracle commit`: the runway made longer once, by the node's own steps.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from oracle import log
from oracle.cli.acts import chosen_chain, confirm, ether, yes_option
from oracle.cli.options import config_option, json_option, print_json
from oracle.errors import ConfigError, DatabaseLockedError, EndpointError, OracleError

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.config import Settings
    from oracle.coordinator_service import Service
    from oracle.protocols.coordinator import Counters
    from oracle.runner import Runner
    from oracle.store.transactions import Slot

_PATIENCE = 180.0
_PAUSE, _LONGEST_PAUSE = 0.25, 10.0


@click.command(epilog="Example: oracle commit --config oracle.toml --roots 4")
@config_option
@click.option("--chain", help="Its [chains.NAME], if there are several.")
@click.option(
    "--roots",
    type=click.IntRange(1, 16),
    help="How many batches of 256 seeds. Default: what `runway` wants, 16 at most.",
)
@yes_option
@json_option
def commit(
    config: Path, chain: str | None, roots: int | None, *, yes: bool, as_json: bool
) -> None:
    """
    Commit seeds now, in one transaction, and wait for its block.

    A node that runs does this by itself, so this is refused while one does. The pool is filled
    first, as far as the sources deliver.
    """
    from oracle.config import Settings  # noqa: PLC0415 - pydantic is slow to import

    log.configure("warning")
    settings = Settings.load(config)
    name = chosen_chain(settings, config, chain)
    result = asyncio.run(_commit(settings, name, roots, yes=yes))
    if as_json:
        print_json(result)
    elif result["transaction"] is None:
        click.echo(f"Nothing to commit: {result['runway']} seeds are committed ahead.")
    else:
        click.echo(
            f"{result['roots']} roots are in {result['transaction']}: {result['runway']} seeds "
            "are committed ahead."
        )


async def _commit(settings: Settings, name: str, roots: int | None, *, yes: bool) -> Any:
    # Imported here: together they take a second, and `--help` needs none of them.
    from oracle.cli.run import compose  # noqa: PLC0415
    from oracle.protocols.coordinator import BATCH  # noqa: PLC0415
    from oracle.steps.commit import MAX_ROOTS  # noqa: PLC0415
    from oracle.steps.commit import commit as step  # noqa: PLC0415

    # The others are left alone, and need not answer.
    only = settings.model_copy(update={"chains": {name: settings.chains[name]}, "airnode": None})
    async with AsyncExitStack() as stack:
        try:
            runner = await compose(only, stack, alone=True)
        except DatabaseLockedError:
            raise ConfigError(
                f"the node of {settings.database} runs and commits by itself: set `runway` in "
                f"chains.{name} for more"
            ) from None
        service = await runner.links[0].connect(runner.database, runner.pool)
        await _carry_through(service)
        before = await _counters(service)
        ahead = before.committed - before.next
        wanted = min(roots or -(-(service.runway - ahead) // BATCH), MAX_ROOTS)
        if wanted <= 0:
            return _result(name, 0, None, before)
        service = replace(service, runway=ahead + wanted * BATCH)
        await _fill_pool(runner, wanted * BATCH)
        head = await service.reader.block()
        price = head.base_fee + service.lane.fees.priority_fee
        cost = service.protocol.commit_gas(wanted) * price
        lines = [
            ("commit", f"{wanted} roots of {BATCH} seeds from index {before.committed}"),
            ("to", service.contract),
            ("from", service.lane.wallet),
            ("fee", f"about {ether(cost)} at most"),
        ]
        confirm(lines, yes=yes)
        sent = await step(service, await service.reader.block())
        if not sent:
            raise OracleError(
                "nothing was committed: the pool has too few blocks, gas costs more than "
                "max_fee_gwei, or the wallet is not the operator; `oracle check` says which"
            )
        transaction = await _carry_through(service)
        return _result(name, sent, transaction, await _counters(service))


async def _carry_through(service: Service) -> str | None:
    """
    Take the steps that move what is signed until no commit is under way; return the transaction
    of the last one.
    """
    from oracle.steps.send import send  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.steps.watch import watch  # noqa: PLC0415

    last: Slot | None = None
    deadline = time.monotonic() + _PATIENCE
    while open_ := await _open_commits(service):
        last = open_[-1]
        head = await service.reader.block()
        await watch(service, head)
        await send(service, head)
        if time.monotonic() > deadline:
            raise EndpointError(
                "the commit was not mined within three minutes: the node, or this verb again, "
                "goes on with it"
            )
        await asyncio.sleep(_PAUSE)
    return None if last is None else await _mined(service, last)


async def _open_commits(service: Service) -> list[Slot]:
    from oracle.store import transactions  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.store.transactions import Purpose, SlotState  # noqa: PLC0415

    async with service.database.read() as connection:
        slots = await transactions.slots_in(
            connection, service.chain_id, service.contract, [SlotState.SIGNED, SlotState.SENT]
        )
    return [slot for slot in slots if slot.purpose is Purpose.COMMIT]


async def _mined(service: Service, slot: Slot) -> str:
    from oracle.store.attempts import attempts_of  # noqa: PLC0415 - SQLAlchemy is slow to import

    async with service.database.read() as connection:
        attempts = await attempts_of(connection, slot.id)
    for attempt in attempts:
        receipt = await service.reader.receipt(attempt.transaction_hash)
        if receipt is not None and receipt.ok:
            return "0x" + attempt.transaction_hash.hex()
    raise OracleError("the commit reverted, or its nonce was used elsewhere: see `oracle check`")


async def _fill_pool(runner: Runner, wanted: int) -> None:
    from oracle.steps.refill import refill  # noqa: PLC0415 - SQLAlchemy is slow to import

    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        async with runner.database.read() as connection:
            if await runner.pool.fresh(connection) >= wanted:
                return
        done = await refill(runner.database, runner.pool, runner.supplies, wanted)
        if not done.blocks:
            if not 0 < done.retry_in <= _LONGEST_PAUSE:
                return
            await asyncio.sleep(done.retry_in)


async def _counters(service: Service) -> Counters:
    answer = await service.reader.call(service.contract, service.protocol.SEEDS)
    return service.protocol.decode_counters(answer)


def _result(name: str, roots: int, transaction: str | None, counters: Counters) -> dict[str, Any]:
    return {
        "chain": name,
        "roots": roots,
        "transaction": transaction,
        "next": counters.next,
        "committed": counters.committed,
        "runway": counters.committed - counters.next,
    }
