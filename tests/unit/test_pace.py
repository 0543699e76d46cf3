from __future__ import annotations

import asyncio

import pytest

from oracle import pace as module
from oracle.pace import Pace

pytestmark = pytest.mark.unit

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32
NEVER = 3600.0


async def pausing(task: asyncio.Task[None]) -> bool:
    """
    Whether a pause goes on though everything that could end it has had its turn.
    """
    for _ in range(10):
        await asyncio.sleep(0)
    return not task.done()


def start(pace: Pace, head: bytes) -> asyncio.Task[None]:
    return asyncio.create_task(pace.wait(head))


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_announced_head_ends_the_pause_and_a_known_one_does_not() -> None:
    pace = Pace(NEVER, asyncio.Event())
    pause = start(pace, A)
    assert await pausing(pause)
    pace.announce(A)
    assert await pausing(pause)
    pace.announce(B)
    assert not await pausing(pause)


async def test_what_is_announced_during_a_look_is_looked_at_unless_it_was_found() -> None:
    pace = Pace(NEVER, asyncio.Event())
    pace.announce(A)
    found = start(pace, A)
    assert await pausing(found)
    await end(found)
    pace.announce(C)
    assert not await pausing(start(pace, B))


async def test_an_idle_chain_goes_on_listening() -> None:
    pace = Pace(NEVER, asyncio.Event())
    pace.announce(A)
    pace._calm = 0.001
    await pace.wait(A)
    pace._calm = NEVER
    idle = start(pace, A)
    assert await pausing(idle)
    pace.announce(B)
    assert not await pausing(idle)


async def test_who_announces_what_is_not_there_is_heard_again_with_the_next_head() -> None:
    pace = Pace(NEVER, asyncio.Event())
    first = start(pace, A)
    assert await pausing(first)
    pace.announce(B)
    assert not await pausing(first)
    pace._poll = 0.001
    await pace.wait(A)
    pace._poll = NEVER
    pace.announce(C)
    deaf = start(pace, A)
    assert await pausing(deaf)
    await end(deaf)
    again = start(pace, B)
    pace.announce(C)
    assert not await pausing(again)


async def test_pauses_are_longer_only_while_heads_are_announced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CALM_SECONDS", NEVER)
    pace = Pace(0.001, asyncio.Event())
    await pace.wait(A)  # none was announced
    pace.announce(B)
    calm = start(pace, B)
    await asyncio.sleep(0.05)
    assert await pausing(calm)
    await end(calm)
    await pace.wait(C)  # one was missed: the other side has fallen silent
    pace.announce(C)
    calm = start(pace, C)
    pace.hasten()  # the line is lost
    await calm
    await pace.wait(C)


async def test_an_announcement_never_shortens_polling_below_the_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CALM_SECONDS", 0.001)
    pace = Pace(NEVER, asyncio.Event())
    pace.announce(A)
    calm = start(pace, A)
    await asyncio.sleep(0.05)
    assert await pausing(calm)
    await end(calm)


async def test_haste_is_not_lost_where_a_head_is_announced_too() -> None:
    pace = Pace(NEVER, asyncio.Event())
    pace.hasten()
    pace.announce(A)
    assert not await pausing(start(pace, A))
    pause = start(pace, A)
    assert await pausing(pause)
    await end(pause)


async def test_stopping_ends_every_pause_also_one_that_listens_to_nobody() -> None:
    stop = asyncio.Event()
    pace = Pace(NEVER, stop)
    first = start(pace, A)
    assert await pausing(first)
    pace.announce(B)
    assert not await pausing(first)
    deaf = start(pace, A)
    assert await pausing(deaf)
    stop.set()
    pace.hasten()
    assert not await pausing(deaf)
    other = Pace(NEVER, stop)
    other.hasten()
    assert not await pausing(start(other, A))
