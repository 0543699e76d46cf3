"""
What the nodes have given away: every transaction that they ever broadcast, read.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes

from oracle.evm import keccak
from oracle.verify.proof import read_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_ANSWER = keccak(b"fulfill(bytes32,address,address,bytes4,bytes,bytes)")[:4]
_ANSWER_FIELDS = ["bytes32", "address", "address", "bytes4", "bytes", "bytes"]


@dataclass(frozen=True, slots=True)
class Place:
    """
    Which transactions can never both land: those of one wallet and nonce.
    """

    wallet: str
    nonce: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """
    A transaction that left a node, and the secrets in it: the seeds of indices, for requests; the
    numbers of an Airnode's requests.
    """

    place: Place
    seeds: dict[int, bytes]
    numbers: dict[bytes, bytes]
    serves: frozenset[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Twice:
    """
    A request for which bytes left while others, at another place, could still land.
    """

    request_id: bytes
    first: Place
    second: Place
    tick: int


def read_sent(signed: bytes, domain: bytes) -> Sent:
    """
    Read a signed transaction; `domain` is the coordinator's.
    """
    fields = TypedTransaction.from_bytes(HexBytes(signed)).as_dict()
    data = bytes(fields["data"])
    place = Place(Account.recover_transaction(signed), fields["nonce"])
    seeds: dict[int, bytes] = {}
    numbers: dict[bytes, bytes] = {}
    serves: set[bytes] = set()
    if (run := read_run(domain, data)) is not None:
        seeds = {item.index: item.seed for item in run.items}
        serves = {item.request_id for item in run.items}
    elif data[:4] == _ANSWER:
        try:
            id_, *_, answer, _ = decode(_ANSWER_FIELDS, data[4:], strict=False)
        except DecodingError:
            return Sent(place=place, seeds={}, numbers={}, serves=frozenset())
        numbers = {id_: answer}
        serves = {id_}
    return Sent(place=place, seeds=seeds, numbers=numbers, serves=frozenset(serves))


class Watcher:
    """
    Reads every broadcast as it leaves.

    Guarantees: nothing that it has seen is forgotten, whatever became of it afterwards.
    """

    def __init__(self, domain: bytes, still_open: Callable[[Place], Awaitable[bool]]) -> None:
        """
        `still_open` tells whether the chain still lets something land at a place.
        """
        self.seeds: dict[int, set[bytes]] = defaultdict(set)
        self.numbers: dict[bytes, set[bytes]] = defaultdict(set)
        self.twice: list[Twice] = []
        self.raw: dict[bytes, bytes] = {}
        self.broadcasts = 0
        self.tick = 0
        self._domain = domain
        self._still_open = still_open
        self._places: dict[bytes, list[Place]] = defaultdict(list)

    async def saw(self, node: str, signed: bytes) -> None:
        """
        Take note of bytes that have left a node.
        """
        del node
        self.broadcasts += 1
        if (hash_ := keccak(signed)) in self.raw:
            return
        sent = read_sent(signed, self._domain)
        self.raw[hash_] = signed
        for index, seed in sent.seeds.items():
            self.seeds[index].add(seed)
        for id_, number in sent.numbers.items():
            self.numbers[id_].add(number)
        open_ = {
            other
            for other in {place for id_ in sent.serves for place in self._places[id_]}
            if other != sent.place and await self._still_open(other)
        }
        for id_ in sent.serves:
            places = self._places[id_]
            for other in places:
                if other in open_:
                    self.twice.append(
                        Twice(request_id=id_, first=other, second=sent.place, tick=self.tick)
                    )
            if sent.place not in places:
                places.append(sent.place)
