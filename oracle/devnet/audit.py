"""
An audit of a devnet from its chain alone, written apart from the node: what it finds is what
anybody would.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode
from eth_hash.auto import keccak

if TYPE_CHECKING:
    from oracle.chain.reader import Web3Reader

_REQUESTED = keccak(b"RandomnessRequested(bytes32,address,uint256,bytes32)")
_FULFILLED = keccak(b"RandomnessFulfilled(bytes32,bytes32,bool)")
_FACES_OF = keccak(b"facesOf(bytes32)")[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    Counts over all requests of a coordinator; `wrong` are values that do not follow from the
    chain's own data.
    """

    requests: int
    fulfilled: int
    lost: int
    duplicates: int
    seeds_reused: int
    wrong: int

    @property
    def clean(self) -> bool:
        """
        Whether every request was fulfilled exactly once, with the right value and a seed of its
        own.
        """
        return not (self.lost or self.duplicates or self.seeds_reused or self.wrong)

    def document(self) -> dict[str, object]:
        """
        Return the counts as `oracle demo --json` prints them.
        """
        counts: dict[str, object] = {
            "requests": self.requests,
            "fulfilled": self.fulfilled,
            "lost": self.lost,
            "duplicates": self.duplicates,
            "seeds_reused": self.seeds_reused,
            "wrong": self.wrong,
        }
        return {**counts, "protocols": {"native": counts}}


async def audit(reader: Web3Reader, coordinator: str, dice: str) -> Report:
    """
    Read every log of the coordinator and recompute every throw of the dice.
    """
    logs = await reader.logs(coordinator, 0, (await reader.block()).number)
    made = {item.topics[1]: item for item in logs if item.topics[0] == _REQUESTED}
    done = [item for item in logs if item.topics[0] == _FULFILLED]
    times = Counter(item.topics[1] for item in done)
    seeds = Counter(item.data[:32] for item in done)
    wrong = 0
    for item in done:
        request_id, seed = item.topics[1], item.data[:32]
        request = made[request_id]
        block = await reader.block(request.block_number)
        count = int.from_bytes(request.data[:32], "big") >> 96 & 0xFFFF
        output = keccak(seed + request_id + block.hash)
        words = [keccak(output + i.to_bytes(32, "big")) for i in range(count)]
        expected = tuple(int.from_bytes(word, "big") % 6 + 1 for word in words)
        answer = await reader.call(dice, _FACES_OF + encode(["bytes32"], [request_id]))
        wrong += decode(["uint8[]"], answer)[0] != expected
    return Report(
        requests=len(made),
        fulfilled=len(times),
        lost=len(made.keys() - times.keys()),
        duplicates=sum(count - 1 for count in times.values()),
        seeds_reused=sum(count - 1 for count in seeds.values()),
        wrong=wrong,
    )
