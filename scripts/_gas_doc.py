#!/usr/bin/env python3
"""
Write what `oracle bench gas` measures into docs/gas.md, between its two marks.

    .venv/bin/python scripts/_gas_doc.py            measure and write
    .venv/bin/python scripts/_gas_doc.py --check    measure, write nothing, exit 1 if it differs
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from oracle.bench.gas import measure
from oracle.bench.tables import calldata_table, commit_line, gas_table
from oracle.errors import OracleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oracle.bench.figures import Figures

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "gas.md"
BEGIN, END = "<!-- begin: written by scripts/_gas_doc.py -->\n", "<!-- end -->\n"


def rendered(text: str, figures: Mapping[str, Figures]) -> str:
    """
    Return the document with these figures in the place of those that it has.

    Raises `OracleError` when a rival was not measured: the document is what its documented figures
    come from.
    """
    for name in ("airnode", "chainlink"):
        if figures[name].documented:
            raise OracleError(f"{name} was not measured, because {figures[name].reason}")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise OracleError(f"{DOCUMENT.name} lacks its marks: {BEGIN.strip()} and {END.strip()}")
    gas, calldata = gas_table(figures).markdown(), calldata_table(figures).markdown()
    return f"{before}{BEGIN}\n{gas}\n\n{commit_line(figures)}\n\n{calldata}\n\n{END}{after}"


def main() -> int:
    """
    Run as a script.
    """
    parser = argparse.ArgumentParser(description="Measure gas and write docs/gas.md.")
    parser.add_argument("--check", action="store_true", help="measure and compare, write nothing")
    arguments = parser.parse_args()
    try:
        figures = asyncio.run(measure(lambda line: print(line, file=sys.stderr)))
        old = DOCUMENT.read_text(encoding="utf-8")
        new = rendered(old, figures)
    except OracleError as error:
        print(error, file=sys.stderr)
        return 1
    if not arguments.check:
        DOCUMENT.write_text(new, encoding="utf-8", newline="\n")
    elif new != old:
        print("docs/gas.md is not what was measured: run scripts/_gas_doc.py.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
