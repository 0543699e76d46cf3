"""
`ape run request`: what `oracle request` does, with Ape's accounts on any network that Ape knows.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
from ape.cli import ConnectedProviderCommand, account_option
from ape.exceptions import ContractLogicError

from oracle.cli.request import request as verb
from oracle.errors import ConfigError, OracleError
from oracle.given import checked_address
from oracle.protocols.coordinator import words as words_of
from scripts._chain import container, options_of, speaking

if TYPE_CHECKING:
    from ape.api import AccountAPI, ProviderAPI

POLL = 0.5


@click.command(
    cls=ConnectedProviderCommand,
    short_help="Ask a coordinator for random words and print them.",
    epilog="Example: ape run request --network ethereum:mainnet:node --account hot "
    "--coordinator 0x5FbDB2315678afecb367f032d93F642f64180aa3 --words 3",
    params=options_of(verb, "coordinator", "words", "confirmations", "timeout"),
)
@account_option()
def cli(
    provider: ProviderAPI,
    account: AccountAPI,
    coordinator: str,
    words: int,
    confirmations: int,
    timeout: float,
) -> None:
    """
    Ask for random words, pay the fee, and print the words once the coordinator has them.

    The account itself is the requester. The words are computed here, from the seed on chain, the
    request's id and its block's hash.
    """
    with speaking():
        address = checked_address(coordinator, "--coordinator")
        if not provider.get_code(address):
            raise ConfigError(
                f"there is no contract at {address}: check --coordinator and --network"
            )
        contract = container("IQuantumCoordinator").at(address)
        # The base fee can rise by an eighth per block until this is mined.
        base_fee = provider.get_block("latest").base_fee * 5 // 4
        try:
            fee = contract.feeAt(0, words, base_fee)
        except ContractLogicError:
            raise ConfigError(
                f"the contract at {address} is no QuantumCoordinator: check --coordinator"
            ) from None
        receipt = contract.requestRandomness(
            0, words, confirmations, bytes(32), value=fee, sender=account
        )
        [made] = receipt.decode_logs(contract.RandomnessRequested)
        click.echo(f"requested: 0x{made.requestId.hex()}, fee {fee} wei, waiting …", err=True)
        done = _wait(contract, made, timeout)
        block = provider.get_block(made.block_number)
    click.echo(f"requestId: 0x{made.requestId.hex()}")
    click.echo(f"requestBlock: {made.block_number}")
    click.echo(f"fulfillmentBlock: {done.block_number}")
    click.echo(f"transaction: {done.transaction_hash}")
    for word in words_of(bytes(done.seed), bytes(made.requestId), bytes(block.hash), words):
        click.echo(f"0x{word:064x}")


def _wait(contract: Any, made: Any, timeout: float) -> Any:
    """
    Return the event that fulfills a request.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        head = contract.provider.get_block("latest").number
        for event in contract.RandomnessFulfilled.range(
            made.block_number, head + 1, search_topics={"requestId": made.requestId}
        ):
            return event
        time.sleep(POLL)
    raise OracleError(
        f"request 0x{made.requestId.hex()} was not fulfilled within {timeout:g} s; it stays "
        f"pending, and after block {made.block_number} plus the window its requester can cancel "
        "it for a full refund"
    )
