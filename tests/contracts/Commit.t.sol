// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";
import {Vm} from "./support/Vm.sol";

/// @notice Committing roots and giving seeds up.
contract CommitTest is CoordinatorTest {
    bytes32 private constant ROOT = keccak256("root");

    function test_commit_appendsRoots() public {
        bytes32[] memory roots = new bytes32[](3);
        (roots[0], roots[1], roots[2]) = (keccak256("a"), keccak256("b"), keccak256("c"));
        vm.recordLogs();
        vm.prank(OPERATOR);
        coordinator.commit(512, roots);
        Vm.Log memory log = vm.getRecordedLogs()[0];
        (, uint64 committed) = coordinator.seeds();
        assertEq(committed, 512 + 3 * 256, "committed");
        for (uint256 k; k < 3; ++k) {
            assertEq(coordinator.rootOf(2 + k), roots[k], "root");
        }
        assertEq(coordinator.rootOf(5), 0, "root that is not committed");
        assertEq(log.topics[0], IQuantumCoordinator.RootsCommitted.selector, "event");
        assertEq(uint256(log.topics[1]), 512, "first");
        assertEq(keccak256(log.data), keccak256(abi.encode(roots)), "roots");
    }

    function test_commit_leavesOlderRootsAlone() public {
        bytes32 before = coordinator.rootOf(1);
        _commit(512, ROOT);
        assertEq(coordinator.rootOf(1), before, "root");
        assertEq(before, _node(address(coordinator), 1, 1), "root of the second batch");
    }

    function testFuzz_commit_revertsWhen_callerIsNotOperator(address caller) public {
        vm.assume(caller != OPERATOR);
        bytes32[] memory roots = new bytes32[](1);
        roots[0] = ROOT;
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.NotOperator.selector, caller));
        vm.prank(caller);
        coordinator.commit(512, roots);
    }

    function testFuzz_commit_revertsWhen_firstIsNotTheNext(uint64 first) public {
        vm.assume(first != 512);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.UnexpectedFirstIndex.selector, first, 512));
        _commit(first, ROOT);
    }

    function test_commit_revertsWhen_thereIsNoRoot() public {
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidRoots.selector));
        vm.prank(OPERATOR);
        coordinator.commit(512, new bytes32[](0));
    }

    function test_commit_revertsWhen_anyRootIsZero() public {
        bytes32[] memory roots = new bytes32[](3);
        (roots[0], roots[2]) = (ROOT, ROOT);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidRoots.selector));
        vm.prank(OPERATOR);
        coordinator.commit(512, roots);
        assertEq(coordinator.rootOf(2), 0, "root");
    }

    /// @dev Slot 2 holds the counters: `committed` is 40 bits from bit 40 on.
    function test_commit_revertsWhen_thereAreNoMoreIndices() public {
        uint256 counters = uint256(vm.load(address(coordinator), bytes32(uint256(2))));
        uint256 last = 2 ** 40 - 256;
        counters = counters & ~(uint256(type(uint40).max) << 40) | last << 40;
        vm.store(address(coordinator), bytes32(uint256(2)), bytes32(counters));
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidRoots.selector));
        _commit(uint64(last), keccak256("root"));
        counters -= 256 << 40;
        vm.store(address(coordinator), bytes32(uint256(2)), bytes32(counters));
        _commit(uint64(last - 256), keccak256("root"));
    }

    function test_discard_movesTheNextIndex() public {
        vm.recordLogs();
        _discardTo(300);
        Vm.Log memory log = vm.getRecordedLogs()[0];
        (uint64 next, uint64 committed) = coordinator.seeds();
        assertEq(next, 300, "next");
        assertEq(committed, 512, "committed");
        assertEq(log.topics[0], IQuantumCoordinator.SeedsDiscarded.selector, "event");
        assertEq(keccak256(log.data), keccak256(abi.encode(0, 300)), "range");
        assertEq(_request(ALICE).terms.index(), 300, "index");
    }

    function test_discard_leavesPendingRequestsServable() public {
        Request[] memory requests = _requests(ALICE, 2);
        _discardTo(512);
        _mine(1);
        _fulfill(requests);
        _assertCounts(2, 0);
    }

    function test_discard_takesBounds() public {
        _discardTo(10);
        _expectInvalidDiscard(10, 10);
        _expectInvalidDiscard(513, 10);
        _discardTo(11);
        _discardTo(512);
        _expectInvalidDiscard(512, 512);
    }

    function testFuzz_discard_revertsWhen_indexIsOutOfRange(uint64 upTo) public {
        _discardTo(10);
        vm.assume(upTo <= 10 || upTo > 512);
        _expectInvalidDiscard(upTo, 10);
    }

    function testFuzz_discard_revertsWhen_callerIsNotOperator(address caller) public {
        vm.assume(caller != OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.NotOperator.selector, caller));
        vm.prank(caller);
        coordinator.discard(1);
    }

    function _expectInvalidDiscard(uint64 upTo, uint64 next) private {
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidDiscard.selector, upTo, next, 512));
        _discardTo(upTo);
    }

    function _commit(uint64 first, bytes32 root) private {
        bytes32[] memory roots = new bytes32[](1);
        roots[0] = root;
        vm.prank(OPERATOR);
        coordinator.commit(first, roots);
    }
}
