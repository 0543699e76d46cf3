"""
Who may answer for an Airnode, from many processes at once.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from oracle.errors import ConfigError
from oracle.store.stores_file import Claim, StoresFile

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

CLAIM = Claim(
    airnode="0x" + "11" * 20,
    chain_id=1,
    contract="0x" + "22" * 20,
    store_id="ab" * 16,
    database="oracle.db",
    genesis="cd" * 32,
)


def test_of_many_databases_that_claim_at_once_one_is_taken(tmp_path: Path) -> None:
    def attempt(number: int) -> str | None:
        try:
            StoresFile(tmp_path / "stores").claim(replace(CLAIM, store_id=f"{number:032x}"))
        except ConfigError:
            return None
        return f"{number:032x}"

    with ThreadPoolExecutor(8) as pool:
        taken = [one for one in pool.map(attempt, range(40)) if one is not None]
    [store_id] = taken
    StoresFile(tmp_path / "stores").claim(replace(CLAIM, store_id=store_id))


def test_every_chain_contract_and_airnode_has_its_own(tmp_path: Path) -> None:
    stores = StoresFile(tmp_path / "stores")
    others = [
        replace(CLAIM, store_id="2", chain_id=2),
        replace(CLAIM, store_id="3", contract="0x" + "33" * 20),
        replace(CLAIM, store_id="4", airnode="0x" + "44" * 20),
    ]
    for claim in (CLAIM, *others, CLAIM, *others):
        stores.claim(claim)
    for claim in (CLAIM, *others):
        with pytest.raises(ConfigError, match="from another database"):
            stores.claim(replace(claim, store_id="5"))


def test_only_on_a_devnet_is_another_first_block_another_chain(tmp_path: Path) -> None:
    stores = StoresFile(tmp_path / "stores")
    stores.claim(CLAIM)
    anew = replace(CLAIM, store_id="2", genesis="ef" * 32)
    with pytest.raises(ConfigError, match="from another database"):
        stores.claim(anew)
    stores.claim(anew, devnet=True)
    with pytest.raises(ConfigError, match="from another database"):
        stores.claim(CLAIM)
