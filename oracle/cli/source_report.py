"""
What `oracle entropy status` and `oracle entropy check` find out and print.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from oracle.cli.sources import build, quota_of, rate_of, sources_per_seed, vendor_of
from oracle.entropy.health import STARTUP_SAMPLES, Health, examine
from oracle.entropy.qrng_open_api import QrngOpenApi
from oracle.errors import SourceError
from oracle.source_standing import in_period, pause_left, reason_of
from oracle.store import sources as store
from oracle.store.engine import Access, Database
from oracle.store.sources import SourceRecord, SourceState
from oracle.supply import ReportsUsage

if TYPE_CHECKING:
    from oracle.config import Settings
    from oracle.entropy.limits import Quota
    from oracle.entropy.source import EntropySource
    from oracle.source_settings import SourceSettings

#: The start-up test's samples: what a node would draw first, and no more.
CHECK_BYTES = STARTUP_SAMPLES
_WARN_DAYS = 21


async def status(settings: Settings) -> dict[str, Any]:
    """
    Return what the store knows of the configured sources and the pool, as JSON values.
    """
    records, counts = await known_sources(settings)
    listed = [_described(name, settings, records.get(name)) for name in settings.sources]
    per_seed = sources_per_seed(settings)
    ready = {one["vendor"] for one in listed if one["ready"]}
    return {
        "sources": listed,
        "sourcesPerSeed": per_seed,
        "trust": _trust(settings, per_seed),
        "pool": {**counts, "target": settings.pool.fresh},
        "fills": len(ready) >= per_seed,
    }


async def check(settings: Settings) -> dict[str, Any]:
    """
    Draw once from every source at the same time and return what came of it, as JSON values.
    """
    devnet = settings.devnet
    known, _ = await known_sources(settings)
    async with AsyncExitStack() as stack:
        sources = {
            # Simulated entropy is looked at too: what a node would make of it is said below.
            name: build(name, source, stack, allow_simulated=True)
            for name, source in settings.sources.items()
        }
        results = await asyncio.gather(
            *(_drawn(source, quota_of(settings.sources[name])) for name, source in sources.items())
        )
    listed = []
    for name, result in zip(settings.sources, results, strict=True):
        record = await _counted(settings, name, known.get(name), result)
        described = _described(name, settings, record) | result
        described["verdict"] = _verdict(described, devnet=devnet)
        described["usable"] = described["verdict"] == "would be used"
        listed.append(described)
    per_seed = sources_per_seed(settings)
    usable = {one["vendor"] for one in listed if one["usable"]}
    fills = len(usable) >= per_seed
    return {
        "sources": listed,
        "sourcesPerSeed": per_seed,
        "trust": _trust(settings, per_seed),
        "fills": fills,
        "production": (
            f"seeds would be mixed from {per_seed} of {len(usable)} vendors and the operating"
            " system"
            if fills
            else f"the node would wait: a seed needs {per_seed} vendors and {len(usable)} deliver"
        ),
    }


async def _drawn(source: EntropySource, quota: Quota) -> dict[str, Any]:
    """
    Return what one draw showed; the bytes end here.
    """
    found: dict[str, Any] = dict.fromkeys(
        ("bytes", "health", "error", "advice", "certificateExpires", "vendorTest", "vendorBits")
    ) | {"simulated": False}
    began = time.monotonic()
    try:
        sample = await source.fetch(min(CHECK_BYTES, source.max_bytes))
        found["latencyMs"] = round(1000 * (time.monotonic() - began))
        found["bytes"] = len(sample.data)
        found["simulated"] = sample.simulated
        found["health"] = str(examine(Health(), sample.data)[1])
        if sample.certificate_expires:
            found["certificateExpires"] = sample.certificate_expires.isoformat()
        del sample
        if isinstance(source, QrngOpenApi):
            found["vendorTest"] = [
                {
                    "test": one.test_type,
                    "result": one.result,
                    "verdict": one.verdict,
                    "failed": one.failed,
                }
                for one in await source.self_test()
            ]
        if isinstance(source, ReportsUsage):
            today = datetime.now(UTC)
            found["vendorBits"] = await source.used_bits(quota.began(today).date(), today.date())
    except SourceError as error:
        found.setdefault("latencyMs", round(1000 * (time.monotonic() - began)))
        found["error"], found["advice"] = reason_of(error), str(error)
    return found


async def known_sources(settings: Settings) -> tuple[dict[str, SourceRecord], dict[str, int]]:
    """
    Return what the store knows; nothing where there is none yet.
    """
    database = await Database.find(settings.database, Access.VISIT)
    if database is None:
        return {}, {"fresh": 0, "bound": 0, "destroyed": 0, "unused": 0}
    try:
        async with database.read() as connection:
            records = {
                name: record
                for name in settings.sources
                if (record := await store.get(connection, name)) is not None
            }
            return records, await store.pool_counts(connection)
    finally:
        await database.close()


async def _counted(
    settings: Settings, name: str, record: SourceRecord | None, found: dict[str, Any]
) -> SourceRecord | None:
    """
    Count the draw of a check against the account, where there is a store to count it in.
    """
    counted = await count_draw(settings, name, found["bytes"] or 0, found["vendorBits"] or 0)
    return counted or record


async def count_draw(
    settings: Settings, name: str, n_bytes: int, vendor_bits: int = 0
) -> SourceRecord | None:
    """
    Count one call and its bytes against a source's account, where there is a store to count it
    in; return what is known of the source then.
    """
    database = await Database.find(settings.database, Access.VISIT)
    if database is None:
        return None
    quota = quota_of(settings.sources[name])
    began = quota.began(datetime.now(UTC))
    try:
        async with database.write() as tx:
            record = await store.get(tx, name) or SourceRecord(name=name)
            record = in_period(record, began)
            used = record.used_bits + 8 * n_bytes
            record = replace(
                record,
                used_requests=record.used_requests + 1,
                # The vendor knows better what others drew from the same account.
                used_bits=max(used, vendor_bits),
            )
            await store.put(tx, record)
    finally:
        await database.close()
    return record


def left(source: SourceSettings, record: SourceRecord | None) -> tuple[int | None, int | None]:
    """
    Return the requests and bits that are left of an account's quota; nothing where there is none.
    """
    quota, now = quota_of(source), datetime.now(UTC)
    record = in_period(record or SourceRecord(name=""), quota.began(now))
    return (
        None if quota.requests is None else max(0, quota.requests - record.used_requests),
        None if quota.bits is None else max(0, quota.bits - record.used_bits),
    )


def _described(name: str, settings: Settings, record: SourceRecord | None) -> dict[str, Any]:
    source = settings.sources[name]
    quota, rate, now = quota_of(source), rate_of(source), datetime.now(UTC)
    record = in_period(record or SourceRecord(name=name), quota.began(now))
    requests, bits = left(source, record)
    waits = pause_left(record, now.timestamp()) > 0
    state = record.state
    if 0 in (requests, bits):
        state, waits = SourceState.EXHAUSTED, True
    return {
        "name": name,
        "kind": source.kind,
        "vendor": vendor_of(name, source),
        "state": str(state),
        "ready": not waits,
        "reason": record.reason if state is not SourceState.EXHAUSTED else "quota",
        "advice": record.advice,
        "until": _stamp(record.until) if waits else None,
        "requestsPerMinute": None if rate is None else round(60 * rate.requests / rate.seconds, 3),
        "quota": {
            "per": quota.per,
            "usedRequests": record.used_requests,
            "usedBits": record.used_bits,
            "leftRequests": requests,
            "leftBits": bits,
            "resetsAt": quota.resets(now).isoformat(),
        },
        "deliveredAt": _stamp(record.delivered_at),
    }


def _verdict(found: dict[str, Any], *, devnet: bool) -> str:
    """
    Say what a node would do with a source that behaves as the check found.
    """
    if found["error"]:
        return f"would not be used: {found['error']}"
    if found["health"] != "passed":
        return f"would be quarantined: {found['health']}"
    if found["simulated"] and not devnet:
        return "would be refused: simulated"
    if any(one["failed"] for one in found["vendorTest"] or []):
        return "would be quarantined: the vendor's own test says error"
    if found["state"] == SourceState.EXHAUSTED:
        return "would wait: quota"
    return "would be used"


def _trust(settings: Settings, per_seed: int) -> str:
    if per_seed == 1:
        vendor = next(vendor_of(name, source) for name, source in settings.sources.items())
        return f"one source: the trust is that of {vendor} and of the operating system"
    return f"a seed is as unpredictable as the best of {per_seed} vendors and the operating system"


def _stamp(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def print_status(document: dict[str, Any]) -> None:
    """
    Print a status for people.
    """
    table = Table(title=document["trust"])
    for heading in ("source", "kind", "state", "why", "until", "used", "left", "resets"):
        table.add_column(heading, overflow="fold")
    for one in document["sources"]:
        table.add_row(
            one["name"],
            one["kind"],
            one["state"],
            one["reason"] or "",
            one["until"] or "",
            _amount(one["quota"], "used"),
            _amount(one["quota"], "left") or "not stated",
            one["quota"]["resetsAt"][:10],
        )
    _console().print(table)
    pool = document["pool"]
    _console().print(
        f"pool: {pool['fresh']} of {pool['target']} blocks fresh, {pool['bound']} bound,"
        f" {pool['destroyed']} destroyed ({pool['unused']} of them unused)"
    )
    _advise(document)


def print_check(document: dict[str, Any]) -> None:
    """
    Print a check for people.
    """
    table = Table(title=document["trust"])
    for heading in (
        "source",
        "latency",
        "bytes",
        "health",
        "certificate",
        "left",
        "in production",
    ):
        table.add_column(heading, overflow="fold")
    for one in document["sources"]:
        table.add_row(
            one["name"],
            f"{one['latencyMs']} ms",
            str(one["bytes"] or ""),
            (one["health"] or "") + (" (simulated)" if one["simulated"] else ""),
            _certificate(one["certificateExpires"]),
            _amount(one["quota"], "left") or "not stated",
            one["verdict"],
        )
    _console().print(table)
    _console().print(document["production"])
    _advise(document)


def _advise(document: dict[str, Any]) -> None:
    for one in document["sources"]:
        if one["advice"]:
            _console().print(one["advice"], markup=False)


def _amount(quota: dict[str, Any], which: str) -> str:
    parts = [
        f"{quota[which + name]} {name.lower()}"
        for name in ("Requests", "Bits")
        if quota[which + name] is not None
    ]
    return ", ".join(parts)


def _certificate(expires: str | None) -> str:
    if expires is None:
        return "none"
    days = (datetime.fromisoformat(expires) - datetime.now(UTC)).days
    return f"{days} days{': renew it' if days < _WARN_DAYS else ''}"


def _console() -> Console:
    # Where nobody looks, nothing is folded.
    return Console(width=None if sys.stdout.isatty() else 160)
