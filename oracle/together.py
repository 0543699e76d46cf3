"""
Several calls at once, but not too many.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

T = TypeVar("T")
U = TypeVar("U")


async def together(calls: Iterable[Callable[[], Awaitable[T]]], at_once: int) -> list[T]:
    """
    Return what the calls return, in their order, with no more than `at_once` of them under way.

    Guarantees: when one fails, that error is raised as it is, and none of the others goes on.
    """
    calls = list(calls)
    if len(calls) <= 1:
        return [await call() for call in calls]
    gate = asyncio.Semaphore(at_once)
    tasks: list[asyncio.Task[T]] = []

    async def one(call: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            try:
                return await call()
            except BaseException:
                # Before its place is free: nobody begins any more.
                for task in tasks:
                    if task is not asyncio.current_task():
                        task.cancel()
                raise

    tasks += [asyncio.create_task(one(call)) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def both(
    first: Callable[[], Awaitable[T]], second: Callable[[], Awaitable[U]]
) -> tuple[T, U]:
    """
    Return what two calls of different kinds return, made at once as `together` does.
    """
    calls: list[Callable[[], Awaitable[Any]]] = [first, second]
    one, two = await together(calls, 2)
    return one, two
