"""
The nodes of a run, and whoever starts them again when they are dead.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import oracle
from oracle.devnet.processes import Process
from oracle.faults import VARIABLE

if TYPE_CHECKING:
    from tests.chaos.schedule import Fault

# Ticks after which a node that ended by itself is started again, as a service manager does.
RESTART_AFTER = 4
_STARTED = b'"event": "node_started"'
# What no node passes by itself: a gateway's points, and those of verbs and withdrawals.
_OTHERS = ("reply-", "rotation-", "withdrawal-")


def find_points() -> list[str]:
    """
    Return the fault points that a node at work can pass.
    """
    found = {
        name
        for path in Path(oracle.__file__).parent.rglob("*.py")
        for name in re.findall(r'fault_point\("([a-z-]+)"\)', path.read_text(encoding="utf-8"))
    }
    return sorted(name for name in found if not name.startswith(_OTHERS))


class Node:
    """
    One `oracle run`, killed, frozen and started again.

    `exits` holds what a node said that ended by itself, and was not told to.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.starts = 0
        self.exits: list[str] = []
        self.reached: Counter[str] = Counter()
        self._process: Process | None = None
        self._down_until = 0
        self._frozen_until: int | None = None
        self._point = ""
        self._told = False
        self._log_began, self._ready = 0, False

    @property
    def running(self) -> bool:
        """
        Whether its process is alive, frozen or not.
        """
        return self._process is not None and self._process.running

    def last_words(self) -> str:
        """
        Return the last line of what it said.
        """
        return "" if self._process is None else self._process.last_lines(1)

    @property
    def starting(self) -> bool:
        """
        Whether it is alive, awake and not yet at work.
        """
        if self._ready or self._frozen_until is not None or not self.running:
            return False
        assert self._process is not None
        with self._process.log.open("rb") as log:
            log.seek(self._log_began)
            self._ready = _STARTED in log.read()
        return not self._ready

    @property
    def at_work(self) -> bool:
        """
        Whether it is alive, awake and started.
        """
        return self.running and self._frozen_until is None and not self.starting

    async def start(self, point: str = "") -> None:
        """
        Start it, to die at a fault point if one is named.
        """
        log = self.folder / "node.log"
        self._log_began, self._ready = log.stat().st_size if log.exists() else 0, False
        env = {VARIABLE: point} if point else {}
        argv = [sys.executable, "-m", "oracle", "run", "--config", "oracle.toml", "--log-json"]
        self._process = await Process.start("node", argv, self.folder, env)
        self._point, self._told = point, False
        self.starts += 1

    async def begin(self, fault: Fault) -> None:
        """
        Do to it what a fault says.
        """
        process = self._process
        if process is None or not process.running:
            # It is dead already, and stays so for longer.
            self._down_until = max(self._down_until, fault.end)
            if fault.kind == "fault-point":
                await self._arm(fault)
            return
        match fault.kind:
            case "node-kill":
                await self._kill()
                self._down_until = fault.end
            case "node-term":
                self._told = True
                os.kill(process.pid, signal.SIGTERM)
                self._down_until = fault.end
            case "node-stop":
                os.kill(process.pid, signal.SIGSTOP)
                self._frozen_until = fault.end
            case "fault-point":
                await self._kill()
                await self._arm(fault)

    async def _arm(self, fault: Fault) -> None:
        await self.start(f"{fault.arguments['point']}:{fault.arguments['pass']}")
        self._down_until = fault.end

    async def _kill(self) -> None:
        assert self._process is not None
        await self._process.kill()
        self._told = True

    async def keep(self, tick: int) -> None:
        """
        Wake it when it is time, and start it when it is dead and not meant to be.
        """
        process = self._process
        assert process is not None
        if self._frozen_until is not None and self._frozen_until <= tick:
            self._frozen_until = None
            if process.running:
                os.kill(process.pid, signal.SIGCONT)
        if process.running:
            return
        if not self._told:
            self._told = True
            if self._point and process.exit_code == -signal.SIGKILL:
                self.reached[self._point.partition(":")[0]] += 1
                self._down_until = max(self._down_until, tick + 1)
            else:
                self.exits.append(f"code {process.exit_code}: {process.last_lines(1)}")
                self._down_until = tick + RESTART_AFTER
        if tick >= self._down_until:
            await self.start()

    async def calm(self) -> None:
        """
        Wake it, or start it, without any fault point in its way.
        """
        process = self._process
        assert process is not None
        if process.running and self._frozen_until is not None:
            os.kill(process.pid, signal.SIGCONT)
        self._frozen_until = None
        self._down_until = 0
        if process.running and self._point:
            await self._kill()
        if not process.running:
            await self.start()

    async def stop(self) -> int:
        """
        End it in order; return its exit code.
        """
        if self._process is None:
            return 0
        if self._process.running and self._frozen_until is not None:
            os.kill(self._process.pid, signal.SIGCONT)
        return await self._process.stop()
