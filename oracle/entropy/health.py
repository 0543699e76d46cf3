"""
Continuous health tests of NIST SP 800-90B section 4.4 over samples of eight bits.

The vendors deliver conditioned bytes, so an entropy of 8 bits a sample is what they claim, and
this finds sources that are stuck, truncated, constant or encoded twice; it makes nobody's entropy
certified. Everything here is pure: a state goes in, a state and a verdict come out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# For 8 bits of min-entropy a sample and a false alarm with probability 2^-30 per sample or window.
# 1 + ceil(30 / 8): section 4.4.1.
REPETITION_CUTOFF = 5
# 2 + critbinom(511, 2^-8, 1 - 2^-30): section 4.4.2, corrected for the first sample of a window,
# which always equals itself. An ideal source fails a window with probability 2^-31.3.
PROPORTION_CUTOFF = 17
WINDOW = 512
STARTUP_SAMPLES = 1024


class Failure(StrEnum):
    """
    Why samples must not be used.
    """

    REPETITION = "repetition-count"  #: one value came too often in a row
    PROPORTION = "adaptive-proportion"  #: one value came too often in a window
    REPEAT = "repeat"  #: a block was seen before
    VENDOR = "vendor"  #: the vendor's own test says so


@dataclass(frozen=True, slots=True)
class Health:
    """
    What the tests remember of a source from call to call; a new one has its start-up test ahead.

    It holds two samples, so its repr shows nothing.
    """

    tested: int = 0  #: samples since the start-up test began
    last: int = -1
    run: int = 0
    first: int = -1  #: of the window
    matches: int = 0
    seen: int = 0  #: samples of the window

    def __repr__(self) -> str:
        return f"Health(tested={self.tested})"

    @property
    def started(self) -> bool:
        """
        Whether the start-up test is passed.
        """
        return self.tested >= STARTUP_SAMPLES


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The outcome of testing some samples: all good, or the first failure.
    """

    samples: int
    failure: Failure | None = None

    @property
    def passed(self) -> bool:
        """
        Whether nothing failed.
        """
        return self.failure is None

    def __str__(self) -> str:
        return self.failure or "passed"


def examine(health: Health, samples: bytes) -> tuple[Health, Verdict]:
    """
    Run both continuous tests over samples that follow those before.

    After a failure the state is that of a new source: its start-up test begins anew.
    """
    last, run = health.last, health.run
    first, matches, seen = health.first, health.matches, health.seen
    for at, sample in enumerate(samples, 1):
        run = run + 1 if sample == last else 1
        last = sample
        if run >= REPETITION_CUTOFF:
            return Health(), Verdict(at, Failure.REPETITION)
        if seen in (0, WINDOW):
            first, matches, seen = sample, 1, 1
            continue
        seen += 1
        matches += sample == first
        if matches >= PROPORTION_CUTOFF:
            return Health(), Verdict(at, Failure.PROPORTION)
    tested = health.tested + len(samples)
    return Health(tested, last, run, first, matches, seen), Verdict(len(samples))


def repeats(digests: Sequence[bytes], known: Collection[bytes]) -> bool:
    """
    Say whether a block came before, by the keyed digests of the new blocks and of the known ones.
    """
    return len(set(digests)) != len(digests) or not set(digests).isdisjoint(known)
