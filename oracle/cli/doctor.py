"""
`oracle doctor`: can this consumer of API3 QRNG move, and how.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from oracle.cli.options import json_option, print_json
from oracle.errors import ConfigError
from oracle.given import checked_address, checked_endpoint

if TYPE_CHECKING:
    from oracle.doctor.advice import Advice, Target
    from oracle.doctor.examine import Asked, Consumer


@click.command(
    epilog="Example: oracle doctor 0xYourConsumer --rpc https://… --airnode-xpub xpub6C…"
)
@click.argument("consumer")
@click.option(
    "--rpc-url",
    "--rpc",
    "rpc_url",
    envvar="ORACLE_RPC_URL",
    required=True,
    help="JSON-RPC endpoint of the chain; or set ORACLE_RPC_URL.",
)
@click.option("--airnode-xpub", help="The xpub of the Airnode to move to: gives transactions.")
@click.option("--airnode", help="That Airnode's address: checks that the xpub belongs to it.")
@click.option(
    "--endpoint-id",
    help="Its endpoint for one word. Default: the consumer's, if API3 published it; else ANU's.",
)
@click.option("--array-endpoint-id", help="Its endpoint for arrays. Default: as for one word.")
@click.option("--rrp", help="AirnodeRrpV0. Default: what the consumer names, else API3's address.")
@click.option("--from", "sender", help="Who would send the transactions. Default: its owner().")
@click.option(
    "--answers",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="For how many answers to fund the sponsor wallet.",
)
@click.option(
    "--from-block",
    type=click.IntRange(0),
    help="Where to begin to look for a past request. Default: 50,000 blocks ago.",
)
@json_option
def doctor(  # noqa: PLR0913, PLR0917 - one parameter per option
    consumer: str,
    rpc_url: str,
    airnode_xpub: str | None,
    airnode: str | None,
    endpoint_id: str | None,
    array_endpoint_id: str | None,
    rrp: str | None,
    sender: str | None,
    answers: int,
    from_block: int | None,
    *,
    as_json: bool,
) -> None:
    """
    Say whether a deployed CONSUMER of API3 QRNG can move to another Airnode, and how.

    Reads its code, its storage, its getters and its past requests. Sends nothing: with
    --airnode-xpub it prints the transactions, after trying them without sending.

    Exit codes: 0 movable, 1 not, or not to be seen without its source.
    """
    from oracle.chain.airnode_xpub import AirnodeXpub  # noqa: PLC0415 - slow to import
    from oracle.doctor.advice import Target, Verdict  # noqa: PLC0415 - as above

    if airnode_xpub is None and (airnode or endpoint_id or array_endpoint_id):
        raise ConfigError("to move to an Airnode its xpub is needed: give --airnode-xpub")
    target = None
    if airnode_xpub is not None:
        named = None if airnode is None else checked_address(airnode, "--airnode")
        target = Target(
            xpub=AirnodeXpub.from_text(airnode_xpub, airnode=named),
            uint256=_id(endpoint_id, "--endpoint-id"),
            uint256_array=_id(array_endpoint_id, "--array-endpoint-id"),
            answers=answers,
        )
    found, advice = asyncio.run(
        _examine(
            checked_endpoint(rpc_url, "--rpc"),
            checked_address(consumer, "CONSUMER"),
            None if rrp is None else checked_address(rrp, "--rrp"),
            from_block,
            target,
            None if sender is None else checked_address(sender, "--from"),
        )
    )
    if as_json:
        print_json(_document(found, advice))
    else:
        _print(found, advice, target)
    if advice.verdict is not Verdict.MOVABLE:
        sys.exit(1)


async def _examine(
    rpc_url: str,
    address: str,
    rrp: str | None,
    first: int | None,
    target: Target | None,
    sender: str | None,
) -> tuple[Consumer, Advice]:
    from oracle.chain.reader import Web3Reader  # noqa: PLC0415 - web3 is slow to import
    from oracle.doctor.advice import advise  # noqa: PLC0415 - as above
    from oracle.doctor.examine import examine  # noqa: PLC0415 - as above

    reader = Web3Reader(rpc_url)
    try:
        consumer = await examine(reader, address, rrp=rrp, first=first)
        return consumer, await advise(reader, consumer, target, sender=sender)
    finally:
        await reader.close()


def _id(text: str | None, option: str) -> bytes | None:
    if text is None:
        return None
    try:
        id_ = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        id_ = b""
    if len(id_) != 32:  # noqa: PLR2004 - a word
        raise ConfigError(f"{option} is 0x and 64 hexadecimal digits")
    return id_


def _named(asked: Asked) -> dict[str, str | None]:
    from oracle.protocols.airnode_published import provider_of  # noqa: PLC0415 - slow to import

    provider = provider_of(asked.airnode)
    return {
        "airnode": asked.airnode,
        "provider": None if provider is None else provider.name,
        "endpointIdUint256": _hex(asked.uint256),
        "endpointIdUint256Array": _hex(asked.uint256_array),
        "sponsorWallet": asked.wallet,
    }


def _document(consumer: Consumer, advice: Advice) -> dict[str, object]:
    request = consumer.request
    return {
        "consumer": consumer.address,
        "chainId": consumer.chain_id,
        "airnodeRrp": consumer.rrp,
        "implementation": consumer.implementation,
        "verdict": str(advice.verdict),
        "reasons": list(advice.reasons),
        "asks": _named(consumer.asked),
        "storage": {str(slot): list(names) for slot, names in consumer.slots.items()},
        "owner": consumer.owner,
        "sponsor": consumer.sponsor,
        "sponsored": consumer.sponsored,
        "requests": consumer.requests,
        "newestRequest": None
        if request is None
        else {
            "requestId": _hex(request.key.request_id),
            "kind": str(request.kind),
            "blockNumber": request.place.block_number,
            "transaction": _hex(request.place.transaction_hash),
        },
        "moved": advice.moved,
        "sponsorWallet": advice.wallet,
        "sponsorWalletWei": advice.balance,
        "transactions": [
            {
                "purpose": step.purpose,
                "from": step.sender,
                "to": step.to,
                "valueWei": step.value,
                "data": _hex(step.data),
            }
            for step in advice.steps
        ],
    }


def _print(consumer: Consumer, advice: Advice, target: Target | None) -> None:
    from oracle.doctor.advice import ETHER  # noqa: PLC0415 - slow to import

    click.echo(f"{consumer.address} on chain {consumer.chain_id}: {_VERDICTS[advice.verdict]}")
    for reason in advice.reasons:
        click.echo(f"  {reason}")
    for name, value in _named(consumer.asked).items():
        if value is not None:
            click.echo(f"{name:<24}{value}")
    click.echo(f"{'sponsor':<24}{consumer.sponsor}")
    click.echo(f"{'requests made':<24}{consumer.requests}")
    if advice.wallet is not None:
        click.echo(f"{'new sponsor wallet':<24}{advice.wallet}, which holds {advice.balance} wei")
    if advice.moved:
        click.echo("It asks this Airnode already.")
    for number, step in enumerate(advice.steps, 1):
        click.echo(f"\nTransaction {number}: {step.purpose}")
        click.echo(f"  from  {step.sender or 'anybody'}\n  to    {step.to}")
        click.echo(f"  value {step.value} wei ({step.value / ETHER:.6f} ether)")
        click.echo(f"  data  {_hex(step.data)}")
    if target is None and advice.verdict == "movable":
        click.echo("Give --airnode-xpub to get the transactions.")


_VERDICTS = {
    "movable": "it can move",
    "not_movable": "it cannot move",
    "unclear": "whether it can move cannot be seen from here",
}


def _hex(value: bytes | None) -> str | None:
    return None if value is None else f"0x{value.hex()}"
