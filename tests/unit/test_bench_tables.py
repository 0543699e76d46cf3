from __future__ import annotations

import pytest

from oracle.bench import pyth
from oracle.bench.figures import Calldata, Figures
from oracle.bench.tables import calldata_table, gas_table

pytestmark = pytest.mark.unit


def test_calldata_is_counted_per_item_and_compressed_per_call() -> None:
    assert Calldata.of([bytes(1000), b"\1" * 1000], 2) == Calldata(
        size=1000, zero=500, nonzero=500, zlib=Calldata.of([bytes(1000)], 1).zlib
    )


def test_documented_figures_are_marked_in_the_table() -> None:
    table = gas_table({"pyth": pyth.FIGURES}).markdown()
    assert table.splitlines()[2] == (
        "| pyth (documented) | ≥103,000 | 89,000 | 71,900 | ≥192,000 | ≥174,900 |"
    )


def test_batches_have_rows_of_their_own() -> None:
    gas = {"request": 1000, "fulfill_1_fresh": 30, "fulfill_1_used": 20}
    gas |= {"fulfill_10_fresh": 3, "fulfill_10_used": 2}
    rows = gas_table({"native": Figures(source="", gas=gas)}).rows
    assert list(rows) == [
        ("native", "1,000", "30", "20", "1,030", "1,020"),
        ("native, 10 at once", "1,000", "3", "2", "1,003", "1,002"),
    ]


def test_calldata_of_what_was_not_measured_is_not_told() -> None:
    assert not calldata_table({"pyth": pyth.FIGURES}).rows
