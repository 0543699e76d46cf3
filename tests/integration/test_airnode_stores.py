"""
Two databases for one mnemonic: the second is refused where it can be seen.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from oracle.cli.run import compose
from oracle.config import Settings
from oracle.errors import ConfigError
from oracle.request import State
from oracle.store.seal import PoolKey
from tests import airnode_node as airnodes
from tests.integration.test_audit_airnode import rpc_url
from tests.verbs import oracle

if TYPE_CHECKING:
    from pathlib import Path

    from tests.airnode_node import Node

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

new_node = airnodes.new_node


def stores(node: Node) -> Path:
    return node.folder / "mnemonic.json.stores"


def claims(node: Node) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(stores(node).read_text(encoding="utf-8"))["stores"]
    return found


async def start(node: Node, database: str, **settings: str) -> None:
    """
    Start a node of the same configuration on a database.
    """
    text = (node.folder / "oracle.toml").read_text(encoding="utf-8")
    for name, value in settings.items():
        text = text.replace("[airnode]\n", f'[airnode]\n{name} = "{value}"\n')
    # A new database has a pool key of its own: with one that has an epoch it would count as lost.
    key = node.folder / f"{database}.key"
    if not (key.exists() or (node.folder / database).exists()):
        key.touch(mode=0o600)
        key.write_text(PoolKey.generate(), encoding="ascii")
    if key.exists():
        text = text.replace('"pool.key"', f'"{key.name}"')
    path = node.folder / "second.toml"
    path.write_text(f'database = "{database}"\n{text}', encoding="utf-8")
    async with AsyncExitStack() as stack:
        await compose(Settings.load(path), stack)


async def stop(node: Node) -> None:
    await node.service.database.close()


async def test_a_second_database_is_refused_until_the_first_is_given_up(new_node: Any) -> None:
    node = await new_node()
    request = await node.ask()
    await node.serve()
    assert (await node.where(request))[0] is State.DONE
    [claim] = claims(node)
    assert (claim["airnode"], claim["chain_id"], claim["contract"]) == (
        node.bench.keys.address,
        node.service.chain_id,
        node.service.contract,
    )
    with pytest.raises(ConfigError) as refused:
        await start(node, "second.db")
    for word in (claim["database"], str(stores(node)), "second signature"):
        assert word in str(refused.value)
    assert claims(node) == [claim]
    second = await oracle("check", "--config", node.folder / "second.toml", "--json")
    [finding] = [one for one in json.loads(second.out)["findings"] if one["check"] == "answers"]
    assert (second.code, finding["level"]) == (1, "error")
    assert "from another database" in finding["detail"]
    # What says no stays as it is, and the first one goes on.
    await stop(node)
    first = await oracle("check", "--config", node.folder / "oracle.toml", "--json")
    [finding] = [one for one in json.loads(first.out)["findings"] if one["check"] == "answers"]
    assert finding["level"] == "ok"
    await start(node, "oracle.db")
    stores(node).write_text('{"stores": []}', encoding="utf-8")
    await start(node, "second.db")
    [other] = claims(node)
    assert other["store_id"] != claim["store_id"]
    with pytest.raises(ConfigError, match="from another database"):
        await start(node, "oracle.db")


async def test_a_file_that_is_missing_is_made_again_by_the_next_database(new_node: Any) -> None:
    node = await new_node()
    before = claims(node)
    await stop(node)
    stores(node).unlink()
    await start(node, "oracle.db")
    assert claims(node) == before
    with pytest.raises(ConfigError, match="from another database"):
        await start(node, "second.db")


async def test_a_database_that_moved_is_known(new_node: Any) -> None:
    node = await new_node()
    [before] = claims(node)
    await stop(node)
    (node.folder / "oracle.db").rename(node.folder / "moved.db")
    await start(node, "moved.db")
    [after] = claims(node)
    assert after == {**before, "database": str(node.folder / "moved.db")}


async def test_another_chain_or_contract_has_a_database_of_its_own(new_node: Any) -> None:
    node = await new_node()
    await stop(node)
    path = stores(node)
    found = json.loads(path.read_text(encoding="utf-8"))
    found["stores"][0]["chain_id"] += 1
    path.write_text(json.dumps(found), encoding="utf-8")
    await start(node, "second.db")
    assert [claim["chain_id"] for claim in claims(node)] == [
        node.service.chain_id + 1,
        node.service.chain_id,
    ]


async def test_a_devnet_that_was_started_anew_is_another_chain(new_node: Any) -> None:
    node = await new_node()
    await stop(node)
    path = stores(node)
    found = json.loads(path.read_text(encoding="utf-8"))
    found["stores"][0]["genesis"] = "ab" * 32
    path.write_text(json.dumps(found), encoding="utf-8")
    await start(node, "second.db")
    assert len(claims(node)) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stores": [{"airnode": "0x"}]}'])
async def test_a_damaged_file_keeps_the_node_from_starting(new_node: Any, text: str) -> None:
    node = await new_node()
    await stop(node)
    stores(node).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="is damaged"):
        await start(node, "oracle.db")
    assert stores(node).read_text(encoding="utf-8") == text


async def test_a_node_that_cannot_write_it_down_does_not_start(new_node: Any) -> None:
    node = await new_node()
    await stop(node)
    path = node.folder / "oracle.toml"
    whole = path.read_text(encoding="utf-8")
    # Before any endpoint has answered.
    path.write_text(whole.replace(rpc_url(node), "http://127.0.0.1:1"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"airnode\.stores_file"):
        await start(node, "oracle.db", stores_file="missing/stores")
    path.write_text(whole, encoding="utf-8")
    stores(node).unlink()
    # Where its draft would be written, something else is.
    (node.folder / "mnemonic.json.stores.new").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        await start(node, "oracle.db")
    (node.folder / "kept").mkdir()
    await start(node, "oracle.db", stores_file="kept/stores")
    assert (node.folder / "kept" / "stores").exists()
