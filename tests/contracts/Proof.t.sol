// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {QuantumCoordinator} from "../../contracts/QuantumCoordinator.sol";
import {Fulfillment, IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {Terms} from "../../contracts/types/Terms.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";

/// @notice What proves a seed and what does not.
contract ProofTest is CoordinatorTest {
    uint256 private constant OUT_OF_BOUNDS = 0x32;

    Request[] private _pending;

    /// @dev Four pending requests at the indices 3 to 6.
    function setUp() public override {
        super.setUp();
        _discardTo(3);
        for (uint256 k; k < 4; ++k) {
            _pending.push(_request(ALICE));
        }
        _mine(1);
    }

    function test_fulfill_acceptsTheCommittedSeeds() public {
        _fulfill(_pending);
        _assertCounts(4, 0);
    }

    function testFuzz_fulfill_revertsWhen_aSeedIsAnother(uint8 which, bytes32 seed) public {
        Fulfillment[] memory items = _fulfillmentsOf(_pending);
        which %= 4;
        vm.assume(items[which].seed != seed);
        items[which].seed = seed;
        _expectInvalidProof(3, 0, items, new bytes32[](0), _proofOf(3, 4));
    }

    function test_fulfill_revertsWhen_aLeafIsOfferedAsSeed() public {
        Fulfillment[] memory items = _fulfillmentsOf(_pending);
        items[1].seed = _leafOf(address(coordinator), 4, _seed(4));
        _expectInvalidProof(3, 0, items, new bytes32[](0), _proofOf(3, 4));
    }

    function test_fulfill_revertsWhen_aNodeIsOfferedAsSeed() public {
        Fulfillment[] memory items = _fulfillmentsOf(_one(_pending[0]));
        items[0].seed = _node(address(coordinator), 0, 2);
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = _node(address(coordinator), 0, 3);
        vm.expectRevert();
        coordinator.fulfill(3, 0, items, new bytes32[](0), proof);
    }

    function test_fulfill_revertsWhen_aGapsLeafIsAnother() public {
        Fulfillment[] memory items = _fulfillmentsOf(_two());
        bytes32[] memory leaves = _gapLeaves(address(coordinator), 3, 3, 2);
        leaves[0] = _leafOf(address(coordinator), 4, keccak256("another"));
        _expectInvalidProof(3, 2, items, leaves, _proofOf(3, 3));
        leaves[0] = _seed(4);
        _expectInvalidProof(3, 2, items, leaves, _proofOf(3, 3));
    }

    function testFuzz_fulfill_revertsWhen_theProofIsOfAnotherPlace(uint8 position) public {
        vm.assume(position != 3);
        Fulfillment[] memory items = _fulfillmentsOf(_one(_pending[0]));
        _expectInvalidProof(3, 0, items, new bytes32[](0), _proofOf(position, 1));
    }

    function testFuzz_fulfill_revertsWhen_aProofElementIsAnother(uint8 which, bytes32 element) public {
        bytes32[] memory proof = _proofOf(3, 4);
        which %= uint8(proof.length);
        vm.assume(proof[which] != element);
        proof[which] = element;
        _expectInvalidProof(3, 0, _fulfillmentsOf(_pending), new bytes32[](0), proof);
    }

    function test_fulfill_revertsWhen_theProofIsOfAnotherBatch() public {
        bytes32[] memory proof = _proof(address(coordinator), 256 + 3, 4);
        _expectInvalidProof(3, 0, _fulfillmentsOf(_pending), new bytes32[](0), proof);
    }

    function test_fulfill_revertsWhen_theProofIsOfAnotherCoordinator() public {
        address first = address(coordinator);
        _setUpCoordinator(_config());
        assertEq(first == address(coordinator), false, "same coordinator");
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidProof.selector));
        coordinator.fulfill(3, 0, _fulfillmentsOf(_pending), new bytes32[](0), _proof(first, 3, 4));
        coordinator.fulfill(3, 0, _fulfillmentsOf(_pending), new bytes32[](0), _proofOf(3, 4));
        _assertCounts(0, 0);
    }

    function test_fulfill_revertsWhen_theRootOfAnotherCoordinatorIsCommitted() public {
        address first = address(coordinator);
        coordinator = new QuantumCoordinator(_config());
        bytes32[] memory roots = new bytes32[](1);
        roots[0] = _node(first, 0, 1);
        vm.prank(OPERATOR);
        coordinator.commit(0, roots);
        _discardTo(3);
        Request memory request = _request(ALICE);
        _mine(1);
        _expectInvalidProof(3, 0, _fulfillmentsOf(_one(request)), new bytes32[](0), _proof(first, 3, 1));
    }

    function test_fulfill_revertsWhen_theBatchIsNotCommitted() public {
        Request memory request = _pending[0];
        request.terms = _withIndex(request, 515);
        _plant(address(coordinator), 2);
        bytes32[] memory proof = _proof(address(coordinator), 515, 1);
        _expectInvalidProof(515, 0, _fulfillmentsOf(_one(request)), new bytes32[](0), proof);
    }

    function test_fulfill_revertsWhen_aProofElementIsMissing() public {
        bytes32[] memory whole = _proofOf(3, 4);
        bytes32[] memory proof = new bytes32[](whole.length - 1);
        for (uint256 k; k < proof.length; ++k) {
            proof[k] = whole[k];
        }
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", OUT_OF_BOUNDS));
        coordinator.fulfill(3, 0, _fulfillmentsOf(_pending), new bytes32[](0), proof);
    }

    function testFuzz_fulfill_revertsWhen_aProofElementIsSurplus(bytes32 element) public {
        bytes32[] memory whole = _proofOf(3, 4);
        bytes32[] memory proof = new bytes32[](whole.length + 1);
        for (uint256 k; k < whole.length; ++k) {
            proof[k] = whole[k];
        }
        proof[whole.length] = element;
        _expectInvalidProof(3, 0, _fulfillmentsOf(_pending), new bytes32[](0), proof);
    }

    function test_fulfill_revertsWhen_theRunIsEmpty() public {
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidRun.selector, 3, 0));
        coordinator.fulfill(3, 0, new Fulfillment[](0), new bytes32[](0), new bytes32[](0));
    }

    function test_fulfill_revertsWhen_theRunIsAllGaps() public {
        bytes32[] memory leaves = _gapLeaves(address(coordinator), 3, 2, 3);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidRun.selector, 3, 2));
        coordinator.fulfill(3, 3, new Fulfillment[](0), leaves, _proofOf(3, 2));
    }

    function test_fulfill_revertsWhen_theRunCrossesABatch() public {
        _discardTo(254);
        Request[] memory requests = _requests(ALICE, 3);
        _mine(1);
        bytes32[] memory proof = _proofOf(254, 2);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidRun.selector, 254, 3));
        coordinator.fulfill(254, 0, _fulfillmentsOf(requests), new bytes32[](0), proof);
        _fulfill(requests[2]);
        _assertCounts(1, 0);
    }

    function test_fulfill_revertsWhen_anIndexIsAnother() public {
        Request[] memory requests = _two();
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.UnexpectedIndex.selector, 5, 4));
        coordinator.fulfill(3, 0, _fulfillmentsOf(requests), new bytes32[](0), _proofOf(3, 2));
        (requests[0], requests[1]) = (requests[1], requests[0]);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.UnexpectedIndex.selector, 5, 3));
        coordinator.fulfill(3, 2, _fulfillmentsOf(requests), new bytes32[](1), _proofOf(3, 3));
    }

    function test_fulfill_revertsWhen_gapsAndLeavesDisagree() public {
        Fulfillment[] memory items = _fulfillmentsOf(_two());
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", OUT_OF_BOUNDS));
        coordinator.fulfill(3, 6, items, new bytes32[](1), _proofOf(3, 3));
        items[1] = _fulfillmentsOf(_one(_pending[1]))[0];
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", OUT_OF_BOUNDS));
        coordinator.fulfill(3, 0, items, new bytes32[](1), _proofOf(3, 3));
    }

    function testFuzz_fulfill_revertsWhen_theRunIsOutOfThisWorld(uint256 first) public {
        vm.assume(first != 3);
        vm.expectRevert();
        coordinator.fulfill(first, 0, _fulfillmentsOf(_one(_pending[0])), new bytes32[](0), _proofOf(3, 1));
    }

    /// @dev The requests at 3 and 5.
    function _two() private view returns (Request[] memory requests) {
        requests = new Request[](2);
        (requests[0], requests[1]) = (_pending[0], _pending[2]);
    }

    function _proofOf(uint256 first, uint256 length) private view returns (bytes32[] memory) {
        return _proof(address(coordinator), first, length);
    }

    function _withIndex(Request memory request, uint256 index) private pure returns (Terms) {
        return Terms.wrap(Terms.unwrap(request.terms) >> 64 << 64 | index);
    }

    function _expectInvalidProof(
        uint256 first,
        uint256 gaps,
        Fulfillment[] memory items,
        bytes32[] memory leaves,
        bytes32[] memory proof
    ) private {
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidProof.selector));
        coordinator.fulfill(first, gaps, items, leaves, proof);
        _assertCounts(0, 0);
    }
}
