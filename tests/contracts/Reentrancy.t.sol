// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {RecordingConsumer, ReentrantConsumer} from "./support/Consumers.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";

/// @notice Callbacks that call the coordinator.
contract ReentrancyTest is CoordinatorTest {
    ReentrantConsumer private _consumer;
    RecordingConsumer private _bystander;

    function setUp() public override {
        super.setUp();
        _consumer = new ReentrantConsumer();
        _bystander = new RecordingConsumer();
    }

    function test_callback_fulfillsItsOwnRun() public {
        Request[] memory requests = new Request[](3);
        requests[0] = _request(address(_bystander));
        requests[1] = _request(address(_consumer), MAX_CALLBACK_GAS, 1, 1, 0);
        requests[2] = _request(address(_bystander));
        _mine(1);
        _consumer.arm(address(coordinator), _fulfillCall(requests), 0);
        _fulfill(requests);
        _assertAttempted(true);
        assertEq(_consumer.calls(), 1, "calls");
        for (uint256 k; k < 3; k += 2) {
            assertEq(_bystander.callsOf(_idOf(requests[k])), 1, "calls of a bystander");
            assertEq(_bystander.wordsOf(_idOf(requests[k])), _wordsOf(requests[k]), "words of a bystander");
        }
        _assertCounts(3, 0);
        assertEq(_earned(), address(coordinator).balance, "earned");
    }

    function test_callback_requestsAgain() public {
        Request memory request = _request(address(_consumer), MAX_CALLBACK_GAS, 1, 1, 0);
        uint256 fee = coordinator.fee(CALLBACK_GAS, 1);
        vm.deal(address(_consumer), fee);
        _mine(1);
        _consumer.arm(
            address(coordinator),
            abi.encodeCall(IQuantumCoordinator.requestRandomness, (CALLBACK_GAS, 1, 1, bytes32(0))),
            fee
        );
        vm.recordLogs();
        _fulfill(request);
        _assertAttempted(true);
        Request memory second = _requestIn(vm.getRecordedLogs()[0]);
        assertEq(second.terms.index(), 1, "index");
        _assertStatus(second, IQuantumCoordinator.Status.Pending);
        assertEq(_earned(), request.terms.fee(), "earned");
        _mine(1);
        _fulfill(second);
        assertEq(_consumer.calls(), 2, "calls");
        assertEq(_earned(), request.terms.fee() + fee, "earned by both");
    }

    function test_callback_cannotCancelItself() public {
        Request memory request = _request(address(_consumer), MAX_CALLBACK_GAS, 1, 1, 0);
        _mine(1);
        _consumer.arm(address(coordinator), _cancelCall(request), 0);
        _fulfill(request);
        _assertAttempted(false);
        assertEq(
            keccak256(_consumer.answer()),
            keccak256(
                abi.encodeWithSelector(
                    IQuantumCoordinator.WindowOpen.selector, request.terms.requestBlock() + WINDOW
                )
            ),
            "reason"
        );
        assertEq(address(_consumer).balance, 0, "balance");
        _assertCounts(1, 0);
    }

    function test_callback_cancelsAnother() public {
        Request memory old = _request(address(_consumer));
        _mine(WINDOW);
        Request memory request = _request(address(_consumer), MAX_CALLBACK_GAS, 1, 1, 0);
        _mine(1);
        _consumer.arm(address(coordinator), _cancelCall(old), 0);
        Request[] memory both = new Request[](2);
        (both[0], both[1]) = (old, request);
        _fulfill(both);
        _assertAttempted(true);
        assertEq(address(_consumer).balance, old.terms.fee(), "refund");
        _assertCounts(1, 1);
        assertEq(_earned(), request.terms.fee(), "earned");
        assertEq(address(coordinator).balance, request.terms.fee(), "balance");
    }

    function test_callback_cannotBeRedeliveredFromInside() public {
        bytes memory code = address(_consumer).code;
        vm.etch(address(_consumer), hex"fe");
        Request memory request = _request(address(_consumer), CALLBACK_GAS, 1, 1, 0);
        _mine(1);
        _fulfill(request);
        _assertStatus(request, IQuantumCoordinator.Status.CallbackFailed);
        vm.etch(address(_consumer), code);
        bytes memory payload = abi.encodeCall(
            IQuantumCoordinator.redeliver,
            (_idOf(request), address(_consumer), CALLBACK_GAS, 1, uint256(_outputOf(request)))
        );
        _consumer.arm(address(coordinator), payload, 0);
        (bool success,) = address(coordinator).call(payload);
        assertEq(success, true, "redelivered");
        _assertAttempted(false);
        assertEq(
            keccak256(_consumer.answer()),
            keccak256(abi.encodeWithSelector(IQuantumCoordinator.NotFailed.selector, _idOf(request))),
            "reason"
        );
        assertEq(_consumer.calls(), 1, "calls");
        _assertStatus(request, IQuantumCoordinator.Status.NotPending);
    }

    function test_refund_cannotBeTakenTwice() public {
        Request memory request = _request(address(_consumer));
        _request(ALICE); // more escrow to steal
        _mine(WINDOW + 1);
        RefundTaker taker = new RefundTaker();
        vm.etch(address(_consumer), address(taker).code);
        RefundTaker(payable(address(_consumer))).arm(address(coordinator), _cancelCall(request));
        RefundTaker(payable(address(_consumer))).go();
        assertEq(RefundTaker(payable(address(_consumer))).attempts(), 1, "attempts");
        assertEq(address(_consumer).balance, request.terms.fee(), "refund");
        _assertCounts(0, 1);
    }

    function _cancelCall(Request memory request) private view returns (bytes memory) {
        return abi.encodeCall(IQuantumCoordinator.cancel, (request, payable(address(_consumer))));
    }

    function _assertAttempted(bool success) private view {
        assertEq(_consumer.attempts(), 1, "attempts");
        assertEq(_consumer.success(), success, "success inside");
    }
}

/// @notice Cancels, and once more while it gets the refund.
contract RefundTaker {
    error NotCancelled();

    address private _target;
    bytes private _payload;
    uint256 public attempts;

    receive() external payable {
        ++attempts;
        (bool success,) = _target.call(_payload);
        if (success) ++attempts;
    }

    function arm(address target, bytes calldata payload) external {
        (_target, _payload) = (target, payload);
    }

    function go() external {
        (bool success,) = _target.call(_payload);
        require(success, NotCancelled());
    }
}
