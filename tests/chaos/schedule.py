"""
What is done to the system, and when: made from a seed alone.

Moments are ticks: one tick is one block that the run mines. A tick's wall-clock time, and how far
the nodes are with their work in it, are the machine's and no part of the schedule.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Arguments = dict[str, Any]

# What a run is spread over: a fault begins every second tick on average.
TICKS_PER_FAULT = 2.0
REQUESTS_PER_TICK = 4.0
# Ticks that a node is left alone after it was killed or frozen.
REST = 8
# At the end nothing new begins, so that what began ends by itself.
TAIL = 20
# Of all requests, what goes to the Airnode.
AIRNODE_SHARE = 0.25
# How much likelier a kind is that has not come yet: a short run has nearly all.
NEW = 20
BURST_EVERY = (4, 16)
# What every node is told of the chain through.
ENDPOINTS = ("a", "b")
# Reorgs deeper than this are rare, as they are.
DEEPEST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    One fault: from `tick` on, for `ticks` blocks; `arguments` say what exactly.
    """

    tick: int
    kind: str
    target: str
    ticks: int
    arguments: Arguments

    @property
    def end(self) -> int:
        """
        The first tick after it.
        """
        return self.tick + self.ticks


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """
    Requests that are made at one tick.
    """

    tick: int
    native: int
    airnode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What a run is made from; two runs of the same plan have the same schedule.
    """

    seed: int
    requests: int
    faults: int
    nodes: int
    database: str

    @property
    def ticks(self) -> int:
        """
        How many blocks the faults and requests are spread over.
        """
        spread = max(self.faults * TICKS_PER_FAULT, self.requests / REQUESTS_PER_TICK)
        return math.ceil(spread) + TAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """
    A plan, worked out.
    """

    plan: Plan
    ticks: int
    bursts: tuple[Burst, ...]
    faults: tuple[Fault, ...]

    def document(self) -> dict[str, Any]:
        """
        Return what `--schedule` prints.
        """
        return {
            "plan": asdict(self.plan),
            "ticks": self.ticks,
            "bursts": [asdict(one) for one in self.bursts],
            "faults": [asdict(one) for one in self.faults],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """
    A kind of fault: how often it comes, on what, and for how long.
    """

    weight: float
    target: str
    ticks: tuple[int, int]
    #: Whether it needs its target for itself, and some rest for it afterwards.
    alone: bool = False
    arguments: Callable[[random.Random], Arguments] = lambda _: {}


def _rate(rng: random.Random) -> Arguments:
    return {"rate": rng.choice([0.3, 0.6, 1.0])}


def _when(rng: random.Random) -> Arguments:
    # Whether what was asked is done before the answer is lost.
    return {**_rate(rng), "done": rng.random() < 0.5}


def _reorg(rng: random.Random) -> Arguments:
    # Most reorgs are shallow: a depth has half the chance of half of it.
    depth = min(DEEPEST, int(2 ** (6 * rng.random() ** 2)))
    return {
        "depth": depth,
        # What becomes of the transactions in the blocks that go.
        "returns": rng.choices(["all", "some", "none"], [6, 3, 1])[0],
        # Whether the longer branch is there at once, or grows as blocks come.
        "at_once": rng.random() < 0.7,
        # Empty blocks before the transactions are back.
        "later": rng.choice([0, 0, 0, 1, 2]),
    }


def _gateway(rng: random.Random) -> Arguments:
    names = ["rate-limit", "unavailable", "slow:1", "slow:3"]
    return {"fault": rng.choice(names)}


def _first_source(rng: random.Random) -> Arguments:
    # These take a source out for minutes: only one of the two gets them.
    names = ["short", "empty", "garbage", "stuck-bits", "repeat", "wrong-key", "quota"]
    return {"fault": rng.choice(names)}


#: Everything that can happen.
KINDS: dict[str, Kind] = {
    "node-kill": Kind(weight=14, target="node", ticks=(1, 8), alone=True),
    "node-stop": Kind(weight=10, target="node", ticks=(2, 24), alone=True),
    "node-term": Kind(weight=4, target="node", ticks=(1, 4), alone=True),
    "fault-point": Kind(weight=20, target="node", ticks=(1, 3), alone=True),
    "reorg": Kind(
        weight=16,
        target="chain",
        ticks=(1, 1),
        arguments=_reorg,
    ),
    "dropped-transaction": Kind(
        weight=6, target="chain", ticks=(8, 8), arguments=lambda rng: {"count": rng.randint(1, 3)}
    ),
    "base-fee-spike": Kind(
        weight=3,
        target="chain",
        ticks=(4, 16),
        arguments=lambda rng: {"gwei": rng.choice([5, 20, 50, 150])},
    ),
    "rpc-timeout": Kind(weight=3, target="endpoint", ticks=(2, 6), arguments=_when),
    "rpc-429": Kind(weight=4, target="endpoint", ticks=(1, 4), arguments=_rate),
    "rpc-5xx": Kind(weight=4, target="endpoint", ticks=(1, 4), arguments=_when),
    "rpc-dropped": Kind(weight=4, target="endpoint", ticks=(1, 4), arguments=_when),
    "rpc-truncated": Kind(weight=3, target="endpoint", ticks=(1, 4), arguments=_rate),
    "rpc-html": Kind(weight=3, target="endpoint", ticks=(1, 4), arguments=_when),
    "stale-head": Kind(
        weight=4,
        target="endpoint",
        ticks=(1, 8),
        arguments=lambda rng: {"behind": rng.choice([1, 2, 5, 12])},
    ),
    "missing-logs": Kind(
        weight=4,
        target="endpoint",
        ticks=(1, 4),
        arguments=lambda rng: {"rate": rng.choice([0.2, 0.5, 1.0])},
    ),
    "duplicate-logs": Kind(weight=2, target="endpoint", ticks=(1, 8), arguments=_rate),
    "null-receipts": Kind(weight=4, target="endpoint", ticks=(2, 8), arguments=_rate),
    "stale-nonce": Kind(
        weight=3,
        target="endpoint",
        ticks=(1, 4),
        arguments=lambda rng: {**_rate(rng), "behind": rng.randint(1, 3)},
    ),
    "broadcast-delayed": Kind(
        weight=4,
        target="endpoint",
        ticks=(4, 8),
        arguments=lambda rng: {"by": rng.randint(1, 12)},
    ),
    "broadcast-lost": Kind(weight=4, target="endpoint", ticks=(4, 8), arguments=_rate),
    "broadcast-unanswered": Kind(weight=4, target="endpoint", ticks=(4, 8), arguments=_rate),
    "broadcast-refused": Kind(
        weight=4,
        target="endpoint",
        ticks=(4, 8),
        arguments=lambda rng: {
            "words": rng.choice(
                ["already known", "replacement transaction underpriced", "nonce too low"]
            ),
            "done": rng.random() < 0.5,
        },
    ),
    "gateway-fault": Kind(weight=4, target="gateway", ticks=(2, 12), arguments=_gateway),
    "gateway-bad": Kind(weight=1, target="gateway", ticks=(2, 8), arguments=_first_source),
    "gateway-outage": Kind(weight=2, target="gateway", ticks=(4, 16), alone=True),
    "database-restart": Kind(
        weight=3,
        target="database",
        ticks=(1, 4),
        alone=True,
        arguments=lambda rng: {"mode": rng.choice(["immediate", "fast"])},
    ),
}


def make_schedule(plan: Plan, points: Sequence[str]) -> Schedule:
    """
    Work a plan out; `points` are the fault points that a node can die at.

    Guarantees: as many faults and requests as planned; the same from the same plan and points.
    """
    rng = random.Random(repr(plan))
    last = plan.ticks - TAIL
    return Schedule(
        plan=plan,
        ticks=plan.ticks,
        bursts=_bursts(rng, plan, last),
        faults=_faults(rng, plan, last, sorted(points)),
    )


def _bursts(rng: random.Random, plan: Plan, last: int) -> tuple[Burst, ...]:
    moments = [0]
    while (after := moments[-1] + rng.randint(*BURST_EVERY)) < last:
        moments.append(after)
    weights = [rng.choice([1, 2, 4, 8]) for _ in moments]
    native = Counter[int]()
    airnode = Counter[int]()
    for moment in rng.choices(moments, weights, k=plan.requests):
        chosen = airnode if rng.random() < AIRNODE_SHARE else native
        chosen[moment] += 1
    return tuple(
        Burst(tick=moment, native=native[moment], airnode=airnode[moment])
        for moment in moments
        if native[moment] or airnode[moment]
    )


def _faults(rng: random.Random, plan: Plan, last: int, points: Sequence[str]) -> tuple[Fault, ...]:
    nodes = [f"node-{number}" for number in range(plan.nodes)]
    targets = {
        "node": nodes,
        # One of a node's endpoints, or all at once.
        "endpoint": [
            target for node in nodes for target in (node, *(f"{node}/{e}" for e in ENDPOINTS))
        ],
        "chain": ["chain"],
        "gateway": ["gateway"],
        "database": ["database"] if plan.database == "postgres" else [],
    }
    busy = dict.fromkeys([*nodes, "chain", "gateway", "database"], 0)
    made: list[Fault] = []
    seen: set[str] = set()
    for moment in sorted(rng.uniform(0, last) for _ in range(plan.faults)):
        tick = int(moment)
        possible = [
            (name, target)
            for name, kind in KINDS.items()
            for target in targets[kind.target]
            if not kind.alone or busy[target] <= tick
        ]
        weights = [
            KINDS[name].weight / len(targets[KINDS[name].target]) * (1 if name in seen else NEW)
            for name, _ in possible
        ]
        [(name, target)] = rng.choices(possible, weights)
        kind = KINDS[name]
        arguments = kind.arguments(rng)
        if name == "fault-point":
            arguments = {"point": rng.choice(points), "pass": rng.choice([1, 1, 1, 2, 5])}
        fault = Fault(
            tick=tick,
            kind=name,
            target=target,
            ticks=rng.randint(*kind.ticks),
            arguments=arguments,
        )
        if kind.alone:
            busy[target] = fault.end + REST
        made.append(fault)
        seen.add(name)
    return tuple(made)
