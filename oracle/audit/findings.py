"""
What an audit of any contract finds, and lists that stay short however long the chain is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

_T = TypeVar("_T")
# A chain can hold more than anybody reads: the rest is counted.
_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    Something that does not fit: a machine-readable `code` and one sentence.
    """

    code: str
    detail: str
    request_id: bytes | None = None


class Listing(Generic[_T]):
    """
    A list that keeps its first thousand entries and counts all.
    """

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[_T] = []

    def add(self, entry: _T) -> None:
        """
        Add an entry.
        """
        self.count += 1
        if len(self._kept) < _KEPT:
            self._kept.append(entry)

    @property
    def is_full(self) -> bool:
        """
        Whether what is added is counted only.
        """
        return self.count >= _KEPT

    def __iter__(self) -> Iterator[_T]:
        return iter(self._kept)


@dataclass(kw_only=True)
class Findings:
    """
    What was found of one contract as of a block; it is clean without a finding.
    """

    chain_id: int
    contract: str
    block: int
    findings: Listing[Finding] = field(default_factory=Listing)

    @property
    def clean(self) -> bool:
        """
        Whether nothing was found.
        """
        return not self.findings.count

    def find(self, code: str, detail: str, request_id: bytes | None = None) -> None:
        """
        Add a finding.
        """
        self.findings.add(Finding(code=code, detail=detail, request_id=request_id))
