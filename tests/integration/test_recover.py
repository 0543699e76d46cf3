"""
A database that is lost, and what the chain gives back of it.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from oracle.cli.run import compose
from oracle.config import Settings
from oracle.request import State
from oracle.steps.refill import refill
from oracle.store import requests
from oracle.store.engine import Access, Database
from oracle.store.pool import Pool
from tests.airnode_node import configure, new_node, received
from tests.databases import path_of
from tests.factories import make_block
from tests.integration.conftest import Bench
from tests.verbs import oracle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from oracle.devnet.network import Ground
    from tests.airnode_node import Node

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]


def lose(path: Path) -> Path:
    """
    Take the database's files away; return where they are.
    """
    away = path.with_name("lost")
    away.mkdir()
    for file in path.parent.glob(path.name + "*"):
        file.rename(away / file.name)
    return away / path.name


async def test_requests_come_back_and_what_is_lost_is_named_with_its_price(  # noqa: PLR0915
    bench: Bench,
) -> None:
    folder = bench.devnet.folder
    config = folder / "oracle.toml"
    served = await bench.roll()
    await bench.walk(3)
    await bench.mine()
    await bench.walk(2)
    assert await bench.state(served) is State.DONE
    waiting = await bench.roll()

    said = await oracle("recover", "--config", config, "--yes")
    assert said.code == 2
    assert "there is a database at" in said.err
    path = path_of(bench.service.database)
    await bench.service.database.close()
    lose(path)

    assert (await oracle("recover", "--config", config)).code == 2, "nobody was asked"
    assert not path.exists()
    said = await oracle("recover", "--config", config, "--yes", "--json")
    assert said.code == 0, said.err
    [found] = said.document["coordinators"]
    assert (found["requests"], found["fulfilled"]) == (2, 1)
    [refund] = found["refundable"]
    assert refund["requestId"] == "0x" + waiting.key.request_id.hex()
    assert refund["feeWei"] == found["refundWei"] == waiting.fee
    assert refund["fromBlock"] == waiting.block_number + bench.service.window + 1
    counters = await bench.counters()
    assert found["lostSeeds"] == {
        "first": 2,
        "upTo": counters.committed,
        "count": counters.committed - 2,
    }

    # What is named is done: then new requests are served again, and the old one never is.
    await bench.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    discarded = await oracle("coordinator", "discard", "--all", "--config", config, "--yes")
    assert discarded.code == 0, discarded.err
    await bench.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
    async with AsyncExitStack() as stack:
        runner = await compose(Settings.load(config), stack)
        [link] = runner.links
        service = await link.connect(runner.database, runner.pool)
        for _ in range(2):
            await refill(service.database, service.pool, runner.supplies, 512)
        again = Bench(devnet=bench.devnet, service=service, stack=stack)
        await again.walk(2)
        await again.mine()
        await again.walk()
        assert (await again.counters()).committed > counters.committed
        new = await again.roll()
        await again.walk(3)
        await again.mine()
        await again.walk(2)
        assert await again.state(new) is State.DONE
        assert await again.state(served) is State.DONE
        async with service.database.read() as connection:
            old = await requests.get(connection, waiting.key)
        assert old is not None
        assert (old.state, old.reason) == (State.REJECTED, "foreign_root")
        report = await again.audit()
        assert (report.fulfilled, report.lost, report.duplicates) == (2, 1, 0)


async def test_the_lost_database_found_again_is_an_old_copy(bench: Bench) -> None:
    pool, path = bench.service.pool, path_of(bench.service.database)
    left = 7
    async with bench.service.database.write() as tx:
        await pool.add(tx, [make_block(number) for number in range(left)])
    await bench.service.database.close()
    lost = lose(path)
    said = await oracle("recover", "--config", path.with_name("oracle.toml"), "--yes")
    assert said.code == 0, said.err
    assert "Until they are discarded" in said.out
    found = await Database.open(lost, Access.NODE)
    try:
        assert await Pool(pool.key, pool._epoch).unlock(found) == left
    finally:
        await found.close()


async def test_requests_to_an_airnode_wait_for_the_operators_word(
    new_node: Callable[..., Awaitable[Node]], ground: Ground
) -> None:
    node = await new_node()
    answered = await node.ask()
    await node.serve()
    assert await received(node, answered) == 1
    open_ = await node.ask()
    await node.rpc("anvil_mine", "0x1")
    config = configure(node.folder, ground, node.bench, {})
    path = path_of(node.service.database)
    await node.service.database.close()
    lose(path)

    said = await oracle("recover", "--config", config, "--yes", "--json")
    assert said.code == 0, said.err
    [found] = said.document["airnodes"]
    assert (found["requests"], found["answered"]) == (2, 1)
    assert found["waiting"] == ["0x" + open_.key.request_id.hex()]

    async with AsyncExitStack() as stack:
        runner = await compose(Settings.load(config), stack)
        [link] = runner.airnodes
        node.runner, node.service = runner, await link.connect(runner.database, runner.pool)
        await refill(runner.database, runner.pool, runner.supplies, 512)
        await node.serve()
        assert await node.where(open_) == (State.CONFIRMED, "waiting_after_restore")
        released = await oracle("requests", "release", "--all", "--config", config, "--yes")
        assert released.code == 0, released.err
        await node.serve()
        assert await received(node, open_) == 1
