"""
What a person does to a pool while its node or gateway does not run.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oracle import log
from oracle.cli.options import load_pool_key
from oracle.cli.sources import compose_supplies
from oracle.config import GatewaySettings
from oracle.errors import ConfigError, DatabaseLockedError
from oracle.given import variable_of
from oracle.steps.refill import refill
from oracle.store.backup import back_up, check_free
from oracle.store.cursors import knows_a_chain
from oracle.store.engine import Access, Database
from oracle.store.pool import Pool
from oracle.store.rotation import rotate as rotate_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from oracle.config import Settings
    from oracle.steps.refill import Refilled

# A source that needs a longer pause is not waited for.
_PAUSE_MOST = 70.0


@asynccontextmanager
async def held_database(settings: Settings, running: str) -> AsyncIterator[Database]:
    """
    Yield the database of a pool, held so that no node or gateway starts on it meanwhile.

    Raises `DatabaseLockedError` with what to do when one runs on it.
    """
    try:
        database = await Database.open(settings.database, Access.SOLE)
    except DatabaseLockedError:
        raise DatabaseLockedError(
            f"a node or gateway runs on {settings.database}: {running}"
        ) from None
    try:
        if isinstance(settings, GatewaySettings):
            async with database.read() as connection:
                if await knows_a_chain(connection):
                    raise ConfigError(
                        f"{settings.database} is a node's, and the configuration has no chains: "
                        "name the node's configuration"
                    )
        yield database
    finally:
        await database.close()


async def draw(settings: Settings, blocks: int | None, *, allow_simulated: bool) -> dict[str, Any]:
    """
    Fill a pool by so many blocks, or up to its target, and return what came of it as JSON values.
    """
    target = settings.pool.fresh
    async with AsyncExitStack() as stack:
        key, epoch = load_pool_key(settings.pool)
        epoch.check_writable()
        simulated = await _may_be_simulated(settings, stack, allow_simulated=allow_simulated)
        supplies = compose_supplies(settings, key, stack, allow_simulated=simulated)
        database = await stack.enter_async_context(
            held_database(
                settings, "it draws by itself, up to pool.fresh blocks; raise that instead"
            )
        )
        pool = Pool(key, epoch)
        if dropped := await pool.unlock(database):
            log.get().warning("backup_detected", blocks_dropped=dropped)
        before = await _fresh(database, pool)
        if blocks is not None:
            if before + blocks > target:
                raise ConfigError(
                    f"the pool holds {before} of {target} blocks: there is room for "
                    f"{max(0, target - before)}; raise pool.fresh to keep more"
                )
            target = before + blocks
        max_age = settings.pool.max_age_hours
        fill = partial(refill, database, pool, supplies, target, max_age_hours=max_age)
        waiting = await _fill(fill)
        await pool.wipe(database)
        after = await _fresh(database, pool)
    return {
        "drawn": after - before,
        "fresh": after,
        "target": settings.pool.fresh,
        "complete": after >= target,
        "waiting": waiting,
    }


def drawn(document: dict[str, Any]) -> str:
    """
    Return what a person is told about a draw.
    """
    text = (
        f"{document['drawn']} blocks were drawn: the pool holds {document['fresh']} of "
        f"{document['target']}."
    )
    if document["complete"]:
        return text
    why = ", ".join(f"{name}: {word}" for name, word in document["waiting"].items())
    return f"{text} The sources give no more now ({why}); see `oracle entropy status`."


def rotation(settings: Settings, backup: Path | None) -> list[tuple[str, str]]:
    """
    Say what a rotation of the pool key will do.

    Raises `ConfigError` when it could not.
    """
    if settings.pool.key is not None or settings.pool.key_file is None:
        raise ConfigError(
            "the pool key is in a variable, which no verb can replace: put it into a file, name "
            f"that with pool.key_file, unset {variable_of('pool', 'key')}, and rotate then"
        )
    if backup is not None:
        check_free(settings.database, backup)
    return [
        ("database", f"{settings.database}: everything in it is sealed under a new key"),
        ("key", f"{settings.pool.key_file}: replaced by the new one, the old one destroyed"),
        ("backups", "those made until now can never be opened again"),
        ("new backup", "none: make one at once" if backup is None else str(backup)),
    ]


async def rotate(settings: Settings, backup: Path | None) -> dict[str, Any]:
    """
    Replace the pool key, and return what came of it as JSON values.
    """
    key_file = settings.pool.key_file
    assert key_file is not None, "checked by `rotation`"
    _, epoch = load_pool_key(settings.pool)
    epoch.check_writable()
    if not await Database.exists(settings.database):
        raise ConfigError(f"there is no database at {settings.database}: nothing to rotate")
    async with held_database(settings, "stop it first, it works with the old key") as database:
        done = await rotate_key(database, key_file, epoch)
    if backup is not None:
        assert isinstance(settings.database, Path), "checked by `rotation`"
        await asyncio.to_thread(back_up, settings.database, backup)
    return {
        "records": done.records,
        "resumed": done.resumed,
        "database": str(settings.database),
        "inOneFile": isinstance(settings.database, Path),
        "backup": None if backup is None else str(backup),
    }


def rotated(document: dict[str, Any]) -> str:
    """
    Return what a person is told about a rotation.
    """
    text = (
        "The interrupted rotation is finished"
        if document["resumed"]
        else f"{document['records']} records are sealed under a new key"
    )
    text += ", and the old key is destroyed. Delete every earlier backup: none can be opened."
    if document["backup"]:
        return f"{text}\nThe new backup is {document['backup']}."
    if document["inOneFile"]:
        how = f"copy {document['database']}, which is whole in that one file until then"
    else:
        how = f"make one of {document['database']}, as by pg_dump"
    return f"{text}\nThere is no backup now. Before you start the node or gateway, {how}."


async def _fill(fill: Callable[[], Awaitable[Refilled]]) -> dict[str, str]:
    """
    Refill to the target; return the sources that could not be waited for, and why.
    """
    while True:
        done = await fill()
        if done.blocks:
            continue
        if not done.waiting or done.retry_in > _PAUSE_MOST:
            return dict(done.waiting)
        await asyncio.sleep(done.retry_in)


async def _may_be_simulated(
    settings: Settings, stack: AsyncExitStack, *, allow_simulated: bool
) -> bool:
    """
    Return whether simulated entropy may come into this pool: a gateway's if its operator says so,
    a node's where every chain is a proven devnet.
    """
    if isinstance(settings, GatewaySettings):
        return allow_simulated
    if allow_simulated:
        raise ConfigError(
            "--allow-simulated is for a gateway's pool: a node takes simulated entropy on devnets "
            "alone"
        )
    if not settings.devnet:
        return False
    from oracle.cli.airnodes import configured_airnodes  # noqa: PLC0415 - web3 is slow to import
    from oracle.cli.chains import configured_chains  # noqa: PLC0415 - as above

    for chain in configured_chains(settings.chains, stack):
        await chain.check()
    for airnode in configured_airnodes(settings.airnode, stack):
        await airnode.check()
    return True


async def _fresh(database: Database, pool: Pool) -> int:
    async with database.read() as connection:
        return await pool.fresh(connection)
