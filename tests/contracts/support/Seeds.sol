// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice Batches of 256 seeds with their trees, and the multiproofs of runs in them. Made from the protocol's
/// description alone: nothing of the contracts is used.
abstract contract Seeds {
    uint256 internal constant BATCH = 256;

    /// @dev Node 1 is the root, the children of node n are 2n and 2n + 1, leaf p is node 256 + p.
    mapping(address coordinator => mapping(uint256 batch => bytes32[512] nodes)) private _trees;

    function _seed(uint256 index) internal pure returns (bytes32) {
        return keccak256(abi.encode("seed", index));
    }

    function _leafOf(address coordinator, uint256 index, bytes32 seed) internal view returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(block.chainid, coordinator));
        return keccak256(abi.encode(domain, index, seed));
    }

    /// @dev Builds and keeps the tree of a batch.
    function _plant(address coordinator, uint256 batch) internal returns (bytes32 root) {
        bytes32[512] memory nodes;
        for (uint256 p; p < BATCH; ++p) {
            uint256 index = batch * BATCH + p;
            nodes[BATCH + p] = _leafOf(coordinator, index, _seed(index));
        }
        for (uint256 n = BATCH - 1; n > 0; --n) {
            nodes[n] = keccak256(abi.encode(nodes[2 * n], nodes[2 * n + 1]));
        }
        _trees[coordinator][batch] = nodes;
        return nodes[1];
    }

    /// @dev Node `n` of a planted tree.
    function _node(address coordinator, uint256 batch, uint256 n) internal view returns (bytes32) {
        return _trees[coordinator][batch][n];
    }

    /// @dev The siblings that a run of leaves lacks: level by level from the leaves, left before right.
    function _proof(address coordinator, uint256 first, uint256 length)
        internal
        view
        returns (bytes32[] memory proof)
    {
        bytes32[512] storage nodes = _trees[coordinator][first / BATCH];
        bytes32[] memory found = new bytes32[](16);
        uint256 count;
        uint256 left = BATCH + first % BATCH;
        for (uint256 right = left + length - 1; left > 1; right /= 2) {
            if (left % 2 == 1) found[count++] = nodes[left - 1];
            if (right % 2 == 0) found[count++] = nodes[right + 1];
            left /= 2;
        }
        proof = new bytes32[](count);
        for (uint256 k; k < count; ++k) {
            proof[k] = found[k];
        }
    }

    /// @dev What a fulfillment of these indices lacks: the leaves between them, then their proof.
    function _siblings(address coordinator, uint256[] memory indices)
        internal
        view
        returns (bytes32[] memory siblings)
    {
        uint256 length = indices[indices.length - 1] - indices[0] + 1;
        bytes32[] memory proof = _proof(coordinator, indices[0], length);
        siblings = new bytes32[](length - indices.length + proof.length);
        uint256 count;
        for (uint256 k = 1; k < indices.length; ++k) {
            for (uint256 index = indices[k - 1] + 1; index < indices[k]; ++index) {
                siblings[count++] = _leafOf(coordinator, index, _seed(index));
            }
        }
        for (uint256 k; k < proof.length; ++k) {
            siblings[count++] = proof[k];
        }
    }
}
