// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {QuantumCoordinator} from "../../contracts/QuantumCoordinator.sol";
import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {Terms} from "../../contracts/types/Terms.sol";
import {RecordingConsumer, StatusConsumer} from "./support/Consumers.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";
import {HISTORY, HISTORY_CODE, HISTORY_SLOTS} from "./support/History.sol";
import {Vm} from "./support/Vm.sol";

/// @notice Serving: what, when, how often, with which value.
contract FulfillTest is CoordinatorTest {
    RecordingConsumer private _consumer;

    function setUp() public override {
        super.setUp();
        _consumer = new RecordingConsumer();
    }

    function test_fulfill_deliversTheValue() public {
        Request memory request = _request(address(_consumer), CALLBACK_GAS, 3, 1, keccak256("mine"));
        _mine(1);
        vm.recordLogs();
        _fulfill(request);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1, "events");
        assertEq(logs[0].topics[0], IQuantumCoordinator.RandomnessFulfilled.selector, "event");
        assertEq(logs[0].topics[1], _idOf(request), "id");
        assertEq(keccak256(logs[0].data), keccak256(abi.encode(_seed(0), true)), "seed, success");
        assertEq(_consumer.caller(), address(coordinator), "caller");
        assertEq(_earned(), request.terms.fee(), "earned");
        _assertServedOnce(request);
        _assertCounts(1, 0);
    }

    function testFuzz_fulfill_deliversTheValueOfAnyRequest(uint16 numWords, bytes32 userSeed, uint64 index)
        public
    {
        numWords = uint16(bound(numWords, 1, 500));
        index = uint64(bound(index, 1, 511));
        _discardTo(index);
        Request memory request = _request(address(_consumer), CALLBACK_GAS, numWords, 1, userSeed);
        _mine(1);
        _fulfill(request);
        _assertServedOnce(request);
    }

    function test_fulfill_dependsOnTheBlockHash() public {
        Request memory request = _request(address(_consumer));
        uint256 state = vm.snapshotState();
        _mine(1);
        _fulfill(request);
        bytes32 words = _consumer.wordsOf(_idOf(request));
        vm.revertToState(state);
        _mine(1);
        vm.setBlockhash(height - 1, keccak256("another block"));
        _fulfill(request);
        assertEq(_consumer.wordsOf(_idOf(request)) == words, false, "same words");
    }

    function testFuzz_fulfill_servesAnyRunOfAnyGaps(uint8 position, uint8 length, uint256 gaps, bool second)
        public
    {
        uint256 first = uint256(position) + (second ? 256 : 0);
        uint256 count = bound(length, 1, 256 - position);
        if (count > 20) count = 20;
        gaps &= ~(1 << bound(gaps, 0, count - 1)); // at least one is served
        if (first != 0) _discardTo(uint64(first));
        Request[] memory all = _requests(address(_consumer), count);
        _mine(1);
        Request[] memory served = _without(all, gaps);
        _fulfill(served);
        for (uint256 k; k < count; ++k) {
            if (gaps >> k & 1 == 0) _assertServedOnce(all[k]);
            else _assertNotServed(all[k]);
        }
        _assertCounts(served.length, 0);
    }

    function test_fulfill_servesAWholeBatch() public {
        Request[] memory requests = _requests(address(_consumer), 256);
        _mine(1);
        _fulfill(requests);
        for (uint256 k; k < 256; ++k) {
            assertEq(_consumer.callsOf(_idOf(requests[k])), 1, "calls");
        }
        _assertCounts(256, 0);
    }

    function test_fulfill_servesBothEndsOfABatch() public {
        Request[] memory requests = new Request[](2);
        requests[0] = _request(address(_consumer));
        _discardTo(255);
        requests[1] = _request(address(_consumer));
        _mine(1);
        _fulfill(requests);
        _assertServedOnce(requests[0]);
        _assertServedOnce(requests[1]);
    }

    function testFuzz_fulfill_isPermissionless(address caller) public {
        Request memory request = _request(address(_consumer));
        _mine(1);
        bytes memory payload = _fulfillCall(_one(request));
        vm.prank(caller);
        (bool success,) = address(coordinator).call(payload);
        assertEq(success, true, "success");
        _assertServedOnce(request);
    }

    function test_fulfill_deletesRequestBeforeCallback() public {
        StatusConsumer consumer = new StatusConsumer();
        Request memory request = _request(address(consumer));
        _mine(1);
        _fulfill(request);
        assertEq(uint256(consumer.seen()), uint256(IQuantumCoordinator.Status.NotPending), "status inside");
        _assertStatus(request, IQuantumCoordinator.Status.NotPending);
    }

    function test_fulfill_passesOverWhatIsFulfilled() public {
        Request[] memory requests = _requests(address(_consumer), 3);
        _mine(1);
        _fulfill(requests[1]);
        uint256 earned = _earned();
        vm.recordLogs();
        _fulfill(requests[1]);
        assertEq(vm.getRecordedLogs().length, 0, "events");
        assertEq(_earned(), earned, "earned");
        _fulfill(requests);
        _fulfill(requests);
        for (uint256 k; k < 3; ++k) {
            _assertServedOnce(requests[k]);
        }
        _assertCounts(3, 0);
        assertEq(_earned(), 3 * earned, "earned for three");
    }

    function test_fulfill_revertsWhen_oneIsListedTwice() public {
        Request memory request = _request(address(_consumer));
        _mine(1);
        Request[] memory twice = new Request[](2);
        (twice[0], twice[1]) = (request, request);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.UnexpectedIndex.selector, 0, 1));
        coordinator.fulfill(_fulfillmentsOf(twice), _siblingsOf(_one(request)));
        _assertNotServed(request);
    }

    /// @dev The chain drops the request's block; the same request comes back in a later one.
    function testFuzz_fulfill_servesWhatAReorgMoved(uint8 blocks) public {
        uint256 state = vm.snapshotState();
        uint256 before = height;
        Request memory old = _request(address(_consumer));
        vm.revertToState(state);
        height = before;
        _mine(bound(blocks, 1, 64));
        Request memory moved = _request(address(_consumer));
        assertEq(moved.terms.index(), old.terms.index(), "index");
        assertEq(_idOf(moved) == _idOf(old), false, "same id");
        _mine(1);
        _fulfill(old);
        assertEq(_consumer.calls(), 0, "calls for the old one");
        _fulfill(moved);
        _assertServedOnce(moved);
    }

    /// @dev The chain drops the request's block, and another request takes its index in the same block.
    function test_fulfill_servesWhoTookTheIndexInAReorg() public {
        uint256 state = vm.snapshotState();
        Request memory old = _request(address(_consumer));
        vm.revertToState(state);
        Request memory other = _request(address(_consumer), CALLBACK_GAS, 2, 1, 0);
        _mine(1);
        _fulfill(old);
        assertEq(_consumer.calls(), 0, "calls for the old one");
        _fulfill(other);
        _assertServedOnce(other);
    }

    function test_fulfill_passesOverARequestThatWasNeverMade() public {
        Request[] memory requests = _requests(address(_consumer), 3);
        _mine(1);
        requests[1].userSeed = keccak256("another");
        _fulfill(requests);
        _assertServedOnce(requests[0]);
        _assertServedOnce(requests[2]);
        assertEq(_consumer.calls(), 2, "calls");
        _assertCounts(2, 0);
    }

    function testFuzz_fulfill_passesOverAnyOtherTerms(uint8 bit) public {
        Request memory request = _request(address(_consumer));
        _mine(1);
        Request memory other = Request(request.requester, _flip(request, uint8(bound(bit, 64, 255))), 0);
        _fulfill(other);
        assertEq(_consumer.calls(), 0, "calls");
        _fulfill(request);
        _assertServedOnce(request);
    }

    function testFuzz_fulfill_waitsForConfirmations(uint8 confirmations) public {
        confirmations = uint8(bound(confirmations, 1, WINDOW / 2));
        Request memory request = _request(address(_consumer), CALLBACK_GAS, 1, confirmations, 0);
        _fulfill(request);
        _assertNotServed(request);
        _mine(confirmations - 1);
        _fulfill(request);
        _assertNotServed(request);
        _mine(1);
        _fulfill(request);
        _assertServedOnce(request);
    }

    function test_fulfill_servesInTheLastBlockOfTheWindow() public {
        Request memory request = _request(address(_consumer));
        _mine(WINDOW);
        _fulfill(request);
        _assertServedOnce(request);
    }

    function test_fulfill_passesOverWhatIsTooOld() public {
        Request memory request = _request(address(_consumer));
        _mine(WINDOW + 1);
        _fulfill(request);
        _assertNotServed(request);
    }

    function test_fulfill_keepsAShortWindow() public {
        QuantumCoordinator.Config memory config = _config();
        config.window = 64;
        _setUpCoordinator(config);
        Request[] memory requests = _requests(address(_consumer), 2);
        _mine(64);
        _fulfill(requests[0]);
        _mine(1);
        _fulfill(requests[1]);
        _assertServedOnce(requests[0]);
        _assertNotServed(requests[1]);
    }

    function test_fulfill_servesNeighboursOfWhatIsPassedOver() public {
        Request[] memory requests = new Request[](5);
        requests[0] = _request(address(_consumer)); // will be too old
        _mine(200);
        requests[1] = _request(address(_consumer));
        requests[2] = _request(address(_consumer), CALLBACK_GAS, 1, 58, 0); // will be too early
        requests[3] = _request(address(_consumer)); // will be served before
        requests[4] = _request(address(_consumer));
        _mine(57);
        _fulfill(requests[3]);
        _fulfill(requests);
        _assertNotServed(requests[0]);
        _assertServedOnce(requests[1]);
        _assertNotServed(requests[2]);
        _assertServedOnce(requests[3]);
        _assertServedOnce(requests[4]);
        _assertCounts(3, 0);
    }

    function test_fulfill_asksHistoryWhereTheOpcodeIsSilent() public {
        Request memory request = _requestWithHistory(8191);
        vm.store(HISTORY, _historySlot(request), _blockhash(request.terms.requestBlock()));
        _mine(257);
        _fulfill(request);
        _assertServedOnce(request);
    }

    function test_fulfill_asksHistoryUpToTheLastBlock() public {
        Request memory request = _requestWithHistory(8191);
        vm.store(HISTORY, _historySlot(request), _blockhash(request.terms.requestBlock()));
        _mine(8191);
        _fulfill(request);
        _assertServedOnce(request);
    }

    function test_fulfill_passesOverWhatHistoryDoesNotReach() public {
        Request memory request = _requestWithHistory(8191);
        vm.store(HISTORY, _historySlot(request), _blockhash(request.terms.requestBlock()));
        _mine(8192);
        _fulfill(request);
        _assertNotServed(request);
    }

    function test_fulfill_passesOverWhatHistoryDoesNotHave() public {
        Request memory request = _requestWithHistory(300);
        _mine(257);
        _fulfill(request);
        _assertNotServed(request);
        vm.etch(HISTORY, "");
        _fulfill(request);
        _assertNotServed(request);
    }

    function test_fulfill_asksTheOpcodeFirst() public {
        Request memory request = _requestWithHistory(300);
        vm.store(HISTORY, _historySlot(request), keccak256("another block"));
        _mine(256);
        _fulfill(request);
        _assertServedOnce(request);
    }

    /// @dev A pending request on a coordinator with a long window.
    function _requestWithHistory(uint16 window) private returns (Request memory) {
        vm.etch(HISTORY, HISTORY_CODE);
        vm.store(HISTORY, bytes32((height - 1) % HISTORY_SLOTS), _blockhash(height - 1));
        QuantumCoordinator.Config memory config = _config();
        config.window = window;
        _setUpCoordinator(config);
        return _request(address(_consumer));
    }

    function _historySlot(Request memory request) private pure returns (bytes32) {
        return bytes32(request.terms.requestBlock() % HISTORY_SLOTS);
    }

    function _flip(Request memory request, uint8 bit) private pure returns (Terms) {
        return Terms.wrap(Terms.unwrap(request.terms) ^ 1 << bit);
    }

    function _without(Request[] memory all, uint256 gaps) private pure returns (Request[] memory served) {
        uint256 count;
        for (uint256 k; k < all.length; ++k) {
            if (gaps >> k & 1 == 0) ++count;
        }
        served = new Request[](count);
        count = 0;
        for (uint256 k; k < all.length; ++k) {
            if (gaps >> k & 1 == 0) served[count++] = all[k];
        }
    }

    function _assertServedOnce(Request memory request) private view {
        assertEq(_consumer.callsOf(_idOf(request)), 1, "calls");
        assertEq(_consumer.wordsOf(_idOf(request)), _wordsOf(request), "words");
        _assertStatus(request, IQuantumCoordinator.Status.NotPending);
    }

    function _assertNotServed(Request memory request) private view {
        assertEq(_consumer.callsOf(_idOf(request)), 0, "calls");
        _assertStatus(request, IQuantumCoordinator.Status.Pending);
    }
}
