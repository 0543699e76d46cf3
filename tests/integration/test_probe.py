"""
What `oracle deploy` finds out about a chain before it spends anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from oracle.chain.fees import Price
from oracle.chain.probe import is_op_stack, price_at
from oracle.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oracle.chain.reader import Web3Reader
    from oracle.devnet.network import Ground

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

PREDEPLOY = "0x420000000000000000000000000000000000000F"
ANSWERS_A_WORD = "0x60205ff3"
ANSWERS_NOTHING = "0x00"
REVERTS = "0x5f5ffd"
ANSWERS_ITS_ARGUMENT = "0x6004355f5260205ff3"


@pytest_asyncio.fixture(loop_scope="session")
async def reader(ground: Ground) -> AsyncIterator[Web3Reader]:
    snapshot = await ground.reader.rpc("evm_snapshot")
    yield ground.reader
    await ground.reader.rpc("evm_revert", snapshot)


async def test_other_chains_are_no_rollup_of_the_op_stack(reader: Web3Reader) -> None:
    assert not await is_op_stack(reader)


async def test_rollup_of_the_op_stack_is_told_by_its_fees(reader: Web3Reader) -> None:
    await reader.rpc("anvil_setCode", PREDEPLOY, ANSWERS_A_WORD)
    assert await is_op_stack(reader)


async def test_a_rollup_of_the_op_stack_has_prices_beside_gas(reader: Web3Reader) -> None:
    assert await price_at(reader, 7) == Price(gas=7)
    await reader.rpc("anvil_setCode", PREDEPLOY, ANSWERS_ITS_ARGUMENT)
    assert await price_at(reader, 7) == Price(
        gas=7, rollup_million_gas=10**6, rollup_thousand_bytes=1000
    )


@pytest.mark.parametrize("code", [ANSWERS_NOTHING, REVERTS])
async def test_rollup_whose_fees_are_unknown_is_refused(reader: Web3Reader, code: str) -> None:
    await reader.rpc("anvil_setCode", PREDEPLOY, code)
    with pytest.raises(ConfigError, match="lacks the upgrades"):
        await is_op_stack(reader)
