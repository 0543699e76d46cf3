"""
What Ape's scripts share.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from ape.contracts import ContractContainer
from ape.exceptions import ApeException, ContractLogicError, CustomError
from ethpm_types import ContractType

from oracle import artifacts
from oracle.errors import OracleError, RevertedError
from oracle.evm import Block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ape.api import ProviderAPI


class ApeReader:
    """
    What the checks of `oracle deploy` ask of a chain, answered by any of Ape's providers.
    """

    def __init__(self, provider: ProviderAPI, sender: str) -> None:
        self.name = provider.network_choice
        self._provider, self._sender = provider, sender

    async def rpc(self, method: str, *params: Any) -> Any:
        """
        Call a method by its name and return its raw result.
        """
        if method == "eth_call":
            # Ape's own chain takes no call without a sender, nor from one without funds.
            params = ({"from": self._sender, **params[0]}, *params[1:])
        answer = self._provider.make_request(method, list(params))
        return "0x" + answer.hex().removeprefix("0x") if isinstance(answer, bytes) else answer

    async def block(self, number: int | None = None) -> Block:
        """
        Return a block; the head without a number.
        """
        block = self._provider.get_block("latest" if number is None else number)
        return Block(
            number=block.number,
            hash=bytes(block.hash),
            parent_hash=bytes(block.parent_hash),
            timestamp=block.timestamp,
            base_fee=block.base_fee,
            gas_limit=block.gas_limit,
        )

    async def code(self, address: str) -> bytes:
        """
        Return the code at an address.
        """
        return bytes(self._provider.get_code(address))

    async def call(self, to: str, data: bytes) -> bytes:
        """
        Return what a view function answers; raises `RevertedError`.
        """
        try:
            answer = await self.rpc("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest")
        except ContractLogicError:
            raise RevertedError(f"{self.name}: the call to {to} reverted") from None
        return bytes.fromhex(answer[2:])


def container(name: str) -> ContractContainer:
    """
    Return the contract as the Python package ships it: the very bytes that `oracle deploy` takes.
    """
    artifact = artifacts.load(name)
    return ContractContainer(
        ContractType(
            contractName=name,
            abi=artifact.abi,
            deploymentBytecode={"bytecode": "0x" + artifact.bytecode.hex()},
        )
    )


def options_of(verb: click.Command, *names: str) -> list[click.Parameter]:
    """
    Return options of a verb of `oracle`, so that a script takes them as the verb does.
    """
    return [option for option in verb.params if option.name in names]


@contextmanager
def speaking() -> Iterator[None]:
    """
    End with one sentence, as the verbs of `oracle` do, when something cannot work.
    """
    try:
        yield
    except CustomError as error:
        values = ", ".join(f"{name}={value}" for name, value in error.inputs.items())
        raise click.ClickException(f"the contract refuses: {error.name}({values})") from None
    except (OracleError, ApeException) as error:
        raise click.ClickException(str(error)) from None
