"""
What `oracle check` finds: every part is looked at, whatever becomes of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from oracle.errors import OracleError

if TYPE_CHECKING:
    from types import TracebackType


class Level(StrEnum):
    """
    How bad a finding is.
    """

    OK = "ok"
    WARNING = "warning"  #: the node runs, and something may go wrong with it
    ERROR = "error"  #: the node refuses to start, or serves nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    One thing that was looked at, in a part of the configuration.
    """

    where: str
    check: str
    level: Level
    detail: str
    advice: str | None = None

    def document(self) -> dict[str, str | None]:
        """
        Return it as JSON values.
        """
        return {
            "where": self.where,
            "check": self.check,
            "level": str(self.level),
            "detail": self.detail,
            "advice": self.advice,
        }


@dataclass(slots=True)
class Findings:
    """
    The findings, in the order in which they were made.
    """

    found: list[Finding] = field(default_factory=list)

    def ok(self, where: str, check: str, detail: str) -> None:
        """
        Record that something is as it should be.
        """
        self.found.append(Finding(where=where, check=check, level=Level.OK, detail=detail))

    def warn(self, where: str, check: str, detail: str, advice: str | None = None) -> None:
        """
        Record what may go wrong.
        """
        self.found.append(
            Finding(where=where, check=check, level=Level.WARNING, detail=detail, advice=advice)
        )

    def fail(self, where: str, check: str, detail: str, advice: str | None = None) -> None:
        """
        Record what keeps the node from starting or serving.
        """
        self.found.append(
            Finding(where=where, check=check, level=Level.ERROR, detail=detail, advice=advice)
        )

    def looking(self, where: str, check: str, detail: str | None = None) -> _Look:
        """
        Turn what the block raises into a finding, and go on; `detail` is what is well if nothing
        is raised.
        """
        return _Look(self, where, check, detail)

    def worst(self) -> Level:
        """
        Return the level of the worst finding.
        """
        levels = {finding.level for finding in self.found}
        return max(levels, key=list(Level).index, default=Level.OK)

    def document(self) -> dict[str, Any]:
        """
        Return what `oracle check --json` prints.
        """
        return {
            "ok": self.worst() is not Level.ERROR,
            "errors": sum(finding.level is Level.ERROR for finding in self.found),
            "warnings": sum(finding.level is Level.WARNING for finding in self.found),
            "findings": [finding.document() for finding in self.found],
        }


# Where less stands before the colon, it is a name, and the sentence is kept whole.
_LEAST_WORDS = 3


@dataclass(frozen=True, slots=True)
class _Look:
    findings: Findings
    where: str
    check: str
    detail: str | None

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        del kind, trace
        if isinstance(error, OracleError):
            said, _, advice = str(error).partition(": ")
            if not advice or len(said.split()) < _LEAST_WORDS:
                said, advice = str(error), ""
            self.findings.fail(self.where, self.check, said, advice or None)
            return True
        if error is None and self.detail is not None:
            self.findings.ok(self.where, self.check, self.detail)
        return False
