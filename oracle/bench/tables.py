"""
Figures as tables of text, for a terminal or a document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oracle.bench.native import COUNTS
from oracle.entropy.merkle import BATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oracle.bench.figures import Figures


@dataclass(frozen=True, slots=True)
class TextTable:
    """
    A title, a header and rows; all columns but the first hold numbers.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """
        Return the header and the rows in Markdown.
        """
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.header, rule, *self.rows))


def gas_table(figures: Mapping[str, Figures]) -> TextTable:
    """
    Return the gas per word of every protocol, and of the coordinator in every count.
    """
    rows = []
    for name, each in figures.items():
        for count in COUNTS:
            if f"fulfill_{count}_fresh" not in each.gas:
                continue
            title = name if count == 1 else f"{name}, {count} at once"
            fresh = each.gas[f"fulfill_{count}_fresh"]
            used = each.gas[f"fulfill_{count}_used"]
            request = each.gas["request"]
            # Where a request costs a range, sums are told from its lower end.
            mark = "≥" if "request_max" in each.gas else ""
            rows.append(
                (
                    f"{title} (documented)" if each.documented else title,
                    f"{mark}{request:,}",
                    f"{fresh:,}",
                    f"{used:,}",
                    f"{mark}{request + fresh:,}",
                    f"{mark}{request + used:,}",
                )
            )
    header = ("", "request", "fulfill, fresh", "fulfill, used", "both, fresh", "both, used")
    return TextTable("gas per word", header, rows)


def calldata_table(figures: Mapping[str, Figures]) -> TextTable:
    """
    Return the bytes of calldata per item of every call that was measured.
    """
    rows = [
        (
            f"{name} {call}",
            *(f"{size:,}" for size in (data.size, data.zero, data.nonzero, data.zlib)),
        )
        for name, each in figures.items()
        for call, data in each.calldata.items()
        if not call.endswith("_used")
    ]
    return TextTable("bytes of calldata per item", ("", "all", "zero", "other", "zlib"), rows)


def commit_line(figures: Mapping[str, Figures]) -> str:
    """
    Return what a commit costs, in a sentence.
    """
    commit = figures["native"].gas["commit"]
    return (
        f"Committing one root, which holds {BATCH} seeds, costs {commit:,} gas: "
        f"{commit / BATCH:,.0f} per seed."
    )
