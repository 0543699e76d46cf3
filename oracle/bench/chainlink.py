"""
What Chainlink VRF 2.5 costs, measured on its coordinator, compiled from its package, with real
proofs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eth_abi.abi import decode, encode

from oracle import artifacts
from oracle.bench import packages, vrf
from oracle.bench.figures import SINGLE, Figures, require_word
from oracle.evm import keccak

if TYPE_CHECKING:
    from collections.abc import Callable

    from oracle.bench.chain import Chain, Sent

_PACKAGE = packages.Package(
    "@chainlink/contracts",
    "1.5.0",
    "sha512-1fGJwjvivqAxvVOTqZUEXGR54CATtg0vjcXgSIk4Cfoad2nUhSG/qaWHXjLg1CkNTeOoteoxGQcpP/HiA5HsUA==",
)
_OPENZEPPELIN = packages.Package(
    "@openzeppelin/contracts",
    "4.9.6",
    "sha512-xSmezSupL+y9VkHZJGDoCBpmnB2ogM13ccaYDWqJTfS3dbuHkgjuwDFUmaFauBCboQMGB/S5UqUl2y54X99BmA==",
)
_SOLC = packages.Package(
    "solc",
    "0.8.19",
    "sha512-yqurS3wzC4LdEvmMobODXqprV4MYJcVtinuxgrp61ac8K2zz40vXA0eSAskSHPgv8dQo7Nux39i3QBsHx4pqyA==",
)
_UNIT = "src/v0.8/vrf/dev/VRFCoordinatorV2_5.sol"
# As in the package's own profile for VRF; with a million the contract is too large to deploy.
_OPTIMIZER_RUNS = 1_000

_SECRET = int.from_bytes(keccak(b"benchmark vrf"), "big")
_MAX_GAS_PRICE = 10**12
# A point is found by trial, so a fulfillment's gas depends on its seed: a mean is told. The first
# rounds make storage used.
_WARM_UP, _ROUNDS = 3, 300

_PROOF = "(uint256[2],uint256[2],uint256,uint256,uint256,address,uint256[2],uint256[2],uint256)"
_COMMITMENT = "(uint64,uint256,uint32,uint32,address,bytes)"
_REQUESTED = keccak(
    b"RandomWordsRequested(bytes32,uint256,uint256,uint256,uint16,uint32,uint32,bytes,address)"
)
_ASK = keccak(b"ask()")[:4]
_LAST, _WORD_OF = keccak(b"last()")[:4], keccak(b"wordOf(uint256)")[:4]

#: What docs/gas.md says, for where it cannot be measured.
DOCUMENTED = {"request": 66_376, "fulfill_1_fresh": 115_520, "fulfill_1_used": 98_321}


async def measure(chain: Chain, say: Callable[[str], None]) -> Figures:
    """
    Measure requests and proved fulfillments of a subscription with native payment.

    Raises `PackageError` when the contract cannot be had.
    """
    artifact = await load_coordinator(say)
    figures = Figures(source=f"VRFCoordinatorV2_5 compiled from {_PACKAGE} with {_SOLC}")
    request, fulfill_fresh, fulfill_used = SINGLE
    for fresh, name in ((True, fulfill_fresh), (False, fulfill_used)):
        site = await Site.build(chain, artifact, fresh=fresh)
        rounds = [await site.serve() for _ in range(_WARM_UP + _ROUNDS)][_WARM_UP:]
        figures.add(request, [asked for asked, _ in rounds], _ROUNDS)
        figures.add(name, [fulfilled for _, fulfilled in rounds], _ROUNDS)
    return figures


async def load_coordinator(say: Callable[[str], None]) -> artifacts.Artifact:
    """
    Return the coordinator, fetched and compiled unless that was done before.

    Raises `PackageError` when it cannot be had.
    """
    return await packages.compile_contract(
        _UNIT,
        packages.Sources(
            {"": await packages.fetch(_PACKAGE, say)}
            | {f"{_OPENZEPPELIN}/": await packages.fetch(_OPENZEPPELIN, say)}
        ),
        compiler=await packages.fetch(_SOLC, say),
        optimizer_runs=_OPTIMIZER_RUNS,
        say=say,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    A request as its event tells it, and what its proof has to be for.
    """

    id: int
    pre_seed: int
    commitment: tuple[int, int, int, int, str, bytes]
    block_hash: bytes

    @property
    def seed(self) -> int:
        """
        What the function is applied to.
        """
        return int.from_bytes(keccak(self.pre_seed.to_bytes(32, "big") + self.block_hash), "big")


@dataclass(frozen=True, slots=True)
class Site:
    """
    A coordinator with a proving key, a subscription and its consumer.
    """

    chain: Chain
    coordinator: str
    consumer: str
    fresh: bool

    @classmethod
    async def build(cls, chain: Chain, artifact: artifacts.Artifact, *, fresh: bool) -> Site:
        """
        Deploy and configure everything.
        """
        owner = chain.deployer.address
        # The store of older block hashes is never asked here.
        coordinator = await chain.deploy(artifact, encode(["address"], [owner]))
        config = "setConfig(uint16,uint32,uint32,uint32,int256,uint32,uint32,uint8,uint8)"
        key = vrf.public_key(_SECRET)

        async def call(signature: str, *values: object, value: int = 0) -> Sent:
            return await chain.send(owner, coordinator, _call(signature, *values), value)

        await call(config, 0, 2_500_000, 86_400, 33_285, 10**16, 0, 0, 24, 20)
        await call("registerProvingKey(uint256[2],uint64)", key, _MAX_GAS_PRICE)
        created = await call("createSubscription()")
        subscription = int.from_bytes(created.receipt.logs[0].topics[1], "big")
        await call("fundSubscriptionWithNative(uint256)", subscription, value=10**20)
        key_hash = keccak(encode(["uint256[2]"], [key]))
        consumer = await chain.deploy(
            artifacts.load("MinimalChainlinkConsumer"),
            encode(
                ["address", "bytes32", "uint256", "bool"],
                [coordinator, key_hash, subscription, fresh],
            ),
        )
        await call("addConsumer(uint256,address)", subscription, consumer)
        return cls(chain, coordinator, consumer, fresh)

    async def serve(self) -> tuple[Sent, Sent]:
        """
        Ask, wait a block, fulfill; return both.
        """
        asked, request = await self.ask()
        proof = prove(request)
        call = fulfill_call(proof, request)
        fulfilled = await self.chain.send(self.chain.operator, self.coordinator, call)
        await self._check(proof, request)
        return asked, fulfilled

    async def ask(self) -> tuple[Sent, Request]:
        """
        Ask, and wait until it can be fulfilled.
        """
        asked = await self.chain.send(self.chain.user, self.consumer, _ASK)
        await self.chain.mine(1)
        [log] = [each for each in asked.receipt.logs if each.topics[0] == _REQUESTED]
        id_, pre_seed, _, gas, count, extra = decode(
            ["uint256", "uint256", "uint16", "uint32", "uint32", "bytes"], log.data
        )
        subscription = int.from_bytes(log.topics[2], "big")
        return asked, Request(
            id=id_,
            pre_seed=pre_seed,
            commitment=(log.block_number, subscription, gas, count, self.consumer, extra),
            block_hash=log.block_hash,
        )

    async def _check(self, proof: vrf.Proof, request: Request) -> None:
        word = int.from_bytes(keccak(encode(["uint256", "uint256"], [proof.output, 0])), "big")
        call = _WORD_OF + request.id.to_bytes(32, "big") if self.fresh else _LAST
        kept = await self.chain.reader.call(self.consumer, call)
        require_word(word, int.from_bytes(kept, "big"))


def prove(request: Request) -> vrf.Proof:
    """
    Return the proof that fulfills a request.
    """
    return vrf.prove(_SECRET, request.seed)


def fulfill_call(proof: vrf.Proof, request: Request) -> bytes:
    """
    Return the call that fulfills a request.
    """
    fields = (
        proof.public_key,
        proof.gamma,
        proof.c,
        proof.s,
        request.pre_seed,
        "0x" + proof.u_witness.hex(),
        proof.c_gamma_witness,
        proof.s_hash_witness,
        proof.z_inverse,
    )
    signature = f"fulfillRandomWords({_PROOF},{_COMMITMENT},bool)"
    return keccak(signature.encode())[:4] + encode(
        [_PROOF, _COMMITMENT, "bool"], [fields, request.commitment, False]
    )


def _call(signature: str, *values: object) -> bytes:
    types = signature[signature.index("(") + 1 : -1]
    return keccak(signature.encode())[:4] + encode(types.split(",") if types else [], values)
