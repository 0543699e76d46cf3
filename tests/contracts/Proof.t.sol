// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {QuantumCoordinator} from "../../contracts/QuantumCoordinator.sol";
import {Fulfillment, IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {Terms} from "../../contracts/types/Terms.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";

/// @notice What proves a seed and what does not.
contract ProofTest is CoordinatorTest {
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
        _expectInvalidProof(items, _proofOf(3, 4));
    }

    function test_fulfill_revertsWhen_aLeafIsOfferedAsSeed() public {
        Fulfillment[] memory items = _fulfillmentsOf(_pending);
        items[1].seed = _leafOf(address(coordinator), 4, _seed(4));
        _expectInvalidProof(items, _proofOf(3, 4));
    }

    function test_fulfill_revertsWhen_aNodeIsOfferedAsSeed() public {
        Fulfillment[] memory items = _fulfillmentsOf(_one(_pending[0]));
        items[0].seed = _node(address(coordinator), 0, 2);
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = _node(address(coordinator), 0, 3);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidProof.selector));
        coordinator.fulfill(items, proof);
    }

    function testFuzz_fulfill_revertsWhen_theLeafBetweenIsAnother(bytes32 leaf) public {
        bytes32[] memory siblings = _siblingsOf(_two());
        assertEq(siblings[0], _leafOf(address(coordinator), 4, _seed(4)), "the leaf between");
        vm.assume(siblings[0] != leaf);
        siblings[0] = leaf;
        _expectInvalidProof(_fulfillmentsOf(_two()), siblings);
    }

    function test_fulfill_revertsWhen_theSeedBetweenIsGivenForItsLeaf() public {
        bytes32[] memory siblings = _siblingsOf(_two());
        siblings[0] = _seed(4);
        _expectInvalidProof(_fulfillmentsOf(_two()), siblings);
    }

    /// @dev What is given as a hash is never served, even if a pending request stands there.
    function test_fulfill_servesNothingThatIsGivenAsASibling() public {
        _fulfill(_two());
        _assertStatus(_pending[1], IQuantumCoordinator.Status.Pending);
        _assertCounts(2, 0);
    }

    function testFuzz_fulfill_revertsWhen_theProofIsOfAnotherPlace(uint8 position) public {
        vm.assume(position != 3);
        Fulfillment[] memory items = _fulfillmentsOf(_one(_pending[0]));
        _expectInvalidProof(items, _proofOf(position, 1));
    }

    function testFuzz_fulfill_revertsWhen_aProofElementIsAnother(uint8 which, bytes32 element) public {
        bytes32[] memory proof = _proofOf(3, 4);
        which %= uint8(proof.length);
        vm.assume(proof[which] != element);
        proof[which] = element;
        _expectInvalidProof(_fulfillmentsOf(_pending), proof);
    }

    function test_fulfill_revertsWhen_theProofIsOfAnotherBatch() public {
        bytes32[] memory proof = _proof(address(coordinator), 256 + 3, 4);
        _expectInvalidProof(_fulfillmentsOf(_pending), proof);
    }

    function test_fulfill_revertsWhen_theProofIsOfAnotherCoordinator() public {
        address first = address(coordinator);
        _setUpCoordinator(_config());
        assertEq(first == address(coordinator), false, "same coordinator");
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidProof.selector));
        coordinator.fulfill(_fulfillmentsOf(_pending), _proof(first, 3, 4));
        coordinator.fulfill(_fulfillmentsOf(_pending), _proofOf(3, 4));
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
        _expectInvalidProof(_fulfillmentsOf(_one(request)), _proof(first, 3, 1));
    }

    function test_fulfill_revertsWhen_theBatchIsNotCommitted() public {
        Request memory request = _pending[0];
        request.terms = _withIndex(request, 515);
        _plant(address(coordinator), 2);
        bytes32[] memory proof = _proof(address(coordinator), 515, 1);
        _expectInvalidProof(_fulfillmentsOf(_one(request)), proof);
    }

    function testFuzz_fulfill_revertsWhen_aSiblingIsMissing(uint8 missing, bool gap) public {
        Request[] memory requests = gap ? _two() : _pendingRequests();
        bytes32[] memory whole = _siblingsOf(requests);
        bytes32[] memory siblings = new bytes32[](whole.length - bound(missing, 1, whole.length));
        for (uint256 k; k < siblings.length; ++k) {
            siblings[k] = whole[k];
        }
        _expectInvalidProof(_fulfillmentsOf(requests), siblings);
    }

    /// @dev Calldata behind the array does not stand in for what the array lacks.
    function test_fulfill_revertsWhen_aSiblingStandsBehindTheArray() public {
        bytes memory payload = _fulfillCall(_pendingRequests());
        uint256 siblings = _siblingsOf(_pendingRequests()).length;
        uint256 length = payload.length - 32 * (siblings + 1);
        payload[length + 31] = bytes1(uint8(siblings - 1));
        (bool success, bytes memory answer) = address(coordinator).call(payload);
        assertEq(success, false, "success");
        assertEq(bytes32(answer), bytes32(IQuantumCoordinator.InvalidProof.selector), "reason");
    }

    function testFuzz_fulfill_revertsWhen_aProofElementIsSurplus(bytes32 element) public {
        bytes32[] memory whole = _proofOf(3, 4);
        bytes32[] memory proof = new bytes32[](whole.length + 1);
        for (uint256 k; k < whole.length; ++k) {
            proof[k] = whole[k];
        }
        proof[whole.length] = element;
        _expectInvalidProof(_fulfillmentsOf(_pending), proof);
    }

    function test_fulfill_revertsWhen_theRunIsEmpty() public {
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidRun.selector, 0, 0));
        coordinator.fulfill(new Fulfillment[](0), _proofOf(3, 1));
    }

    function test_fulfill_revertsWhen_theRunCrossesABatch() public {
        _discardTo(254);
        Request[] memory requests = _requests(ALICE, 3);
        _mine(1);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidRun.selector, 254, 256));
        coordinator.fulfill(_fulfillmentsOf(requests), _proofOf(254, 2));
        _fulfill(requests[2]);
        _assertCounts(1, 0);
    }

    function test_fulfill_revertsWhen_theOrderIsAnother() public {
        Request[] memory requests = _two();
        (requests[0], requests[1]) = (requests[1], requests[0]);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidRun.selector, 5, 3));
        coordinator.fulfill(_fulfillmentsOf(requests), _proofOf(3, 3));
        requests = _pendingRequests();
        (requests[1], requests[2]) = (requests[2], requests[1]);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.UnexpectedIndex.selector, 4, 6));
        coordinator.fulfill(_fulfillmentsOf(requests), new bytes32[](20));
    }

    function testFuzz_fulfill_revertsWhen_anIndexLiesBeyondTheLast(uint64 index) public {
        Request[] memory requests = _pendingRequests();
        index = uint64(bound(index, 7, type(uint64).max));
        requests[1].terms = _withIndex(requests[1], index);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.UnexpectedIndex.selector, index, 4));
        coordinator.fulfill(_fulfillmentsOf(requests), _proofOf(3, 4));
    }

    function testFuzz_fulfill_revertsWhen_theIndexIsOutOfThisWorld(uint64 index) public {
        vm.assume(index != 3);
        Request memory request = _pending[0];
        request.terms = _withIndex(request, index);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidProof.selector));
        coordinator.fulfill(_fulfillmentsOf(_one(request)), _proofOf(3, 1));
    }

    function _pendingRequests() private view returns (Request[] memory) {
        return _pending;
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

    function _expectInvalidProof(Fulfillment[] memory items, bytes32[] memory siblings) private {
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InvalidProof.selector));
        coordinator.fulfill(items, siblings);
        _assertCounts(0, 0);
    }
}
