"""
What `oracle entropy report` draws, measures and writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from oracle.cli import sample_charts
from oracle.cli.sample_page import Sampled, page
from oracle.cli.source_report import count_draw, known_sources, left
from oracle.cli.sources import build, rate_of, vendor_of
from oracle.cli.words import counted
from oracle.entropy.figures import measure, odd
from oracle.entropy.limits import TokenBucket
from oracle.errors import ConfigError, SourceError, SourceReplyError, SourceThrottledError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from oracle.config import Settings
    from oracle.entropy.source import EntropySource
    from oracle.source_settings import SourceSettings

# A vendor that asks for a longer pause is not waited for.
_PAUSE_MOST = 70.0


def chosen(settings: Settings, name: str | None) -> Mapping[str, SourceSettings]:
    """
    Return the sources to be sampled: one, or all.
    """
    if name is None:
        return settings.sources
    if name not in settings.sources:
        raise ConfigError(
            f"there is no source {name}: configured are {', '.join(settings.sources)}"
        )
    return {name: settings.sources[name]}


async def costs(
    settings: Settings, sources: Mapping[str, SourceSettings], n_bytes: int
) -> list[tuple[str, str]]:
    """
    Say for each source what its sample takes from its account.

    Raises `ConfigError` where that is more than is left of a quota.
    """
    records, _ = await known_sources(settings)
    lines = []
    async with AsyncExitStack() as stack:
        for name, source in sources.items():
            calls = _calls(build(name, source, stack, allow_simulated=True), n_bytes)
            requests, bits = left(source, records.get(name))
            if (requests is not None and requests < calls) or (
                bits is not None and bits < 8 * n_bytes
            ):
                raise ConfigError(
                    f"{name}: {n_bytes} bytes are {counted(calls, 'request')} and "
                    f"{8 * n_bytes} bits, more than is left of its quota: ask for less with "
                    "--bytes, or for another --source"
                )
            lines.append(
                (
                    name,
                    f"{n_bytes} bytes in {counted(calls, 'request')}, counted "
                    f"against the account at {vendor_of(name, source)}"
                    + (f"; {requests} requests are left" if requests is not None else "")
                    + (f"; {bits} bits are left" if bits is not None else ""),
                )
            )
    return lines


async def report(
    settings: Settings, sources: Mapping[str, SourceSettings], n_bytes: int, out: Path
) -> dict[str, Any]:
    """
    Draw a sample of every source, write the page, and return its numbers as JSON values.

    Guarantees: the samples are in no file but as the page's pictures, and nothing else uses them.
    """
    at = datetime.now(UTC).replace(microsecond=0)
    async with AsyncExitStack() as stack:
        samples = await asyncio.gather(
            *(
                _sampled(
                    settings,
                    name,
                    source,
                    build(name, source, stack, allow_simulated=True),
                    n_bytes,
                )
                for name, source in sources.items()
            )
        )
    _write(out, page(samples, at))
    return {
        "out": str(out),
        "at": at.isoformat(),
        "sources": [_described(one) for one in samples],
        "passed": all(one.passed for one in samples),
    }


async def _sampled(
    settings: Settings, name: str, section: SourceSettings, source: EntropySource, n_bytes: int
) -> Sampled:
    """
    Return what one source's sample shows; the bytes end here.
    """
    rate = rate_of(section)
    bucket = TokenBucket(rate) if rate else None
    sample = bytearray()
    simulated, calls, spent = False, 0, 0.0
    error: str | None = None
    while len(sample) < n_bytes and error is None:
        if bucket is not None:
            await asyncio.sleep(bucket.wait(time.time()))
            bucket.take(time.time())
        wanted = min(n_bytes - len(sample), source.max_bytes)
        # A call that is cut off may still be billed.
        await count_draw(settings, name, wanted)
        calls += 1
        began = time.monotonic()
        try:
            reply = await source.fetch(wanted)
            sample += reply.data
            simulated |= reply.simulated
        except SourceThrottledError as asked:
            if asked.retry_after > _PAUSE_MOST:
                error = str(asked)
            else:
                await asyncio.sleep(asked.retry_after)
        except SourceError as failed:
            error = str(failed)
        spent += time.monotonic() - began
        if not error and calls > 2 * _calls(source, n_bytes):
            error = str(SourceReplyError(f"{name}: too many calls for this sample: try less."))
    figures = bits = None
    if error is None:
        # What was delivered beyond the sample is destroyed with it.
        del sample[n_bytes:]
        figures, bits = measure(bytes(sample)), sample_charts.bit_map(bytes(sample))
    sample[:] = bytes(len(sample))
    return Sampled(
        name=name,
        kind=section.kind,
        vendor=vendor_of(name, section),
        calls=calls,
        seconds=spent,
        simulated=simulated,
        error=error,
        figures=figures,
        bits=bits,
    )


def _calls(source: EntropySource, n_bytes: int) -> int:
    return -(-n_bytes // source.max_bytes)


def _described(one: Sampled) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": one.name,
        "kind": one.kind,
        "vendor": one.vendor,
        "calls": one.calls,
        "simulated": one.simulated,
        "error": one.error,
        "passed": one.passed,
    }
    if one.figures is not None:
        figures = one.figures
        found |= {
            "bytes": figures.n_bytes,
            "health": figures.health,
            "odd": odd(figures),
            "ones": figures.ones,
            "monobitZ": figures.monobit_z,
            "monobitP": figures.monobit_p,
            "minEntropy": figures.min_entropy,
            "minEntropyExpected": figures.min_entropy_expected,
            "longestRun": figures.longest_run,
            "mostInWindow": figures.most_matches,
            "valuesOutside": figures.counts_outside,
            "distancesOutside": figures.correlations_outside,
        }
    return found


def _write(out: Path, text: str) -> None:
    """
    Write the page as a whole or not at all.
    """
    draft = out.with_name(out.name + ".new")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(out)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from None


def told(document: dict[str, Any]) -> Sequence[str]:
    """
    Return the lines that a person is told.
    """
    lines = []
    for one in document["sources"]:
        if one["error"]:
            lines.append(f"{one['name']}: no sample: {one['error']}")
            continue
        odd_ones = f", odd: {', '.join(one['odd'])}" if one["odd"] else ""
        lines.append(
            f"{one['name']}: health tests {one['health']}{odd_ones}, min-entropy estimate "
            f"{one['minEntropy']:.3f} bits a byte (perfect: about "
            f"{one['minEntropyExpected']:.3f})" + (", simulated" if one["simulated"] else "")
        )
    return [*lines, f"The page is in {document['out']}; the samples are destroyed."]
