from __future__ import annotations

import ape
import pytest

USER_SEED = b"mine".rjust(32, b"\0")


@pytest.fixture
def request_made(coordinator, operator, player, base_fee):
    """
    A request for two words after three confirmations, by an account itself.
    """
    receipt = coordinator.requestRandomness(
        0, 2, 3, USER_SEED, value=coordinator.feeAt(0, 2, base_fee), sender=player
    )
    return operator.request_in(receipt)


def test_request_is_fulfilled_once_and_not_before_its_confirmations(
    coordinator, operator, request_made, chain
):
    chain.mine(1)
    assert not operator.fulfill(request_made).events  # one block too early
    [done] = operator.fulfill(request_made).decode_logs(coordinator.RandomnessFulfilled)
    assert (done.requestId, done.seed) == (request_made.requestId, operator.seeds[0])
    assert not operator.fulfill(request_made).events


def test_seed_that_was_not_committed_is_refused(coordinator, operator, request_made, chain):
    chain.mine(2)
    with ape.reverts(coordinator.InvalidProof):
        operator.fulfill(request_made, seed=bytes(32))


def test_request_is_cancelled_for_a_full_refund_after_the_window_alone(
    coordinator, operator, request_made, player, accounts, chain
):
    paid, refunded = request_made.terms >> 160, accounts[2]
    last_block = request_made.block_number + coordinator.window()
    chain.mine(last_block - chain.blocks.height - 1)
    with ape.reverts(coordinator.WindowOpen):  # in the window's last block
        coordinator.cancel(operator.as_tuple(request_made), refunded, sender=player)
    chain.mine(last_block - chain.blocks.height)
    before = refunded.balance
    coordinator.cancel(operator.as_tuple(request_made), refunded, sender=player)
    assert refunded.balance - before == paid > 0
    assert coordinator.cancellations() == 1


def test_fulfillment_comes_too_late_after_the_window(coordinator, operator, request_made, chain):
    chain.mine(coordinator.window())
    assert not operator.fulfill(request_made).events


def test_fee_that_is_too_low_is_refused(coordinator, operator, player):
    with ape.reverts(coordinator.InsufficientFee):
        coordinator.requestRandomness(
            0, 1, 1, USER_SEED, value=coordinator.feeAt(0, 1, 0) - 1, sender=player
        )


def test_request_without_a_committed_seed_is_refused(coordinator, operator, owner, player):
    coordinator.discard(len(operator.seeds), sender=owner)
    with ape.reverts(coordinator.NoSeed):
        coordinator.requestRandomness(0, 1, 1, USER_SEED, value="1 ether", sender=player)
