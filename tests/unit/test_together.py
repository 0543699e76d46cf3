from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from oracle.together import together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.unit


class Crowd:
    """
    Calls that all wait until they are let go, and count each other.
    """

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.cancelled: list[int] = []

    async def come(self, number: int) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            for _ in range(10 - number):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        finally:
            self.inside -= 1
        return number


async def test_results_come_in_the_order_of_the_calls() -> None:
    crowd = Crowd()
    assert await together([partial(crowd.come, n) for n in range(10)], 4) == list(range(10))
    assert crowd.most == 4


@pytest.mark.parametrize("count", [0, 1])
async def test_few_calls_need_no_company(count: int) -> None:
    assert await together([partial(Crowd().come, n) for n in range(count)], 4) == list(
        range(count)
    )


async def test_first_error_is_raised_as_it_is_and_nobody_goes_on() -> None:
    crowd, begun = Crowd(), []

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def late() -> int:
        begun.append("late")
        return 0

    calls: list[Callable[[], Awaitable[int]]] = [
        partial(crowd.come, 0),
        fail,
        partial(crowd.come, 1),
        late,
        late,
        late,
    ]
    with pytest.raises(ZeroDivisionError):
        await together(calls, 3)
    assert crowd.inside == 0
    assert sorted(crowd.cancelled) == [0, 1]
    assert begun == []


async def test_whoever_cancels_it_cancels_all() -> None:
    crowd = Crowd()
    task = asyncio.create_task(together([partial(crowd.come, n) for n in range(3)], 2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert crowd.inside == 0
    assert sorted(crowd.cancelled) == [0, 1]
