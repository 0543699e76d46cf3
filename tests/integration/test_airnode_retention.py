"""
An Airnode that prunes what is finished, and whoever asks for it afterwards.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from oracle.cli.requests import requests as request_verbs
from oracle.cli.verify import verify as verify_verb
from oracle.request import State
from oracle.store import airnode, retention
from tests.airnode_node import new_node, said
from tests.integration.test_airnode_hostile import height, roll_back
from tests.integration.test_airnode_reorgs import numbers_bound
from tests.integration.test_audit_airnode import (
    answer_elsewhere,
    ask_with_own_wallet,
    audited,
    codes,
    hex_id,
    tamper,
)

if TYPE_CHECKING:
    from oracle.airnode_request import AirnodeRequest
    from tests.airnode_node import Node

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

__all__ = ["new_node"]

# What is finished may go at once.
KEEP = 1e-9


async def tombstones(node: Node) -> dict[bytes, State]:
    place = (node.service.chain_id, node.service.contract)
    async with node.service.database.read() as connection:
        found = await retention.page(connection, *place, b"", 1000)
    return {one.key.request_id: one.state for one in found}


async def prune(node: Node) -> None:
    """
    Prune what is finished, as if it was finished long ago.
    """
    await node.rpc("anvil_mine", "0x14")
    await node.walk()
    tamper(node, "UPDATE airnode_requests SET drawn_at = 1 WHERE drawn_at IS NOT NULL")
    node.service = replace(node.service, keep_days=KEEP)
    await node.walk()
    node.service = replace(node.service, keep_days=0)


async def show(node: Node, request: AirnodeRequest) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        await said(node, request_verbs, "show", hex_id(request), "--json")
    )
    return document


async def test_what_is_pruned_is_audited_verified_and_shown_as_before(new_node: Any) -> None:
    node = await new_node()
    served = await node.ask()
    failed = await node.ask("makeRequestUint256Array(uint256)", 511)
    refused = await ask_with_own_wallet(node)
    start = await height(node)
    orphaned = await node.ask()
    await node.rpc("anvil_setBalance", orphaned.sponsor_wallet, "0x0")
    await node.walk()
    await roll_back(node, start)
    await node.rpc("anvil_mine", "0x2")
    await node.walk()
    await node.rpc("anvil_setBalance", orphaned.sponsor_wallet, hex(10**18))
    await node.serve()
    for request in (served, failed):
        assert (await node.where(request))[0] is State.DONE
    assert (await node.where(orphaned))[0] is State.ORPHANED
    before, shown = await audited(node), await show(node, served)
    proof = json.loads(await said(node, verify_verb, hex_id(served), "--json"))
    await prune(node)

    assert await tombstones(node) == {
        served.key.request_id: State.DONE,
        failed.key.request_id: State.DONE,
        refused.key.request_id: State.REJECTED,
    }
    after = await audited(node)
    assert codes(after) == codes(before) == []
    counts = ("requests", "fulfilled", "givenUp", "notInStore")
    assert [after[name] for name in counts] == [before[name] for name in counts]
    verified = json.loads(await said(node, verify_verb, hex_id(served), "--json"))
    assert verified | {"block": 0} == proof | {"block": 0}
    tombstone = await show(node, served)
    assert tombstone["prunedAt"] is not None
    for name in ("state", "reason", "requestBlock", "fulfillmentBlock", "entropy"):
        assert tombstone[name] == shown[name] is not None, name
    assert (await show(node, failed))["reason"] == "not_delivered"
    assert (await show(node, refused))["reason"] == "rejected"
    listed = json.loads(await said(node, request_verbs, "list", "--json"))
    assert (listed["counts"], listed["pruned"]) == ({}, 3)
    native = json.loads(await said(node, request_verbs, "list", "--protocol", "native", "--json"))
    assert native["pruned"] == 0
    for statement, code in (
        ("UPDATE pruned_requests SET outcome_block = outcome_block + 1", "outcome_differs"),
        ("UPDATE pruned_requests SET outcome_block = outcome_block - 1", ""),
        ("UPDATE pruned_requests SET block_number = block_number - 1", "terms_differ"),
        ("UPDATE pruned_requests SET block_number = block_number + 1", ""),
        ("UPDATE blocks SET purpose = NULL", "draw_missing"),
    ):
        tamper(node, statement)
        assert set(codes(await audited(node))) == ({code} if code else set()), statement


async def test_pruned_id_that_comes_again_gets_no_second_number(new_node: Any) -> None:
    node = await new_node()
    start = await height(node)
    request = await node.ask()
    await node.serve()
    await prune(node)
    assert await tombstones(node) == {request.key.request_id: State.DONE}
    sent = await node.transactions()

    # Everything is read again; then the same id comes in another block, with nobody's answer.
    tamper(node, "DELETE FROM cursors")
    await node.walk(2)
    await roll_back(node, start)
    await node.rpc("anvil_mine", "0x2")
    again = await node.ask()
    assert again.key == request.key
    assert again.block_hash != request.block_hash
    for _ in range(3):
        await node.serve()
    assert await tombstones(node) == {request.key.request_id: State.DONE}
    async with node.service.database.read() as connection:
        assert await airnode.BOOK.get(connection, request.key) is None
    assert await numbers_bound(node) == 1
    assert await node.transactions() == sent == []
    other = await node.ask()
    await node.serve()
    assert (await node.where(other))[0] is State.DONE


async def test_what_counts_or_proves_something_is_not_pruned(new_node: Any) -> None:
    node = await new_node(draws_per_sponsor=1)
    foreign = await node.ask()
    await answer_elsewhere(node, foreign)
    await node.walk()
    counted = await node.ask()
    await node.serve()
    await node.rpc("anvil_mine", "0x14")
    await node.walk()
    node.service = replace(node.service, keep_days=KEEP)
    await node.walk()
    # It is one of its sponsor's numbers of this day.
    assert (await node.where(counted))[0] is State.DONE
    await prune(node)
    assert await tombstones(node) == {counted.key.request_id: State.DONE}
    assert (await node.where(foreign))[0] is State.DONE
    assert "foreign_fulfillment" in codes(await audited(node))
