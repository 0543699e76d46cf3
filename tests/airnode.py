"""
The genuine AirnodeRrpV0 on anvil, an Airnode of ours, and a consumer that asks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import encode

from oracle import artifacts
from oracle.airnode_request import AirnodeRequest
from oracle.chain import transact
from oracle.chain.mnemonics import Mnemonic
from oracle.chain.sponsor_wallets import AirnodeKeys
from oracle.devnet.airnode import find_airnode_rrp
from oracle.devnet.network import CHAIN_ID, Devnet
from oracle.evm import keccak
from oracle.protocols.airnode_rrp_v0 import AirnodeProtocol
from tests.factories import hash32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oracle.chain.reader import Web3Reader
    from oracle.chain.wallets import Signer
    from oracle.evm import Receipt
    from oracle.protocols.airnode_rrp_v0 import Event

UINT256, UINT256_ARRAY = hash32("uint256"), hash32("uint256[]")
# Nobody's.
MNEMONIC = Mnemonic(hash32("airnode on anvil")[:16])
ETHER = 10**18


def call(signature: str, *values: object) -> bytes:
    """
    Encode a call of a function without tuples.
    """
    types = signature[signature.index("(") + 1 : -1].split(",") if values else []
    return keccak(signature.encode())[:4] + encode(types, values)


@dataclass
class AirnodeBench:
    """
    `consumer` is a `QrngConsumer` that asks our Airnode, and its sponsor wallet has funds.
    """

    reader: Web3Reader
    keys: AirnodeKeys
    protocol: AirnodeProtocol
    consumer: str

    @classmethod
    async def deploy(cls, reader: Web3Reader) -> AirnodeBench:
        contract = find_airnode_rrp()
        assert contract is not None
        # Whoever was here before may have mined by hand.
        await reader.rpc("evm_setAutomine", True)  # noqa: FBT003 - JSON-RPC
        player, keys = Devnet.player(), AirnodeKeys(MNEMONIC)
        rrp, _ = await transact.deploy(reader, player, contract, b"")
        protocol = AirnodeProtocol(rrp, keys.address, CHAIN_ID)
        consumer = await cls.deploy_consumer(reader, rrp)
        bench = cls(reader, keys, protocol, consumer)
        await bench.point(consumer)
        await bench.fund(bench.wallet_of(consumer).address)
        return bench

    @staticmethod
    async def deploy_consumer(reader: Web3Reader, rrp: str) -> str:
        consumer, _ = await transact.deploy(
            reader,
            Devnet.player(),
            artifacts.load("QrngConsumer"),
            encode(["address"], [rrp]),
        )
        return consumer

    async def point(self, consumer: str) -> None:
        """
        Do the one transaction with which a consumer moves to our Airnode.
        """
        await self.send(
            consumer,
            "setRequestParameters(address,bytes32,bytes32,address)",
            self.keys.address,
            UINT256,
            UINT256_ARRAY,
            self.wallet_of(consumer).address,
        )

    def wallet_of(self, sponsor: str) -> Signer:
        return self.keys.sponsor_wallet(sponsor)

    async def fund(self, address: str, amount: int = ETHER) -> None:
        player = Devnet.player()
        sent = await transact.send_transaction(
            self.reader, player, to=address, data=b"", value=amount
        )
        await transact.wait_for(self.reader, sent)

    async def send(self, to: str, signature: str, *values: object) -> Receipt:
        return await self.send_data(Devnet.player(), to, call(signature, *values))

    async def send_data(self, signer: Signer, to: str, data: bytes, value: int = 0) -> Receipt:
        sent = await transact.send_transaction(self.reader, signer, to=to, data=data, value=value)
        return await transact.wait_for(self.reader, sent)

    def events(self, receipt: Receipt) -> Sequence[Event]:
        found = [self.protocol.decode(item) for item in receipt.logs]
        return [event for event in found if event is not None]

    async def ask(self, signature: str, *values: object) -> AirnodeRequest:
        [request] = self.events(await self.send(self.consumer, signature, *values))
        assert isinstance(request, AirnodeRequest)
        return request
