"""
A run: faults and requests as scheduled, then calm, then what came of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from bisect import bisect_left
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oracle.devnet.processes import inherited_environment
from oracle.errors import OracleError
from tests.chaos.accounts import Given, Span, make_account
from tests.chaos.nodes import find_points
from tests.chaos.postgres import running_server
from tests.chaos.reading import read_canonical
from tests.chaos.schedule import KINDS, make_schedule
from tests.chaos.site import DEPTH, Site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.chaos.accounts import Account, Canonical
    from tests.chaos.nodes import Node
    from tests.chaos.schedule import Fault, Plan, Schedule

BLOCK_SECONDS = 0.5
# Seconds that nothing may move in the calm before what is open counts as lost.
PATIENCE = 150.0
_SAY_EVERY = 5.0
_START_MOST, _START_LOOK = 8.0, 0.1
# In the calm: how often it is looked whether all is settled, in ticks.
_LOOK_EVERY = 4
# How many are asked again at once.
_AGAIN = 50
# Blocks after the last fulfillment, so that all of it is final for the nodes.
_REST = DEPTH + 20


@dataclass(kw_only=True)
class Outcome:
    """
    What came of a run.
    """

    account: Account
    audit: dict[str, Any]
    audit_code: int
    faults: Counter[str]
    hits: Counter[str]
    points: Counter[str]
    exits: list[str]
    codes: list[int]
    delay_blocks: int
    delay_seconds: float
    twice: list[str]
    broadcasts: int
    deepest: int
    seconds: float

    @property
    def failures(self) -> list[str]:
        """
        Why the run failed; nothing if it did not.
        """
        failed = self.account.failures
        if self.audit_code:
            failed.append("audit")
        if any(self.codes):
            failed.append("exit code of a node that was told to end")
        return failed


class Run:
    """
    A schedule, carried out on a site.
    """

    def __init__(
        self,
        site: Site,
        schedule: Schedule,
        say: Callable[[str], None],
        *,
        block_seconds: float,
    ) -> None:
        self.site = site
        self.schedule = schedule
        self.say = say
        self.faults: Counter[str] = Counter()
        self._block_seconds = block_seconds
        self._tick = 0
        self._spans: list[tuple[Fault, int]] = []
        self._ended: list[Span] = []
        self._drops: list[tuple[int, int]] = []
        self._mined_at: dict[int, float] = {}
        self._deepest = 0
        self._said = 0.0

    async def carry_out(self) -> Outcome:
        """
        Do it all; return what came of it.
        """
        began = time.monotonic()
        await self.site.until_ready()
        self.say(f"{len(self.schedule.faults)} faults in {self.schedule.ticks} blocks")
        await self._storm()
        self.say("calm: all faults are over, all nodes are up")
        chain = await self._calm()
        codes = [await node.stop() for node in self.site.nodes]
        self.say("audit")
        code, audit = await self._audit()
        account = make_account(chain, self._given(), self._ended, self.site.window)
        blocks, seconds = self._delays(chain)
        watcher = self.site.watcher
        return Outcome(
            account=account,
            audit=audit,
            audit_code=code,
            faults=self.faults,
            hits=self.site.proxy.hits,
            points=sum((node.reached for node in self.site.nodes), Counter()),
            exits=[f"{node.name}: {words}" for node in self.site.nodes for words in node.exits],
            codes=codes,
            delay_blocks=blocks,
            delay_seconds=seconds,
            twice=[repr(one) for one in watcher.twice],
            broadcasts=watcher.broadcasts,
            deepest=self._deepest,
            seconds=time.monotonic() - began,
        )

    async def _storm(self) -> None:
        waiting, bursts = list(self.schedule.faults), list(self.schedule.bursts)
        while self._tick < self.schedule.ticks:
            while waiting and waiting[0].tick <= self._tick:
                await self._begin(waiting.pop(0))
            while bursts and bursts[0].tick <= self._tick:
                burst = bursts.pop(0)
                await self.site.requesters.ask(burst.native, burst.airnode)
            await self._pass_tick()

    async def _pass_tick(self) -> None:
        """
        Let one block pass.
        """
        site, tick = self.site, self._tick
        started = time.monotonic()
        site.watcher.tick = tick
        await site.proxy.tick(tick)
        for node in site.nodes:
            await node.keep(tick)
        await site.keep_gateway(tick)
        if site.server is not None:
            await site.server.keep(tick)
        await self._wait_for_node()
        await self._drop_some()
        await site.chain.mine(tick)
        await site.chain.note_final(site.wallets)
        self._mined_at[site.chain.height] = time.monotonic()
        self._end_spans()
        await self._progress()
        self._tick += 1
        await asyncio.sleep(max(0.0, started + self._block_seconds - time.monotonic()))

    async def _wait_for_node(self) -> None:
        """
        Let no block pass while the only nodes that are up are starting: how long that takes is the
        machine's, and a node that never gets to work proves nothing.
        """
        nodes = self.site.nodes
        deadline = time.monotonic() + _START_MOST
        while (
            any(node.starting for node in nodes)
            and not any(node.at_work for node in nodes)
            and time.monotonic() < deadline
        ):
            await asyncio.sleep(_START_LOOK)

    async def _begin(self, fault: Fault) -> None:
        site = self.site
        self._spans.append((fault, site.chain.height))
        self.faults[fault.kind] += 1
        match KINDS[fault.kind].target:
            case "node":
                await self._node(fault.target).begin(fault)
            case "endpoint":
                site.proxy.begin(fault)
            case "database":
                assert site.server is not None, "only a server is restarted"
                await site.server.end(fault)
            case "gateway" if fault.kind == "gateway-outage":
                await site.end_gateway(fault)
            case "gateway":
                site.proxy.begin(fault)
            case _:
                await self._begin_on_chain(fault)

    async def _begin_on_chain(self, fault: Fault) -> None:
        match fault.kind:
            case "reorg":
                depth = await self.site.chain.reorg(self._tick, fault.arguments)
                self._deepest = max(self._deepest, depth)
                if not await self.site.reader.code(self.site.coordinator):
                    raise OracleError("anvil lost its state in a rollback: the run says nothing")
            case "base-fee-spike":
                self.site.chain.spike(fault.end, fault.arguments["gwei"])
            case "dropped-transaction":
                self._drops.append((fault.end, fault.arguments["count"]))

    def _node(self, name: str) -> Node:
        return next(node for node in self.site.nodes if node.name == name)

    async def _drop_some(self) -> None:
        """
        Drop what nodes have in the pool right now; a drop waits for something to drop.
        """
        left = []
        for until, count in self._drops:
            dropped = await self.site.chain.drop(self.site.wallets, count)
            if dropped < count and until > self._tick:
                left.append((until, count - dropped))
        self._drops = left

    def _end_spans(self) -> None:
        height = self.site.chain.height
        still = []
        for fault, first in self._spans:
            if fault.end > self._tick:
                still.append((fault, first))
            else:
                name = f"{fault.kind} on {fault.target} at tick {fault.tick}"
                self._ended.append(Span(name=name, first=first, last=height))
        self._spans = still

    async def _calm(self) -> Canonical:
        site = self.site
        await site.calm()
        self._drops = []
        last, best = time.monotonic(), -1
        rest = _REST
        wanted = self.schedule.plan.requests
        chain = await read_canonical(site.reader, site.coordinator, site.qrng.rrp)
        while rest:
            for _ in range(_LOOK_EVERY):
                await self._pass_tick()
            chain = await read_canonical(site.reader, site.coordinator, site.qrng.rrp)
            done = len(chain.made) - len(chain.open)
            missing = wanted - len(chain.made)
            if missing > 0 and not await site.requesters.wait():
                # Lost by a reorg, or refused while there was no seed: asked again.
                again = min(missing, _AGAIN)
                await site.requesters.ask(again - again // 4, again // 4)
            if done != best:
                last, best = time.monotonic(), done
            if missing <= 0 and not chain.open:
                rest = max(0, rest - _LOOK_EVERY)
                continue
            rest = _REST
            if time.monotonic() > last + PATIENCE:
                self.say(f"nothing has moved for {PATIENCE:.0f} s")
                break
        return chain

    def _given(self) -> Given:
        watcher = self.site.watcher
        return Given(
            seeds={index: frozenset(found) for index, found in watcher.seeds.items()},
            numbers={id_: frozenset(found) for id_, found in watcher.numbers.items()},
            twice=frozenset(one.request_id for one in watcher.twice),
        )

    def _delays(self, chain: Canonical) -> tuple[int, float]:
        """
        Return the longest way from a request's block to its value's, in blocks and in seconds.
        """
        # Blocks that a longer branch brought at once have the moment of the next one.
        moments = sorted(self._mined_at)

        def at(block: int) -> float:
            return self._mined_at[moments[min(bisect_left(moments, block), len(moments) - 1)]]

        blocks, seconds = 0, 0.0
        for id_, settled in chain.fulfilled.items():
            first = chain.made[id_].block
            blocks = max(blocks, settled.block - first)
            seconds = max(seconds, at(settled.block) - at(first))
        return blocks, round(seconds, 1)

    async def _audit(self) -> tuple[int, dict[str, Any]]:
        argv = [sys.executable, "-m", "oracle", "audit", "--config", "oracle.toml", "--json"]
        child = await asyncio.create_subprocess_exec(
            *argv,
            cwd=self.site.nodes[0].folder,
            env=inherited_environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await child.communicate()
        try:
            document: dict[str, Any] = json.loads(out)
        except ValueError:
            raise OracleError(f"the audit says no JSON: {err.decode()[-2000:]}") from None
        return child.returncode or 0, document

    async def _progress(self) -> None:
        if time.monotonic() < self._said + _SAY_EVERY:
            return
        self._said = time.monotonic()
        site = self.site
        up = sum(node.running for node in site.nodes)
        made, done = await site.tally.count()
        self.say(
            f"block {site.chain.height}, tick {self._tick}/{self.schedule.ticks}: "
            f"{site.requesters.asked} asked, {made} on chain, {done} settled, "
            f"{sum(self.faults.values())} faults, {up}/{len(site.nodes)} nodes up, "
            f"{site.watcher.broadcasts} broadcasts"
        )


async def chaos(
    plan: Plan,
    folder: Path,
    say: Callable[[str], None],
    *,
    block_seconds: float = BLOCK_SECONDS,
) -> Outcome:
    """
    Carry a plan out from nothing; all that it leaves behind is in the folder.
    """
    schedule = make_schedule(plan, find_points())
    async with AsyncExitStack() as stack:
        server = None
        if plan.database == "postgres":
            server = stack.enter_context(running_server())
        site = await stack.enter_async_context(Site(plan, folder.resolve(), server, say))
        return await Run(site, schedule, say, block_seconds=block_seconds).carry_out()
