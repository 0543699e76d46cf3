"""
A node that serves an Airnode on a chain that mines when told to, a pass at a time.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest_asyncio
from click.testing import CliRunner
from eth_abi.abi import encode

from oracle.airnode_request import AirnodeRequest
from oracle.chain import transact
from oracle.chain.mnemonics import seal
from oracle.chain.sponsor_wallets import AirnodeKeys
from oracle.cli.run import compose
from oracle.cli.wallet import wallet as wallet_verbs
from oracle.config import Settings
from oracle.devnet.network import CHAIN_ID, Devnet
from oracle.runner import walk
from oracle.steps.refill import refill
from oracle.store import airnode
from oracle.store.seal import PoolKey
from tests.airnode import MNEMONIC, UINT256, UINT256_ARRAY, AirnodeBench, call
from tests.migrated import lay_database
from tests.solidity import compiled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from oracle.airnode_service import AirnodeService
    from oracle.devnet.network import Ground
    from oracle.evm import Receipt
    from oracle.request import State, Tracked
    from oracle.runner import Runner
    from oracle.store.airnode import Answer

PASSWORD = "only for tests"
CONSUMERS = "tests/contracts/support/QrngConsumers.sol"
CALLBACKS = "tests/contracts/support/MoodyQrng.sol"
FINE, REVERTING, HUNGRY = range(3)


@dataclass
class Node:
    """
    A node that serves the bench's Airnode, a pass at a time.
    """

    bench: AirnodeBench
    folder: Path
    runner: Runner
    service: AirnodeService

    async def rpc(self, method: str, *params: object) -> Any:
        return await self.bench.reader.rpc(method, *params)

    async def walk(self, times: int = 1) -> None:
        for _ in range(times):
            await walk(self.service, await self.service.reader.block())

    async def serve(self) -> None:
        """
        Take a request all the way on a chain that mines only here.
        """
        await self.walk()
        await self.rpc("anvil_mine", "0x1")
        await self.walk()

    async def ask(
        self, signature: str = "makeRequestUint256()", *values: object
    ) -> AirnodeRequest:
        return await self.ask_from(self.bench.consumer, signature, *values)

    async def ask_from(
        self, consumer: str, signature: str = "makeRequestUint256()", *values: object
    ) -> AirnodeRequest:
        receipt = await self.act(Devnet.player(), consumer, call(signature, *values))
        [request] = self.bench.events(receipt)
        assert isinstance(request, AirnodeRequest)
        return request

    async def act(self, signer: Any, to: str, data: bytes, value: int = 0) -> Receipt:
        sent = await transact.send_transaction(
            self.bench.reader, signer, to=to, data=data, value=value
        )
        await self.rpc("anvil_mine", "0x1")
        return await transact.wait_for(self.bench.reader, sent)

    async def tracked(self, request: AirnodeRequest) -> Tracked[AirnodeRequest]:
        async with self.service.database.read() as connection:
            found = await airnode.BOOK.get(connection, request.key)
        assert found is not None
        return found

    async def answer(self, request: AirnodeRequest) -> Answer:
        async with self.service.database.read() as connection:
            return (await airnode.answers(connection, [request.key]))[request.key]

    async def where(self, request: AirnodeRequest) -> tuple[State, str | None]:
        tracked = await self.tracked(request)
        return tracked.state, tracked.reason

    async def data(self, request: AirnodeRequest) -> bytes:
        """
        What the chain says was answered.
        """
        tracked = await self.tracked(request)
        assert tracked.outcome is not None
        receipt = await self.bench.reader.receipt(tracked.outcome.transaction_hash)
        assert receipt is not None
        [said] = [event.data for event in self.bench.events(receipt) if hasattr(event, "data")]
        return said

    async def transactions(self) -> list[bytes]:
        async with self.service.database.read() as connection:
            rows = await connection.exec_driver_sql("SELECT transaction_hash FROM attempts")
            return [bytes(row[0]) for row in rows]


@pytest_asyncio.fixture(loop_scope="session")
async def new_node(
    ground: Ground, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[Node]]]:
    snapshot = await ground.reader.rpc("evm_snapshot")
    async with AsyncExitStack() as stack:

        async def make(bench: AirnodeBench | None = None, **chain: object) -> Node:
            if bench is None:
                await ground.reader.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
                bench = await AirnodeBench.deploy(ground.reader)
                await ground.reader.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
            path = configure(tmp_path, ground, bench, chain)
            if not (tmp_path / "oracle.db").exists():
                lay_database(tmp_path / "oracle.db")
            runner = await compose(Settings.load(path), stack)
            [link] = runner.airnodes
            service = await link.connect(runner.database, runner.pool)
            await refill(runner.database, runner.pool, runner.supplies, 512)
            return Node(bench, tmp_path, runner, service)

        yield make
    await ground.reader.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    await ground.reader.rpc("evm_revert", snapshot)


def configure(folder: Path, ground: Ground, bench: AirnodeBench, chain: dict[str, object]) -> Path:
    secrets = {
        "pool.key": PoolKey.generate(),
        "anu.key": "simulated",
        "mnemonic.password": PASSWORD,
        "mnemonic.json": seal(MNEMONIC, AirnodeKeys(MNEMONIC).xpub, PASSWORD),
    }
    for name, secret in secrets.items():
        if not (folder / name).exists():
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(secret, encoding="utf-8")
    database = chain.pop("database", None)
    lines = {
        "chain_id": CHAIN_ID,
        "endpoints": f'["{ground.rpc_url}"]',
        "rrp": f'"{bench.protocol.contract}"',
        "devnet": "true",
        "uint256": f'["0x{UINT256.hex()}"]',
        "uint256_array": f'["0x{UINT256_ARRAY.hex()}"]',
        **chain,
    }
    path = folder / "oracle.toml"
    path.write_text(
        ("" if database is None else f'database = "{database}"\n')
        + f"""\
[pool]
key_file = "pool.key"

[sources.anu]
kind = "anu-quantum-numbers"
url = "{ground.gateway_url}/anu"
key_file = "anu.key"
requests_per_minute = 6000

[airnode]
mnemonic_file = "mnemonic.json"
password_file = "mnemonic.password"

[airnode.chains.devnet]
"""
        + "\n".join(f"{name} = {value}" for name, value in lines.items()),
        encoding="utf-8",
    )
    return path


async def said(node: Node, group: Any, *arguments: str) -> str:
    """
    What a verb says, beside the node.
    """
    given = [*arguments, "--config", str(node.folder / "oracle.toml")]
    result = await asyncio.to_thread(CliRunner().invoke, group, given, env={})
    assert result.exit_code == 0, result.output
    return result.output


async def balances(node: Node) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(await said(node, wallet_verbs, "balances", "--json"))
    return rows


async def received(node: Node, request: AirnodeRequest) -> int:
    answer = await node.bench.reader.call(
        request.fulfill_address, call("answers(bytes32)", request.key.request_id)
    )
    return int.from_bytes(answer, "big")


async def drawn(node: Node) -> int:
    async with node.service.database.read() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT count(*) FROM blocks WHERE purpose LIKE 'airnode:%'"
        )
        return int(rows.scalar_one())


async def deploy_dry(node: Node) -> str:
    """
    Deploy a consumer whose sponsor wallet has nothing.
    """
    await node.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    dry = await AirnodeBench.deploy_consumer(node.bench.reader, node.bench.protocol.contract)
    await node.bench.point(dry)
    await node.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
    return dry


async def deploy_moody(node: Node, mood: int) -> str:
    await node.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
    consumer, _ = await transact.deploy(
        node.bench.reader,
        Devnet.player(),
        compiled(CALLBACKS)["MoodyQrng"],
        encode(["address"], [node.bench.protocol.contract]),
    )
    await node.bench.point(consumer)
    await node.bench.fund(node.bench.wallet_of(consumer).address)
    await node.bench.send(consumer, "setMood(uint8)", mood)
    await node.rpc("evm_setAutomine", False)  # noqa: FBT003 - JSON-RPC
    return consumer
