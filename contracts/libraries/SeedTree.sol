// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Keccak} from "./Keccak.sol";

/// @notice Merkle trees over batches of 256 committed seeds.
/// @dev A leaf hashes three words and a node two, so neither can stand in for the other.
library SeedTree {
    /// @notice Seeds per batch.
    uint256 internal constant BATCH = 256;

    /// @dev Levels between a leaf and its root: log2(BATCH).
    uint256 private constant DEPTH = 8;

    /// @notice The leaf of a seed: bound to chain and coordinator by `domain`, and to its index.
    function leaf(bytes32 domain, uint256 index, bytes32 seed) internal pure returns (bytes32) {
        return Keccak.hash(domain, bytes32(index), seed);
    }

    /// @notice The root over a run of consecutive leaves and the siblings that the proof brings.
    /// @dev Overwrites `run`. Per level the proof is consumed left before right.
    /// @param position The place of the run's first leaf in its batch; `position + run.length <= BATCH`.
    /// @param run At least one leaf.
    /// @param proof The missing siblings.
    /// @return root The computed root.
    /// @return consumed How many elements of the proof went into it. An element that is missing reverts.
    function rootOf(uint256 position, bytes32[] memory run, bytes32[] calldata proof)
        internal
        pure
        returns (bytes32 root, uint256 consumed)
    {
        uint256 length = run.length;
        // No sum here exceeds the batch, and array bounds are checked all the same.
        unchecked {
            for (uint256 level; level < DEPTH; ++level) {
                uint256 from;
                uint256 to;
                if (position & 1 == 1) {
                    run[0] = Keccak.hash(proof[consumed++], run[0]);
                    from = 1;
                    to = 1;
                }
                for (; from + 1 < length; from += 2) {
                    run[to++] = Keccak.hash(run[from], run[from + 1]);
                }
                if (from < length) run[to++] = Keccak.hash(run[from], proof[consumed++]);
                length = to;
                position >>= 1;
            }
        }
        root = run[0];
    }
}
