"""
An Airnode on a devnet: the genuine AirnodeRrpV0, a consumer as they were written for API3 QRNG,
and what became of its requests, from the chain alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import encode

from oracle import artifacts
from oracle.airnode_request import AirnodeRequest, Failed, Fulfilled
from oracle.airnode_settings import UINT256, UINT256_ARRAY
from oracle.chain import transact
from oracle.chain.mnemonics import Mnemonic, seal
from oracle.chain.sponsor_wallets import AirnodeKeys
from oracle.devnet.airnode import find_airnode_rrp
from oracle.evm import keccak
from oracle.protocols.airnode_rrp_v0 import AirnodeProtocol

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.chain.reader import Web3Reader
    from oracle.chain.wallets import Signer

# Everybody's: it is refused outside devnets.
MNEMONIC = Mnemonic(b"oracle  devnet  ")
PASSWORD = "devnet"  # noqa: S105 - and so everybody's too
FUNDS = 10**18
WORDS = 3

_SET = keccak(b"setRequestParameters(address,bytes32,bytes32,address)")[:4]
_ONE = keccak(b"makeRequestUint256()")[:4]
_SEVERAL = keccak(b"makeRequestUint256Array(uint256)")[:4] + encode(["uint256"], [WORDS])
_ANSWERS = keccak(b"answers(bytes32)")[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Qrng:
    """
    Where an Airnode and its consumer are.
    """

    chain_id: int
    rrp: str
    airnode: str
    xpub: str
    consumer: str

    def document(self) -> dict[str, object]:
        """
        Return what `oracle devnet` writes for others to read.
        """
        return {
            "airnodeRrp": self.rrp,
            "airnode": self.airnode,
            "airnodeXpub": self.xpub,
            "endpointIdUint256": UINT256[0],
            "endpointIdUint256Array": UINT256_ARRAY[0],
            "qrngConsumer": self.consumer,
        }

    def configuration(self, endpoint: str, websocket: str) -> str:
        """
        Return the section that serves it.
        """
        return f"""
[airnode]
mnemonic_file = "mnemonic.json"
password_file = "mnemonic.password"

[airnode.chains.devnet]
chain_id = {self.chain_id}
endpoints = ["{endpoint}"]
websocket = "{websocket}"
rrp = "{self.rrp}"
devnet = true
start_block = 0
"""

    async def ask(self, reader: Web3Reader, player: Signer, number: int) -> bytes:
        """
        Ask for one word, or every second time for several; return the transaction's hash.
        """
        data = _SEVERAL if number % 2 else _ONE
        return await transact.send_transaction(reader, player, to=self.consumer, data=data)


def write_secrets(folder: Path) -> None:
    """
    Write the mnemonic as an operator has it.
    """
    keys = AirnodeKeys(MNEMONIC)
    for name, text in (
        ("mnemonic.password", PASSWORD),
        ("mnemonic.json", seal(MNEMONIC, keys.xpub, PASSWORD)),
    ):
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text + "\n", encoding="utf-8")


async def deploy_qrng(reader: Web3Reader, player: Signer, chain_id: int) -> Qrng | None:
    """
    Deploy contract and consumer, move the consumer to the Airnode, and fund its sponsor wallet;
    nothing where API3's package is not installed.
    """
    contract = find_airnode_rrp()
    if contract is None:
        return None
    keys = AirnodeKeys(MNEMONIC)
    rrp, _ = await transact.deploy(reader, player, contract, b"")
    consumer, _ = await transact.deploy(
        reader, player, artifacts.load("QrngConsumer"), encode(["address"], [rrp])
    )
    wallet = keys.xpub.sponsor_wallet(consumer)
    move = _SET + encode(
        ["address", "bytes32", "bytes32", "address"],
        [
            keys.address,
            bytes.fromhex(UINT256[0][2:]),
            bytes.fromhex(UINT256_ARRAY[0][2:]),
            wallet,
        ],
    )
    for to, data, value in ((consumer, move, 0), (wallet, b"", FUNDS)):
        sent = await transact.send_transaction(reader, player, to=to, data=data, value=value)
        await transact.wait_for(reader, sent)
    return Qrng(
        chain_id=chain_id, rrp=rrp, airnode=keys.address, xpub=str(keys.xpub), consumer=consumer
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QrngEvents:
    """
    What the chain says of an Airnode: the requests, and the blocks of what settled them.
    """

    made: dict[bytes, AirnodeRequest]
    settled: list[Fulfilled | Failed]

    @property
    def answered(self) -> dict[bytes, Fulfilled]:
        """
        The requests that got their numbers.
        """
        return {one.request_id: one for one in self.settled if isinstance(one, Fulfilled)}


async def read_events(reader: Web3Reader, qrng: Qrng) -> QrngEvents:
    """
    Read every log of the Airnode.
    """
    protocol = AirnodeProtocol(qrng.rrp, qrng.airnode, qrng.chain_id)
    head = await reader.block()
    logs = await reader.logs(qrng.rrp, 0, head.number, protocol.topics)
    events = [protocol.decode(item) for item in logs]
    return QrngEvents(
        made={one.key.request_id: one for one in events if isinstance(one, AirnodeRequest)},
        settled=[one for one in events if isinstance(one, Fulfilled | Failed)],
    )


async def audit_qrng(reader: Web3Reader, qrng: Qrng) -> dict[str, int]:
    """
    Count what became of the requests: `wrong` are callbacks that did not come exactly once, and
    `seeds_reused` numbers that were given twice.
    """
    events = await read_events(reader, qrng)
    times = Counter(one.request_id for one in events.settled)
    wrong = 0
    for id_ in events.made:
        answer = await reader.call(qrng.consumer, _ANSWERS + id_)
        wrong += int.from_bytes(answer, "big") != (id_ in events.answered)
    numbers = Counter(one.data for one in events.answered.values())
    return {
        "requests": len(events.made),
        "fulfilled": len(events.answered),
        "lost": len(events.made.keys() - events.answered.keys()),
        "duplicates": sum(count - 1 for count in times.values()),
        "seeds_reused": sum(count - 1 for count in numbers.values()),
        "wrong": wrong,
        "faults": 0,
    }
