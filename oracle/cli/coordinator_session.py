"""
What the acts of a coordinator's owner and operator share: which one, with which wallet, and how.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from oracle.cli.acts import (
    Place,
    carry_out,
    configured_address,
    confirm,
    ether,
    fee_limit,
    find_place,
    load_payer,
    node_stopped,
    opened,
    payer_option,
    place_options,
    yes_option,
)
from oracle.cli.options import json_option, print_json
from oracle.errors import ConfigError
from oracle.given import checked_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from oracle.chain.reader import Web3Reader
    from oracle.chain.wallets import LocalSigner
    from oracle.cli.coordinator_state import CoordinatorState
    from oracle.evm import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """
    The coordinator that a verb is about.
    """

    place: Place
    contract: str
    option: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """
    A coordinator, the chain that it is on, and the wallet that acts.
    """

    reader: Web3Reader
    chain_id: int
    contract: str
    signer: LocalSigner
    state: CoordinatorState

    def require(self, role: str, holder: str | None) -> None:
        """
        Raise `ConfigError` unless the wallet holds the role.
        """
        if self.signer.address != holder:
            raise ConfigError(
                f"only the {role} of {self.contract} may do this, "
                f"{holder or 'and there is none'}: the wallet is {self.signer.address}"
            )

    async def act(self, what: list[tuple[str, str]], call: bytes, *, yes: bool) -> dict[str, Any]:
        """
        Rehearse a call, ask, send it, and return what became of it.
        """
        from oracle.chain.transact import prepare  # noqa: PLC0415 - web3 is slow to import
        from oracle.cli.coordinator_state import rehearse  # noqa: PLC0415

        await rehearse(self.reader, self.signer.address, self.contract, call)
        planned = await prepare(self.reader, self.signer.address, to=self.contract, data=call)
        confirm([*what, *self.setting(), ("fee", f"at most {ether(fee_limit(planned))}")], yes=yes)
        return self.document([await carry_out(self.reader, self.signer, planned)])

    def setting(self) -> list[tuple[str, str]]:
        """
        Return what every question states.
        """
        return [
            ("from", self.signer.address),
            ("coordinator", self.contract),
            ("chain", f"{self.chain_id} ({self.reader.name})"),
        ]

    def document(self, receipts: list[Receipt]) -> dict[str, Any]:
        """
        Return what every act prints as JSON.
        """
        return {
            "chainId": self.chain_id,
            "coordinator": self.contract,
            "from": self.signer.address,
            "transactions": ["0x" + receipt.transaction_hash.hex() for receipt in receipts],
            "gasUsed": sum(receipt.gas_used for receipt in receipts),
            "feeWei": sum(receipt.gas_used * receipt.gas_price for receipt in receipts),
        }


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    Add the options that say which coordinator.
    """
    option = click.option(
        "--coordinator",
        help="Address of the QuantumCoordinator. Default: the configuration's.",
    )
    return place_options(option(function))


def act_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    Add the options of a verb that sends something.
    """
    return target_options(payer_option(yes_option(json_option(function))))


def find_target(
    config: Path | None, chain: str | None, rpc_url: str | None, address: str | None
) -> Target:
    """
    Return the coordinator that is named, else the configuration's.
    """
    place = find_place(config, chain, rpc_url)
    if address is not None:
        contract = checked_address(address, "--coordinator")
        return Target(place=place, contract=contract, option="--coordinator")
    if place.chain is None:
        raise ConfigError("say which --coordinator, or give a --config that names it")
    return Target(
        place=place, contract=place.chain.coordinator, option=f"{place.option}.coordinator"
    )


@asynccontextmanager
async def _session(target: Target, signer: LocalSigner) -> AsyncIterator[Session]:
    from oracle.cli.coordinator_state import read_state  # noqa: PLC0415 - web3 is slow to import

    async with AsyncExitStack() as stack:
        reader, chain_id = await stack.enter_async_context(opened(target.place))
        state = await read_state(reader, target.contract, target.option)
        if target.place.chain is not None and signer.address == configured_address(target.place):
            # The node's own wallet: one signer at a time.
            await stack.enter_async_context(node_stopped(target.place))
        yield Session(
            reader=reader,
            chain_id=chain_id,
            contract=target.contract,
            signer=signer,
            state=state,
        )


def run_act(
    options: dict[str, Any], act: Callable[..., Coroutine[Any, Any, dict[str, Any]]]
) -> None:
    """
    Carry an act out with the options that all acts share, and print what became of it.
    """
    target = find_target(
        options["config"], options["chain"], options["rpc_url"], options["coordinator"]
    )
    signer = load_payer(target.place, options["keystore"])

    async def run() -> dict[str, Any]:
        async with _session(target, signer) as session:
            return await act(session, yes=options["yes"])

    result = asyncio.run(run())
    if options["as_json"]:
        print_json(result)
        return
    for name, value in result.items():
        if name.endswith("Wei"):
            value = ether(value)  # noqa: PLW2901 - the same, for people
        shown = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"{name.removesuffix('Wei')}: {shown}")
