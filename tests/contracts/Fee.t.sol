// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Errors} from "@openzeppelin/contracts/utils/Errors.sol";

import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {RevertingConsumer} from "./support/Consumers.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";
import {Vm} from "./support/Vm.sol";

/// @notice What a request costs, who sets it, and who gets it.
/// forge-config: default.isolate = false
contract FeeTest is CoordinatorTest {
    function testFuzz_fee_isTheFlatFeeAndTheGas(uint32 callbackGasLimit, uint16 numWords, uint64 baseFee)
        public
        view
    {
        uint256 units = 81_000 + 200 * uint256(numWords) + uint256(callbackGasLimit) * 64 / 63;
        uint256 expected = FLAT_FEE + units * baseFee * MARGIN / 10_000;
        assertEq(coordinator.feeAt(callbackGasLimit, numWords, baseFee), expected, "fee");
    }

    function testFuzz_fee_isFeeAtTheBaseFee(uint32 callbackGasLimit, uint16 numWords, uint64 baseFee) public {
        vm.fee(baseFee);
        uint256 expected = coordinator.feeAt(callbackGasLimit, numWords, baseFee);
        assertEq(coordinator.fee(callbackGasLimit, numWords), expected, "fee");
    }

    function testFuzz_feeAt_revertsWhen_theBaseFeeIsAbsurd(uint256 baseFee) public {
        baseFee = bound(baseFee, uint256(type(uint128).max) + 1, type(uint256).max);
        vm.expectRevert(
            abi.encodeWithSelector(IQuantumCoordinator.FeeOutOfBounds.selector, baseFee, type(uint128).max)
        );
        coordinator.feeAt(CALLBACK_GAS, 1, baseFee);
    }

    function testFuzz_request_takesExactlyTheFee(uint16 numWords, uint64 baseFee) public {
        numWords = uint16(bound(numWords, 1, 500));
        vm.fee(baseFee);
        uint256 required = coordinator.feeAt(CALLBACK_GAS, numWords, baseFee);
        vm.assume(required <= type(uint96).max);
        vm.deal(ALICE, required);
        vm.prank(ALICE);
        coordinator.requestRandomness{value: required}(CALLBACK_GAS, numWords, 1, 0);
        assertEq(address(coordinator).balance, required, "escrow");
    }

    function testFuzz_request_revertsWhen_feeIsTooLow(uint16 numWords, uint64 baseFee) public {
        numWords = uint16(bound(numWords, 1, 500));
        vm.fee(baseFee);
        uint256 required = coordinator.feeAt(CALLBACK_GAS, numWords, baseFee);
        vm.deal(ALICE, required);
        vm.expectRevert(
            abi.encodeWithSelector(IQuantumCoordinator.InsufficientFee.selector, required - 1, required)
        );
        vm.prank(ALICE);
        coordinator.requestRandomness{value: required - 1}(CALLBACK_GAS, numWords, 1, 0);
    }

    function test_setFee_takesBounds() public {
        vm.recordLogs();
        vm.prank(OPERATOR);
        coordinator.setFee(MAX_FLAT_FEE_GWEI, MAX_MARGIN);
        Vm.Log memory log = vm.getRecordedLogs()[0];
        assertEq(coordinator.feeAt(0, 0, 0), MAX_FLAT_FEE, "flat fee");
        assertEq(coordinator.feeAt(0, 0, 1 gwei), MAX_FLAT_FEE + 81_000 gwei * 3, "fee with the gas");
        assertEq(log.topics[0], IQuantumCoordinator.FeeChanged.selector, "event");
        assertEq(keccak256(log.data), keccak256(abi.encode(MAX_FLAT_FEE_GWEI, MAX_MARGIN)), "parameters");
        vm.prank(OPERATOR);
        coordinator.setFee(0, 0);
        assertEq(coordinator.feeAt(CALLBACK_GAS, 500, 1 gwei), 0, "no fee");
    }

    function test_setFee_revertsWhen_flatFeeIsOutOfBounds() public {
        vm.expectRevert(
            abi.encodeWithSelector(
                IQuantumCoordinator.FeeOutOfBounds.selector, MAX_FLAT_FEE_GWEI + 1, MAX_FLAT_FEE_GWEI
            )
        );
        vm.prank(OPERATOR);
        coordinator.setFee(MAX_FLAT_FEE_GWEI + 1, 0);
    }

    function test_setFee_revertsWhen_marginIsOutOfBounds() public {
        vm.expectRevert(
            abi.encodeWithSelector(IQuantumCoordinator.FeeOutOfBounds.selector, MAX_MARGIN + 1, MAX_MARGIN)
        );
        vm.prank(OPERATOR);
        coordinator.setFee(0, MAX_MARGIN + 1);
    }

    function testFuzz_setFee_revertsWhen_callerIsNotOperator(address caller) public {
        vm.assume(caller != OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.NotOperator.selector, caller));
        vm.prank(caller);
        coordinator.setFee(0, 0);
    }

    function test_setFee_leavesSeedsAndPendingRequestsAlone() public {
        Request memory request = _request(ALICE);
        vm.prank(OPERATOR);
        coordinator.setFee(MAX_FLAT_FEE_GWEI, MAX_MARGIN);
        (uint64 next, uint64 committed) = coordinator.seeds();
        assertEq(next, 1, "next");
        assertEq(committed, 512, "committed");
        _mine(1);
        _fulfill(request);
        assertEq(_earned(), request.terms.fee(), "earned");
    }

    function test_withdraw_paysWhatIsEarned() public {
        Request memory request = _request(ALICE);
        _request(ALICE);
        _mine(1);
        _fulfill(request);
        uint256 fee = request.terms.fee();
        assertEq(_earned(), fee, "earned");
        vm.recordLogs();
        vm.prank(OWNER);
        coordinator.withdraw(payable(BOB), fee - 1);
        Vm.Log memory log = vm.getRecordedLogs()[0];
        assertEq(BOB.balance, fee - 1, "paid out");
        assertEq(_earned(), 1, "earned");
        assertEq(log.topics[0], IQuantumCoordinator.EarningsWithdrawn.selector, "event");
        assertEq(log.topics[1], bytes32(uint256(uint160(BOB))), "to");
        assertEq(keccak256(log.data), keccak256(abi.encode(fee - 1)), "payout");
        vm.prank(OWNER);
        coordinator.withdraw(payable(BOB), 1);
        assertEq(BOB.balance, fee, "paid out");
        _expectInsufficientEarnings(1, 0);
    }

    function test_withdraw_revertsWhen_theReceiverIsZero() public {
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidReceiver.selector));
        vm.prank(OWNER);
        coordinator.withdraw(payable(address(0)), 0);
    }

    function test_withdraw_neverPaysEscrow() public {
        Request memory cancelled = _request(ALICE);
        Request memory fulfilled = _request(ALICE);
        _expectInsufficientEarnings(1, 0);
        _mine(1);
        _fulfill(fulfilled);
        _collectAll();
        _expectInsufficientEarnings(fulfilled.terms.fee() + 1, fulfilled.terms.fee());
        _mine(WINDOW);
        _collectAll();
        _expectInsufficientEarnings(fulfilled.terms.fee() + 1, fulfilled.terms.fee());
        vm.prank(ALICE);
        coordinator.cancel(cancelled, payable(ALICE));
        _collectAll();
        _expectInsufficientEarnings(fulfilled.terms.fee() + 1, fulfilled.terms.fee());
        vm.prank(OWNER);
        coordinator.withdraw(payable(OWNER), fulfilled.terms.fee());
        assertEq(address(coordinator).balance, 0, "balance");
    }

    function test_withdraw_revertsWhen_theReceiverRefuses() public {
        Request memory request = _request(ALICE);
        _mine(1);
        _fulfill(request);
        _collectAll();
        RevertingConsumer receiver = new RevertingConsumer();
        vm.expectRevert(abi.encodeWithSelector(RevertingConsumer.Refused.selector, "no ether"));
        vm.prank(OWNER);
        coordinator.withdraw(payable(receiver), 1);
        assertEq(_earned(), request.terms.fee(), "earned");
    }

    function testFuzz_withdraw_revertsWhen_callerIsNotOwner(address caller) public {
        vm.assume(caller != OWNER);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, caller));
        vm.prank(caller);
        coordinator.withdraw(payable(caller), 0);
    }

    function _collectAll() private {
        coordinator.collect(0, uint64(coordinator.slotCount()));
    }

    function _expectInsufficientEarnings(uint256 amount, uint256 earned) private {
        vm.expectRevert(
            abi.encodeWithSelector(IQuantumCoordinator.InsufficientEarnings.selector, amount, earned)
        );
        vm.prank(OWNER);
        coordinator.withdraw(payable(OWNER), amount);
    }
}
