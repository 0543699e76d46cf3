// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {QuantumCoordinator} from "../../contracts/QuantumCoordinator.sol";
import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {Terms} from "../../contracts/types/Terms.sol";
import {RecordingConsumer, RevertingConsumer} from "./support/Consumers.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";
import {HISTORY, HISTORY_CODE, HISTORY_SLOTS} from "./support/History.sol";
import {Vm} from "./support/Vm.sol";

/// @notice Refunds after the window.
contract CancelTest is CoordinatorTest {
    function testFuzz_cancel_refundsTheWholeFee(uint96 surplus) public {
        uint256 value = coordinator.fee(CALLBACK_GAS, 1) + surplus / 2;
        vm.deal(ALICE, value);
        vm.recordLogs();
        vm.prank(ALICE);
        coordinator.requestRandomness{value: value}(CALLBACK_GAS, 1, 1, 0);
        Request memory request = _requestIn(vm.getRecordedLogs()[0]);
        _request(BOB);
        _mine(WINDOW + 1);
        vm.recordLogs();
        _cancel(request, BOB);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(BOB.balance, value, "refund");
        assertEq(logs.length, 1, "events");
        assertEq(logs[0].topics[0], IQuantumCoordinator.RequestCancelled.selector, "event");
        assertEq(logs[0].topics[1], _idOf(request), "id");
        assertEq(keccak256(logs[0].data), keccak256(abi.encode(0, BOB, value)), "index, receiver, amount");
        _assertStatus(request, IQuantumCoordinator.Status.NotPending);
        _assertCounts(0, 1);
        assertEq(_earned(), 0, "earned");
    }

    function test_cancel_paysAnyReceiver() public {
        RecordingConsumer receiver = new RecordingConsumer();
        Request memory request = _request(ALICE);
        _mine(WINDOW + 1);
        _cancel(request, address(receiver));
        assertEq(address(receiver).balance, request.terms.fee(), "refund");
    }

    function test_cancel_revertsWhen_theReceiverIsZero() public {
        Request memory request = _request(ALICE);
        _mine(WINDOW + 1);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidReceiver.selector));
        _cancel(request, address(0));
        _assertStatus(request, IQuantumCoordinator.Status.Pending);
    }

    function test_cancel_worksLongAfterTheWindow() public {
        Request memory request = _request(ALICE);
        _discardTo(512);
        _mine(1_000_000);
        _cancel(request, ALICE);
        assertEq(ALICE.balance, request.terms.fee(), "refund");
    }

    function testFuzz_cancel_revertsWhen_theWindowIsOpen(uint16 blocks) public {
        Request memory request = _request(ALICE);
        uint256 last = height + WINDOW;
        _mine(blocks % (WINDOW + 1));
        _expectCancel(abi.encodeWithSelector(IQuantumCoordinator.WindowOpen.selector, last), request);
        _assertStatus(request, IQuantumCoordinator.Status.Pending);
    }

    function test_cancel_isNeverPossibleInABlockWhereFulfillIs() public {
        Request memory request = _request(ALICE);
        _mine(WINDOW);
        _expectCancel(abi.encodeWithSelector(IQuantumCoordinator.WindowOpen.selector, height), request);
        uint256 state = vm.snapshotState();
        _fulfill(request);
        _assertCounts(1, 0);
        vm.revertToState(state);
        _mine(1);
        _fulfill(request);
        _assertCounts(0, 0);
        _cancel(request, ALICE);
        _assertCounts(0, 1);
    }

    /// @dev The same where the hash comes from EIP-2935.
    function testFuzz_block_allowsFulfillingOrCancellingInALongWindow(uint16 blocks) public {
        uint16 window = 8191;
        vm.etch(HISTORY, HISTORY_CODE);
        vm.store(HISTORY, bytes32((height - 1) % HISTORY_SLOTS), _blockhash(height - 1));
        QuantumCoordinator.Config memory config = _config();
        config.window = window;
        _setUpCoordinator(config);
        vm.store(HISTORY, bytes32(height % HISTORY_SLOTS), _blockhash(height));
        _assertFulfillOrCancel(uint16(bound(blocks, window - 200, window + 200)), 1, window);
    }

    /// @dev In whatever block: fulfilling, cancelling, or neither.
    function testFuzz_block_allowsFulfillingOrCancelling(uint16 blocks, uint8 confirmations) public {
        confirmations = uint8(bound(confirmations, 1, WINDOW / 2));
        _assertFulfillOrCancel(uint16(bound(blocks, 0, 3 * WINDOW)), confirmations, WINDOW);
    }

    function _assertFulfillOrCancel(uint16 blocks, uint8 confirmations, uint16 window) private {
        Request memory request = _request(ALICE, CALLBACK_GAS, 1, confirmations, 0);
        _mine(blocks);
        uint256 state = vm.snapshotState();
        _fulfill(request);
        bool fulfilled = _statusOf(request) == uint256(IQuantumCoordinator.Status.NotPending);
        vm.revertToState(state);
        vm.prank(ALICE);
        (bool cancelled,) =
            address(coordinator).call(abi.encodeCall(IQuantumCoordinator.cancel, (request, payable(ALICE))));
        assertEq(fulfilled, blocks >= confirmations && blocks <= window, "fulfilled");
        assertEq(cancelled, blocks > window, "cancelled");
    }

    function testFuzz_cancel_revertsWhen_callerIsNotRequester(address caller) public {
        vm.assume(caller != ALICE);
        Request memory request = _request(ALICE);
        _mine(WINDOW + 1);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.NotRequester.selector, caller, ALICE));
        vm.prank(caller);
        coordinator.cancel(request, payable(BOB));
        request.requester = caller;
        bytes32 id = _idOf(request);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.NotPending.selector, id));
        vm.prank(caller);
        coordinator.cancel(request, payable(BOB));
    }

    function test_cancel_revertsWhen_itIsCancelled() public {
        Request memory request = _request(ALICE);
        _request(ALICE);
        _mine(WINDOW + 1);
        _cancel(request, ALICE);
        _expectNotPending(request);
        assertEq(ALICE.balance, request.terms.fee(), "refund");
    }

    function test_cancel_revertsWhen_itIsFulfilled() public {
        Request memory request = _request(ALICE);
        _request(ALICE);
        _mine(1);
        _fulfill(request);
        _mine(WINDOW);
        _expectNotPending(request);
    }

    function test_cancel_revertsWhen_itsCallbackFailed() public {
        address consumer = address(new RevertingConsumer());
        Request memory request = _request(consumer);
        _mine(1);
        _fulfill(request);
        _mine(WINDOW);
        bytes32 id = _idOf(request);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.NotPending.selector, id));
        vm.prank(consumer);
        coordinator.cancel(request, payable(ALICE));
    }

    function testFuzz_cancel_revertsWhen_theTermsAreAnother(uint8 bit) public {
        Request memory request = _request(ALICE);
        Terms terms = request.terms;
        _mine(2 * WINDOW);
        request.terms = Terms.wrap(Terms.unwrap(terms) ^ 1 << bit);
        vm.assume(request.terms.requestBlock() + WINDOW < height);
        _expectNotPending(request);
        request.terms = terms;
        _cancel(request, ALICE);
    }

    function test_cancel_losesNothingWhen_theReceiverRefuses() public {
        address receiver = address(new RevertingConsumer());
        Request memory request = _request(ALICE);
        _mine(WINDOW + 1);
        vm.expectRevert(abi.encodeWithSelector(RevertingConsumer.Refused.selector, "no ether"));
        vm.prank(ALICE);
        coordinator.cancel(request, payable(receiver));
        _assertStatus(request, IQuantumCoordinator.Status.Pending);
        _assertCounts(0, 0);
        _cancel(request, ALICE);
        assertEq(ALICE.balance, request.terms.fee(), "refund");
    }

    function _cancel(Request memory request, address to) private {
        vm.prank(request.requester);
        coordinator.cancel(request, payable(to));
    }

    function _expectCancel(bytes memory reason, Request memory request) private {
        vm.expectRevert(reason);
        _cancel(request, ALICE);
    }

    function _expectNotPending(Request memory request) private {
        bytes memory reason = abi.encodeWithSelector(IQuantumCoordinator.NotPending.selector, _idOf(request));
        _expectCancel(reason, request);
    }
}
