from __future__ import annotations

import ape
import pytest

from oracle.protocols.coordinator import words

PRICE = 10**17
WINNERS = 2


@pytest.fixture
def dice(project, coordinator, owner):
    return owner.deploy(project.DiceRoller, coordinator)


@pytest.fixture
def raffle(project, coordinator, owner, accounts, chain):
    closes_at = chain.pending_timestamp + 3_600
    return owner.deploy(project.Raffle, coordinator, accounts[5], PRICE, closes_at, WINNERS)


def test_dice_land_where_the_words_say(dice, operator, player, base_fee, chain):
    roll = dice.roll(5, value=dice.priceAt(5, base_fee), sender=player)
    request = operator.request_in(roll)
    assert dice.facesOf(request.requestId) == []
    operator.fulfill(request)
    block = chain.blocks[roll.block_number]
    expected = words(operator.seeds[0], bytes(request.requestId), bytes(block.hash), 5)
    assert dice.facesOf(request.requestId) == [word % 6 + 1 for word in expected]


def test_raffle_pays_its_prizes_to_winners_alone(raffle, operator, player, accounts, chain):
    buyers = accounts[1:4]
    for buyer in buyers:
        raffle.buy(2, value=2 * PRICE, sender=buyer)
    chain.mine(1, deltatime=3_600)
    draw = raffle.draw(
        value=raffle.drawPriceAt(chain.blocks.head.base_fee * 5 // 4), sender=player
    )
    chain.mine(raffle.CONFIRMATIONS())
    operator.fulfill(operator.request_in(draw))
    winner = raffle.winnerOf(0)
    loser = next(buyer for buyer in buyers if buyer != winner)
    with ape.reverts(raffle.NotYourPrize):
        raffle.claimPrize(0, sender=loser)
    [paid] = raffle.claimPrize(0, sender=accounts[winner]).decode_logs(raffle.Paid)
    assert (paid.to, paid.amount) == (winner, 6 * (PRICE // 2) // WINNERS)
    with ape.reverts(raffle.NothingOwed):
        raffle.claimPrize(0, sender=accounts[winner])
