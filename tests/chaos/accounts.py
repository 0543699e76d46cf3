"""
What became of every request: pure counting, from the chain's own events and from what was seen to
leave the nodes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oracle.entropy.expansion import expand

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NATIVE, AIRNODE = "native", "airnode"
# More refundable requests than this share fail a run.
REFUNDABLE_MOST = 0.01
#: The columns that fail a run unless they are zero.
ZERO = ("lost", "duplicated", "redrawn", "seeds_reused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """
    A canonical request; `index` is its seed's, of a native one.
    """

    request_id: bytes
    protocol: str
    block: int
    index: int | None = None
    confirmations: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """
    A canonical end of a request. `secret` is the seed or the number, where there is one.
    """

    request_id: bytes
    block: int
    secret: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonical:
    """
    What the chain says, as of a block.
    """

    head: int
    made: Mapping[bytes, Made]
    settled: Sequence[Settled]

    @property
    def fulfilled(self) -> dict[bytes, Settled]:
        """
        The requests that got their value, each with the last of its fulfillments.
        """
        return {
            one.request_id: one
            for one in self.settled
            if one.secret is not None and one.request_id in self.made
        }

    @property
    def open(self) -> list[Made]:
        """
        The requests that nothing has ended.
        """
        ended = {one.request_id for one in self.settled}
        return [made for id_, made in self.made.items() if id_ not in ended]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """
    What left the nodes: seeds by index, numbers by request, and requests for which transactions at
    two places could land.
    """

    seeds: Mapping[int, frozenset[bytes]]
    numbers: Mapping[bytes, frozenset[bytes]]
    twice: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """
    A fault as the chain saw it: the heads when it began and when it ended.
    """

    name: str
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    The columns, each with whom it is about.
    """

    requests: int
    fulfilled: int
    refundable: dict[bytes, str] = field(default_factory=dict)
    lost: list[bytes] = field(default_factory=list)
    duplicated: list[bytes] = field(default_factory=list)
    redrawn: list[str] = field(default_factory=list)
    seeds_reused: list[str] = field(default_factory=list)
    exposed: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """
        The columns that fail the run.
        """
        failed = [name for name in ZERO if getattr(self, name)]
        if len(self.refundable) > REFUNDABLE_MOST * self.requests:
            failed.append("refundable")
        return failed


def make_account(chain: Canonical, given: Given, spans: Iterable[Span], window: int) -> Account:
    """
    Count.

    An open request is refundable when its window has passed and one fault covered all of it, and
    lost otherwise; also a request that was ended without a value is lost.
    """
    fulfilled = chain.fulfilled
    spans = list(spans)
    refundable: dict[bytes, str] = {}
    lost = []
    for id_, made in chain.made.items():
        if id_ in fulfilled:
            continue
        covered = _covering(made, spans, chain.head, window)
        if covered is None:
            lost.append(id_)
        else:
            refundable[id_] = covered
    return Account(
        requests=len(chain.made),
        fulfilled=len(fulfilled),
        refundable=refundable,
        lost=lost,
        duplicated=_duplicated(chain, given),
        redrawn=_redrawn(chain, given),
        seeds_reused=_reused(chain),
        exposed=_exposed(chain, given),
    )


def _covering(made: Made, spans: Sequence[Span], head: int, window: int) -> str | None:
    if made.protocol != NATIVE or head <= made.block + window:
        return None
    first, last = made.block + made.confirmations, made.block + window
    return next((one.name for one in spans if one.first <= first and last <= one.last), None)


def _duplicated(chain: Canonical, given: Given) -> list[bytes]:
    times: dict[bytes, int] = defaultdict(int)
    for one in chain.settled:
        times[one.request_id] += 1
    return sorted({id_ for id_, count in times.items() if count > 1} | given.twice)


def _redrawn(chain: Canonical, given: Given) -> list[str]:
    seeds = {index: set(found) for index, found in given.seeds.items()}
    numbers = {id_: set(found) for id_, found in given.numbers.items()}
    for one in chain.settled:
        made = chain.made.get(one.request_id)
        if one.secret is None or made is None:
            continue
        if made.index is not None:
            seeds.setdefault(made.index, set()).add(one.secret)
        else:
            numbers.setdefault(one.request_id, set()).add(one.secret)
    return [
        *(
            f"index {index}: {len(found)} seeds"
            for index, found in seeds.items()
            if len(found) > 1
        ),
        *(
            f"request 0x{id_.hex()}: {len(found)} numbers"
            for id_, found in numbers.items()
            if len(found) > 1
        ),
    ]


def _reused(chain: Canonical) -> list[str]:
    """
    Name every two fulfillments with one seed.

    An Airnode's number does not show its seed, but follows from it and the request: whoever knows
    a seed can tell.
    """
    by_secret: dict[bytes, list[bytes]] = defaultdict(list)
    answers: dict[bytes, bytes] = {}
    seeds: dict[bytes, bytes] = {}
    for id_, one in chain.fulfilled.items():
        assert one.secret is not None
        if chain.made[id_].protocol == NATIVE:
            seeds[one.secret] = id_
            by_secret[one.secret].append(id_)
        else:
            answers[id_] = first_word(one.secret)
            by_secret[answers[id_]].append(id_)
    found = [
        " and ".join(f"0x{id_.hex()}" for id_ in ids) for ids in by_secret.values() if len(ids) > 1
    ]
    for seed, native in seeds.items():
        for id_, word in answers.items():
            if word == expand(seed, id_, 1)[0].to_bytes(32, "big"):
                found.append(f"0x{native.hex()} and 0x{id_.hex()}")
    return found


def _exposed(chain: Canonical, given: Given) -> list[str]:
    """
    Name what left a node, and the chain has no fulfillment with.
    """
    fulfilled = chain.fulfilled
    served = {
        made.index
        for id_, made in chain.made.items()
        if made.index is not None and id_ in fulfilled
    }
    return [
        *(f"index {index}" for index in sorted(given.seeds.keys() - served)),
        *(f"request 0x{id_.hex()}" for id_ in given.numbers.keys() - fulfilled.keys()),
    ]


def first_word(data: bytes) -> bytes:
    """
    Return the first number of an Airnode's answer: it is the only one, or stands behind the
    array's offset and length.
    """
    return data if len(data) == 32 else data[64:96]
