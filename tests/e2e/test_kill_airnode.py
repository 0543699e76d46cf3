"""
A real node that serves an Airnode, killed at every point that a request passes.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from eth_abi.abi import decode

import oracle
from oracle.chain import transact
from oracle.chain.sponsor_wallets import AirnodeKeys
from oracle.devnet.network import Devnet, Ground
from oracle.devnet.qrng import MNEMONIC, audit_qrng, read_events
from oracle.evm import keccak
from oracle.protocols import airnode_calls as calls
from oracle.protocols.airnode_rrp_v0 import WITHDRAWAL_FULFILLED
from oracle.steps.send import REPLACE_AFTER
from oracle.store.attempts import attempt_context
from oracle.store.seal import PoolKey, Sealed
from tests.e2e.test_kill import SPIKE

if TYPE_CHECKING:
    from oracle.devnet.qrng import Qrng

pytestmark = pytest.mark.e2e

PATIENCE = 60
FULFILL = keccak(b"fulfill(bytes32,address,address,bytes4,bytes,bytes)")[:4]
POINTS = [
    *("observed", "confirmed", "epoch-intended", "epoch-advanced", "epoch-bound"),
    *("drawn", "signed", "sent-recorded", "broadcast", "mined", "done"),
]
# These need more than a request: a withdrawal, and a transaction that nobody mines.
SPECIAL = {"withdrawal-signed", "replaced"}


def test_every_point_that_an_airnode_request_passes_is_one_where_it_is_killed() -> None:
    package = Path(oracle.__file__).parent
    files = [*(package / "steps").glob("airnode_*.py"), package / "store" / "epochs.py"]
    files += [package / "steps" / f"{name}.py" for name in ("watch", "send", "settle")]
    found = {
        name
        for path in files
        for name in re.findall(r'fault_point\("([a-z-]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert found == {*POINTS, *SPECIAL}


class Witness:
    """
    Reads what the node has signed, each time that it is dead.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signed: dict[bytes, set[bytes]] = defaultdict(set)
        self.numbers: dict[str, bytes] = {}

    def look(self) -> None:
        key = PoolKey.from_text((self.folder / "pool.key").read_text(encoding="ascii"))
        with sqlite3.connect(self.folder / "oracle.db") as database:
            attempts = database.execute(
                "SELECT transaction_hash, nonce, ciphertext FROM attempts "
                "WHERE ciphertext IS NOT NULL"
            ).fetchall()
            bound = database.execute(
                "SELECT purpose, id FROM blocks WHERE purpose LIKE 'airnode:%'"
            ).fetchall()
        for name, nonce, ciphertext in attempts:
            bytes_ = key.open(Sealed(nonce, ciphertext), attempt_context(name))
            if FULFILL in bytes_:
                call = bytes_[bytes_.index(FULFILL) + 4 :]
                id_, *_, data, _ = decode(
                    ["bytes32", "address", "address", "bytes4", "bytes", "bytes"],
                    call,
                    strict=False,
                )
                self.signed[id_].add(data)
        for purpose, block in bound:
            assert self.numbers.setdefault(purpose, block) == block, "a number was drawn again"


async def dies(devnet: Devnet, what: str) -> None:
    assert devnet.node is not None
    try:
        async with asyncio.timeout(PATIENCE):
            assert await devnet.node.wait() == -signal.SIGKILL
    except TimeoutError:
        pytest.fail(f"the fault point {what} was never reached")


async def ask(devnet: Devnet, qrng: Qrng, count: int) -> None:
    for number in range(count):
        await qrng.ask(devnet.reader, devnet.player(), number)


async def until_answered(devnet: Devnet, qrng: Qrng) -> None:
    assert devnet.node is not None
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        devnet.node.check()
        events = await read_events(devnet.reader, qrng)
        with sqlite3.connect(devnet.folder / "oracle.db") as database:
            states = database.execute("SELECT DISTINCT state FROM airnode_requests").fetchall()
        if len(events.made) == len(events.settled) and states == [("done",)]:
            return
        await asyncio.sleep(0.2)
    pytest.fail("not every request was answered")


async def request_withdrawal(devnet: Devnet, qrng: Qrng) -> str:
    """
    Have the player, as a sponsor, ask for its funds; return its sponsor wallet.
    """
    player, reader = devnet.player(), devnet.reader
    wallet = AirnodeKeys(MNEMONIC).sponsor_wallet(player.address).address
    await transact.send_transaction(reader, player, to=wallet, data=b"", value=10**18)
    data = calls.encode_request_withdrawal(qrng.airnode, wallet)
    await transact.send_transaction(reader, player, to=qrng.rrp, data=data)
    return wallet


async def until_replaced(devnet: Devnet, qrng: Qrng) -> None:
    """
    Leave a fulfillment unmined for so long, and so cheap, that it is replaced.
    """
    rpc = devnet.reader.rpc
    await rpc("evm_setIntervalMining", 0)
    await ask(devnet, qrng, 1)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        await rpc("evm_mine")
        await asyncio.sleep(0.3)
        pool = await rpc("txpool_content")
        if any(
            tx["input"].startswith("0x" + FULFILL.hex())
            for of in pool["pending"].values()
            for tx in of.values()
        ):
            break
    await rpc("anvil_setNextBlockBaseFeePerGas", hex(SPIKE))
    for _ in range(REPLACE_AFTER + 2):
        await rpc("evm_mine")


async def test_an_airnode_that_is_killed_anywhere_answers_once_with_one_number(
    tmp_path: Path,
) -> None:
    async with Ground(tmp_path, mining=("--block-time", "0.3")) as ground:
        devnet = Devnet(tmp_path, ground, airnode=True)
        await devnet.prepare()
        qrng = devnet.deployment.qrng
        assert qrng is not None
        witness = Witness(tmp_path)
        try:
            await devnet.start_node()
            await devnet.until_committed()
            await ask(devnet, qrng, 1)
            await until_answered(devnet, qrng)
            assert devnet.node is not None
            await devnet.node.stop()

            for point in POINTS:
                await devnet.start_node({"ORACLE_FAULT_POINT": point})
                await ask(devnet, qrng, 2)
                await dies(devnet, point)
                witness.look()

            await devnet.start_node({"ORACLE_FAULT_POINT": "withdrawal-signed"})
            wallet = await request_withdrawal(devnet, qrng)
            await dies(devnet, "withdrawal-signed")
            witness.look()

            await devnet.start_node({"ORACLE_FAULT_POINT": "replaced"})
            await until_answered(devnet, qrng)
            await until_replaced(devnet, qrng)
            await dies(devnet, "replaced")
            witness.look()

            await devnet.start_node()
            await ground.reader.rpc("evm_setIntervalMining", 1)
            await until_answered(devnet, qrng)
            assert devnet.node is not None
            await devnet.node.stop()
            witness.look()

            report = await audit_qrng(devnet.reader, qrng)
            count = 1 + 2 * len(POINTS) + 1
            assert report == {
                **dict.fromkeys(report, 0),
                "requests": count,
                "fulfilled": count,
            }
            answered = (await read_events(devnet.reader, qrng)).answered
            head = await devnet.reader.block()
            returned = await devnet.reader.logs(qrng.rrp, 0, head.number, [WITHDRAWAL_FULFILLED])
            assert len(returned) == 1
            assert await devnet.reader.balance(wallet) < 10**16
        finally:
            await devnet.__aexit__()
    assert len(witness.numbers) == count
    assert len(witness.signed) > len(POINTS) // 2
    for id_, data in witness.signed.items():
        assert data == {answered[id_].data}
    check_books(tmp_path)


def check_books(folder: Path) -> None:
    with sqlite3.connect(folder / "oracle.db") as database:
        assert (
            database.execute("SELECT name FROM settings WHERE name = 'restored_epoch'").fetchall()
            == []
        ), "a crash was taken for a restored backup"
        lost = database.execute(
            "SELECT count(*) FROM blocks WHERE purpose IS NULL AND ciphertext IS NULL"
        ).fetchone()
        assert lost == (0,), "a crash cost blocks"
        [most] = database.execute(
            "SELECT count(*) FROM attempts GROUP BY transaction_id ORDER BY count(*) DESC LIMIT 1"
        ).fetchone()
        assert most > 1, "nothing was replaced"
