"""
A node over model chains: the real steps on a real store, one process that can die at any point.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eth_account import Account

from oracle.chain.fees import GWEI, FeePolicy
from oracle.chain.wallets import LocalSigner
from oracle.coordinator_service import Service
from oracle.errors import OracleError
from oracle.evm import checksum_address
from oracle.lane import Lane
from oracle.membership import Leased
from oracle.protocols.coordinator import CoordinatorProtocol
from oracle.runner import walk
from oracle.store import leases
from oracle.store.engine import Access
from oracle.store.pool import Pool
from oracle.store.seal import EpochFile, PoolKey
from oracle.store.soundness import check_sound
from tests.factories import make_block
from tests.model_chain import Mined, ModelChain, World
from tests.model_coordinator import WINDOW, Coordinator
from tests.model_endpoint import Endpoint
from tests.model_faults import Crash, Disk, FragileDatabase, Tripwire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

DEPTH = 3
RUNWAY = 224
KEY = bytes(range(32))
MAX_FEE = 200 * GWEI
ETHER = 10**18
# What is in the pool at the beginning.
BLOCKS = 768
# No lease lasts that long.
_FAR = 1 << 60


@dataclass
class Track:
    """
    One coordinator that the node serves, and what the node has been shown of it.
    """

    name: str
    chain: ModelChain
    contract: str
    signer: LocalSigner
    primary: Endpoint
    witness: Endpoint
    service: Service | None = None
    #: Under which the service works; whoever takes it over works under another one.
    seat: Leased | None = None
    #: What the endpoint showed in the course of this pass, the newest last.
    moments: list[list[Mined]] = field(default_factory=list)
    #: What to do in the middle of a pass, after so many answers.
    disturb: tuple[int, Callable[[], Awaitable[None]]] | None = None
    #: Logs were hidden in a pass, and their blocks were not read again since.
    blind: bool = False
    #: The highest block that its endpoint ever showed.
    farthest: int = 0
    #: The head of the last pass.
    read_to: bytes = b""

    @property
    def protocol(self) -> CoordinatorProtocol:
        return CoordinatorProtocol(self.chain.chain_id, self.contract)

    @property
    def wallet(self) -> str:
        return self.signer.address

    def state(self) -> Coordinator:
        return self.chain.head.world.contracts[self.contract]


def new_tracks(*, shared: bool) -> list[Track]:
    """
    Return two coordinators with a wallet each: on one chain, or on two.
    """
    tracks: list[Track] = []
    signers = [LocalSigner(Account.from_key(bytes([7 + n]) * 32)) for n in range(2)]
    contracts = [checksum_address(bytes([0xC0 + n]) * 20) for n in range(2)]
    chains: list[ModelChain] = []
    for ids in [(31, (0, 1))] if shared else [(31, (0,)), (32, (1,))]:
        chain_id, places = ids
        world = World(
            balances={signers[n].address: 10 * ETHER for n in places},
            contracts={
                contracts[n]: Coordinator(chain_id, contracts[n], signers[n].address)
                for n in places
            },
        )
        chains += [ModelChain(chain_id, world)] * len(places)
    for n, chain in enumerate(chains):
        tracks.append(
            Track(
                name="ab"[n],
                chain=chain,
                contract=contracts[n],
                signer=signers[n],
                primary=Endpoint(chain),
                witness=Endpoint(chain),
            )
        )
    return tracks


class Node:
    """
    The process: it is started, walks, dies, and is started again; or another one takes its work
    over while it is paused.
    """

    def __init__(self, folder: Path, tracks: list[Track]) -> None:
        self.folder = folder
        self.tracks = tracks
        self.tripwire = Tripwire()
        self.disk = Disk(folder)
        self.tripwire.died = self.disk.cut_power
        self.database: FragileDatabase
        self.pool: Pool
        self.interrupted: list[str] = []
        self.processes = 0
        #: Told whenever the endpoints may show something else.
        self.looked: Callable[[], object] = bool
        for track in tracks:
            for endpoint in (track.primary, track.witness):
                endpoint.before = self._before(track)

    def _before(self, track: Track) -> Callable[[str], Awaitable[None]]:
        async def before(method: str) -> None:
            self.tripwire.point(f"before an answer to {method}")
            if track.disturb is not None:
                left, act = track.disturb
                if left > 0:
                    track.disturb = (left - 1, act)
                else:
                    track.disturb = None
                    await act()
                    self.look()

        return before

    def look(self) -> None:
        """
        Remember what the endpoints show now.
        """
        for track in self.tracks:
            track.moments.append(list(track.primary.shown))
            track.farthest = max(track.farthest, len(track.moments[-1]) - 1)
        self.looked()

    async def start(self, *, migrate: bool = False) -> None:
        """
        Start as `oracle run` does.
        """
        self.database = await FragileDatabase.open_file(
            self.folder / "oracle.db", Access.NODE if migrate else Access.ACT
        )
        async with self.database.read() as connection:
            await check_sound(connection)
        self.database.tripwire = self.tripwire
        self.pool = Pool(PoolKey(KEY), EpochFile(self.folder / "epoch"))
        await self.pool.unlock(self.database)
        for track in self.tracks:
            await self.take_over(track)

    async def take_over(self, track: Track) -> None:
        """
        Give the work on a track to another process, whatever the one before is doing.
        """
        self.processes += 1
        name, process = track.name, f"process {self.processes}"
        seat = Leased(name, self.database, process)
        async with self.database.write() as tx:
            await leases.register(tx, [name])
        async with self.database.claim() as tx:
            taken = await leases.claim(tx, process, [name], 1, _FAR, _FAR)
        seat.hold(taken[name], float("inf"))
        track.seat, track.service = seat, None

    async def stop(self) -> None:
        await self.database.close()

    async def crash(self, again: int | None = None) -> None:
        """
        Die and start again; die once more in that, after so many points.

        Where it died at a point, what it starts from is what a power cut there leaves.
        """
        faulty = again
        while True:
            await self.database.close()
            if self.disk.is_cut():
                self.disk.start()
            self.tripwire.left = faulty
            faulty = None
            try:
                await self.start()
            except Crash:
                continue
            finally:
                self.tripwire.left = None
            return

    async def connect(self, track: Track) -> Service:
        assert track.seat is not None
        assert await track.seat.enter()
        if track.service is None:
            database = track.seat.database
            lane = Lane(
                chain_id=track.chain.chain_id,
                contract=track.contract,
                signer=track.signer,
                fees=FeePolicy(max_fee=MAX_FEE, priority_fee=GWEI, max_priority_fee=50 * GWEI),
                key=self.pool.key,
            )
            await lane.prepare(database, track.primary)
            track.service = Service(
                chain_id=track.chain.chain_id,
                contract=track.contract,
                database=database,
                pool=self.pool,
                reader=track.primary,
                witnesses=(track.witness,),
                sender=track.primary,
                lane=lane,
                protocol=track.protocol,
                depth=DEPTH,
                window=WINDOW,
                start_block=0,
                runway=RUNWAY,
                max_loss=None,
                fee_band=None,
                keep_days=0,
                devnet=False,
            )
        return track.service

    async def walk(self, track: Track) -> int | None:
        """
        Make one pass; nothing if an error ended it that passes by itself.

        Raises every other error, which would stop the node, and `Crash`.
        """
        track.moments.clear()
        self.look()
        try:
            service = await self.connect(track)
            head = await track.primary.block()
            return await walk(service, head)
        except OracleError as error:
            if not error.retryable:
                raise
            self.interrupted.append(str(error))
            return None
        finally:
            track.disturb = None

    async def refill(self, first: int, count: int) -> None:
        """
        Put new blocks into the pool.
        """
        async with self.database.write() as tx:
            await self.pool.add(tx, [make_block(first + n) for n in range(count)])
