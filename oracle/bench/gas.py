"""
What one random number costs: the coordinator's gas beside that of others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oracle.bench import airnode, chainlink, native, pyth
from oracle.bench.chain import Chain
from oracle.bench.figures import Figures
from oracle.errors import PackageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def measure(say: Callable[[str], None]) -> dict[str, Figures]:
    """
    Measure every protocol on a chain of its own, so that none changes what another finds; where a
    rival's contract cannot be had, its documented figures take its place, and say so.
    """
    figures = {}
    say("native: requests alone, in tens and in fifties")
    async with Chain.start() as chain:
        figures["native"] = await native.measure(chain)
    say("airnode: AirnodeRrpV0, with signed answers")
    async with Chain.start() as chain:
        measuring = airnode.measure(chain, say)
        figures["airnode"] = await or_documented(measuring, airnode.DOCUMENTED)
    say("chainlink: VRFCoordinatorV2_5, with proofs")
    async with Chain.start() as chain:
        measuring = chainlink.measure(chain, say)
        figures["chainlink"] = await or_documented(measuring, chainlink.DOCUMENTED)
    return {**figures, "pyth": pyth.FIGURES}


async def or_documented(measuring: Awaitable[Figures], documented: dict[str, int]) -> Figures:
    """
    Return what is measured; the documented figures, and why, where a package cannot be had.
    """
    try:
        return await measuring
    except PackageError as error:
        return Figures(
            source="docs/gas.md", documented=True, reason=str(error), gas=dict(documented)
        )
