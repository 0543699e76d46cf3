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
    uint48 internal constant FLAT_FEE_GWEI = 1_000_000;
    uint48 internal constant MAX_FLAT_FEE_GWEI = 1_000_000_000;
    uint256 internal constant FLAT_FEE = uint256(FLAT_FEE_GWEI) * 1 gwei;
    uint256 internal constant MAX_FLAT_FEE = uint256(MAX_FLAT_FEE_GWEI) * 1 gwei;
    uint16 internal constant MARGIN = 12_000;
    uint16 internal constant MAX_MARGIN = 30_000;

    QuantumCoordinator internal coordinator;

    /// @dev The current block. The compiler may read `block.number` once and keep it over a cheatcode.
    uint256 internal height = 1;

    /// @dev Every request that a log has told, by coordinator.
    mapping(QuantumCoordinator => Request[]) private _made;

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
            callbackGasLimitMax: MAX_CALLBACK_GAS,
            flatFeeGwei: FLAT_FEE_GWEI,
            maxFlatFeeGwei: MAX_FLAT_FEE_GWEI,
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
    function _requestIn(Vm.Log memory log) internal returns (Request memory request) {
        assertEq(log.topics[0], IQuantumCoordinator.RandomnessRequested.selector, "event");
        (uint256 terms, bytes32 userSeed) = abi.decode(log.data, (uint256, bytes32));
        request = Request(address(uint160(uint256(log.topics[2]))), Terms.wrap(terms), userSeed);
        _made[coordinator].push(request);
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

    /// @dev The leaves between requests, then their proof.
    function _siblingsOf(Request[] memory requests) internal view returns (bytes32[] memory) {
        uint256[] memory indices = new uint256[](requests.length);
        for (uint256 k; k < requests.length; ++k) {
            indices[k] = requests[k].terms.index();
        }
        return _siblings(address(coordinator), indices);
    }

    function _fulfillCall(Request[] memory requests) internal view returns (bytes memory) {
        return abi.encodeCall(IQuantumCoordinator.fulfill, (_fulfillmentsOf(requests), _siblingsOf(requests)));
    }

    function _fulfill(Request[] memory requests) internal {
        coordinator.fulfill(_fulfillmentsOf(requests), _siblingsOf(requests));
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

    /// @dev What was earned and not withdrawn, with what still lies in the slots.
    function _earned() internal returns (uint256) {
        coordinator.collect(0, uint64(coordinator.slotCount()));
        return coordinator.earned();
    }

    /// @dev How many of the requests that were made are settled, by words and by refund.
    function _assertCounts(uint256 fulfilled, uint256 cancelled) internal view {
        Request[] storage made = _made[coordinator];
        uint256 settled;
        for (uint256 k; k < made.length; ++k) {
            if (_statusOf(made[k]) != uint256(IQuantumCoordinator.Status.Pending)) ++settled;
        }
        assertEq(coordinator.cancellations(), cancelled, "cancelled");
        assertEq(settled, fulfilled + cancelled, "settled");
    }

    function _discardTo(uint64 index) internal {
        vm.prank(OPERATOR);
        coordinator.discard(index);
    }
}
