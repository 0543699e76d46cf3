// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RandomnessConsumer} from "../../contracts/RandomnessConsumer.sol";
import {Raffle} from "../../contracts/examples/Raffle.sol";
import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";

/// @notice The cheatcode that only sales with an end need.
interface Clock {
    function warp(uint256 timestamp) external;
}

/// @notice The example from the first ticket to the last wei.
contract RaffleTest is CoordinatorTest {
    Clock private constant CLOCK = Clock(address(vm));
    address payable private constant CAUSE = payable(address(0xCA05E));
    uint256 private constant PRICE = 0.1 ether + 1; // halves with a remainder
    uint256 private constant CLOSES_AT = 1_000_000;
    address private constant CAROL = address(0xCA401);

    Raffle private _raffle;
    address[] private _buyers;

    event log_named_uint(string key, uint256 val);

    function setUp() public override {
        super.setUp();
        _open(3);
    }

    function testFuzz_buy_givesEveryTicketToItsBuyer(uint8[6] memory counts) public {
        uint256 sold = _sell(counts);
        uint256 ticket;
        for (uint256 k; k < counts.length; ++k) {
            for (uint256 n; n < counts[k]; ++n) {
                assertEq(_raffle.holderOf(ticket++), _buyers[k], "holder");
            }
        }
        assertEq(_raffle.sold(), sold, "sold");
        assertEq(_raffle.holderOf(sold), address(0), "holder of what was not sold");
    }

    function test_buy_revertsWhen_paymentIsNotThePrice() public {
        vm.deal(ALICE, 1 ether);
        for (uint96 count; count < 3; ++count) {
            uint256 value = count == 1 ? PRICE - 1 : PRICE * count + (count == 0 ? 0 : 1);
            vm.expectRevert(abi.encodeWithSelector(Raffle.WrongPayment.selector, value, PRICE * count));
            vm.prank(ALICE);
            _raffle.buy{value: value}(count);
        }
    }

    function test_buy_revertsWhen_theSaleHasClosed() public {
        CLOCK.warp(CLOSES_AT);
        vm.deal(ALICE, PRICE);
        vm.expectRevert(abi.encodeWithSelector(Raffle.SaleClosed.selector, CLOSES_AT));
        vm.prank(ALICE);
        _raffle.buy{value: PRICE}(1);
    }

    function test_draw_revertsWhen_theSaleIsOpen() public {
        _buy(ALICE, 3);
        CLOCK.warp(CLOSES_AT - 1);
        vm.expectRevert(abi.encodeWithSelector(Raffle.TooEarly.selector, CLOSES_AT));
        _raffle.draw();
    }

    function test_draw_revertsWhen_thereAreMorePrizesThanTickets() public {
        _buy(ALICE, 2);
        CLOCK.warp(CLOSES_AT);
        vm.expectRevert(abi.encodeWithSelector(Raffle.TooFewTickets.selector, 2, 3));
        _raffle.draw();
    }

    function test_draw_revertsWhen_theFeeIsNotPaid() public {
        _buy(ALICE, 3);
        CLOCK.warp(CLOSES_AT);
        uint256 fee = coordinator.fee(_raffle.CALLBACK_GAS(), 1);
        assertEq(_raffle.drawPriceAt(block.basefee), fee * 5 / 4, "price with its margin");
        vm.deal(BOB, fee);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InsufficientFee.selector, fee - 1, fee));
        vm.prank(BOB);
        _raffle.draw{value: fee - 1}();
    }

    function test_draw_happensOnce() public {
        _buy(ALICE, 3);
        Request memory request = _draw(BOB);
        _assertRevertsInStage(abi.encodeCall(_raffle.draw, ()), Raffle.Stage.Drawing);
        _land(request);
        _assertRevertsInStage(abi.encodeCall(_raffle.draw, ()), Raffle.Stage.Drawn);
        _assertRevertsInStage(abi.encodeCall(_raffle.callOff, ()), Raffle.Stage.Drawn);
        _assertRevertsInStage(abi.encodeCall(_raffle.claimRefund, ()), Raffle.Stage.Drawn);
        _assertRevertsInStage(abi.encodeCall(_raffle.expire, (request)), Raffle.Stage.Drawn);
    }

    /// @dev All that is promised of a draw: distinct winners, every prize paid once to who holds its ticket, the cause
    /// its half, and nothing left but what does not divide.
    function testFuzz_drawn_paysOutEverything(uint8[6] memory counts, uint256 winners) public {
        _open(bound(winners, 1, 20));
        uint256 sold = _sell(counts);
        winners = _raffle.WINNERS();
        if (sold < winners) _buy(BOB, uint96(winners - sold));
        sold = _raffle.sold();
        _land(_draw(BOB));
        uint256[] memory tickets = _raffle.winningTickets();
        assertEq(tickets.length, winners, "winners");
        uint256 prize = _raffle.prize();
        for (uint256 place; place < winners; ++place) {
            for (uint256 k; k < place; ++k) {
                assertEq(tickets[k] == tickets[place], false, "a ticket wins twice");
            }
            address winner = _raffle.winnerOf(place);
            assertEq(winner, _raffle.holderOf(tickets[place]), "winner");
            uint256 before = winner.balance;
            vm.prank(winner);
            _raffle.claimPrize(place);
            assertEq(winner.balance - before, prize, "prize");
        }
        _raffle.claimProceeds();
        assertEq(CAUSE.balance, sold * (PRICE - PRICE / 2), "proceeds");
        assertLe(address(_raffle).balance, winners - 1, "left");
    }

    function test_claimPrize_revertsWhen_itIsNotTheCallers() public {
        _buy(ALICE, 3);
        _land(_draw(BOB));
        vm.expectRevert(abi.encodeWithSelector(Raffle.NotYourPrize.selector, 1, ALICE));
        vm.prank(BOB);
        _raffle.claimPrize(1);
    }

    function test_claims_areGoodOnce() public {
        _buy(ALICE, 4);
        _land(_draw(BOB));
        vm.prank(ALICE);
        _raffle.claimPrize(0);
        vm.expectRevert(abi.encodeWithSelector(Raffle.NothingOwed.selector, ALICE));
        vm.prank(ALICE);
        _raffle.claimPrize(0);
        _raffle.claimProceeds();
        vm.expectRevert(abi.encodeWithSelector(Raffle.NothingOwed.selector, CAUSE));
        _raffle.claimProceeds();
    }

    function test_claims_cannotBeReentered() public {
        Greedy greedy = new Greedy(_raffle);
        _buy(address(greedy), 4);
        _land(_draw(BOB));
        greedy.go(abi.encodeCall(_raffle.claimPrize, (0)), abi.encodeCall(_raffle.claimPrize, (1)));
        assertEq(address(greedy).balance, _raffle.prize(), "prize");
    }

    function testFuzz_expired_refundsHalfAndTheFee(uint8[6] memory counts) public {
        uint256 sold = _sell(counts);
        _buy(BOB, 3);
        sold += 3;
        Request memory request = _draw(CAROL);
        _mine(WINDOW + 1);
        _raffle.expire(request);
        for (uint256 k; k < counts.length; ++k) {
            if (counts[k] != 0) _assertRefund(_buyers[k], counts[k] * (PRICE / 2));
        }
        _assertRefund(BOB, 3 * (PRICE / 2));
        _assertRefund(CAROL, request.terms.fee());
        _raffle.claimProceeds();
        assertEq(CAUSE.balance, sold * (PRICE - PRICE / 2), "proceeds");
        assertEq(address(_raffle).balance, 0, "left");
        _assertRevertsInStage(abi.encodeCall(_raffle.draw, ()), Raffle.Stage.Expired);
    }

    function test_expire_revertsWhile_theDrawCanBeFulfilled() public {
        _buy(ALICE, 3);
        Request memory request = _draw(BOB);
        _mine(WINDOW);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.WindowOpen.selector, height));
        _raffle.expire(request);
        _fulfill(request);
        assertEq(uint256(_raffle.stage()), uint256(Raffle.Stage.Drawn), "stage");
    }

    function test_expire_revertsWhen_theRequestIsAnothers() public {
        _buy(ALICE, 3);
        Request memory other = _request(BOB);
        _draw(BOB);
        _mine(WINDOW + 1);
        vm.expectRevert(
            abi.encodeWithSelector(IQuantumCoordinator.NotRequester.selector, address(_raffle), BOB)
        );
        _raffle.expire(other);
    }

    function test_expire_isNotStoppedByADrawerWhoRefusesEther() public {
        _buy(ALICE, 3);
        Request memory request = _draw(address(coordinator)); // takes none
        _mine(WINDOW + 1);
        _raffle.expire(request);
        _assertRefund(ALICE, 3 * (PRICE / 2));
    }

    function test_expired_refundCannotBeReentered() public {
        Greedy greedy = new Greedy(_raffle);
        _buy(address(greedy), 3);
        _buy(ALICE, 3);
        Request memory request = _draw(BOB);
        _mine(WINDOW + 1);
        _raffle.expire(request);
        greedy.go(abi.encodeCall(_raffle.claimRefund, ()), abi.encodeCall(_raffle.claimRefund, ()));
        assertEq(address(greedy).balance, 3 * (PRICE / 2), "refund");
    }

    function test_failedCallback_isRedeliveredWithTheSameWinners() public {
        _buy(ALICE, 20);
        Request memory request = _draw(BOB);
        bytes memory code = address(_raffle).code;
        vm.etch(address(_raffle), hex"fe");
        _land(request);
        vm.etch(address(_raffle), code);
        _assertStatus(request, IQuantumCoordinator.Status.CallbackFailed);
        _mine(WINDOW);
        bytes32 id = _idOf(request);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.NotPending.selector, id));
        _raffle.expire(request);
        uint256[] memory words = new uint256[](1);
        words[0] = uint256(keccak256(abi.encode(_outputOf(request), 0)));
        uint256 state = vm.snapshotState();
        vm.prank(address(coordinator));
        _raffle.rawFulfillRandomness(id, words);
        uint256[] memory tickets = _raffle.winningTickets();
        vm.revertToState(state);
        coordinator.redeliver(id, address(_raffle), _raffle.CALLBACK_GAS(), 1, uint256(_outputOf(request)));
        assertEq(keccak256(abi.encode(_raffle.winningTickets())), keccak256(abi.encode(tickets)), "tickets");
    }

    function testFuzz_callback_staysFarBelowThePromisedGas(uint96 count, uint256 word, uint256 winners)
        public
    {
        _open(bound(winners, 1, 100));
        count = uint96(bound(count, 100, type(uint64).max));
        _buy(ALICE, count);
        Request memory request = _draw(BOB);
        assertEq(request.terms.callbackGasLimit(), _raffle.CALLBACK_GAS(), "promised");
        uint256[] memory words = new uint256[](1);
        words[0] = word;
        bytes32 id = _idOf(request);
        vm.prank(address(coordinator));
        _raffle.rawFulfillRandomness(id, words);
        uint256 used = vm.lastCallGas().gasTotalUsed - 21_000; // and some for the data
        emit log_named_uint("callback", used);
        assertLe(used, uint256(_raffle.CALLBACK_GAS()) * 4 / 5, "gas");
    }

    function test_callOff_refundsInFullWhen_tooFewTicketsWereSold() public {
        _buy(ALICE, 2);
        vm.expectRevert(abi.encodeWithSelector(Raffle.TooEarly.selector, CLOSES_AT));
        _raffle.callOff();
        CLOCK.warp(CLOSES_AT);
        _raffle.callOff();
        _assertRefund(ALICE, 2 * PRICE);
        assertEq(address(_raffle).balance, 0, "left");
        _assertRevertsInStage(abi.encodeCall(_raffle.claimProceeds, ()), Raffle.Stage.CalledOff);
    }

    function test_callOff_refundsInFullWhen_nobodyDraws() public {
        _buy(ALICE, 3);
        uint256 notBefore = CLOSES_AT + _raffle.GRACE();
        CLOCK.warp(notBefore - 1);
        vm.expectRevert(abi.encodeWithSelector(Raffle.TooEarly.selector, notBefore));
        _raffle.callOff();
        CLOCK.warp(notBefore);
        _raffle.callOff();
        _assertRefund(ALICE, 3 * PRICE);
    }

    function test_claimRefund_revertsWhen_nothingIsOwed() public {
        _buy(ALICE, 1);
        CLOCK.warp(CLOSES_AT);
        _raffle.callOff();
        vm.expectRevert(abi.encodeWithSelector(Raffle.NothingOwed.selector, BOB));
        vm.prank(BOB);
        _raffle.claimRefund();
    }

    function test_receive_takesEtherFromTheCoordinatorOnly() public {
        vm.deal(ALICE, 1);
        vm.prank(ALICE);
        (bool success, bytes memory reason) = address(_raffle).call{value: 1}("");
        assertEq(success, false, "success");
        assertEq(bytes32(reason), bytes32(Raffle.NotForSale.selector), "reason");
    }

    function testFuzz_rawFulfillRandomness_revertsWhen_callerIsNotTheCoordinator(address caller) public {
        vm.assume(caller != address(coordinator));
        vm.expectRevert(abi.encodeWithSelector(RandomnessConsumer.NotCoordinator.selector, caller));
        vm.prank(caller);
        _raffle.rawFulfillRandomness(0, new uint256[](1));
    }

    function test_constructor_revertsWhen_termsCannotWork() public {
        _assertInvalid(payable(address(0)), PRICE, CLOSES_AT, 3);
        _assertInvalid(CAUSE, 1, CLOSES_AT, 3);
        _assertInvalid(CAUSE, PRICE, block.timestamp, 3);
        _assertInvalid(CAUSE, PRICE, CLOSES_AT, 0);
        _assertInvalid(CAUSE, PRICE, CLOSES_AT, 101);
    }

    function _open(uint256 winners) private {
        _raffle = new Raffle(coordinator, CAUSE, PRICE, CLOSES_AT, winners);
    }

    function _buy(address buyer, uint96 count) private {
        vm.deal(buyer, buyer.balance + PRICE * count);
        vm.prank(buyer);
        _raffle.buy{value: PRICE * count}(count);
    }

    /// @dev One purchase for each number that is not 0, made small, of buyers of their own.
    function _sell(uint8[6] memory counts) private returns (uint256 sold) {
        for (uint256 k; k < counts.length; ++k) {
            counts[k] %= 10;
            _buyers.push(address(uint160(0xB0000 + k)));
            if (counts[k] != 0) _buy(_buyers[k], counts[k]);
            sold += counts[k];
        }
    }

    function _draw(address drawer) private returns (Request memory) {
        CLOCK.warp(CLOSES_AT);
        uint256 price = _raffle.drawPriceAt(block.basefee);
        vm.deal(drawer, drawer.balance + price);
        vm.recordLogs();
        vm.prank(drawer);
        _raffle.draw{value: price}();
        return _requestIn(vm.getRecordedLogs()[1]); // behind the raffle's own
    }

    function _land(Request memory request) private {
        _mine(request.terms.confirmations());
        _fulfill(request);
    }

    function _assertRefund(address account, uint256 amount) private {
        uint256 before = account.balance;
        vm.prank(account);
        _raffle.claimRefund();
        assertEq(account.balance - before, amount, "refund");
        vm.expectRevert(abi.encodeWithSelector(Raffle.NothingOwed.selector, account));
        vm.prank(account);
        _raffle.claimRefund();
    }

    function _assertRevertsInStage(bytes memory payload, Raffle.Stage stage) private {
        (bool success, bytes memory reason) = address(_raffle).call(payload);
        assertEq(success, false, "success");
        assertEq(
            keccak256(reason), keccak256(abi.encodeWithSelector(Raffle.WrongStage.selector, stage)), "reason"
        );
    }

    function _assertInvalid(address payable cause, uint256 price, uint256 closesAt, uint256 winners) private {
        vm.expectRevert(abi.encodeWithSelector(Raffle.InvalidTerms.selector));
        new Raffle(coordinator, cause, price, closesAt, winners);
    }
}

/// @notice Claims, and claims again while it is paid.
contract Greedy {
    error NotPaid(bytes reason);

    Raffle private immutable RAFFLE;
    bytes private _again;

    constructor(Raffle raffle) {
        RAFFLE = raffle;
    }

    receive() external payable {
        (bool success,) = address(RAFFLE).call(_again);
        success;
    }

    function go(bytes calldata first, bytes calldata again) external {
        _again = again;
        (bool success, bytes memory reason) = address(RAFFLE).call(first);
        require(success, NotPaid(reason));
    }
}
