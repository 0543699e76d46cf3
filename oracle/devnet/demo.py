"""
The demo: requests, a node that is killed in the middle, and an audit.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eth_abi.abi import encode

from oracle.chain.transact import send_transaction, wait_for
from oracle.devnet.audit import audit
from oracle.devnet.network import CHAIN_ID
from oracle.devnet.qrng import audit_qrng, read_events
from oracle.errors import OracleError
from oracle.evm import keccak
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.request import Outcome, RandomnessRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle.devnet.audit import Report
    from oracle.devnet.network import Devnet

DICE_PER_ROLL = 2
_ROLL = keccak(b"roll(uint16)")[:4] + encode(["uint16"], [DICE_PER_ROLL])
_GAS_FOR = keccak(b"gasFor(uint16)")[:4] + encode(["uint16"], [DICE_PER_ROLL])
# Requests under way at once: anvil's pool takes only so many of one account.
_CHUNK = 50
_PATIENCE = 60.0


@dataclass(slots=True)
class Progress:
    """
    What the audience sees; `waited` holds the blocks from each request to its fulfillment.
    """

    total: int
    requested: int = 0
    fulfilled: int = 0
    #: How many of those that were requested were Airnode's.
    airnode: int = 0
    node_alive: bool = True
    waited: list[int] = field(default_factory=list)


# Every so many requests one goes to the Airnode, where there is one.
_AIRNODE_SHARE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """
    What the audits found; nothing of an Airnode where there is none.
    """

    native: Report
    airnode: dict[str, int] | None

    @property
    def totals(self) -> dict[str, int]:
        """
        The counts over all protocols.
        """
        native = self.native.document()
        return {name: count + (self.airnode or {}).get(name, 0) for name, count in native.items()}

    @property
    def clean(self) -> bool:
        """
        Whether every request was fulfilled exactly once, with the right value.
        """
        found = self.totals
        return not any(found[name] for name in found if name not in ("requests", "fulfilled"))

    def document(self) -> dict[str, object]:
        """
        Return what `oracle demo --json` prints.
        """
        protocols = {"native": self.native.document()}
        if self.airnode is not None:
            protocols["airnode"] = self.airnode
        return {**self.totals, "protocols": protocols}


async def play(devnet: Devnet, progress: Progress, say: Callable[[str], None]) -> Verdict:
    """
    Roll dice and ask the Airnode in three waves, and audit the chain.

    The first wave is served; the node is killed as soon as the second one is mined, wherever it
    is with it; the third finds nobody at home; then the node starts again.
    """
    wave = progress.total // 3
    say(f"{wave} requests, most for {DICE_PER_ROLL} dice each, with a node at work")
    await roll(devnet, progress, wave)
    await follow(devnet, progress, wave)
    await roll(devnet, progress, wave)
    assert devnet.node is not None
    await devnet.node.kill()
    progress.node_alive = False
    await follow(devnet, progress, 0)
    say(
        f"{wave} more, and SIGKILL to the node (process {devnet.node.pid}): "
        f"{progress.requested - progress.fulfilled} requests are open"
    )
    last = progress.total - 2 * wave
    await roll(devnet, progress, last)
    await follow(devnet, progress, 0)
    say(
        f"{last} more with nobody at home: {progress.requested - progress.fulfilled} requests wait"
    )
    say("the node starts again on what it left on disk")
    await devnet.start_node()
    progress.node_alive = True
    await follow(devnet, progress, progress.total)
    say("audit: every value recomputed from the chain alone")
    deployment = devnet.deployment
    native = await audit(devnet.reader, deployment.coordinator, deployment.dice)
    airnode = None
    if deployment.qrng is not None:
        airnode = await audit_qrng(devnet.reader, deployment.qrng)
    return Verdict(native=native, airnode=airnode)


async def roll(devnet: Devnet, progress: Progress, count: int) -> None:
    """
    Make so many requests, and wait until every one is in a block.
    """
    for start in range(0, count, _CHUNK):
        sent = []
        for _ in range(min(_CHUNK, count - start)):
            progress.requested += 1
            qrng = devnet.deployment.qrng
            if qrng is not None and progress.requested % _AIRNODE_SHARE == 0:
                sent.append(await qrng.ask(devnet.reader, devnet.player(), progress.airnode))
                progress.airnode += 1
            else:
                sent.append(await roll_call(devnet))
        for transaction_hash in sent:
            await wait_for(devnet.reader, transaction_hash)


async def roll_call(devnet: Devnet) -> bytes:
    """
    Send one roll of the dice, with its fee; return the transaction's hash.
    """
    reader, dice = devnet.reader, devnet.deployment.dice
    gas = CoordinatorProtocol.decode_uint(await reader.call(dice, _GAS_FOR))
    base_fee = (await reader.block()).base_fee
    quote = CoordinatorProtocol.encode_fee_at(gas, DICE_PER_ROLL, base_fee)
    fee = CoordinatorProtocol.decode_uint(await reader.call(devnet.deployment.coordinator, quote))
    value = fee * 5 // 4  # it can rise until this is mined
    return await send_transaction(reader, devnet.player(), to=dice, data=_ROLL, value=value)


async def follow(devnet: Devnet, progress: Progress, until: int) -> None:
    """
    Count what the chain says is fulfilled until there is enough of it.
    """
    protocol = CoordinatorProtocol(CHAIN_ID, devnet.deployment.coordinator)
    deadline = time.monotonic() + _PATIENCE
    while True:
        head = await devnet.reader.block()
        logs = await devnet.reader.logs(protocol.contract, 0, head.number)
        events = [protocol.decode(item) for item in logs]
        made = {e.key.request_id: e for e in events if isinstance(e, RandomnessRequest)}
        done = {e.request_id: e for e in events if isinstance(e, Outcome)}
        waited = [
            done[request_id].block_number - made[request_id].block_number for request_id in done
        ]
        if devnet.deployment.qrng is not None:
            seen = await read_events(devnet.reader, devnet.deployment.qrng)
            waited += [
                one.place.block_number - seen.made[id_].block_number
                for id_, one in seen.answered.items()
            ]
        if len(waited) > progress.fulfilled:
            # A new fulfillment resets the patience: only silence is a failure.
            deadline = time.monotonic() + _PATIENCE
        progress.fulfilled = len(waited)
        progress.waited = waited
        if len(waited) >= until:
            return
        if devnet.node is not None and progress.node_alive:
            devnet.node.check()
        if time.monotonic() > deadline:
            raise OracleError(
                f"{len(waited)} of {progress.requested} requests are fulfilled and nothing moves: "
                f"the node's last words:\n{devnet.node.last_lines() if devnet.node else ''}"
            )
        await asyncio.sleep(0.2)
