"""
A gateway in a process of its own, and what the system tells of a process; nothing where it does
not tell (Linux does).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from oracle.devnet.processes import Process

if TYPE_CHECKING:
    from contextlib import AsyncExitStack


async def start_gateway(
    stack: AsyncExitStack, name: str, folder: Path, *options: str, port: int
) -> Process:
    """
    Start `oracle gateway` in a folder; the stack stops it.
    """
    argv = [sys.executable, "-m", "oracle", "gateway", *options, "--port", str(port)]
    process = await Process.start(name, argv, folder)
    stack.push_async_callback(process.stop)
    return process


def cpu_seconds(pid: int) -> float | None:
    """
    Return the processor time that a process has used, in seconds.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return None
    # After the name, which may hold blanks, come the state and then numbers; see proc(5).
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int, *, peak: bool = False) -> float | None:
    """
    Return the memory that a process holds, or at most held, in MiB.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    name = "VmHWM:" if peak else "VmRSS:"
    [line] = [line for line in text.splitlines() if line.startswith(name)]
    return round(int(line.split()[1]) / 1024, 1)
