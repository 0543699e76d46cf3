"""
All entropy sources together: which of them are mixed into a seed, and how they are drawn from.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from oracle.entropy.health import Failure
from oracle.errors import one_of
from oracle.store import sources as store
from oracle.supply import INPUT_BYTES, Supply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oracle.store.engine import Database


class Supplies:
    """
    All sources, and how many of them, run by different vendors, are mixed into a seed.
    """

    def __init__(self, supplies: Sequence[Supply], *, per_seed: int) -> None:
        vendors = {supply.vendor for supply in supplies}
        if not 1 <= per_seed <= len(vendors):
            raise ValueError("A seed has at least one source, and at most one of every vendor.")
        self.all = tuple(supplies)
        self.per_seed = per_seed

    async def restore(self, database: Database) -> None:
        """
        Go on where an earlier process stopped.
        """
        for supply in self.all:
            await supply.restore(database)

    def forget_older(self, before: int) -> None:
        """
        Destroy what was received before a time in milliseconds and is not mixed yet.
        """
        for supply in self.all:
            supply.forget_older(before)

    def forget(self) -> None:
        """
        Have what is known of the sources read again: another node may have drawn from them.
        """
        for supply in self.all:
            supply.forget()

    def choose(self) -> list[Supply]:
        """
        Return one source of each of `per_seed` vendors that may be drawn from or has chunks left,
        in the order of the configuration; fewer when there are not as many.
        """
        chosen: dict[str, Supply] = {}
        for supply in self.all:
            if supply.vendor not in chosen and (supply.stock or supply.wait() == 0):
                chosen[supply.vendor] = supply
        return list(chosen.values())[: self.per_seed]

    def missing(self) -> Mapping[str, str]:
        """
        Return, for every source that cannot be drawn from now, the word for why.
        """
        return {supply.name: supply.why() for supply in self.all if supply.wait() > 0}

    def wait(self) -> float:
        """
        Return the seconds until enough vendors may be drawn from.
        """
        soonest: dict[str, float] = {}
        for supply in self.all:
            wait = 0.0 if supply.stock else supply.wait()
            soonest[supply.vendor] = min(wait, soonest.get(supply.vendor, wait))
        return sorted(soonest.values())[self.per_seed - 1]

    async def draw(self, database: Database, chosen: Sequence[Supply], chunks: int) -> int:
        """
        Draw at once from those of the chosen that lack chunks; return how many all of them have.
        """
        # Who may not be asked now bounds what is asked of the others.
        chunks = min([chunks, *(supply.stock for supply in chosen if supply.wait() > 0)])
        lacking = [supply for supply in chosen if supply.stock < chunks]
        if lacking:
            async with database.write() as tx:
                round_id = await store.open_round(
                    tx, self.per_seed, [supply.name for supply in chosen]
                )
            try:
                async with asyncio.TaskGroup() as tasks:
                    for supply in lacking:
                        wanted = (chunks - supply.stock) * INPUT_BYTES
                        tasks.create_task(supply.draw(database, round_id, wanted))
            except ExceptionGroup as group:
                # As when a database goes away under both.
                raise one_of(group) from None
            await self._compare(database)
        return min([chunks, *(supply.stock for supply in chosen)])

    async def _compare(self, database: Database) -> None:
        """
        Put sources that gave the same bytes into quarantine: they are one source, or a replay.
        """
        givers: dict[bytes, set[Supply]] = {}
        for supply in self.all:
            for digest in supply.waiting_digests():
                givers.setdefault(digest, set()).add(supply)
        same = {supply for some in givers.values() if len(some) > 1 for supply in some}
        for supply in same:
            await supply.condemn(database, Failure.REPEAT)
