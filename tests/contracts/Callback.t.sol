// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {
    BombingConsumer,
    DestructingConsumer,
    GAS_RECORDER,
    GAS_RECORDER_COST,
    InvalidConsumer,
    LoopingConsumer,
    RecordingConsumer,
    Relay,
    RevertingConsumer
} from "./support/Consumers.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";
import {Vm} from "./support/Vm.sol";

/// @notice The promise of gas, failing callbacks and their repetition.
contract CallbackTest is CoordinatorTest {
    uint32 private constant PROMISED = 100_000;
    /// @dev What a hostile callback may cost a fulfillment of one beside the gas that it was promised.
    uint256 private constant OVERHEAD = 80_000;
    address private constant RECORDER = address(0x9A5);

    Relay private _relay;
    RecordingConsumer private _bystander;

    function setUp() public override {
        super.setUp();
        _relay = new Relay();
        _bystander = new RecordingConsumer();
        vm.etch(RECORDER, GAS_RECORDER);
    }

    function test_fulfill_keepsThePromiseWith1Word() public {
        _assertPromiseKept(RECORDER, 1);
    }

    function test_fulfill_keepsThePromiseWith10Words() public {
        _assertPromiseKept(RECORDER, 10);
    }

    function test_fulfill_keepsThePromiseWith500Words() public {
        _assertPromiseKept(RECORDER, 500);
    }

    /// @dev An account that delegates to other code (EIP-7702): two cold accounts are loaded by one call.
    /// forge-config: default.evm_version = "prague"
    function test_fulfill_keepsThePromiseToADelegatedAccount() public {
        uint256 privateKey = uint256(keccak256("delegating account"));
        vm.signAndAttachDelegation(RECORDER, privateKey);
        _relay.run(address(this), 0, "");
        address account = vm.addr(privateKey);
        assertEq(account.code.length, 23, "length of the delegation");
        _assertPromiseKept(account, 1);
    }

    function test_fulfill_keepsThePromiseToTheLastOfARun() public {
        Request[] memory requests = new Request[](3);
        for (uint256 k; k < 2; ++k) {
            requests[k] = _request(address(_bystander));
        }
        requests[2] = _request(RECORDER, PROMISED, 1, 1, 0);
        _mine(1);
        _assertPromiseKept(_fulfillCall(requests), RECORDER);
    }

    function test_fulfill_givesNoMoreThanWasPromised() public {
        Request memory request = _request(RECORDER, PROMISED, 1, 1, 0);
        _mine(1);
        _fulfill(request);
        assertEq(_gasSeenBy(RECORDER), PROMISED, "gas at entry");
    }

    function test_fulfill_revertsWhen_gasIsTooLittle() public {
        Request memory request = _request(RECORDER, MAX_CALLBACK_GAS, 1, 1, 0);
        _mine(1);
        bytes memory payload = _fulfillCall(_one(request));
        vm.expectRevert(
            abi.encodeWithSelector(IQuantumCoordinator.InsufficientGas.selector, MAX_CALLBACK_GAS)
        );
        (bool success,) = address(coordinator).call{gas: 2_000_000}(payload);
        assertEq(success, true, "reverts as expected");
        _assertStatus(request, IQuantumCoordinator.Status.Pending);
        _assertCounts(0, 0);
    }

    function test_redeliver_keepsThePromiseWith1Word() public {
        _assertPromiseKeptAgain(1);
    }

    function test_redeliver_keepsThePromiseWith10Words() public {
        _assertPromiseKeptAgain(10);
    }

    function test_redeliver_keepsThePromiseWith500Words() public {
        _assertPromiseKeptAgain(500);
    }

    function test_redeliver_givesAllTheGasThereIs() public {
        vm.etch(RECORDER, hex"fe");
        Request memory request = _request(RECORDER, PROMISED, 1, 1, 0);
        _mine(1);
        _fulfill(request);
        vm.etch(RECORDER, GAS_RECORDER);
        _redeliver(request);
        assertGe(_gasSeenBy(RECORDER), 2 * uint256(PROMISED), "gas at entry");
    }

    function test_fulfill_succeedsWithoutCodeAtTheRequester() public {
        Request memory request = _request(ALICE);
        _mine(1);
        vm.recordLogs();
        _fulfill(request);
        assertEq(keccak256(vm.getRecordedLogs()[0].data), keccak256(abi.encode(_seed(0), true)), "success");
    }

    function test_fulfill_recordsAFailure() public {
        Request memory request = _request(address(new RevertingConsumer()), CALLBACK_GAS, 2, 1, 0);
        _mine(1);
        vm.recordLogs();
        _fulfill(request);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 2, "events");
        assertEq(logs[0].topics[0], IQuantumCoordinator.CallbackFailed.selector, "first event");
        assertEq(logs[0].topics[1], _idOf(request), "id");
        assertEq(abi.decode(logs[0].data, (bytes32)), _outputOf(request), "output");
        assertEq(logs[1].topics[0], IQuantumCoordinator.RandomnessFulfilled.selector, "second event");
        assertEq(keccak256(logs[1].data), keccak256(abi.encode(_seed(0), false)), "success");
        _assertStatus(request, IQuantumCoordinator.Status.CallbackFailed);
        assertEq(_earned(), request.terms.fee(), "earned");
        _assertCounts(1, 0);
    }

    function testFuzz_redeliver_repeatsAFailedCallbackOnce(address caller) public {
        RevertingConsumer consumer = new RevertingConsumer();
        Request memory request = _request(address(consumer), CALLBACK_GAS, 2, 1, 0);
        _mine(1);
        _fulfill(request);
        _mine(10 * WINDOW);
        consumer.takeWords(true);
        (bytes32 id, bytes32 output) = (_idOf(request), _outputOf(request));
        vm.recordLogs();
        vm.prank(caller);
        _redeliver(request, id, output);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1, "events");
        assertEq(logs[0].topics[0], IQuantumCoordinator.CallbackRedelivered.selector, "event");
        assertEq(logs[0].topics[1], _idOf(request), "id");
        assertEq(consumer.callsOf(_idOf(request)), 1, "calls");
        _assertStatus(request, IQuantumCoordinator.Status.NotPending);
        _expectRedeliver(IQuantumCoordinator.NotFailed.selector, request);
        _assertCounts(1, 0);
    }

    function test_redeliver_bringsTheSameWords() public {
        RevertingConsumer consumer = new RevertingConsumer();
        Request memory request = _request(address(consumer), CALLBACK_GAS, 7, 1, 0);
        _mine(1);
        bytes32 words = _wordsOf(request);
        _fulfill(request);
        consumer.takeWords(true);
        _redeliver(request);
        assertEq(consumer.wordsOf(_idOf(request)), words, "words");
    }

    function test_redeliver_staysOnRecordWhen_itFailsAgain() public {
        RevertingConsumer consumer = new RevertingConsumer();
        Request memory request = _request(address(consumer));
        _mine(1);
        _fulfill(request);
        _expectRedeliver(IQuantumCoordinator.RedeliveryFailed.selector, request);
        _assertStatus(request, IQuantumCoordinator.Status.CallbackFailed);
        consumer.takeWords(true);
        _redeliver(request);
        assertEq(consumer.callsOf(_idOf(request)), 1, "calls");
    }

    function test_redeliver_revertsWhen_aParticularIsAnother() public {
        Request memory request = _request(address(new RevertingConsumer()));
        _mine(1);
        _fulfill(request);
        bytes32 id = _idOf(request);
        uint256 output = uint256(_outputOf(request));
        _expectNotFailed(request);
        coordinator.redeliver(id, BOB, CALLBACK_GAS, 1, output);
        _expectNotFailed(request);
        coordinator.redeliver(id, request.requester, CALLBACK_GAS - 1, 1, output);
        _expectNotFailed(request);
        coordinator.redeliver(id, request.requester, CALLBACK_GAS, 2, output);
        _expectNotFailed(request);
        coordinator.redeliver(id, request.requester, CALLBACK_GAS, 1, output ^ 1);
        _assertStatus(request, IQuantumCoordinator.Status.CallbackFailed);
    }

    function test_redeliver_revertsWhen_theCallbackSucceeded() public {
        Request memory request = _request(address(_bystander));
        _mine(1);
        _expectRedeliver(IQuantumCoordinator.NotFailed.selector, request);
        _fulfill(request);
        _expectRedeliver(IQuantumCoordinator.NotFailed.selector, request);
        assertEq(_bystander.calls(), 1, "calls");
    }

    function test_fulfill_survivesRevertingConsumer() public {
        _assertHarmless(address(new RevertingConsumer()));
    }

    function test_fulfill_survivesLoopingConsumer() public {
        _assertHarmless(address(new LoopingConsumer()));
    }

    function test_fulfill_survivesInvalidConsumer() public {
        _assertHarmless(address(new InvalidConsumer()));
    }

    function test_fulfill_survivesConsumerWithoutCode() public {
        _assertHarmlessAndServed(address(0xDEAD));
    }

    function test_fulfill_survivesConsumerThatDestroysItself() public {
        _assertHarmlessAndServed(address(new DestructingConsumer()));
    }

    function test_fulfill_survivesConsumerThatWasDestroyed() public {
        address consumer = address(new RevertingConsumer());
        Request[] memory requests = _runAround(consumer);
        vm.etch(consumer, "");
        _fulfill(requests);
        _assertStatus(requests[1], IQuantumCoordinator.Status.NotPending);
        _assertBystandersServed(requests);
    }

    function test_fulfill_survivesACancelledNeighbour() public {
        Request[] memory requests = new Request[](3);
        requests[0] = _request(address(_bystander));
        requests[1] = _request(ALICE);
        _mine(WINDOW);
        requests[2] = _request(address(_bystander));
        _mine(1);
        vm.prank(ALICE);
        coordinator.cancel(requests[1], payable(ALICE));
        _fulfill(requests);
        assertEq(_bystander.calls(), 1, "calls");
        assertEq(_bystander.callsOf(_idOf(requests[2])), 1, "calls of the new one");
        _assertStatus(requests[0], IQuantumCoordinator.Status.Pending);
        _assertCounts(1, 1);
    }

    function test_fulfill_survivesRevertingBomb() public {
        _assertHarmless(address(new BombingConsumer(false)));
    }

    function test_fulfill_survivesSucceedingBomb() public {
        _assertHarmlessAndServed(address(new BombingConsumer(true)));
    }

    function test_fulfill_paysForNoReturnData() public {
        Request memory request = _request(address(new BombingConsumer(false)), MAX_CALLBACK_GAS, 1, 1, 0);
        _mine(1);
        bytes memory payload = _fulfillCall(_one(request));
        uint256 enough = uint256(MAX_CALLBACK_GAS) * 64 / 63 + OVERHEAD;
        assertEq(_relay.run(address(coordinator), enough, payload), true, "success");
        _assertStatus(request, IQuantumCoordinator.Status.CallbackFailed);
    }

    /// @dev A hostile consumer in the middle of a run of three.
    function _assertHarmless(address hostile) private {
        Request[] memory requests = _runAround(hostile);
        _fulfill(requests);
        _assertStatus(requests[1], IQuantumCoordinator.Status.CallbackFailed);
        _assertBystandersServed(requests);
    }

    /// @dev The same, and nothing failed.
    function _assertHarmlessAndServed(address hostile) private {
        Request[] memory requests = _runAround(hostile);
        _fulfill(requests);
        _assertStatus(requests[1], IQuantumCoordinator.Status.NotPending);
        _assertBystandersServed(requests);
    }

    function _runAround(address hostile) private returns (Request[] memory requests) {
        requests = new Request[](3);
        requests[0] = _request(address(_bystander));
        requests[1] = _request(hostile, MAX_CALLBACK_GAS, 1, 1, 0);
        requests[2] = _request(address(_bystander));
        _mine(1);
    }

    function _assertBystandersServed(Request[] memory requests) private {
        for (uint256 k; k < 3; k += 2) {
            assertEq(_bystander.callsOf(_idOf(requests[k])), 1, "calls");
            assertEq(_bystander.wordsOf(_idOf(requests[k])), _wordsOf(requests[k]), "words");
        }
        _assertCounts(3, 0);
        assertEq(_earned(), address(coordinator).balance, "earned");
    }

    function _assertPromiseKept(address consumer, uint16 numWords) private {
        Request memory request = _request(consumer, PROMISED, numWords, 1, 0);
        _mine(1);
        _assertPromiseKept(_fulfillCall(_one(request)), consumer);
    }

    function _assertPromiseKeptAgain(uint16 numWords) private {
        vm.etch(RECORDER, hex"fe");
        Request memory request = _request(RECORDER, PROMISED, numWords, 1, 0);
        _mine(1);
        _fulfill(request);
        _assertStatus(request, IQuantumCoordinator.Status.CallbackFailed);
        vm.etch(RECORDER, GAS_RECORDER);
        _assertPromiseKept(_redeliverCall(request), RECORDER);
    }

    /// @dev Whatever gas the call gets: either it reverts, or the consumer had what it was promised.
    function _assertPromiseKept(bytes memory payload, address consumer) private {
        uint256 failing = PROMISED;
        uint256 enough = 10 * uint256(PROMISED);
        assertGe(_gasSeen(payload, consumer, enough), PROMISED, "gas at entry with plenty");
        while (enough - failing > 1) {
            uint256 middle = (failing + enough) / 2;
            if (_gasSeen(payload, consumer, middle) == 0) failing = middle;
            else enough = middle;
        }
        for (uint256 more; more < 100; ++more) {
            assertGe(_gasSeen(payload, consumer, enough + more), PROMISED, "gas at entry with just enough");
        }
    }

    /// @dev The gas that the consumer saw when the coordinator got `gasLimit`, 0 when it reverted. Undone at once.
    function _gasSeen(bytes memory payload, address consumer, uint256 gasLimit)
        private
        returns (uint256 seen)
    {
        uint256 state = vm.snapshotState();
        if (_relay.run(address(coordinator), gasLimit, payload)) seen = _gasSeenBy(consumer);
        vm.revertToState(state);
    }

    function _gasSeenBy(address consumer) private view returns (uint256) {
        return uint256(vm.load(consumer, 0)) + GAS_RECORDER_COST;
    }

    function _redeliverCall(Request memory request) private view returns (bytes memory) {
        return abi.encodeCall(
            IQuantumCoordinator.redeliver,
            (
                _idOf(request),
                request.requester,
                uint32(request.terms.callbackGasLimit()),
                uint16(request.terms.numWords()),
                uint256(_outputOf(request))
            )
        );
    }

    function _redeliver(Request memory request) private {
        bytes32 output = _outputOf(request);
        bytes32 id = _idOf(request);
        _redeliver(request, id, output);
    }

    /// @dev Nothing but the call, so that a prank or an expectation meets it.
    function _redeliver(Request memory request, bytes32 id, bytes32 output) private {
        coordinator.redeliver(
            id,
            request.requester,
            uint32(request.terms.callbackGasLimit()),
            uint16(request.terms.numWords()),
            uint256(output)
        );
    }

    function _expectRedeliver(bytes4 reason, Request memory request) private {
        bytes32 id = _idOf(request);
        bytes32 output = _outputOf(request);
        vm.expectRevert(abi.encodeWithSelector(reason, id));
        _redeliver(request, id, output);
    }

    function _expectNotFailed(Request memory request) private {
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.NotFailed.selector, _idOf(request)));
    }
}
