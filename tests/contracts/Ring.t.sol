// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {QuantumCoordinator} from "../../contracts/QuantumCoordinator.sol";
import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {RecordingConsumer} from "./support/Consumers.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";
import {Vm} from "./support/Vm.sol";

/// @notice More pending requests than the ring has slots.
contract RingTest is CoordinatorTest {
    uint256 private constant COUNT = 9;

    RecordingConsumer private _consumer;
    Request[] private _asked;

    function setUp() public override {
        super.setUp();
        _consumer = new RecordingConsumer();
    }

    function _config() internal pure override returns (QuantumCoordinator.Config memory config) {
        config = super._config();
        config.ringSize = 2;
    }

    function test_ring_overwritesNothingThatIsPending() public {
        Request[] memory requests = _requests(address(_consumer), COUNT);
        for (uint256 k; k < COUNT; ++k) {
            _assertStatus(requests[k], IQuantumCoordinator.Status.Pending);
        }
        _mine(1);
        _fulfill(requests);
        for (uint256 k; k < COUNT; ++k) {
            _assertServedOnce(requests[k]);
        }
        _assertCounts(COUNT, 0);
    }

    function test_ring_reusesASettledSlot() public {
        for (uint256 k; k < 6; ++k) {
            Request memory request = _request(address(_consumer));
            _mine(1);
            _fulfill(request);
            _assertServedOnce(request);
        }
        _assertCounts(6, 0);
    }

    /// @dev Overwriting a used slot saves what a fresh one costs more.
    function test_ring_reusingASlotIsCheap() public {
        Request[] memory requests = _requests(address(_consumer), 3);
        uint256 overflow = vm.lastCallGas().gasTotalUsed;
        _mine(WINDOW + 1);
        _cancel(requests[1]);
        _request(address(_consumer));
        assertLe(vm.lastCallGas().gasTotalUsed, overflow - 17_000, "gas of a reused slot");
    }

    function test_ring_reusesACancelledSlot() public {
        Request[] memory old = _requests(address(_consumer), 3);
        _mine(WINDOW + 1);
        for (uint256 k; k < 3; ++k) {
            _cancel(old[k]);
        }
        Request[] memory requests = _requests(address(_consumer), 3);
        _mine(1);
        _fulfill(requests);
        for (uint256 k; k < 3; ++k) {
            _assertServedOnce(requests[k]);
        }
        _assertCounts(3, 3);
    }

    /// @dev The overflow entry of 2 is passed by 4, which takes the slot of 0: both are pending at once.
    function test_ring_keepsOverflowBesideANewcomer() public {
        Request[] memory requests = _requests(address(_consumer), 4);
        _mine(1);
        _fulfill(requests[0]);
        Request memory newcomer = _request(address(_consumer));
        _assertStatus(requests[2], IQuantumCoordinator.Status.Pending);
        _assertStatus(newcomer, IQuantumCoordinator.Status.Pending);
        _mine(1);
        _fulfill(requests[2]);
        _assertStatus(newcomer, IQuantumCoordinator.Status.Pending);
        _fulfill(newcomer);
        _assertServedOnce(requests[2]);
        _assertServedOnce(newcomer);
    }

    function testFuzz_ring_servesEachOnceInAnyOrder(uint256 order) public {
        Request[] memory requests = _requests(address(_consumer), COUNT);
        _mine(1);
        for (uint256 left = COUNT; left > 0; --left) {
            uint256 k = order % left;
            order = uint256(keccak256(abi.encode(order)));
            _fulfill(requests[k]);
            _fulfill(requests[k]);
            _assertServedOnce(requests[k]);
            requests[k] = requests[left - 1];
        }
        _assertCounts(COUNT, 0);
        assertEq(_earned(), address(coordinator).balance, "earned");
    }

    /// @dev Requests, fulfillments and cancellations in any order; at the end everybody has words or money.
    function testFuzz_ring_losesNothing(uint256 order) public {
        uint256 fulfilled;
        uint256 cancelled;
        for (uint256 step; step < 40; ++step) {
            order = uint256(keccak256(abi.encode(order)));
            uint256 choice = order % 8;
            if (choice < 4 || _asked.length == 0) {
                _asked.push(_request(address(_consumer)));
            } else if (choice == 4) {
                _mine(WINDOW / 2);
            } else {
                _mine(1);
                (bool served, bool refunded) = _settle(order / 8 % _asked.length);
                if (served) ++fulfilled;
                if (refunded) ++cancelled;
            }
        }
        _mine(WINDOW + 1);
        while (_asked.length != 0) {
            order = uint256(keccak256(abi.encode(order)));
            _settle(order % _asked.length);
            ++cancelled;
        }
        _assertCounts(fulfilled, cancelled);
        assertEq(_consumer.calls(), fulfilled, "calls");
        assertEq(_earned(), address(coordinator).balance, "nothing but earnings is left");
    }

    function test_collect_takesWhatSettledRequestsEarned() public {
        Request[] memory requests = _requests(address(_consumer), 2);
        _mine(1);
        _fulfill(requests);
        uint256 sum = requests[0].terms.fee() + requests[1].terms.fee();
        assertEq(coordinator.earned(), 0, "earned before");
        vm.recordLogs();
        vm.prank(BOB);
        assertEq(coordinator.collect(0, 2), sum, "collected");
        assertEq(coordinator.collect(0, 2), 0, "collected twice");
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1, "events");
        assertEq(logs[0].topics[0], IQuantumCoordinator.EarningsCollected.selector, "event");
        assertEq(abi.decode(logs[0].data, (uint256)), sum, "amount");
        assertEq(coordinator.earned(), sum, "earned");
        assertEq(BOB.balance, 0, "balance of who collects");
    }

    function test_collect_takesNothingElse() public {
        Request[] memory requests = _requests(address(_consumer), 2);
        assertEq(coordinator.collect(0, 3), 0, "of pending requests, and of no slot");
        _mine(WINDOW + 1);
        _cancel(requests[0]);
        assertEq(coordinator.collect(0, 3), 0, "of a refunded request");
        _assertStatus(requests[1], IQuantumCoordinator.Status.Pending);
        _cancel(requests[1]);
        assertEq(coordinator.earned(), 0, "earned");
        _request(address(_consumer));
        assertEq(coordinator.earned(), 0, "earned by who took the slot of a refunded request");
    }

    function test_collect_takesAPart() public {
        Request[] memory requests = _requests(address(_consumer), 2);
        _mine(1);
        _fulfill(requests);
        assertEq(coordinator.collect(1, 1), requests[1].terms.fee(), "of the second");
        assertEq(coordinator.collect(1, 1), 0, "of the second again");
        assertEq(coordinator.collect(0, 1), requests[0].terms.fee(), "of the first");
    }

    function testFuzz_request_collectsWhatItsSlotEarned(uint64 tip) public {
        uint256 value = coordinator.fee(CALLBACK_GAS, 1) + tip;
        vm.deal(address(_consumer), value);
        vm.recordLogs();
        vm.prank(address(_consumer));
        coordinator.requestRandomness{value: value}(CALLBACK_GAS, 1, 1, 0);
        Request memory request = _requestIn(vm.getRecordedLogs()[0]);
        _mine(1);
        _fulfill(request);
        _request(address(_consumer)); // takes the other slot
        assertEq(coordinator.earned(), 0, "earned");
        _request(address(_consumer)); // takes this one
        assertEq(coordinator.earned(), value, "earned");
        assertEq(coordinator.collect(0, 2), 0, "collected");
    }

    /// @dev The most that a slot can hold, and still no request that is pending.
    function test_fulfill_earnsTheLargestFee() public {
        uint256 value = type(uint96).max;
        vm.deal(ALICE, value);
        vm.recordLogs();
        vm.prank(ALICE);
        coordinator.requestRandomness{value: value}(CALLBACK_GAS, 1, 1, 0);
        Request memory request = _requestIn(vm.getRecordedLogs()[0]);
        _mine(1);
        _fulfill(request);
        assertEq(coordinator.collect(0, 2), value, "collected");
        _assertCounts(1, 0);
    }

    /// @dev What has no slot is earned at once.
    function test_fulfill_earnsOfOverflowAtOnce() public {
        Request[] memory requests = _requests(address(_consumer), 3);
        _mine(1);
        _fulfill(requests[2]);
        assertEq(coordinator.earned(), requests[2].terms.fee(), "earned");
        assertEq(coordinator.collect(0, 2), 0, "collected");
    }

    /// @dev Fulfills a request or, when it is too old, cancels it.
    function _settle(uint256 which) private returns (bool served, bool refunded) {
        Request memory request = _asked[which];
        _assertStatus(request, IQuantumCoordinator.Status.Pending);
        uint256 before = address(_consumer).balance;
        if (height <= request.terms.requestBlock() + WINDOW) {
            _fulfill(request);
            _assertServedOnce(request);
            served = true;
        } else {
            _cancel(request);
            assertEq(address(_consumer).balance - before, request.terms.fee(), "refund");
            refunded = true;
        }
        _assertStatus(request, IQuantumCoordinator.Status.NotPending);
        _asked[which] = _asked[_asked.length - 1];
        _asked.pop();
    }

    function _cancel(Request memory request) private {
        vm.prank(request.requester);
        coordinator.cancel(request, payable(request.requester));
    }

    function _assertServedOnce(Request memory request) private view {
        assertEq(_consumer.callsOf(_idOf(request)), 1, "calls");
        assertEq(_consumer.wordsOf(_idOf(request)), _wordsOf(request), "words");
        _assertStatus(request, IQuantumCoordinator.Status.NotPending);
    }
}
