// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {QuantumCoordinator} from "../../contracts/QuantumCoordinator.sol";
import {IQuantumCoordinator} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {Handler} from "./support/Handler.sol";
import {Test} from "./support/Test.sol";

/// @notice What holds after any sequence of acts.
contract CoordinatorInvariantsTest is Test {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Handler private _handler;
    QuantumCoordinator private _coordinator;

    function setUp() public {
        _handler = new Handler();
        _coordinator = _handler.target();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory selectors = new bytes4[](16);
        selectors[0] = Handler.request.selector;
        selectors[1] = Handler.request.selector;
        selectors[2] = Handler.request.selector;
        selectors[3] = Handler.request.selector;
        selectors[4] = Handler.fulfill.selector;
        selectors[5] = Handler.fulfillRun.selector;
        selectors[6] = Handler.roll.selector;
        selectors[7] = Handler.cancel.selector;
        selectors[8] = Handler.cancel.selector;
        selectors[9] = Handler.redeliver.selector;
        selectors[10] = Handler.commit.selector;
        selectors[11] = Handler.discard.selector;
        selectors[12] = Handler.setFee.selector;
        selectors[13] = Handler.withdraw.selector;
        selectors[14] = Handler.collect.selector;
        selectors[15] = Handler.donate.selector;
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(_handler), selectors);
    }

    /// forge-config: default.invariant.fail_on_revert = true
    function invariant_coordinator_keepsItsBooks() public {
        assertEq(keccak256(bytes(_handler.surprise())), keccak256(""), _handler.surprise());
        _assertMoney();
        _assertRequests();
    }

    /// @dev Every wei that was paid is escrow, refunded, or earned; what is earned and not paid out is there, in the
    /// books or in a settled slot; what was given is nobody's.
    function _assertMoney() private {
        uint256 escrow = _handler.escrow();
        uint256 there = _handler.earned() - _handler.withdrawn();
        assertLe(_coordinator.earned(), there, "collected");
        _coordinator.collect(0, uint64(_coordinator.slotCount()));
        assertEq(_coordinator.earned(), there, "earned");
        assertEq(escrow + there + _handler.refunded() + _handler.withdrawn(), _handler.paid(), "paid");
        assertEq(address(_coordinator).balance, escrow + there + _handler.donated(), "balance");
        assertEq(_coordinator.cancellations(), _handler.cancelled(), "cancelled");
    }

    /// @dev No request is lost, none is delivered twice.
    function _assertRequests() private view {
        uint256 count = _handler.count();
        for (uint256 k; k < count; ++k) {
            (uint64 index, bytes32 id) = _handler.requestAt(k);
            Handler.State state = _handler.stateOf(id);
            IQuantumCoordinator.Status expected = state == Handler.State.Pending
                ? IQuantumCoordinator.Status.Pending
                : _handler.undelivered(id)
                    ? IQuantumCoordinator.Status.CallbackFailed
                    : IQuantumCoordinator.Status.NotPending;
            assertEq(uint256(_coordinator.status(index, id)), uint256(expected), "status");
            uint256 calls = _handler.good().callsOf(id) + _handler.bad().callsOf(id);
            assertLe(calls, state == Handler.State.Fulfilled ? 1 : 0, "calls");
        }
    }
}
