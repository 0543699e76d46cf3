"""
What the system tells of a process; nothing where it does not tell (Linux does).
"""

from __future__ import annotations

import os
from pathlib import Path


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
