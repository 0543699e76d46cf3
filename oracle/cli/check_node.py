"""
What `oracle check` looks at on this machine: secrets, sources, the pool and the database.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from oracle.cli import claims, source_report
from oracle.cli.options import load_pool_key
from oracle.cli.sources import build, sources_per_seed
from oracle.store.engine import CONNECTIONS, Access, Database
from oracle.store.pool import Pool
from oracle.store.postgres_facts import server_facts
from oracle.store.sources import SourceState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from oracle.cli.findings import Findings
    from oracle.config import Settings
    from oracle.store.postgres_facts import ServerFacts

_NODES = 2  # one more, or one that starts while another ends, and a verb
_SCARCE, _LOW = 100 * 2**20, 2**30
_PATHS = (
    "key_file",
    "token_file",
    "password_file",
    "private_key_file",
    "keystore",
    "mnemonic_file",
)
# What ends without anybody's help.
_PASSING = (SourceState.READY, SourceState.WAITING, SourceState.RECOVERING)


def check_secrets(settings: Settings, findings: Findings) -> None:
    """
    Look at who else can read the secret files; one that is missing is found where it is needed.
    """
    named = open_ = 0
    for where, path in _secret_files(settings):
        named += 1
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            open_ += 1
            findings.warn(
                where,
                "secret file",
                f"{path} is open to more than its owner",
                f"run `chmod 600 {path}`",
            )
    if not open_:
        findings.ok("secrets", "secret files", f"{named} are named, none is open to others")


def _secret_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    sections: dict[str, BaseModel] = {"pool": settings.pool}
    sections |= {f"chains.{name}.wallet": one.wallet for name, one in settings.chains.items()}
    if settings.airnode is not None:
        sections["airnode"] = settings.airnode
    sections |= {f"sources.{name}": one for name, one in settings.sources.items()}
    if settings.database_file is not None:
        yield "database_file", settings.database_file
    for place, section in sections.items():
        for name in _PATHS:
            path = getattr(section, name, None)
            if path is not None:
                yield f"{place}.{name}", path


async def check_sources(settings: Settings, findings: Findings, *, draw: bool) -> None:
    """
    Build every source and say what their number means; draw from each only when told to.
    """
    devnet = settings.devnet
    async with AsyncExitStack() as stack:
        for name, source in settings.sources.items():
            with findings.looking(f"sources.{name}", "configured", source.kind):
                build(name, source, stack, allow_simulated=devnet)
    with findings.looking("sources", "number"):
        per_seed = sources_per_seed(settings)
        trust = f"{len(settings.sources)} configured; a seed is mixed from {per_seed}"
        if per_seed == 1:
            findings.warn(
                "sources",
                "number",
                f"{trust}: the trust is that vendor's plus the operating system's",
                "add a source of another vendor",
            )
        else:
            findings.ok("sources", "number", f"{trust} and the operating system")
    with findings.looking("sources", "state"):
        await _check_states(settings, findings)
    if not draw:
        findings.ok("sources", "draw", "nothing was drawn: `oracle entropy check` or --draw does")
        return
    with findings.looking("sources", "draw"):
        drawn = await source_report.check(settings)
        for one in drawn["sources"]:
            say = findings.ok if one["usable"] else findings.warn
            say(f"sources.{one['name']}", "draw", one["verdict"])
        (findings.ok if drawn["fills"] else findings.fail)("sources", "draw", drawn["production"])


async def _check_states(settings: Settings, findings: Findings) -> None:
    known = await source_report.status(settings)
    for one in known["sources"]:
        if SourceState(one["state"]) not in _PASSING:
            where = f"sources.{one['name']}"
            said = f"{one['state']}: {one['reason']}"
            findings.warn(where, "state", said, one["advice"])
    pool = known["pool"]
    said = f"{pool['fresh']} of {pool['target']} blocks are fresh"
    if await Database.exists(settings.database) and not pool["fresh"]:
        findings.warn("pool", "level", said, "nothing can be committed before a source delivers")
    else:
        findings.ok("pool", "level", said)


async def check_store(settings: Settings, findings: Findings) -> Database | None:
    """
    Open the database without writing, hold the pool key against it, and look at the disk; return
    it for what is to be compared with a chain.
    """
    place = settings.database
    pool: Pool | None = None
    with findings.looking("pool", "key", "the key loads, and its epoch can be advanced"):
        key, epoch = load_pool_key(settings.pool)
        pool = Pool(key, epoch)
        epoch.check_writable()
    if pool is not None and isinstance(place, Path) and not place.exists():
        with findings.looking("database", "lost"):
            claims.check_not_lost(str(place), epoch)
    if isinstance(place, Path) and not _check_file(place, findings):
        return None
    database: Database | None = None
    with findings.looking("database", "schema"):
        database = await Database.find(place, Access.READ)
        said = (
            "is made by the first start of the node" if database is None else "is of this version"
        )
        findings.ok("database", "schema", f"{place} {said}")
    if database is None:
        return None
    runs = await database.is_held()
    findings.ok("database", "node", "a node runs on it now" if runs else "no node runs on it now")
    with findings.looking("database", "server"):
        async with database.read() as connection:
            if (facts := await server_facts(connection)) is not None:
                check_server(facts, findings)
    if pool is not None and not settings.devnet:
        with findings.looking("pool", "entropy", "none of it is simulated"):
            async with database.read() as connection:
                await claims.check_not_simulated(connection, pool, database.name)
    if pool is not None:
        with findings.looking("pool", "epoch"):
            async with database.read() as connection:
                reached, stored = await pool.epochs(connection)
            if reached == stored:
                findings.ok("pool", "epoch", f"key and epoch {stored} fit the database")
            else:
                findings.warn(
                    "pool",
                    "epoch",
                    f"the epoch file says {reached} and the database {stored}",
                    "the database is a backup: the next start drops what looks fresh in it",
                )
    return database


def check_server(facts: ServerFacts, findings: Findings) -> None:
    """
    Say what of a server's settings an operator should know.
    """
    said = f"PostgreSQL {facts.version}"
    if facts.fsync:
        findings.ok("database", "durability", f"{said} puts on disk what it commits")
    else:
        findings.warn(
            "database",
            "durability",
            f"{said} runs with fsync off: a power cut loses what it said was committed",
            "set fsync = on",
        )
    standbys = f"{facts.standbys} standbys are connected"
    if facts.may_lose:
        findings.warn(
            "database",
            "failover",
            f"{standbys}, and a commit waits for none of them: one that takes over may lack what "
            "was committed last, as a restored backup does",
            "set synchronous_standby_names and synchronous_commit = on, or promote by hand and "
            "read docs/operating.md first",
        )
    else:
        waits = "; a commit waits for them" if facts.awaits_standbys else ""
        findings.ok("database", "failover", f"{standbys}{waits}")
    free = f"{facts.free} connections are free"
    if facts.free < _NODES * CONNECTIONS:
        findings.warn(
            "database",
            "connections",
            f"{free}, and a node or verb takes up to {CONNECTIONS}",
            "raise max_connections",
        )
    else:
        findings.ok("database", "connections", free)
    findings.ok(
        "database",
        "erasure",
        "what is erased lives on, encrypted, in the server's dead rows, log, standbys and "
        "backups: only `oracle entropy rotate-key` makes it unreadable",
    )


def _check_file(path: Path, findings: Findings) -> bool:
    """
    Look at a SQLite file and its disk; return whether there is one.
    """
    _check_disk(path.parent, findings)
    if not path.exists():
        findings.ok("database", "file", f"{path} is made by the first start of the node")
        return False
    for file in (path, path.parent):
        if not os.access(file, os.W_OK):
            findings.fail("database", "file", f"{file} cannot be written", "correct its mode")
    return True


def _check_disk(folder: Path, findings: Findings) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        findings.fail(
            "database", "disk", f"{folder}: {error.strerror}", "create it or correct `database`"
        )
        return
    said = f"{free / 2**30:.1f} GiB are free"
    if free < _SCARCE:
        findings.fail("database", "disk", said, "make room: what cannot be written is not sent")
    elif free < _LOW:
        findings.warn("database", "disk", said, "make room")
    else:
        findings.ok("database", "disk", said)
