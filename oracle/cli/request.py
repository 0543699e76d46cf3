"""
`oracle request`: one request from the command line, followed until its words arrive.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import click

from oracle.cli.options import json_option, keystore_option, load_signer, print_json, rpc_option
from oracle.errors import ConfigError, OracleError, RevertedError
from oracle.given import checked_address

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.chain.reader import Web3Reader
    from oracle.chain.wallets import LocalSigner
    from oracle.evm import Block
    from oracle.protocols.coordinator import CoordinatorProtocol
    from oracle.request import Outcome, RandomnessRequest


@click.command(
    epilog="Example: ORACLE_WALLET_KEY_FILE=key oracle request --rpc-url http://127.0.0.1:8545 "
    "--coordinator 0x5FbDB2315678afecb367f032d93F642f64180aa3 --words 3"
)
@rpc_option
@click.option("--coordinator", required=True, help="Address of the QuantumCoordinator.")
@keystore_option
@click.option(
    "--words",
    type=click.IntRange(1, 500),
    default=1,
    show_default=True,
    help="How many 256-bit words.",
)
@click.option(
    "--confirmations",
    type=click.IntRange(1, 255),
    default=1,
    show_default=True,
    help="Blocks to wait for.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=120.0,
    show_default=True,
    help="Seconds to wait for the words.",
)
@json_option
def request(  # noqa: PLR0913 - one parameter per option
    rpc_url: str,
    coordinator: str,
    keystore: Path | None,
    words: int,
    confirmations: int,
    timeout: float,
    *,
    as_json: bool,
) -> None:
    """
    Ask for random words, pay the fee, and print the words once the coordinator has them.

    The words are computed here, from the seed on chain, the request's id and its block's hash.
    """
    contract = checked_address(coordinator, "--coordinator")
    signer = load_signer(keystore)
    result = asyncio.run(
        _request(rpc_url, contract, signer, words, confirmations, timeout, as_json=as_json)
    )
    if as_json:
        print_json(result)
        return
    for name, value in result.items():
        if name != "words":
            click.echo(f"{name}: {value}")
    for word in result["words"]:  # type: ignore[attr-defined]
        click.echo(word)


async def _request(  # noqa: PLR0913 - the verb's own options
    rpc_url: str,
    contract: str,
    signer: LocalSigner,
    words: int,
    confirmations: int,
    timeout: float,  # noqa: ASYNC109 - the person's patience, not a cancellation scope
    *,
    as_json: bool,
) -> dict[str, object]:
    from oracle.chain.reader import Web3Reader  # noqa: PLC0415 - web3 is slow to import
    from oracle.chain.transact import send_transaction, wait_for  # noqa: PLC0415
    from oracle.protocols import coordinator as protocol  # noqa: PLC0415
    from oracle.request import RandomnessRequest  # noqa: PLC0415

    reader = Web3Reader(rpc_url)
    try:
        if not await reader.code(contract):
            raise ConfigError(
                f"there is no contract at {contract}: check --coordinator and --rpc-url"
            )
        chain = protocol.CoordinatorProtocol(await reader.chain_id(), contract)
        head = await reader.block()
        quote = chain.encode_fee_at(0, words, head.base_fee)
        try:
            now = protocol.CoordinatorProtocol.decode_uint(await reader.call(contract, quote))
        except RevertedError:
            raise ConfigError(
                f"the contract at {contract} is no QuantumCoordinator: check --coordinator"
            ) from None
        fee = now * 5 // 4  # it can rise until this is mined
        started = time.monotonic()
        data = chain.encode_request(0, words, confirmations, bytes(32))
        receipt = await wait_for(
            reader, await send_transaction(reader, signer, to=contract, data=data, value=fee)
        )
        events = [chain.decode(item) for item in receipt.logs if item.address == contract]
        [made] = [event for event in events if isinstance(event, RandomnessRequest)]
        if not as_json:
            click.echo(
                f"requested: 0x{made.key.request_id.hex()} (index {made.seed_index}), waiting …",
                err=True,
            )
        outcome, seed = await _wait(reader, chain, made, timeout)
        block: Block = await reader.block(made.block_number)
        return {
            "requestId": "0x" + made.key.request_id.hex(),
            "index": made.seed_index,
            "feeWei": fee,
            "requestBlock": made.block_number,
            "fulfillmentBlock": outcome.block_number,
            "transaction": "0x" + outcome.transaction_hash.hex(),
            "seconds": round(time.monotonic() - started, 2),
            "words": [
                f"0x{word:064x}"
                for word in protocol.words(seed, made.key.request_id, block.hash, words)
            ],
        }
    finally:
        await reader.close()


async def _wait(
    reader: Web3Reader,
    chain: CoordinatorProtocol,
    made: RandomnessRequest,
    timeout: float,  # noqa: ASYNC109 - the person's patience, not a cancellation scope
) -> tuple[Outcome, bytes]:
    from oracle.request import Outcome  # noqa: PLC0415 - not needed for --help

    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        head = await reader.block()
        for item in await reader.logs(chain.contract, made.block_number, head.number):
            event = chain.decode(item)
            if isinstance(event, Outcome) and event.request_id == made.key.request_id:
                return event, item.data[32:64]
        await asyncio.sleep(0.25)
    raise OracleError(
        f"request 0x{made.key.request_id.hex()} was not fulfilled within {timeout:g} s; it stays "
        "pending, "
        f"and after block {made.block_number} plus the window its requester can cancel it for a "
        "full refund"
    )
