// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {QuantumCoordinator} from "../../contracts/QuantumCoordinator.sol";
import {IQuantumCoordinator} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";
import {HISTORY, HISTORY_CODE, HISTORY_SLOTS} from "./support/History.sol";

/// @notice What a coordinator can be deployed with, and who may do what with it.
contract DeploymentTest is CoordinatorTest {
    function test_constructor_keepsItsConfiguration() public view {
        assertEq(coordinator.owner(), OWNER, "owner");
        assertEq(coordinator.operator(), OPERATOR, "operator");
        assertEq(coordinator.window(), WINDOW, "window");
        assertEq(coordinator.callbackGasLimitMax(), MAX_CALLBACK_GAS, "max callback gas");
        assertEq(coordinator.slotCount(), 8, "slots");
        assertEq(coordinator.deployedAt(), height, "block");
        assertEq(coordinator.feeAt(0, 1, 0), FLAT_FEE, "flat fee");
        (uint64 next, uint64 committed) = coordinator.seeds();
        assertEq(next, 0, "next");
        assertEq(committed, 2 * BATCH, "committed");
    }

    function test_constructor_takesWindowsThatTheOpcodeCovers() public {
        assertEq(_deploy(64).window(), 64, "shortest");
        assertEq(_deploy(256).window(), 256, "longest");
    }

    function test_constructor_revertsWhen_windowIsTooShort() public {
        _expectInvalidWindow(63);
        _deploy(63);
    }

    function test_constructor_takesLongWindowsWhere_historyAgrees() public {
        _writeHistory(_blockhash(height - 1));
        assertEq(_deploy(257).window(), 257, "shortest");
        assertEq(_deploy(8191).window(), 8191, "longest");
    }

    function test_constructor_revertsWhen_windowIsLongerThanHistory() public {
        _writeHistory(_blockhash(height - 1));
        _expectInvalidWindow(8192);
        _deploy(8192);
    }

    function test_constructor_revertsWhen_windowIsLongWithoutHistory() public {
        _expectInvalidWindow(257);
        _deploy(257);
    }

    function test_constructor_revertsWhen_historyDisagrees() public {
        _writeHistory(keccak256("another block"));
        _expectInvalidWindow(257);
        _deploy(257);
    }

    function test_constructor_revertsWhen_historyAnswersShort() public {
        vm.etch(HISTORY, hex"60105ff3"); // returns 16 bytes
        _expectInvalidWindow(257);
        _deploy(257);
    }

    function test_constructor_revertsWhen_thereIsNoOperator() public {
        QuantumCoordinator.Config memory config = _config();
        config.operator = address(0);
        _expectInvalidConfig(config);
    }

    function test_constructor_revertsWhen_theRingHasNoSlot() public {
        QuantumCoordinator.Config memory config = _config();
        config.ringSize = 0;
        _expectInvalidConfig(config);
    }

    function test_constructor_revertsWhen_theRingIsNoPowerOfTwo() public {
        QuantumCoordinator.Config memory config = _config();
        config.ringSize = 3;
        _expectInvalidConfig(config);
    }

    function test_constructor_revertsWhen_noCallbackGasCanBePromised() public {
        QuantumCoordinator.Config memory config = _config();
        config.callbackGasLimitMax = 0;
        _expectInvalidConfig(config);
    }

    function test_constructor_revertsWhen_thereIsNoOwner() public {
        QuantumCoordinator.Config memory config = _config();
        config.owner = address(0);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableInvalidOwner.selector, address(0)));
        new QuantumCoordinator(config);
    }

    function test_constructor_revertsWhen_flatFeeIsOutOfBounds() public {
        QuantumCoordinator.Config memory config = _config();
        config.flatFeeGwei = config.maxFlatFeeGwei + 1;
        vm.expectRevert(
            abi.encodeWithSelector(
                IQuantumCoordinator.FeeOutOfBounds.selector, config.flatFeeGwei, config.maxFlatFeeGwei
            )
        );
        new QuantumCoordinator(config);
    }

    function test_constructor_revertsWhen_marginIsOutOfBounds() public {
        QuantumCoordinator.Config memory config = _config();
        config.gasMarginBps = config.maxGasMarginBps + 1;
        vm.expectRevert(
            abi.encodeWithSelector(
                IQuantumCoordinator.FeeOutOfBounds.selector, config.gasMarginBps, config.maxGasMarginBps
            )
        );
        new QuantumCoordinator(config);
    }

    function test_setOperator_movesTheRole() public {
        vm.prank(OWNER);
        coordinator.setOperator(BOB);
        assertEq(coordinator.operator(), BOB, "operator");
        vm.prank(BOB);
        coordinator.discard(1);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.NotOperator.selector, OPERATOR));
        vm.prank(OPERATOR);
        coordinator.discard(2);
    }

    function test_setOperator_revertsWhen_operatorIsZero() public {
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidConfig.selector));
        vm.prank(OWNER);
        coordinator.setOperator(address(0));
    }

    function testFuzz_setOperator_revertsWhen_callerIsNotOwner(address caller) public {
        vm.assume(caller != OWNER);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, caller));
        vm.prank(caller);
        coordinator.setOperator(BOB);
    }

    function test_transferOwnership_takesTwoSteps() public {
        vm.prank(OWNER);
        coordinator.transferOwnership(BOB);
        assertEq(coordinator.owner(), OWNER, "owner before acceptance");
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, ALICE));
        vm.prank(ALICE);
        coordinator.acceptOwnership();
        vm.prank(BOB);
        coordinator.acceptOwnership();
        assertEq(coordinator.owner(), BOB, "owner after acceptance");
    }

    function test_renounceOwnership_reverts() public {
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidConfig.selector));
        vm.prank(OWNER);
        coordinator.renounceOwnership();
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, BOB));
        vm.prank(BOB);
        coordinator.renounceOwnership();
        assertEq(coordinator.owner(), OWNER, "owner");
    }

    function test_receive_refusesPlainEther() public {
        vm.deal(ALICE, 1 ether);
        vm.prank(ALICE);
        (bool accepted,) = address(coordinator).call{value: 1 ether}("");
        assertEq(accepted, false, "accepted");
    }

    function _deploy(uint16 window) private returns (QuantumCoordinator) {
        QuantumCoordinator.Config memory config = _config();
        config.window = window;
        return new QuantumCoordinator(config);
    }

    function _writeHistory(bytes32 hash) private {
        vm.etch(HISTORY, HISTORY_CODE);
        vm.store(HISTORY, bytes32((height - 1) % HISTORY_SLOTS), hash);
    }

    function _expectInvalidWindow(uint256 window) private {
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidWindow.selector, window));
    }

    function _expectInvalidConfig(QuantumCoordinator.Config memory config) private {
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidConfig.selector));
        new QuantumCoordinator(config);
    }
}
