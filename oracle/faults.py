"""
Fault points: places where a test can make the process die as a power cut would.

A point does nothing unless `arm` was called, which only a node on a proven devnet does, and the
environment variable `ORACLE_FAULT_POINT` names it. `NAME` dies at the first pass over the point,
`NAME:3` at the third.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "ORACLE_FAULT_POINT"

_armed: dict[str, int] = {}


def arm() -> None:
    """
    Read the environment variable; from now on the point that it names is live.
    """
    name, _, count = os.environ.get(VARIABLE, "").partition(":")
    _armed.clear()
    if name:
        _armed[name] = int(count) if count else 1


def fault_point(name: str) -> None:
    """
    Kill this process with SIGKILL if the point is live and its count is reached.
    """
    if name not in _armed:
        return
    _armed[name] -= 1
    if _armed[name] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
