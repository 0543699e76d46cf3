"""
A coordinator on Ape's chain, and an operator who serves it as the node does.

Run with `scripts/ape.sh test tests/ape`, and on anvil with `--network ethereum:local:foundry`.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from oracle.entropy import merkle

if TYPE_CHECKING:
    from ape.api import AccountAPI, ReceiptAPI
    from ape.contracts import ContractInstance
    from ape.types import ContractLog

WINDOW = 256


class Operator:
    """
    Commits seeds and reveals them.
    """

    def __init__(self, account: AccountAPI, coordinator: ContractInstance) -> None:
        self._account, self._coordinator = account, coordinator
        domain = merkle.domain(coordinator.provider.chain_id, coordinator.address)
        self.seeds = [secrets.token_bytes(32) for _ in range(merkle.BATCH)]
        self._leaves = [merkle.leaf(domain, i, seed) for i, seed in enumerate(self.seeds)]

    def commit(self) -> None:
        """
        Commit the root of the first batch: from now on seeds cannot change.
        """
        self._coordinator.commit(0, [merkle.root(self._leaves)], sender=self._account)

    def request_in(self, receipt: ReceiptAPI) -> ContractLog:
        """
        Return the event of the request that a transaction has made.
        """
        [event] = receipt.decode_logs(self._coordinator.RandomnessRequested)
        return event

    def fulfill(self, request: ContractLog, seed: bytes | None = None) -> ReceiptAPI:
        """
        Reveal the seed of a request, or something else, with the proof of that seed.
        """
        index = request.terms & (1 << 64) - 1
        return self._coordinator.fulfill(
            [(self.as_tuple(request), seed or self.seeds[index])],
            merkle.proof(self._leaves, index, 1),
            sender=self._account,
            gas_limit=3_000_000,  # never estimated: an endpoint must not see the seed too early
        )

    @staticmethod
    def as_tuple(request: ContractLog) -> tuple[Any, ...]:
        """
        Return a request as the contracts take it.
        """
        return (request.requester, request.terms, request.userSeed)


@pytest.fixture(scope="session")
def owner(accounts: Any) -> AccountAPI:
    return accounts[0]


@pytest.fixture(scope="session")
def player(accounts: Any) -> AccountAPI:
    return accounts[1]


@pytest.fixture(scope="session")
def coordinator(project: Any, owner: AccountAPI) -> ContractInstance:
    config = {
        "owner": owner,
        "operator": owner,
        "window": WINDOW,
        "ringSize": 256,
        "callbackGasLimitMax": 2_500_000,
        "flatFeeGwei": 1_000,
        "maxFlatFeeGwei": 10**9,
        "gasMarginBps": 12_000,
        "maxGasMarginBps": 50_000,
    }
    return owner.deploy(project.QuantumCoordinator, config)


@pytest.fixture(scope="session")
def operator(owner: AccountAPI, coordinator: ContractInstance) -> Operator:
    operator = Operator(owner, coordinator)
    operator.commit()
    return operator


@pytest.fixture
def base_fee(chain: Any) -> int:
    """
    What to quote fees at: the head's base fee, which can rise by an eighth in the next block.
    """
    return chain.blocks.head.base_fee * 5 // 4
