"""
What Airnode RRP v0 costs, measured on the contract that its package ships compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coincurve import PrivateKey
from eth_abi.abi import encode

from oracle import artifacts
from oracle.bench import packages
from oracle.bench.figures import SINGLE, Figures, require_word
from oracle.devnet.airnode import FACTORY, PACKAGE, read_factory
from oracle.errors import PackageError
from oracle.evm import checksum_address, keccak

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle.bench.chain import Chain, Sent

_PACKAGE = packages.Package(
    PACKAGE,
    "0.15.0",
    "sha512-bK4/cQIhcOWTjk9AEqCXLZt0m11eCQrNwSLC+zKNaQWdcYGb1Yb5GA1dVPLJCBO3NB9MTzPO/zcw1DEa8I9Phw==",
)

# Signatures hold zero bytes by chance: a mean is told. The first rounds make storage used.
_WARM_UP, _ROUNDS = 3, 20

_ASK = keccak(b"ask()")[:4]
_CALLBACK = keccak(b"receiveWord(bytes32,bytes)")[:4]
_FULFILL = keccak(b"fulfill(bytes32,address,address,bytes4,bytes,bytes)")[:4]
_LAST, _WORD_OF = keccak(b"last()")[:4], keccak(b"wordOf(bytes32)")[:4]

#: What docs/gas.md says, for where it cannot be measured.
DOCUMENTED = {"request": 60_692, "fulfill_1_fresh": 59_905, "fulfill_1_used": 42_738}


async def measure(chain: Chain, say: Callable[[str], None]) -> Figures:
    """
    Measure requests and signed fulfillments.

    Raises `PackageError` when the contract cannot be had.
    """
    contract = read_factory(packages.read(await packages.fetch(_PACKAGE, say), FACTORY))
    if contract is None:
        raise PackageError(f"{_PACKAGE} holds no bytecode in {FACTORY}")
    rrp = await chain.deploy(contract)
    figures = Figures(source=f"AirnodeRrpV0 as compiled in {_PACKAGE}")
    request, fulfill_fresh, fulfill_used = SINGLE
    for fresh, name in ((True, fulfill_fresh), (False, fulfill_used)):
        asked, fulfilled = await _serve(chain, rrp, fresh=fresh)
        figures.add(request, asked, len(asked))
        figures.add(name, fulfilled, len(fulfilled))
    return figures


async def _serve(chain: Chain, rrp: str, *, fresh: bool) -> tuple[list[Sent], list[Sent]]:
    key = PrivateKey(keccak(b"benchmark airnode"))
    airnode = checksum_address(keccak(key.public_key.format(compressed=False)[1:])[12:])
    consumer = await chain.deploy(
        artifacts.load("MinimalAirnodeConsumer"),
        encode(
            ["address", "address", "bytes32", "address", "bool"],
            [rrp, airnode, keccak(b"benchmark endpoint"), chain.sponsor_wallet, fresh],
        ),
    )
    asked, fulfilled = [], []
    for number in range(_WARM_UP + _ROUNDS):
        asked.append(await chain.send(chain.user, consumer, _ASK))
        request_id = asked[-1].receipt.logs[0].topics[2]
        await chain.mine(5)
        word = keccak(b"benchmark word" + bytes([number]))
        call = _FULFILL + encode(
            ["bytes32", "address", "address", "bytes4", "bytes", "bytes"],
            [request_id, airnode, consumer, _CALLBACK, word, _sign(key, request_id + word)],
        )
        fulfilled.append(await chain.send(chain.sponsor_wallet, rrp, call))
        kept = await chain.reader.call(consumer, _WORD_OF + request_id if fresh else _LAST)
        require_word(int.from_bytes(word, "big"), int.from_bytes(kept, "big"))
    return asked[_WARM_UP:], fulfilled[_WARM_UP:]


def _sign(key: PrivateKey, message: bytes) -> bytes:
    """
    Sign as an Airnode does: EIP-191 over the hash of request id and data; r, s, v.
    """
    digest = keccak(b"\x19Ethereum Signed Message:\n32" + keccak(message))
    signature = key.sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([27 + signature[64]])
