"""
What a measurement says: gas and calldata, per item.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oracle.errors import OracleError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.bench.chain import Sent

# A request, and what it takes to fulfill it alone, its word going to a fresh slot or a used one.
SINGLE = ("request", "fulfill_1_fresh", "fulfill_1_used")


@dataclass(frozen=True, slots=True)
class Calldata:
    """
    Bytes of calldata per item, and what zlib makes of them.

    On a rollup they are most of the price. A zero byte costs 4 gas on Ethereum, any other 16.
    """

    size: int
    zero: int
    nonzero: int
    zlib: int

    @classmethod
    def of(cls, calls: Sequence[bytes], items: int) -> Calldata:
        """
        Return the mean over the items of all these calls, each compressed by itself.
        """
        size, zero = sum(map(len, calls)), sum(call.count(0) for call in calls)
        return cls(
            size=round(size / items),
            zero=round(zero / items),
            nonzero=round(size / items) - round(zero / items),
            zlib=round(sum(len(zlib.compress(call, 9)) for call in calls) / items),
        )


@dataclass(slots=True)
class Figures:
    """
    What a protocol costs: gas of whole transactions by what they do.

    `documented` figures are taken from `source`, for this `reason`; others were measured just now
    with the contracts that `source` names.
    """

    source: str
    documented: bool = False
    reason: str = ""
    gas: dict[str, int] = field(default_factory=dict)
    calldata: dict[str, Calldata] = field(default_factory=dict)

    def add(self, name: str, sent: Sequence[Sent], items: int) -> None:
        """
        Take down the mean over the items of all these transactions.
        """
        self.gas[name] = round(sum(each.receipt.gas_used for each in sent) / items)
        self.calldata[name] = Calldata.of([each.data for each in sent], items)

    def document(self) -> dict[str, object]:
        """
        Return what `--json` prints.
        """
        notes: dict[str, object] = {"documented": self.documented, "source": self.source}
        if self.reason:
            notes["reason"] = self.reason
        if self.calldata:
            notes["calldata"] = {
                name: {
                    "bytes": data.size,
                    "zero": data.zero,
                    "nonzero": data.nonzero,
                    "zlib": data.zlib,
                }
                for name, data in self.calldata.items()
            }
        return {**self.gas, **notes}


def require_word(expected: int, kept: int) -> None:
    """
    Raise `OracleError` unless the consumer kept its word: a failed callback is no measurement.
    """
    if kept != expected:
        raise OracleError("a consumer did not get its word: what was measured is no fulfillment")
