"""
A backup of an Airnode's database that is restored over one that has answered more since.
"""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from oracle.cli.run import compose
from oracle.config import Settings
from oracle.errors import EndpointError
from oracle.request import State
from oracle.steps.refill import refill
from oracle.store import airnode, epochs
from oracle.store.engine import now
from tests.airnode_node import configure, new_node, received
from tests.databases import path_of
from tests.integration.test_airnode_hostile import height, roll_back
from tests.integration.test_airnode_reorgs import number, until_done

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from oracle.airnode_request import AirnodeRequest
    from oracle.devnet.network import Ground
    from tests.airnode_node import Node

    NewNode = Callable[..., Awaitable[Node]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]


@dataclass
class Keeper:
    """
    Makes backups of a node's database and restores them, as an operator does.
    """

    ground: Ground
    stack: AsyncExitStack

    @staticmethod
    async def back_up(node: Node) -> None:
        database = node.service.database
        assert await database.wipe()
        shutil.copy(path_of(database), path_of(database).with_name("backup.db"))

    async def start(self, node: Node, *, restore: bool, **chain: object) -> None:
        """
        Start the node again, on its own database or on the backup.
        """
        path = path_of(node.service.database)
        await node.service.database.close()
        if restore:
            for left in path.parent.glob(path.name + "-*"):
                left.unlink()
            shutil.copy(path.with_name("backup.db"), path)
        settings = Settings.load(configure(node.folder, self.ground, node.bench, chain))
        runner = await compose(settings, self.stack)
        [link] = runner.airnodes
        node.runner, node.service = runner, await link.connect(runner.database, runner.pool)
        await refill(runner.database, runner.pool, runner.supplies, 512)


@pytest_asyncio.fixture(loop_scope="session")
async def keeper(ground: Ground) -> AsyncIterator[Keeper]:
    async with AsyncExitStack() as stack:
        yield Keeper(ground, stack)


async def release(node: Node, request: AirnodeRequest) -> None:
    """
    Give the operator's word.
    """
    async with node.service.database.write() as tx:
        await airnode.put(tx, [request.key], released_at=now())


async def test_after_a_restore_what_may_have_been_answered_waits_for_the_operator(
    new_node: NewNode, keeper: Keeper
) -> None:
    node = await new_node()
    kept = await node.ask()
    await node.walk()
    drawn = await number(node, kept)
    await keeper.back_up(node)

    # The original answers a request that a reorg makes new again, and dies.
    start = await height(node)
    answered = await node.ask()
    await node.serve()
    assert await received(node, answered) == 1
    first = await node.data(answered)
    await roll_back(node, start)
    assert (await node.ask()).key == answered.key
    await node.rpc("anvil_mine", "0x1")

    await keeper.start(node, restore=True)
    for _ in range(3):
        await node.serve()
    assert await node.where(answered) == (State.CONFIRMED, "waiting_after_restore")
    # What the backup holds a number for keeps it, and what comes later is served.
    assert await number(node, kept) == drawn
    await until_done(node, kept)
    later = await node.ask()
    await until_done(node, later)

    # A restart is no new restore, and forgets none.
    await keeper.start(node, restore=False)
    after = await node.ask()
    await until_done(node, after)
    assert await node.where(answered) == (State.CONFIRMED, "waiting_after_restore")
    assert await received(node, answered) == 0

    await release(node, answered)
    await until_done(node, answered)
    assert await received(node, answered) == 1
    # By the operator's word: another number, since nobody here knows the first.
    assert await node.data(answered) != first


async def test_a_crash_in_a_binding_keeps_nobody_waiting(
    new_node: NewNode, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await new_node()
    request = await node.ask()

    class Crash(BaseException):
        """
        The end of the process.
        """

    def crash(point: str) -> None:
        if point == "epoch-advanced":
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(epochs, "fault_point", crash)
        with pytest.raises(Crash):
            await node.walk()
    await keeper.start(node, restore=False)
    assert node.service.restored_at is None
    await until_done(node, request)
    assert await received(node, request) == 1


async def test_first_endpoint_that_is_behind_at_a_restore_hides_no_request(
    new_node: NewNode, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await new_node()
    await keeper.back_up(node)
    await node.ask()
    await node.serve()
    head = await height(node)
    readers: list[Any] = []
    real = type(node.service.reader).block

    async def behind(self: Any, wanted: int | None = None) -> Any:
        if self not in readers:
            readers.append(self)
        if wanted is None and self is readers[0]:
            return await real(self, head - 2)
        return await real(self, wanted)

    url = keeper.ground.rpc_url
    second = url.replace("127.0.0.1", "localhost")
    with monkeypatch.context() as patch:
        patch.setattr(type(node.service.reader), "block", behind)
        await keeper.start(node, restore=True, endpoints=f'["{url}", "{second}"]')
    assert node.service.restored_at == head


async def test_a_pass_of_an_airnode_reads_and_tries_callbacks_at_one_endpoint(
    new_node: NewNode, keeper: Keeper
) -> None:
    node = await new_node()
    url = keeper.ground.rpc_url
    second = url.replace("127.0.0.1", "localhost")
    await keeper.start(node, restore=False, endpoints=f'["{url}", "{second}"]')
    [link] = node.runner.airnodes
    own, other = link.endpoints.all  # type: ignore[attr-defined]
    assert (node.service.reader, node.service.witnesses) == (own, None)
    link.endpoints.failed(EndpointError("no answer"))
    service = await link.connect(node.service.database, node.service.pool)
    asked: list[object] = [service.reader, service.estimator]
    assert asked == [other, other]
    # Trust is in the first one alone, and whoever fails agrees with nobody.
    assert service.witnesses == ()
    assert service.wishes is node.service.wishes
