"""
Devices, pipes and files.
"""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oracle.entropy import device
from oracle.entropy.device import Device
from oracle.errors import (
    SimulatedEntropyError,
    SourceReplyError,
    SourceUnavailableError,
)
from tests.vendors.server import quantum

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sources


def source(path: Path, *, allow_simulated: bool = False) -> Device:
    return Device(path=path, allow_simulated=allow_simulated)


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "READ_SECONDS", 0.2)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "qrng"
    os.mkfifo(path)
    return path


@pytest.fixture
def writer(fifo: Path) -> Iterator[list[bytes]]:
    """
    Write what is in the list into the FIFO, then close it.
    """
    pieces: list[bytes] = []

    def write() -> None:
        with suppress(BrokenPipeError), fifo.open("wb", buffering=0) as file:
            for piece in pieces:
                file.write(piece)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    yield pieces
    # Whatever the test did, the writer must find a reader to end.
    file = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    thread.join(5)
    os.close(file)


async def test_a_pipe_is_read_to_the_byte_however_it_is_cut(
    fifo: Path, writer: list[bytes]
) -> None:
    data = quantum(5000)
    writer += [data[:1], data[1:1000], data[1000:]]
    assert (await source(fifo).fetch(4000)).data == data[:4000]


async def test_a_pipe_that_ends_early_yields_nothing(
    fifo: Path, writer: list[bytes], short_wait: None
) -> None:
    writer += [quantum(63)]
    with pytest.raises(SourceReplyError, match="63 bytes instead of 64"):
        await source(fifo).fetch(64)


async def test_a_pipe_without_a_writer_is_silent_and_blocks_nobody(
    fifo: Path, short_wait: None
) -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    heart = asyncio.create_task(beat())
    with pytest.raises(SourceUnavailableError, match="delivers nothing"):
        await source(fifo).fetch(64)
    heart.cancel()
    assert beats > 1


async def test_one_read_at_a_time(fifo: Path, short_wait: None) -> None:
    pipe = source(fifo)
    first = asyncio.create_task(pipe.fetch(64))
    await asyncio.sleep(0.05)
    with pytest.raises(SourceUnavailableError, match="earlier read"):
        await pipe.fetch(64)
    with pytest.raises(SourceUnavailableError):
        await first


async def test_constant_bytes_are_destroyed(fifo: Path, writer: list[bytes]) -> None:
    writer += [bytes(64)]
    with pytest.raises(SourceReplyError, match="all bytes are the same"):
        await source(fifo).fetch(64)


async def test_a_file_is_used_up_from_its_end_and_nothing_is_read_twice(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    data = quantum(160)
    path.write_bytes(data)
    assert (await source(path).fetch(64)).data == data[96:]
    # Another process, after a crash.
    assert (await source(path).fetch(64)).data == data[32:96]
    assert path.read_bytes() == data[:32]
    with pytest.raises(SourceUnavailableError, match="holds 32 bytes and 64 are wanted"):
        await source(path).fetch(64)
    assert path.read_bytes() == data[:32]


async def test_two_readers_of_one_file_get_different_bytes(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(quantum(64 * 20))
    results = await asyncio.gather(
        *(source(path).fetch(64) for _ in range(20)), return_exceptions=True
    )
    drawn = [result.data for result in results if not isinstance(result, BaseException)]
    assert len(set(drawn)) == len(drawn) >= 1
    assert {type(result) for result in results if isinstance(result, BaseException)} <= {
        SourceUnavailableError
    }


@pytest.mark.parametrize("name", ["/dev/urandom", "/dev/random"])
async def test_the_operating_system_is_no_quantum_source(name: str) -> None:
    with pytest.raises(SimulatedEntropyError):
        await source(Path(name)).fetch(64)
    sample = await source(Path(name), allow_simulated=True).fetch(64)
    assert sample.simulated
    assert len(sample.data) == 64


async def test_a_device_that_gives_zeros_is_refused() -> None:
    with pytest.raises(SourceReplyError):
        await source(Path("/dev/zero"), allow_simulated=True).fetch(64)


async def test_a_device_that_ends_at_once_is_silent(short_wait: None) -> None:
    with pytest.raises(SourceUnavailableError, match="delivers nothing"):
        await source(Path("/dev/null"), allow_simulated=True).fetch(64)


async def test_a_missing_device_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError, match="cannot be read"):
        await source(tmp_path / "nowhere").fetch(64)
    with pytest.raises(SourceUnavailableError, match="no character device"):
        await source(tmp_path).fetch(64)


async def test_less_than_a_byte_is_the_callers_mistake(fifo: Path) -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        await source(fifo).fetch(0)
