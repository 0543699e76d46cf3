"""
The node's gas formula and the contract's tests speak of the same bounds.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oracle.protocols import coordinator

pytestmark = pytest.mark.unit

PROVEN = Path(__file__).resolve().parents[1] / "contracts" / "Gas.t.sol"


@pytest.mark.parametrize(
    "name", ["TRANSACTION", "ITEM", "FAILURE", "WORD", "PROOF_ELEMENT", "GAP"]
)
def test_the_node_grants_what_the_contracts_tests_prove_to_suffice(name: str) -> None:
    [proven] = re.findall(rf"PER_{name} = ([\d_]+);", PROVEN.read_text(encoding="utf-8"))
    assert getattr(coordinator, f"GAS_PER_{name}") >= int(proven)
