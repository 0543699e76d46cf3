"""
Verbs of the command line in this process: what they say, and how they end.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

from oracle.cli.main import main


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


async def oracle(*arguments: object) -> Said:
    """
    Run a verb in a thread, where an event loop of its own can run.
    """
    return await asyncio.to_thread(_run, [str(argument) for argument in arguments])


def _run(arguments: list[str]) -> Said:
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else -1
    return Said(code, out.getvalue(), err.getvalue())
