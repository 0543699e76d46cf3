"""
Child processes that cannot outlive their parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import platform
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from oracle.errors import ConfigError, OracleError, PortInUseError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STOP_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1


class Process:
    """
    One child, its output in a file.
    """

    def __init__(self, name: str, log: Path, child: asyncio.subprocess.Process) -> None:
        self.name = name
        self.log = log
        self._child = child

    @classmethod
    async def start(
        cls, name: str, argv: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
    ) -> Process:
        """
        Start a child; its output is appended to `NAME.log` in the folder.
        """
        log = folder / f"{name}.log"
        with log.open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                *argv,
                cwd=folder,
                env={**inherited_environment(), **(env or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C is for the parent, who stops its children in order.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        return cls(name, log, child)

    @property
    def pid(self) -> int:
        """
        The process id.
        """
        return self._child.pid

    @property
    def running(self) -> bool:
        """
        Whether the child has not ended yet.
        """
        return self._child.returncode is None

    @property
    def exit_code(self) -> int | None:
        """
        The code that the child ended with; minus the signal that killed it.
        """
        return self._child.returncode

    async def wait(self) -> int:
        """
        Wait for the child's end; return its exit code.
        """
        return await self._child.wait()

    def check(self) -> None:
        """
        Raise `OracleError` with the child's last line when it has ended.
        """
        if not self.running:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = lines[-1] if lines else "it said nothing"
            raise OracleError(f"{self.name} ended with code {self._child.returncode}: {last}")

    def last_lines(self, count: int = 5) -> str:
        """
        Return the end of what the child said.
        """
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.strip().splitlines()[-count:])

    async def kill(self) -> None:
        """
        End the child as a power cut would.
        """
        with contextlib.suppress(ProcessLookupError):
            self._child.kill()
        await self._child.wait()

    async def stop(self) -> int:
        """
        Ask the child to end, insist after ten seconds; return its exit code.
        """
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._child.wait()
            except TimeoutError:
                await self.kill()
        return self._child.returncode or 0


def inherited_environment() -> dict[str, str]:
    """
    Return this process's environment without the operator's settings: they are for another node.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("ORACLE_")}


def _die_with_parent() -> None:
    """
    Have the kernel kill this child when its parent dies, however that happens (Linux).
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """
    Return a port of the loopback interface that is free right now.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int, option: str) -> None:
    """
    Raise `PortInUseError` when a port of the loopback interface is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise PortInUseError(
                f"port {port} is taken: stop what listens there, or choose another one with "
                f"{option}"
            ) from None


def find_anvil() -> str:
    """
    Return anvil's own binary: of the project's npm packages, else the one on PATH.

    The launcher in `node_modules/.bin` is passed by: killing it would leave the real anvil alive
    on its port.
    """
    if named := os.environ.get("ANVIL"):
        found = shutil.which(named)
        if found is None:
            raise ConfigError(
                f"ANVIL names {named}, which cannot be executed: correct or unset it"
            )
        return str(Path(found).resolve())
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(
        platform.machine().lower(), platform.machine()
    )
    package = f"anvil-{sys.platform}-{machine.lower()}"
    here = Path(__file__).resolve().parents[2]
    for root in (here, *Path.cwd().resolve().parents, Path.cwd().resolve()):
        binary = root / "node_modules" / "@foundry-rs" / package / "bin" / "anvil"
        if binary.is_file():
            return str(binary)
    if found := shutil.which("anvil"):
        return found
    raise ConfigError(
        "anvil is not installed: run scripts/install.sh, put anvil on PATH, or set ANVIL to its "
        "binary"
    )
