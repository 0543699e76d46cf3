"""
A generator that the operating system shows as a file: a PCIe or USB QRNG, a FIFO, or a plain file.

A device and a FIFO are read as they come. A plain file is used up from its end: what is taken is
overwritten and cut off before it is used, so that nothing can be read twice, not even after a
restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import stat
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oracle.entropy.source import Sample
from oracle.errors import (
    SimulatedEntropyError,
    SourceReplyError,
    SourceUnavailableError,
)

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 64 * 1024
READ_SECONDS = 15.0
_PAUSE_SECONDS = 0.05
# The operating system's own generator is mixed in anyway and counts as no source: zero, random,
# urandom.
_MEMORY_DEVICES = 1
_CONSTANT_BYTES = 8


class Device:
    """
    A character device, a FIFO or a plain file.

    Guarantees: the event loop never waits for it; a read that stays short within `READ_SECONDS`
    yields no byte; at most one read is under way.
    Does not: support Windows.
    """

    max_bytes = MAX_BYTES

    def __init__(self, *, path: Path, allow_simulated: bool, name: str = "device") -> None:
        self.name = name
        self._path = path
        self._allow_simulated = allow_simulated
        self._reading: threading.Thread | None = None

    async def fetch(self, n_bytes: int) -> Sample:
        """
        Read exactly `min(n_bytes, max_bytes)` bytes.

        Guarantees and errors are those of `EntropySource.fetch`.
        """
        if n_bytes < 1:
            raise ValueError("Ask for at least one byte.")
        if self._reading is not None and self._reading.is_alive():
            raise SourceUnavailableError(
                f"{self.name}: an earlier read of {self._path} has not returned: check the device."
            )
        try:
            async with asyncio.timeout(READ_SECONDS + 1):
                data, simulated = await self._start(min(n_bytes, MAX_BYTES))
        except TimeoutError:
            raise self._silent() from None
        except OSError as error:
            raise SourceUnavailableError(
                f"{self.name}: {self._path} cannot be read ({error.strerror}):"
                " check that the device is there and its mode."
            ) from None
        if len(data) >= _CONSTANT_BYTES and len(set(data)) == 1:
            raise SourceReplyError(
                f"{self.name}: the read was destroyed (all bytes are the same): check the device."
            )
        return Sample(self.name, data, datetime.now(UTC), simulated)

    def _start(self, n_bytes: int) -> asyncio.Future[tuple[bytes, bool]]:
        """
        Read in a thread of its own that dies with the process: a driver may ignore every time-out.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[bytes, bool]] = loop.create_future()

        def settle(data: tuple[bytes, bool] | None, error: Exception | None) -> None:
            if done.done():
                return
            if data is not None:
                done.set_result(data)
            elif error is not None:
                done.set_exception(error)

        def work() -> None:
            data, failure = None, None
            try:
                data = self._read(n_bytes)
            except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop may be gone by now
                loop.call_soon_threadsafe(settle, data, failure)

        self._reading = threading.Thread(target=work, name=f"source-{self.name}", daemon=True)
        self._reading.start()
        return done

    def _read(self, n_bytes: int) -> tuple[bytes, bool]:
        mode = self._path.stat().st_mode
        if stat.S_ISREG(mode):
            return self._consume(n_bytes), False
        if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
            raise SourceUnavailableError(
                f"{self.name}: {self._path} is no character device, FIFO or file: name one."
            )
        # Not waiting for the other end of a FIFO to be opened.
        file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            simulated = self._is_operating_system(os.fstat(file))
            return self._read_stream(file, n_bytes), simulated
        finally:
            os.close(file)

    def _is_operating_system(self, status: os.stat_result) -> bool:
        if not (stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) == _MEMORY_DEVICES):
            return False
        if not self._allow_simulated:
            raise SimulatedEntropyError(
                f"{self.name}: {self._path} is the operating system's own generator, which is"
                " mixed in anyway and is not quantum: name a QRNG;"
                " only a chain with devnet = true accepts it."
            )
        return True

    def _read_stream(self, file: int, n_bytes: int) -> bytes:
        data = bytearray()
        ready = select.poll()
        ready.register(file, select.POLLIN)
        deadline = time.monotonic() + READ_SECONDS
        while len(data) < n_bytes:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._short(len(data), n_bytes) if data else self._silent()
            ready.poll(left * 1000)
            try:
                piece = os.read(file, n_bytes - len(data))
            except BlockingIOError:
                piece = b""
            if not piece:
                if data and stat.S_ISFIFO(os.fstat(file).st_mode):
                    # Its writer has gone in the middle.
                    raise self._short(len(data), n_bytes)
                time.sleep(_PAUSE_SECONDS)  # nobody writes to the FIFO yet
            data += piece
        return bytes(data)

    def _consume(self, n_bytes: int) -> bytes:
        file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = os.fstat(file).st_size
            if size < n_bytes:
                raise SourceUnavailableError(
                    f"{self.name}: {self._path} holds {size} bytes and {n_bytes} are wanted:"
                    " fill it with fresh ones."
                )
            start = size - n_bytes
            data = os.pread(file, n_bytes, start)
            os.pwrite(file, bytes(n_bytes), start)
            os.fsync(file)
            os.ftruncate(file, start)
            os.fsync(file)
        finally:
            os.close(file)
        if len(data) != n_bytes:
            raise self._short(len(data), n_bytes)
        return data

    def _short(self, got: int, wanted: int) -> SourceReplyError:
        return SourceReplyError(
            f"{self.name}: the read was destroyed ({got} bytes instead of {wanted}):"
            " check the device."
        )

    def _silent(self) -> SourceUnavailableError:
        return SourceUnavailableError(
            f"{self.name}: {self._path} delivers nothing: check the device and its driver."
        )
