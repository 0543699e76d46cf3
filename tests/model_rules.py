"""
The rules that make it exactly once, as a watcher who sees every byte that leaves and every row.
"""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, Any

from oracle.evm import keccak
from oracle.protocols.coordinator import BATCH, batch_start
from oracle.protocols.coordinator_events import Discarded
from oracle.request import TRANSITIONS, RandomnessRequest, State
from oracle.store import batches, transactions
from oracle.store.attempts import attempt_context, attempts_of
from oracle.store.batches import BatchState
from tests.model_coordinator import WINDOW, Item, is_fulfillment
from tests.model_node import DEPTH

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping, Sequence

    from tests.model_chain import Mined, Tx
    from tests.model_node import Node, Track

#: A request as the chain has it: its id and the hash of its block.
Place = tuple[bytes, bytes]


class Watcher:
    """
    Holds every rule against everything that leaves the process and everything that is stored.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.lines: list[str] = []
        #: By chain, wallet and nonce: what the bytes that ever left for it do.
        self.acts: dict[tuple[int, str, int], set[tuple[str, bytes]]] = {}
        #: By request: the nonces of its chain's wallets that ever left with it.
        self.nonces: dict[bytes, set[tuple[str, int]]] = {}
        #: Who uses a seed, by its bytes, and which seed an index has.
        self.uses: dict[bytes, tuple[int, str, int]] = {}
        self.seeds: dict[tuple[int, str, int], bytes] = {}
        #: What a witness ever showed deep enough, by the name of its track.
        self.witnessed: dict[str, set[Place]] = {track.name: set() for track in node.tracks}
        self.purposes: dict[bytes, str] = {}
        self.done: dict[bytes, Any] = {}
        #: The hashes of all bytes that ever left.
        self.left: set[bytes] = set()
        #: The calls that anybody could repeat, by the name of their track.
        self.public: dict[str, list[bytes]] = {track.name: [] for track in node.tracks}
        #: Indices whose discard was final once, by the name of their track: their seeds may go.
        self.given_up: dict[str, set[int]] = {track.name: set() for track in node.tracks}
        self._made: dict[bytes, list[RandomnessRequest]] = {}
        self._looked_at: set[bytes] = set()
        node.looked = self.look
        for track in node.tracks:
            track.primary.receive = self._receiver(track)

    def log(self, _: Any, __: str, event: MutableMapping[str, Any]) -> str:
        """
        Read a line of the log, as structlog's last processor.
        """
        self.lines.append(repr(event))
        return ""

    def look(self) -> None:
        """
        Take note of what the witnesses show.
        """
        for track in self.node.tracks:
            witness = track.witness
            # What is deep has its logs where only the newest are hidden.
            if witness.fault in (None, "behind", "hides", "repeats"):
                self.witnessed[track.name] |= self.deep(track, witness.shown)
            for block in track.primary.shown[:-DEPTH]:
                self._note_discards(track, block)

    def _note_discards(self, track: Track, block: Mined) -> None:
        key = block.header.hash + track.contract.encode()
        if key in self._looked_at:
            return
        self._looked_at.add(key)
        for receipt in block.receipts:
            for item in receipt.logs:
                if item.address == track.contract and isinstance(
                    event := track.protocol.decode(item), Discarded
                ):
                    self.given_up[track.name] |= {*range(event.first_index, event.up_to)}

    def made(self, track: Track, block: Mined) -> list[RandomnessRequest]:
        """
        Return the requests of a block.
        """
        key = block.header.hash + track.contract.encode()
        if key not in self._made:
            self._made[key] = [
                event
                for receipt in block.receipts
                for item in receipt.logs
                if item.address == track.contract
                and isinstance(event := track.protocol.decode(item), RandomnessRequest)
            ]
        return self._made[key]

    def requests(self, track: Track, blocks: Iterable[Mined]) -> list[RandomnessRequest]:
        return [request for block in blocks for request in self.made(track, block)]

    def deep(self, track: Track, blocks: Sequence[Mined]) -> set[Place]:
        """
        Return the requests that are deep enough to be revealed under the last of the blocks.
        """
        head = blocks[-1].header.number
        return {
            (request.key.request_id, request.block_hash)
            for request in self.requests(track, blocks)
            if head >= request.block_number + max(request.confirmations, DEPTH)
        }

    # What leaves.

    def _receiver(self, track: Track) -> Any:
        async def receive(tx: Tx, signed: bytes) -> None:
            self.node.tripwire.point("before the bytes leave")
            await self._check_stored(track, tx, signed)
            self.left.add(keccak(signed))
            assert tx.nonce is not None
            place = (track.chain.chain_id, tx.sender, tx.nonce)
            acts = self.acts.setdefault(place, set())
            new_nonce = not acts
            if tx.data:
                acts.add((tx.to, tx.data))
            assert len(acts) <= 1, "a nonce has one purpose, or is filled with nothing"
            if is_fulfillment(tx.data):
                items, _ = track.state().read_fulfillment(tx.data)
                await self._check_exposed(track, items)
                self._check_confirmed(track, items)
                if new_nonce:
                    self._check_pending(track, items)
                    self._check_alone(track, tx.nonce, items)
                for item in items:
                    self.nonces.setdefault(item.request_id, set()).add((tx.sender, tx.nonce))
                self.public[track.name].append(tx.data)

        return receive

    async def _check_stored(self, track: Track, tx: Tx, signed: bytes) -> None:
        """
        Rule 1: the bytes and that they leave are stored before they do.
        """
        async with self.node.database.read() as connection:
            slots = await transactions.slots_of(connection, track.chain.chain_id, tx.sender)
            [slot] = [one for one in slots if one.nonce == tx.nonce]
            attempts = await attempts_of(connection, slot.id)
        [attempt] = [one for one in attempts if one.transaction_hash == keccak(signed)]
        assert attempt.sent_block is not None, "bytes leave before it is written down"
        assert attempt.sealed is not None
        context = attempt_context(attempt.transaction_hash)
        assert self.node.pool.key.open(attempt.sealed, context) == signed

    async def _check_exposed(self, track: Track, items: Sequence[Item]) -> None:
        """
        Rules 1 and 2: its seeds count as exposed, and each is that of one index.
        """
        place = (track.chain.chain_id, track.contract)
        indices = [item.index for item in items]
        async with self.node.database.read() as connection:
            exposed = await self.node.pool.exposed(connection, *place, indices)
        assert exposed == set(indices), "a seed leaves and is not marked"
        for item in items:
            use = (*place, item.index)
            assert self.uses.setdefault(item.seed, use) == use, "a seed has two uses"
            assert self.seeds.setdefault(use, item.seed) == item.seed, "an index has two seeds"

    def _check_confirmed(self, track: Track, items: Sequence[Item]) -> None:
        """
        Rule 8: no seed leaves for a request that was not shown deep enough by both endpoints, as
        it is.
        """
        shown = set().union(*(self.deep(track, blocks) for blocks in track.moments))
        both = {id_ for id_, _ in shown & self.witnessed[track.name]}
        for item in items:
            if item.request_id not in self.nonces:
                assert item.request_id in both, "a seed leaves too early"

    def _check_pending(self, track: Track, items: Sequence[Item]) -> None:
        """
        Rule 3: what the chain says is settled is not sent.
        """
        if track.blind:
            return
        for item in items:
            assert not all(
                item.request_id in (state := blocks[-1].world.contracts[track.contract]).fulfilled
                or item.request_id in state.cancelled
                for blocks in track.moments
            ), "a settled request is sent"

    def _check_alone(self, track: Track, nonce: int, items: Sequence[Item]) -> None:
        """
        Rule 4: no second nonce while the first may still land: not before it is used at the depth
        at which blocks count as settled.
        """
        for item in items:
            for wallet, other in self.nonces.get(item.request_id, set()) - {(track.wallet, nonce)}:
                assert any(
                    len(blocks) > DEPTH and blocks[-1 - DEPTH].world.nonces.get(wallet, 0) > other
                    for blocks in track.moments
                ), "a request is under way at two nonces"

    # What is stored.

    async def check_store(self) -> None:
        """
        Hold the rules against every row.
        """
        rows = self._rows
        with sqlite3.connect(self.node.folder / "oracle.db") as store:
            store.row_factory = sqlite3.Row
            self._check_histories(rows(store, "SELECT * FROM request_events ORDER BY id"))
            made = rows(store, "SELECT * FROM requests")
            slots = rows(store, "SELECT * FROM transactions")
            attempts = rows(store, "SELECT * FROM attempts ORDER BY id")
            blocks = rows(store, "SELECT id, purpose, ciphertext IS NULL AS gone FROM blocks")
            reveals = rows(store, "SELECT * FROM reveals")
        store.close()
        self._check_left(attempts)
        for track in self.node.tracks:
            self._check_done(track, [row for row in made if self._is(track, row)])
            await self._check_needed(track)
        self._check_bound(blocks)
        self._check_erased(blocks, reveals, slots, attempts)
        self.check_log()

    @staticmethod
    def _rows(store: sqlite3.Connection, query: str) -> list[sqlite3.Row]:
        return store.execute(query).fetchall()

    @staticmethod
    def _is(track: Track, row: sqlite3.Row) -> bool:
        contract = bytes.fromhex(track.contract[2:])
        return bool(row["chain_id"] == track.chain.chain_id and row["contract"] == contract)

    def _check_left(self, attempts: Sequence[sqlite3.Row]) -> None:
        """
        Rule 1: what ever left is known to have left, whatever the process has died of since.
        """
        known = {row["transaction_hash"] for row in attempts if row["sent_block"] is not None}
        assert self.left <= known, "bytes have left, and the store does not know it"

    @staticmethod
    def _check_histories(events: Sequence[sqlite3.Row]) -> None:
        at: dict[tuple[int, bytes, bytes], str] = {}
        for event in events:
            key = (event["chain_id"], event["contract"], event["request_id"])
            before, after = event["before"], event["after"]
            assert at.get(key) == before
            assert after == (State.OBSERVED if before is None else after)
            assert before in (None, after) or after in TRANSITIONS[State(before)]
            at[key] = after

    def _check_done(self, track: Track, made: Sequence[sqlite3.Row]) -> None:
        """
        Rule 5: done is what was fulfilled at depth in what the endpoint showed.
        """
        done = {row["request_id"]: row for row in made if row["state"] == State.DONE}
        for id_, row in done.items():
            known = (row["outcome_block"], row["outcome_block_hash"])
            if self.done.get(id_) == known:
                continue
            assert any(self._is_fulfilled(track, id_, known, shown) for shown in track.moments), (
                "done without a fulfillment at depth"
            )
            self.done[id_] = known
        for row in made:
            if row["state"] != State.DONE:
                self.done.pop(row["request_id"], None)

    @staticmethod
    def _is_fulfilled(
        track: Track, id_: bytes, place: tuple[int, bytes], shown: Sequence[Mined]
    ) -> bool:
        number, hash_ = place
        return (
            number + DEPTH < len(shown)
            and shown[number].header.hash == hash_
            and id_ in shown[number].world.contracts[track.contract].fulfilled
            and id_ not in shown[number - 1].world.contracts[track.contract].fulfilled
        )

    def _check_bound(self, blocks: Sequence[sqlite3.Row]) -> None:
        """
        Rule 2: what a block is for never changes.
        """
        for block in blocks:
            if block["purpose"] is not None:
                purpose = self.purposes.setdefault(block["id"], block["purpose"])
                assert purpose == block["purpose"], "a block got another purpose"
        assert len(set(self.purposes.values())) == len(self.purposes)

    async def _check_needed(self, track: Track) -> None:
        """
        Rule 6: a seed is at hand until the window of its request has passed at depth; unless the
        operator had given it up for good, before a reorg that went deeper.
        """
        place = (track.chain.chain_id, track.contract)
        blocks = track.chain.blocks
        head = max(track.farthest, track.chain.number)
        wanted = [
            request
            for request in self.requests(track, blocks)
            if request.block_number + WINDOW >= head - DEPTH
            and request.seed_index not in self.given_up[track.name]
        ]
        roots = track.state().roots
        async with self.node.database.read() as connection:
            indices = [request.seed_index for request in wanted]
            at_hand = await self.node.pool.seeds(connection, *place, indices)
            for first in {batch_start(index) for index in indices}:
                batch = await batches.get(connection, *place, first)
                if batch is None or batch.root != roots[first // BATCH]:
                    continue
                assert batch.state is not BatchState.ERASED, "a batch is needed and erased"
                for index in indices:
                    assert index in at_hand or batch_start(index) != first, "a needed seed is gone"

    @staticmethod
    def _check_erased(
        blocks: Sequence[sqlite3.Row],
        reveals: Sequence[sqlite3.Row],
        slots: Sequence[sqlite3.Row],
        attempts: Sequence[sqlite3.Row],
    ) -> None:
        """
        Rule 6: the pool keeps nothing that was revealed, a settled nonce keeps no bytes, and an
        open one keeps those that it is pushed with.
        """
        revealed = {
            f"native:{row['chain_id']}:0x{row['contract'].hex()}:{row['seed_index']}"
            for row in reveals
        }
        kept = {row["purpose"] for row in blocks if not row["gone"]}
        assert not kept & revealed, "a revealed seed is still in the pool"
        newest = {row["transaction_id"]: row for row in attempts}
        for slot in slots:
            bytes_ = newest[slot["id"]]["ciphertext"]
            if slot["state"] in ("final", "lost"):
                mine = [row for row in attempts if row["transaction_id"] == slot["id"]]
                assert all(row["ciphertext"] is None for row in mine), "bytes outlive their nonce"
            elif slot["state"] in ("signed", "sent"):
                assert bytes_ is not None, "the bytes of an open nonce are gone"

    def check_log(self) -> None:
        """
        Rule 8: no seed is in any line of the log.
        """
        text, self.lines = "\n".join(self.lines).lower(), []
        known = {seed.hex() for seed in self.uses}
        for run in re.findall(r"[0-9a-f]{64,}", text):
            assert not any(run[at : at + 64] in known for at in range(len(run) - 63))
        for seed in self.uses:
            assert repr(seed)[2:-1].lower() not in text
