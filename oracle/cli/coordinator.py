"""
`oracle coordinator`: what its owner and its operator do by hand.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import click

from oracle.cli.acts import (
    carry_out,
    checked_recipient,
    confirm,
    describe,
    ether,
    fee_limit,
    opened,
    wei_of,
)
from oracle.cli.coordinator_earnings import earnings
from oracle.cli.coordinator_session import (
    Session,
    Target,
    act_options,
    find_target,
    run_act,
    target_options,
)
from oracle.cli.options import json_option, print_json
from oracle.errors import ChainError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

# The request that `show` quotes.
_TYPICAL_CALLBACK_GAS = 100_000
# What paying out can cost beyond a rehearsal with nothing: an account that begins to exist.
_PAYMENT_GAS = 45_000
_FULL_COST_BPS = 10_000


@click.group("coordinator", epilog="Example: oracle coordinator show --config oracle.toml")
def coordinator() -> None:
    """
    Look at a coordinator, and act as its owner or operator.

    Every act says what it will do and asks, unless --yes is given.
    """


coordinator.add_command(earnings)


@coordinator.command(epilog="Example: oracle coordinator show --config oracle.toml")
@target_options
@json_option
def show(
    config: Path | None,
    chain: str | None,
    rpc_url: str | None,
    coordinator: str | None,
    *,
    as_json: bool,
) -> None:
    """
    Show a coordinator's roles, seeds, fee and money.
    """
    document = asyncio.run(_show(find_target(config, chain, rpc_url, coordinator)))
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        shown = ether(value) if name.endswith("Wei") else value
        click.echo(f"{name.removesuffix('Wei')}: {'none' if shown is None else shown}")


@coordinator.command(epilog="Example: oracle coordinator discard --all")
@act_options
@click.option("--up-to", type=click.IntRange(1), help="The index that the next request takes.")
@click.option("--all", "everything", is_flag=True, help="Every committed seed that is left.")
def discard(*, up_to: int | None, everything: bool, **options: Any) -> None:
    """
    Give up committed seeds that no request has taken, for good. Operator only.

    For seeds that are lost or that somebody else may know. Requests that are pending keep theirs.
    A running node commits new ones at once; without any, requests revert.
    """
    if everything == (up_to is not None):
        raise ConfigError("say how far: give --up-to INDEX or --all")

    async def act(session: Session, *, yes: bool) -> dict[str, Any]:
        from oracle.protocols import roles  # noqa: PLC0415 - not needed for --help

        session.require("operator", session.state.operator)
        ledger = session.state.ledger
        end = ledger.committed if up_to is None else up_to
        if not ledger.next < end <= ledger.committed:
            if ledger.next == ledger.committed:
                raise ChainError("there is nothing to discard: every committed seed is taken")
            raise ConfigError(
                f"--up-to {end} is out of range: {ledger.next + 1} to {ledger.committed} are "
                "possible"
            )
        left = ledger.committed - end
        what = [
            ("discard", f"seeds {ledger.next} to {end - 1}: {end - ledger.next} are given up"),
            ("leaves", f"{left} committed seeds" + ("" if left else ": requests will revert")),
        ]
        result = await session.act(what, roles.encode_discard(end), yes=yes)
        return result | {"first": ledger.next, "upTo": end}

    run_act(options, act)


@coordinator.command(
    "set-fee",
    epilog="Example: oracle coordinator set-fee --flat-fee-gwei 1000 --gas-margin-percent 130",
)
@act_options
@click.option("--flat-fee-gwei", type=click.IntRange(0), help="Fee per request beside gas.")
@click.option(
    "--gas-margin-percent", type=click.IntRange(0), help="Part of the gas costs that it covers."
)
def set_fee(*, flat_fee_gwei: int | None, gas_margin_percent: int | None, **options: Any) -> None:
    """
    Set the fee of requests to come; what is not given stays. Operator only.

    The bounds were fixed at deployment: `show` names them.
    """
    if flat_fee_gwei is None and gas_margin_percent is None:
        raise ConfigError("give --flat-fee-gwei, --gas-margin-percent or both")

    async def act(session: Session, *, yes: bool) -> dict[str, Any]:
        from oracle.cli.coordinator_state import fee_bounds  # noqa: PLC0415 - web3
        from oracle.protocols import roles  # noqa: PLC0415

        session.require("operator", session.state.operator)
        ledger = session.state.ledger
        flat = ledger.flat_fee_gwei if flat_fee_gwei is None else flat_fee_gwei
        margin = ledger.gas_margin_bps if gas_margin_percent is None else gas_margin_percent * 100
        highest = await fee_bounds(session.reader, session.contract, session.state)
        if flat > highest[0] or margin > highest[1]:
            raise ConfigError(
                f"the coordinator allows a flat fee of at most {highest[0]} gwei and a gas margin "
                f"of at most {highest[1] / 100:g} %"
            )
        if (flat, margin) == (ledger.flat_fee_gwei, ledger.gas_margin_bps):
            raise ConfigError("that is the fee already: nothing was sent")
        what = [
            ("flat fee", f"{ledger.flat_fee_gwei} gwei → {flat} gwei"),
            ("gas margin", f"{ledger.gas_margin_bps / 100:g} % → {margin / 100:g} %"),
        ]
        if margin < _FULL_COST_BPS:
            what.append(("note", "below 100 % the fee does not cover what serving costs"))
        result = await session.act(what, roles.encode_set_fee(flat, margin), yes=yes)
        return result | {"flatFeeGwei": flat, "gasMarginBps": margin}

    run_act(options, act)


@coordinator.command(
    "set-operator",
    epilog="Example: oracle coordinator set-operator 0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
)
@act_options
@click.argument("address")
def set_operator(address: str, **options: Any) -> None:
    """
    Appoint the account that commits, discards and sets the fee. Owner only.

    A node that runs with the old one serves what is pending and commits no more.
    """
    new = checked_recipient(address, "the new operator")

    async def act(session: Session, *, yes: bool) -> dict[str, Any]:
        from oracle.protocols import roles  # noqa: PLC0415 - not needed for --help

        session.require("owner", session.state.owner)
        if new == session.state.operator:
            raise ConfigError(f"{new} is the operator already")
        if new == session.contract:
            raise ConfigError("a coordinator cannot be its own operator")
        what = [
            ("operator", session.state.operator),
            ("becomes", await describe(session.reader, new)),
        ]
        result = await session.act(what, roles.encode_set_operator(new), yes=yes)
        return result | {"operator": new}

    run_act(options, act)


@coordinator.command(
    "transfer-ownership",
    epilog="Example: oracle coordinator transfer-ownership "
    "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955",
)
@act_options
@click.argument("address")
def transfer_ownership(address: str, **options: Any) -> None:
    """
    Offer the ownership to another account. Owner only.

    Nothing changes until that account accepts; another offer replaces this one.
    """
    new = checked_recipient(address, "the new owner")

    async def act(session: Session, *, yes: bool) -> dict[str, Any]:
        from oracle.protocols import roles  # noqa: PLC0415 - not needed for --help

        session.require("owner", session.state.owner)
        if new == session.contract:
            raise ConfigError("a coordinator cannot own itself")
        what = [
            ("owner", session.state.owner),
            ("offer to", await describe(session.reader, new)),
        ]
        result = await session.act(what, roles.encode_transfer_ownership(new), yes=yes)
        return result | {"pendingOwner": new}

    run_act(options, act)


@coordinator.command(
    "accept-ownership",
    epilog="Example: oracle coordinator accept-ownership --keystore keys/cold.json",
)
@act_options
def accept_ownership(**options: Any) -> None:
    """
    Become the owner, after an offer. Only for the account that it was made to.
    """

    async def act(session: Session, *, yes: bool) -> dict[str, Any]:
        from oracle.protocols import roles  # noqa: PLC0415 - not needed for --help

        session.require("account that the ownership was offered to", session.state.pending_owner)
        what = [("owner", session.state.owner), ("becomes", session.signer.address)]
        result = await session.act(what, roles.ACCEPT_OWNERSHIP, yes=yes)
        return result | {"owner": session.signer.address}

    run_act(options, act)


@coordinator.command(
    epilog="Example: oracle coordinator withdraw --all "
    "--to 0x14dC79964da2C08b23698B3D3cc7Ca32193d9955"
)
@act_options
@click.option("--to", required=True, help="Who gets it, written with its checksum.")
@click.option("--amount-ether", help="How much.")
@click.option("--all", "everything", is_flag=True, help="All that was earned.")
def withdraw(*, to: str, amount_ether: str | None, everything: bool, **options: Any) -> None:
    """
    Pay out what fulfillments have earned. Owner only.

    What still lies in the slots of settled requests is collected first, in as many transactions as
    that takes; if it is interrupted, do it again.
    """
    recipient = checked_recipient(to, "--to")
    if everything == (amount_ether is not None):
        raise ConfigError("say how much: give --amount-ether AMOUNT or --all")
    wanted = None
    if amount_ether is not None:
        try:
            wanted = wei_of(Decimal(amount_ether), "--amount-ether")
        except InvalidOperation:
            raise ConfigError(f"--amount-ether {amount_ether} is no number") from None

    async def act(session: Session, *, yes: bool) -> dict[str, Any]:
        return await _withdraw(session, recipient, wanted, yes=yes)

    run_act(options, act)


async def _withdraw(
    session: Session, recipient: str, wanted: int | None, *, yes: bool
) -> dict[str, Any]:
    from oracle.chain.transact import prepare  # noqa: PLC0415 - web3 is slow to import
    from oracle.cli.coordinator_state import rehearse, uncollected  # noqa: PLC0415
    from oracle.protocols import roles  # noqa: PLC0415

    reader, contract, sender = session.reader, session.contract, session.signer.address
    session.require("owner", session.state.owner)
    earned = session.state.ledger.earned
    found = await uncollected(reader, contract, session.state)
    available = earned + sum(one.amount for one in found)
    amount = available if wanted is None else wanted
    if available == 0 or amount > available:
        raise ChainError(
            f"{ether(available)} was earned and not withdrawn, {ether(amount)} was asked for"
            if amount
            else "nothing was earned that is not withdrawn"
        )
    collects = roles.choose_collects(found, amount - earned)
    calls = [roles.encode_collect(one.slot, one.count) for one in collects]
    await rehearse(reader, sender, contract, roles.encode_withdraw(recipient, 0))
    # The payment itself cannot be estimated before everything is collected.
    planned = [
        await prepare(reader, sender, to=contract, data=call)
        for call in (*calls, roles.encode_withdraw(recipient, 0))
    ]
    fee = sum(map(fee_limit, planned)) + _PAYMENT_GAS * planned[-1].fees.max_fee
    what = [
        ("withdraw", ether(amount)),
        ("to", await describe(reader, recipient)),
        ("after", f"collecting from settled slots, in {len(calls)} transactions"),
    ]
    if not calls:
        what.pop()
    confirm([*what, *session.setting(), ("fee", f"about {ether(fee)} at most")], yes=yes)
    receipts = []
    for call in (*calls, roles.encode_withdraw(recipient, amount)):
        following = await prepare(reader, sender, to=contract, data=call)
        receipts.append(await carry_out(reader, session.signer, following))
    return session.document(receipts) | {
        "to": recipient,
        "amountWei": amount,
        "collectedWei": sum(one.amount for one in collects),
    }


async def _show(target: Target) -> dict[str, Any]:
    from oracle.cli.coordinator_state import (  # noqa: PLC0415 - web3 is slow to import
        fee_bounds,
        read_state,
        uncollected,
    )
    from oracle.protocols.coordinator import CoordinatorProtocol  # noqa: PLC0415

    async with opened(target.place) as (reader, chain_id):
        state = await read_state(reader, target.contract, target.option)
        bounds = await fee_bounds(reader, target.contract, state)
        lying = sum(one.amount for one in await uncollected(reader, target.contract, state))
        base_fee = (await reader.block(state.block)).base_fee
        quote = await reader.call(
            target.contract,
            CoordinatorProtocol.encode_fee_at(_TYPICAL_CALLBACK_GAS, 1, base_fee),
            state.block,
        )
    ledger = state.ledger
    return {
        "chainId": chain_id,
        "coordinator": target.contract,
        "block": state.block,
        "deployedAt": state.deployed_at,
        "owner": state.owner,
        "pendingOwner": state.pending_owner,
        "operator": state.operator,
        "window": state.window,
        "callbackGasLimitMax": state.callback_gas_limit_max,
        "slots": state.slot_count,
        "next": ledger.next,
        "committed": ledger.committed,
        "seedsLeft": ledger.committed - ledger.next,
        "cancellations": state.cancellations,
        "flatFeeGwei": ledger.flat_fee_gwei,
        "flatFeeGweiMax": bounds[0],
        "gasMarginBps": ledger.gas_margin_bps,
        "gasMarginBpsMax": bounds[1],
        "baseFeeWei": base_fee,
        "typicalRequestWei": CoordinatorProtocol.decode_uint(quote),
        "earnedWei": ledger.earned,
        "uncollectedWei": lying,
        "escrowWei": state.balance - ledger.earned - lying,
        "balanceWei": state.balance,
    }
