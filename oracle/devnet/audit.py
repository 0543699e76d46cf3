"""
An audit of a devnet from its chain alone: the operator's audit without a store, and every throw of
the dice recomputed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode
from eth_hash.auto import keccak

from oracle.audit.chain import audit_chain, open_ledger
from oracle.audit.ledger import FULFILLED
from oracle.verify.events import output_of, words_of

if TYPE_CHECKING:
    from oracle.audit.ledger import Root
    from oracle.chain.reader import Web3Reader

_FACES_OF = keccak(b"facesOf(bytes32)")[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    Counts over all requests of a coordinator; `wrong` are values that do not follow from the
    chain's own data, `faults` whatever else the operator's audit finds.
    """

    requests: int
    fulfilled: int
    lost: int
    duplicates: int
    seeds_reused: int
    wrong: int
    faults: int

    @property
    def clean(self) -> bool:
        """
        Whether every request was fulfilled exactly once, with the right value and a seed of its
        own.
        """
        return not (self.lost or self.duplicates or self.seeds_reused or self.wrong or self.faults)

    def document(self) -> dict[str, int]:
        """
        Return the counts by their names.
        """
        return {
            "requests": self.requests,
            "fulfilled": self.fulfilled,
            "lost": self.lost,
            "duplicates": self.duplicates,
            "seeds_reused": self.seeds_reused,
            "wrong": self.wrong,
            "faults": self.faults,
        }


async def audit(reader: Web3Reader, coordinator: str, dice: str) -> Report:
    """
    Read every log of the coordinator, prove every seed from calldata, and recompute every throw of
    the dice.
    """
    wrong = 0
    with await open_ledger(reader, await reader.chain_id(), coordinator, 0) as ledger:
        await audit_chain(reader, ledger, _nobody)
        for entry in ledger.in_state(FULFILLED):
            assert entry.seed is not None
            beacon = (await reader.block(entry.block)).hash
            words = words_of(
                output_of(entry.seed, entry.request_id, beacon), entry.terms.num_words
            )
            expected = tuple(int.from_bytes(word, "big") % 6 + 1 for word in words)
            answer = await reader.call(dice, _FACES_OF + encode(["bytes32"], [entry.request_id]))
            wrong += decode(["uint8[]"], answer)[0] != expected
    found = ledger.report
    return Report(
        requests=found.requests,
        fulfilled=found.fulfilled,
        lost=found.requests - found.fulfilled,
        duplicates=found.duplicates,
        seeds_reused=found.seeds_reused,
        wrong=found.wrong + wrong,
        faults=found.findings.count,
    )


async def _nobody(_: Root) -> None:
    return None
