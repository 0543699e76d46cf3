"""
A node, an Airnode and a gateway whose store is on a PostgreSQL server.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from click.testing import CliRunner

from oracle.cli.audit import audit as cli_audit
from oracle.cli.backup import backup as cli_backup
from oracle.cli.check import check as cli_check
from oracle.cli.entropy import entropy as cli_entropy
from oracle.cli.requests import requests as cli_requests
from oracle.errors import DatabaseTakenError
from oracle.request import State
from oracle.store import retention
from tests.airnode_node import new_node
from tests.integration.test_gateway_pool import Gateway
from tests.postgres import BLANK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import click

    from oracle.database_url import DatabaseUrl
    from tests.integration.conftest import Bench
    from tests.postgres import Postgres

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]

WINDOW = 64


@pytest_asyncio.fixture(loop_scope="session")
async def url(postgres: Postgres) -> DatabaseUrl:
    return await asyncio.to_thread(postgres.blank)


async def said(folder: Path, verb: click.Command, *arguments: str, code: int = 0) -> Any:
    given = [*arguments, "--config", str(folder / "oracle.toml"), "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, verb, given, env={})
    assert result.exit_code == code, (result.output, result.exception)
    # What is about to be done is told before the document.
    return json.loads(result.stdout[result.stdout.index("{\n") :])


async def serve(bench: Bench, blocks: int = 3) -> None:
    for _ in range(blocks):
        await bench.walk(2)
        await bench.mine()
    await bench.walk()


async def test_a_node_lives_its_whole_life_on_a_server(
    new_bench: NewBench, url: DatabaseUrl, postgres: Postgres, tmp_path: Path
) -> None:
    bench = await new_bench(window=WINDOW, confirmations=2, database=url)
    # One that a reorg takes away, and one that the server's restart interrupts.
    gone = await bench.roll()
    await bench.walk()
    await bench.fork(1)
    await bench.mine(2)
    requests = [await bench.roll() for _ in range(3)]
    await bench.walk()
    assert await bench.state(gone) is State.ORPHANED
    await asyncio.to_thread(postgres.control, "restart", "-m", "immediate")
    await serve(bench, 6)
    assert [await bench.state(one) for one in requests] == [State.DONE] * 3
    assert (await bench.audit()).clean

    document = await said(tmp_path, cli_audit)
    assert document["clean"]
    assert document["chains"]["devnet"]["fulfilled"] == 3
    shown = await said(tmp_path, cli_requests, "show", requests[0].key.request_id.hex())
    assert (shown["state"], shown["entropy"]["sources"]) == ("done", ["anu"])
    listed = await said(tmp_path, cli_requests, "list")
    assert len(listed["requests"]) == 4
    status = await said(tmp_path, cli_entropy, "status")
    assert status["pool"]["bound"] >= 256

    found = await said(tmp_path, cli_check)
    levels = {(one["where"], one["check"]): one for one in found["findings"]}
    assert found["ok"]
    for check in ("schema", "node", "failover", "connections", "erasure"):
        assert levels["database", check]["level"] == "ok", check
    assert levels["database", "node"]["detail"] == "a node runs on it now"
    # The server of the tests is in a hurry.
    assert levels["database", "durability"]["level"] == "warning"
    assert "a power cut" in levels["database", "durability"]["detail"]

    # What was finished long ago goes, and is known all the same.
    await bench.mine(WINDOW + 20)
    bench.service = replace(bench.service, keep_days=1e-9)
    await bench.walk(2)
    async with bench.service.database.read() as connection:
        assert await retention.count(connection, airnode=False) == 3
    assert (await said(tmp_path, cli_audit))["clean"]


async def test_acts_of_the_operator_need_the_node_to_be_stopped(
    new_bench: NewBench, url: DatabaseUrl, postgres: Postgres, tmp_path: Path
) -> None:
    bench = await new_bench(window=WINDOW, database=url)
    rotate = ["rotate-key", "--config", str(tmp_path / "oracle.toml"), "--yes"]
    result = await asyncio.to_thread(CliRunner().invoke, cli_entropy, rotate, env={})
    assert "a node or gateway runs on" in str(result.exception)
    # Its connections are lost, and it does not know it yet: the act goes on, the node does not.
    await asyncio.to_thread(postgres.end_sessions, BLANK)
    rotated = await said(tmp_path, cli_entropy, "rotate-key", "--yes")
    assert rotated["records"] >= 512
    await bench.roll()
    with pytest.raises(DatabaseTakenError, match="start the process again"):
        await bench.walk()


async def test_a_backup_is_the_servers_business(url: DatabaseUrl, tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    source = 'kind = "anu-quantum-numbers"\nurl = "https://localhost/anu"\nkey_file = "anu.key"'
    config.write_text(f'database = "{url.text}"\n[sources.anu]\n{source}\n', encoding="utf-8")
    given = [str(tmp_path / "out.db"), "--config", str(config)]
    result = await asyncio.to_thread(CliRunner().invoke, cli_backup, given, env={})
    assert "is on a PostgreSQL server: back it up as servers are, with pg_dump" in str(
        result.exception
    )


async def test_an_airnode_answers_once_from_a_server(
    new_node: Any, url: DatabaseUrl, postgres: Postgres
) -> None:
    node = await new_node(database=url.text)
    request = await node.ask()
    await asyncio.to_thread(postgres.end_sessions, BLANK)
    await node.serve()
    assert await node.where(request) == (State.DONE, None)
    assert len(await node.data(request)) == 32
    await node.serve()
    assert len(await node.transactions()) == 1
    document = await said(node.folder, cli_audit)
    assert document["clean"]


async def test_a_gateway_serves_each_block_once_through_a_restart_of_the_server(
    url: DatabaseUrl, postgres: Postgres, tmp_path: Path
) -> None:
    gateway = Gateway(tmp_path, url)
    async with gateway.open():
        await gateway.fill()
        headers = await gateway.key("qrng-open-api")
        first = await gateway.draw(headers, 32, 4)
        assert first.status_code == 200
        await asyncio.to_thread(postgres.control, "stop", "-m", "fast")
        try:
            assert (await gateway.draw(headers)).status_code == 503
        finally:
            await asyncio.to_thread(postgres.start)
        while (second := await gateway.draw(headers, 32, 4)).status_code == 503:
            await asyncio.sleep(0.1)
        assert second.status_code == 200
        replies = [*first.json()["entropy"], *second.json()["entropy"]]
        assert len(set(replies)) == 8
