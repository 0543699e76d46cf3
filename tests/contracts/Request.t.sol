// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {Terms, packTerms} from "../../contracts/types/Terms.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";
import {Vm} from "./support/Vm.sol";

/// @notice Asking: bounds, ids, events.
contract RequestTest is CoordinatorTest {
    function testFuzz_request_tellsAllThatAFulfillmentNeeds(
        uint32 callbackGasLimit,
        uint16 numWords,
        uint8 confirmations,
        bytes32 userSeed,
        uint96 surplus
    ) public {
        callbackGasLimit = uint32(bound(callbackGasLimit, 0, MAX_CALLBACK_GAS));
        numWords = uint16(bound(numWords, 1, 500));
        confirmations = uint8(bound(confirmations, 1, WINDOW / 2));
        uint256 value = coordinator.fee(callbackGasLimit, numWords) + surplus / 2;
        vm.deal(ALICE, value);
        vm.recordLogs();
        vm.prank(ALICE);
        bytes32 returned =
            coordinator.requestRandomness{value: value}(callbackGasLimit, numWords, confirmations, userSeed);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1, "events");
        assertEq(logs[0].emitter, address(coordinator), "emitter");
        assertEq(logs[0].topics[0], IQuantumCoordinator.RandomnessRequested.selector, "event");

        (uint256 terms, bytes32 seed) = abi.decode(logs[0].data, (uint256, bytes32));
        assertEq(uint64(terms), 0, "index");
        assertEq(uint32(terms >> 64), callbackGasLimit, "callback gas limit");
        assertEq(uint16(terms >> 96), numWords, "words");
        assertEq(uint8(terms >> 112), confirmations, "confirmations");
        assertEq(uint40(terms >> 120), height, "block");
        assertEq(terms >> 160, value, "fee");
        assertEq(seed, userSeed, "user seed");

        bytes32 domain = keccak256(abi.encode(block.chainid, coordinator));
        bytes32 id = keccak256(abi.encode(domain, ALICE, terms, userSeed));
        assertEq(returned, id, "returned id");
        assertEq(logs[0].topics[1], id, "emitted id");
        assertEq(address(uint160(uint256(logs[0].topics[2]))), ALICE, "requester");
        assertEq(_idOf(Request(ALICE, Terms.wrap(terms), userSeed)), id, "id of the request");
        _assertStatus(Request(ALICE, Terms.wrap(terms), userSeed), IQuantumCoordinator.Status.Pending);
        assertEq(address(coordinator).balance, value, "escrow");
    }

    function testFuzz_terms_unpackWhatWasPacked(
        uint64 index,
        uint32 callbackGasLimit,
        uint16 numWords,
        uint8 confirmations,
        uint40 requestBlock,
        uint96 fee
    ) public pure {
        Terms terms = packTerms(index, callbackGasLimit, numWords, confirmations, requestBlock, fee);
        assertEq(terms.index(), index, "index");
        assertEq(terms.callbackGasLimit(), callbackGasLimit, "callback gas limit");
        assertEq(terms.numWords(), numWords, "words");
        assertEq(terms.confirmations(), confirmations, "confirmations");
        assertEq(terms.requestBlock(), requestBlock, "block");
        assertEq(terms.fee(), fee, "fee");
    }

    function test_requestIdOf_differsWithEveryParticular() public {
        Request memory request = _request(ALICE);
        bytes32 id = _idOf(request);
        uint256 terms = Terms.unwrap(request.terms);
        for (uint256 bit; bit < 256; ++bit) {
            request.terms = Terms.wrap(terms ^ 1 << bit);
            assertEq(_idOf(request) == id, false, "id of other terms");
        }
        request.terms = Terms.wrap(terms);
        request.requester = BOB;
        assertEq(_idOf(request) == id, false, "id of another requester");
        request.requester = ALICE;
        request.userSeed = bytes32(uint256(1));
        assertEq(_idOf(request) == id, false, "id of another user seed");
        request.userSeed = 0;
        assertEq(_idOf(request), id, "id");
        _setUpCoordinator(_config());
        assertEq(_idOf(request) == id, false, "id on another coordinator");
    }

    function test_request_takesConsecutiveIndices() public {
        for (uint256 k; k < 20; ++k) {
            assertEq(_request(k % 2 == 0 ? ALICE : BOB).terms.index(), k, "index");
        }
        (uint64 next,) = coordinator.seeds();
        assertEq(next, 20, "next");
    }

    function test_request_takesTheLastSeed() public {
        _discardTo(511);
        assertEq(_request(ALICE).terms.index(), 511, "index");
    }

    function test_request_revertsWhen_everySeedIsTaken() public {
        _discardTo(512);
        _expectRevert(
            abi.encodeWithSelector(IQuantumCoordinator.NoSeed.selector), CALLBACK_GAS, 1, 1, 1 ether
        );
    }

    function test_request_takesBounds() public {
        _request(ALICE, 0, 1, 1, 0);
        _request(ALICE, MAX_CALLBACK_GAS, 500, uint8(WINDOW / 2), 0);
    }

    function test_request_revertsWhen_callbackGasIsTooHigh() public {
        bytes memory reason = abi.encodeWithSelector(
            IQuantumCoordinator.CallbackGasLimitTooHigh.selector, MAX_CALLBACK_GAS + 1, MAX_CALLBACK_GAS
        );
        _expectRevert(reason, MAX_CALLBACK_GAS + 1, 1, 1, 1 ether);
    }

    function test_request_revertsWhen_thereAreNoWords() public {
        _expectRevert(
            abi.encodeWithSelector(IQuantumCoordinator.InvalidNumWords.selector, 0), 0, 0, 1, 1 ether
        );
    }

    function test_request_revertsWhen_thereAreTooManyWords() public {
        bytes memory reason = abi.encodeWithSelector(IQuantumCoordinator.InvalidNumWords.selector, 501);
        _expectRevert(reason, 0, 501, 1, 1 ether);
    }

    function test_request_revertsWhen_thereAreNoConfirmations() public {
        bytes memory reason =
            abi.encodeWithSelector(IQuantumCoordinator.InvalidConfirmations.selector, 0, 128);
        _expectRevert(reason, 0, 1, 0, 1 ether);
    }

    function test_request_revertsWhen_thereAreTooManyConfirmations() public {
        bytes memory reason =
            abi.encodeWithSelector(IQuantumCoordinator.InvalidConfirmations.selector, 129, 128);
        _expectRevert(reason, 0, 1, 129, 1 ether);
    }

    function test_request_takesTheLargestFeeThatTermsHold() public {
        vm.deal(ALICE, type(uint96).max);
        vm.prank(ALICE);
        coordinator.requestRandomness{value: type(uint96).max}(0, 1, 1, 0);
    }

    function test_request_revertsWhen_feeIsMoreThanTermsHold() public {
        uint256 most = type(uint96).max;
        bytes memory reason =
            abi.encodeWithSelector(IQuantumCoordinator.ExcessiveFee.selector, most + 1, most);
        _expectRevert(reason, 0, 1, 1, most + 1);
    }

    function test_status_isOfThisIndexAndThisId() public {
        Request memory request = _request(ALICE);
        bytes32 id = _idOf(request);
        _assertStatus(request, IQuantumCoordinator.Status.Pending);
        assertEq(uint256(coordinator.status(1, id)), 0, "status of another index");
        assertEq(uint256(coordinator.status(0, keccak256("another"))), 0, "status of another id");
        assertEq(uint256(coordinator.status(1, 0)), 0, "status of an empty slot");
        _mine(1);
        _fulfill(request);
        assertEq(uint256(coordinator.status(0, bytes32(uint256(1)))), 0, "status of a used slot");
    }

    function _expectRevert(
        bytes memory reason,
        uint32 callbackGasLimit,
        uint16 numWords,
        uint8 confirmations,
        uint256 value
    ) private {
        vm.deal(ALICE, value);
        vm.expectRevert(reason);
        vm.prank(ALICE);
        coordinator.requestRandomness{value: value}(callbackGasLimit, numWords, confirmations, 0);
    }
}
