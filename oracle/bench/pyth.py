"""
What Pyth Entropy v2 costs, documented: its package holds interfaces and a mock, no contract.
"""

from __future__ import annotations

from oracle.bench.figures import Figures

#: A request costs between `request` and `request_max`.
FIGURES = Figures(
    source="Entropy behind its proxy, minimal consumer, solc 0.8.29, measured once",
    documented=True,
    reason="@pythnetwork/entropy-sdk-solidity holds interfaces and a mock, no contract to measure",
    gas={
        "request": 103_000,
        "request_max": 110_000,
        "fulfill_1_fresh": 89_000,
        "fulfill_1_used": 71_900,
    },
)
