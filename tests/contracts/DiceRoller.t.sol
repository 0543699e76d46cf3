// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RandomnessConsumer} from "../../contracts/RandomnessConsumer.sol";
import {DiceRoller} from "../../contracts/examples/DiceRoller.sol";
import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";

/// @notice The example from the roll to the faces.
contract DiceRollerTest is CoordinatorTest {
    /// @dev The most words that a request may ask for.
    uint16 private constant MOST = 500;

    DiceRoller private _dice;

    function setUp() public override {
        super.setUp();
        _dice = new DiceRoller(coordinator);
    }

    function testFuzz_roll_landsOnFaces(uint16 count) public {
        count = uint16(bound(count, 1, 60));
        _assertLands(count);
    }

    function test_roll_landsOneDie() public {
        _assertLands(1);
    }

    function test_roll_landsTheMost() public {
        assertLe(_dice.gasFor(MOST), MAX_CALLBACK_GAS, "gas");
        _assertLands(MOST);
    }

    function test_roll_showsEveryFaceInTheEnd() public {
        Request memory request = _roll(200);
        _mine(1);
        _fulfill(request);
        uint8[] memory faces = _dice.facesOf(_idOf(request));
        uint256[7] memory seen;
        for (uint256 k; k < 200; ++k) {
            ++seen[faces[k]];
        }
        assertEq(seen[0], 0, "zeros");
        for (uint256 face = 1; face <= 6; ++face) {
            assertGe(seen[face], 10, "times a face was seen");
        }
    }

    function test_roll_showsNothingWhileTheDiceAreInTheAir() public {
        Request memory request = _roll(2);
        assertEq(_dice.facesOf(_idOf(request)).length, 0, "faces");
        assertEq(_dice.playerOf(_idOf(request)), ALICE, "player");
        assertEq(request.requester, address(_dice), "requester");
    }

    function test_roll_revertsWhen_thePriceIsNotPaid() public {
        uint256 price = coordinator.fee(_dice.gasFor(2), 2);
        assertEq(_dice.priceAt(2, block.basefee), price * 5 / 4, "price with its margin");
        vm.deal(ALICE, price);
        vm.expectRevert(
            abi.encodeWithSelector(IQuantumCoordinator.InsufficientFee.selector, price - 1, price)
        );
        vm.prank(ALICE);
        _dice.roll{value: price - 1}(2);
    }

    function testFuzz_rawFulfillRandomness_revertsWhen_callerIsNotTheCoordinator(address caller) public {
        vm.assume(caller != address(coordinator));
        bytes32 id = _idOf(_roll(1));
        vm.expectRevert(abi.encodeWithSelector(RandomnessConsumer.NotCoordinator.selector, caller));
        vm.prank(caller);
        _dice.rawFulfillRandomness(id, new uint256[](1));
    }

    function test_cancel_refundsThePlayer() public {
        Request memory request = _roll(2);
        _mine(WINDOW + 1);
        vm.prank(ALICE);
        _dice.cancel(request);
        assertEq(ALICE.balance, request.terms.fee(), "refund");
        assertEq(_dice.playerOf(_idOf(request)), address(0), "player");
    }

    function test_cancel_revertsWhen_theDiceCanStillLand() public {
        Request memory request = _roll(2);
        _mine(WINDOW);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.WindowOpen.selector, height));
        vm.prank(ALICE);
        _dice.cancel(request);
    }

    function test_cancel_revertsWhen_theRollIsSomebodyElses() public {
        Request memory request = _roll(2);
        _mine(WINDOW + 1);
        bytes32 id = _idOf(request);
        vm.expectRevert(abi.encodeWithSelector(DiceRoller.NotYourRoll.selector, id));
        vm.prank(BOB);
        _dice.cancel(request);
    }

    function test_cancel_revertsWhen_theDiceHaveLanded() public {
        Request memory request = _roll(2);
        _mine(1);
        _fulfill(request);
        _mine(WINDOW);
        bytes32 id = _idOf(request);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.NotPending.selector, id));
        vm.prank(ALICE);
        _dice.cancel(request);
    }

    function _roll(uint16 count) private returns (Request memory) {
        uint256 price = _dice.priceAt(count, block.basefee);
        vm.deal(ALICE, price);
        vm.recordLogs();
        vm.prank(ALICE);
        _dice.roll{value: price}(count);
        return _requestIn(vm.getRecordedLogs()[0]);
    }

    function _assertLands(uint16 count) private {
        Request memory request = _roll(count);
        _mine(1);
        _fulfill(request);
        _assertStatus(request, IQuantumCoordinator.Status.NotPending);
        uint8[] memory faces = _dice.facesOf(_idOf(request));
        assertEq(faces.length, count, "dice");
        bytes32 output = _outputOf(request);
        for (uint256 k; k < count; ++k) {
            assertEq(faces[k], uint256(keccak256(abi.encode(output, k))) % 6 + 1, "face");
        }
    }
}
