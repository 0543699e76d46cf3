// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {QuantumCoordinator} from "../../../contracts/QuantumCoordinator.sol";
import {
    Fulfillment,
    IQuantumCoordinator,
    Request
} from "../../../contracts/interfaces/IQuantumCoordinator.sol";
import {Terms} from "../../../contracts/types/Terms.sol";
import {Seeds} from "./Seeds.sol";
import {Test} from "./Test.sol";
import {Vm} from "./Vm.sol";

/// @notice A coordinator with two committed batches, and a requester's, an operator's and a stranger's hands.
abstract contract CoordinatorTest is Test, Seeds {
    address internal constant OWNER = address(0x0123);
    address internal constant OPERATOR = address(0x0456);
    address internal constant ALICE = address(0xA11CE);
    address internal constant BOB = address(0xB0B);

    uint32 internal constant CALLBACK_GAS = 200_000;
    uint32 internal constant MAX_CALLBACK_GAS = 2_500_000;
    uint16 internal constant WINDOW = 256;
    uint112 internal constant FLAT_FEE = 0.001 ether;
    uint112 internal constant MAX_FLAT_FEE = 1 ether;
    uint16 internal constant MARGIN = 12_000;
    uint16 internal constant MAX_MARGIN = 30_000;

    QuantumCoordinator internal coordinator;

    /// @dev The current block. The compiler may read `block.number` once and keep it over a cheatcode.
    uint256 internal height = 1;

    function setUp() public virtual {
        _rollTo(20_000);
        _mine(1);
        _setUpCoordinator(_config());
    }

    function _config() internal pure virtual returns (QuantumCoordinator.Config memory) {
        return QuantumCoordinator.Config({
            owner: OWNER,
            operator: OPERATOR,
            window: WINDOW,
            ringSize: 8,
            maxCallbackGas: MAX_CALLBACK_GAS,
            flatFee: FLAT_FEE,
            maxFlatFee: MAX_FLAT_FEE,
            gasMarginBps: MARGIN,
            maxGasMarginBps: MAX_MARGIN
        });
    }

    /// @dev Puts a new coordinator with the batches 0 and 1 in place of the one there is.
    function _setUpCoordinator(QuantumCoordinator.Config memory config) internal {
        coordinator = new QuantumCoordinator(config);
        bytes32[] memory roots = new bytes32[](2);
        (roots[0], roots[1]) = (_plant(address(coordinator), 0), _plant(address(coordinator), 1));
        vm.prank(OPERATOR);
        coordinator.commit(0, roots);
    }

    function _blockhash(uint256 number) internal pure returns (bytes32) {
        return keccak256(abi.encode("block", number));
    }

    /// @dev Seals the current block and goes to a later one.
    function _rollTo(uint256 number) internal {
        if (number == height) return;
        vm.roll(height + 1);
        vm.setBlockhash(height, _blockhash(height));
        if (number > height + 1) vm.roll(number);
        height = number;
    }

    function _mine(uint256 blocks) internal {
        _rollTo(height + blocks);
    }

    function _request(address requester) internal returns (Request memory) {
        return _request(requester, CALLBACK_GAS, 1, 1, bytes32(0));
    }

    function _request(
        address requester,
        uint32 callbackGasLimit,
        uint16 numWords,
        uint8 confirmations,
        bytes32 userSeed
    ) internal returns (Request memory) {
        uint256 value = coordinator.fee(callbackGasLimit, numWords);
        vm.deal(requester, requester.balance + value);
        vm.recordLogs();
        vm.prank(requester);
        coordinator.requestRandomness{value: value}(callbackGasLimit, numWords, confirmations, userSeed);
        return _requestIn(vm.getRecordedLogs()[0]);
    }

    /// @dev As many requests of one requester, at consecutive indices.
    function _requests(address requester, uint256 count) internal returns (Request[] memory requests) {
        requests = new Request[](count);
        for (uint256 k; k < count; ++k) {
            requests[k] = _request(requester);
        }
    }

    /// @dev The request that a log tells, as anybody can read it.
    function _requestIn(Vm.Log memory log) internal pure returns (Request memory) {
        assertEq(log.topics[0], IQuantumCoordinator.RandomnessRequested.selector, "event");
        (uint256 terms, bytes32 userSeed) = abi.decode(log.data, (uint256, bytes32));
        return Request(address(uint160(uint256(log.topics[2]))), Terms.wrap(terms), userSeed);
    }

    function _idOf(Request memory request) internal view returns (bytes32) {
        return coordinator.requestIdOf(request);
    }

    function _statusOf(Request memory request) internal view returns (uint256) {
        return uint256(coordinator.status(uint64(request.terms.index()), _idOf(request)));
    }

    function _assertStatus(Request memory request, IQuantumCoordinator.Status expected) internal view {
        assertEq(_statusOf(request), uint256(expected), "status");
    }

    function _fulfillmentsOf(Request[] memory requests) internal pure returns (Fulfillment[] memory items) {
        items = new Fulfillment[](requests.length);
        for (uint256 k; k < requests.length; ++k) {
            items[k] = Fulfillment(requests[k], _seed(requests[k].terms.index()));
        }
    }

    function _one(Request memory request) internal pure returns (Request[] memory requests) {
        requests = new Request[](1);
        requests[0] = request;
    }

    /// @dev The call that serves `requests` at the places of the run that `gaps` leaves free.
    function _fulfillCall(uint256 first, uint256 length, uint256 gaps, Request[] memory requests)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            IQuantumCoordinator.fulfill,
            (
                first,
                gaps,
                _fulfillmentsOf(requests),
                _gapLeaves(address(coordinator), first, length, gaps),
                _proof(address(coordinator), first, length)
            )
        );
    }

    function _fulfillRun(uint256 first, uint256 length, uint256 gaps, Request[] memory requests) internal {
        coordinator.fulfill(
            first,
            gaps,
            _fulfillmentsOf(requests),
            _gapLeaves(address(coordinator), first, length, gaps),
            _proof(address(coordinator), first, length)
        );
    }

    function _fulfill(Request[] memory requests) internal {
        _fulfillRun(requests[0].terms.index(), requests.length, 0, requests);
    }

    function _fulfill(Request memory request) internal {
        _fulfill(_one(request));
    }

    /// @dev The value of a request, from the protocol's description.
    function _outputOf(Request memory request) internal view returns (bytes32) {
        return keccak256(
            abi.encode(_seed(request.terms.index()), _idOf(request), _blockhash(request.terms.requestBlock()))
        );
    }

    /// @dev The hash of a request's words, as `RecordingConsumer` keeps it.
    function _wordsOf(Request memory request) internal view returns (bytes32) {
        bytes32 output = _outputOf(request);
        bytes memory words;
        for (uint256 i; i < request.terms.numWords(); ++i) {
            words = abi.encodePacked(words, keccak256(abi.encode(output, i)));
        }
        return keccak256(words);
    }

    function _earned() internal view returns (uint256 earned) {
        (earned,,) = coordinator.ledger();
    }

    function _assertCounts(uint256 fulfilled, uint256 cancelled) internal view {
        (, uint64 fulfilled_, uint64 cancelled_) = coordinator.ledger();
        assertEq(fulfilled_, fulfilled, "fulfilled");
        assertEq(cancelled_, cancelled, "cancelled");
    }

    function _discardTo(uint64 index) internal {
        vm.prank(OPERATOR);
        coordinator.discard(index);
    }
}
