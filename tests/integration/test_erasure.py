"""
What nobody will ever reveal, and what somebody else revealed, is in no file of the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.request import State
from oracle.store.pool import native_purpose
from tests.erased import block_ciphertexts, found_in_files

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def _sealed(bench: Bench, indices: Iterable[int]) -> list[bytes]:
    """
    Return the ciphertexts that the pool holds for indices.
    """
    place = (bench.service.chain_id, bench.service.contract)
    purposes = [native_purpose(*place, index) for index in indices]
    return await block_ciphertexts(bench.service.database, *purposes)


async def test_the_seed_that_somebody_else_revealed_is_in_no_file_after_its_window(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(window=64, confirmations=3)
    database = bench.service.database
    request = await bench.roll()
    [sealed] = await _sealed(bench, [request.seed_index])
    await bench.mine()
    await bench.fulfill_as_stranger(request)
    await bench.mine(4)
    await bench.walk(2)
    assert await bench.state(request) is State.DONE
    # A deep reorg may still ask for it.
    assert found_in_files(database, sealed) == [sealed]

    await bench.mine(request.block_number + 64 - (await bench.service.reader.block()).number)
    await bench.mine(3)
    await bench.walk()
    assert found_in_files(database, sealed) == [sealed]
    await bench.mine()
    await bench.walk()
    assert found_in_files(database, sealed) == []
