from __future__ import annotations

from decimal import Decimal

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from oracle import artifacts
from oracle.chain.fees import sweep_value
from oracle.cli.acts import ether, wei_of
from oracle.errors import ConfigError
from oracle.evm import keccak
from oracle.protocols import roles
from oracle.protocols.roles import Ledger, Uncollected

pytestmark = pytest.mark.unit

WEI = st.integers(0, 10**27)


@given(st.integers(1, 1 << 20), st.integers(1, 1 << 20))
def test_ranges_cover_every_slot_once(slot_count: int, size: int) -> None:
    size = max(size, slot_count // 1000)
    expected = 0
    for slot, count in roles.slot_ranges(slot_count, size):
        assert slot == expected
        assert 1 <= count <= size
        expected += count
    assert expected == slot_count


@given(st.integers(0, 1 << 24))
def test_a_range_fits_into_the_gas_that_it_was_cut_for(gas: int) -> None:
    slots = roles.slots_per_collect(gas)
    assert slots == 1 or roles.GAS_PER_COLLECT + slots * roles.GAS_PER_SLOT <= gas


@given(st.lists(WEI, max_size=12), st.integers(-(10**18), 10**28))
def test_the_fewest_ranges_are_collected_that_bring_what_is_missing(
    amounts: list[int], missing: int
) -> None:
    found = [Uncollected(10 * i, 10, amount) for i, amount in enumerate(amounts)]
    chosen = roles.choose_collects(found, missing)
    brought = sum(one.amount for one in chosen)
    assert chosen == sorted(set(chosen), key=lambda one: one.slot)
    assert set(chosen) <= set(found)
    assert brought >= min(missing, sum(amounts))
    # One range fewer could not have done it, whichever ones.
    best = sum(sorted(amounts, reverse=True)[: max(0, len(chosen) - 1)])
    assert not chosen or best < missing
    assert all(one.amount for one in chosen)


@given(
    st.integers(0, 10**30),
    st.integers(21_000, 10**7),
    st.integers(0, 10**15),
    WEI,
    st.integers(0, 10**20),
)
def test_a_sweep_spends_all_but_what_it_keeps(
    balance: int, gas_limit: int, max_fee: int, keep: int, data_fee: int
) -> None:
    value = sweep_value(
        balance, gas_limit=gas_limit, max_fee=max_fee, keep=keep, data_fee=data_fee
    )
    assert balance - value - gas_limit * max_fee - data_fee == keep


@given(WEI.filter(bool))
def test_an_amount_is_shown_as_it_can_be_given(wei: int) -> None:
    shown = ether(wei).removesuffix(" ether")
    assert wei_of(Decimal(shown), "--amount-ether") == wei
    assert shown == shown.rstrip(".")


@pytest.mark.parametrize(
    ("wei", "shown"),
    [(0, "0"), (1, "0.000000000000000001"), (10**19, "10"), (-15 * 10**17, "-1.5")],
)
def test_amounts_are_shown_exactly(wei: int, shown: str) -> None:
    assert ether(wei) == f"{shown} ether"


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity", "1e-19", "1e28", "1E+999999"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(ConfigError):
        wei_of(Decimal(amount), "--amount-ether")


@given(
    st.builds(
        Ledger,
        earned=st.integers(0, (1 << 112) - 1),
        flat_fee_gwei=st.integers(0, roles.MAX_FLAT_FEE_GWEI),
        gas_margin_bps=st.integers(0, roles.MAX_GAS_MARGIN_BPS),
        committed=st.integers(0, (1 << 40) - 1),
        next=st.integers(0, (1 << 40) - 1),
    )
)
def test_the_ledger_is_read_as_the_contract_writes_it(ledger: Ledger) -> None:
    word = (
        ledger.earned << 144
        | ledger.flat_fee_gwei << 96
        | ledger.gas_margin_bps << 80
        | ledger.committed << 40
        | ledger.next
    )
    assert roles.decode_ledger(word.to_bytes(32, "big")) == ledger


def test_every_refusal_that_is_known_is_the_contracts() -> None:
    errors = {
        keccak(f"{item['name']}({','.join(field['type'] for field in item['inputs'])})".encode())
        for item in artifacts.load("QuantumCoordinator").abi
        if item["type"] == "error"
    }
    assert set(roles._ERRORS) <= {selector[:4] for selector in errors}


def test_a_refusal_is_told_by_its_name_and_values() -> None:
    selector = keccak(b"FeeOutOfBounds(uint256,uint256)")[:4]
    refusal = roles.decode_refusal(selector + encode(["uint256", "uint256"], [9, 5]))
    assert str(refusal) == "FeeOutOfBounds(9, 5)"
    assert roles.decode_refusal(selector + b"cut short") is None
    assert roles.decode_refusal(b"") is None
