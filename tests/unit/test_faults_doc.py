from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[^`]*)`", TEXT)))
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and "| shown by |" not in line]


@pytest.mark.parametrize("name", NAMED)
def test_every_test_that_is_named_exists(name: str) -> None:
    path, _, function = name.partition("::")
    source = (ROOT / path).read_text(encoding="utf-8")
    keyword = "function" if path.endswith(".sol") else "def"
    assert re.search(rf"\b{keyword} {re.escape(function)}\(", source), name


def test_every_line_names_a_test() -> None:
    assert len(ROWS) > 30
    for row in ROWS:
        assert re.search(r"\| `tests/[^|]*::[^|]*` \|$", row), row
