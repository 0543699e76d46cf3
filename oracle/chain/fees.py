"""
Fees of EIP-1559, and of the chains that do not have it: pure arithmetic, in wei per gas.
"""

from __future__ import annotations

from dataclasses import dataclass

GWEI = 10**9
# What clients want before they replace a transaction: 10 % (geth), 12.5 % (Parity's heirs).
_BUMP_NUMERATOR, _BUMP_DENOMINATOR = 9, 8


@dataclass(frozen=True, slots=True)
class Fees:
    """
    The two fees of an EIP-1559 transaction; of a legacy one both are its gas price.
    """

    max_fee: int
    priority_fee: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """
    What a transaction costs now, in wei: per gas, and what a rollup of the OP stack takes besides,
    per million gas and per thousand bytes.
    """

    gas: int
    rollup_million_gas: int = 0
    rollup_thousand_bytes: int = 0

    def of(self, gas: int, size: int) -> int:
        """
        Return the cost of a transaction that uses so much gas and has so many bytes.
        """
        rollup = gas * self.rollup_million_gas // 10**6 + size * self.rollup_thousand_bytes // 1000
        return gas * self.gas + rollup


@dataclass(frozen=True, slots=True, kw_only=True)
class FeePolicy:
    """
    What the operator pays: `priority_fee` on top of the base fee, and up to `max_priority_fee` for
    replacements; never more than `max_fee` in all.

    On a `legacy` chain there is one price, all of which is paid: where a base fee is asked for, it
    is the one that the endpoint suggests, and it is outbid by an eighth.
    """

    max_fee: int
    priority_fee: int
    max_priority_fee: int
    legacy: bool = False

    def quote(self, base_fee: int) -> Fees | None:
        """
        Return fees that hold while the base fee doubles, within the cap; nothing if the cap is too
        low right now.
        """
        if self.legacy:
            price = min(self.max_fee, least_price(base_fee, 0))
            return None if base_fee > self.max_fee else Fees(price, price)
        if base_fee + self.priority_fee > self.max_fee:
            return None
        return Fees(min(self.max_fee, 2 * base_fee + self.priority_fee), self.priority_fee)

    def bump(self, last: Fees, base_fee: int) -> Fees | None:
        """
        Return fees that replace `last`: both at least 12.5 % higher; nothing if a cap forbids it.
        """
        least, priority_fee = _bumped(last.max_fee), _bumped(last.priority_fee)
        if self.legacy:
            price = min(self.max_fee, max(least, least_price(base_fee, 0)))
            return None if least > self.max_fee else Fees(price, price)
        if least > self.max_fee or priority_fee > self.max_priority_fee:
            return None
        wanted = max(least, 2 * base_fee + priority_fee)
        return Fees(min(wanted, self.max_fee), priority_fee)


def least_price(base_fee: int, priority_fee: int) -> int:
    """
    Return what a transaction has to offer to be in the next block: by then the base fee has risen
    by an eighth at most.
    """
    return base_fee * 9 // 8 + priority_fee


def sweep_value(
    balance: int, *, gas_limit: int, max_fee: int, keep: int = 0, data_fee: int = 0
) -> int:
    """
    Return what a transfer can carry so that `keep` stays behind; negative when it cannot be paid.

    All in wei. `data_fee` is what a rollup takes beside gas. Where all of `max_fee` goes to the
    block's builder and all of the gas is used, nothing else stays.
    """
    return balance - gas_limit * max_fee - data_fee - keep


def _bumped(fee: int) -> int:
    # At least one wei: clients want strictly more, also than nothing.
    return max(-(-fee * _BUMP_NUMERATOR // _BUMP_DENOMINATOR), fee + 1)
