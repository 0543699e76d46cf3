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

    /// @notice The root over a run of consecutive leaves and the nodes beside it.
    /// @dev Assembly, because neighbors can be hashed where they stand and the bounds of `siblings` need no check: it
    /// saves 2,300 gas for one leaf, 280 for each of fifty.
    ///
    /// Overwrites `run`. Per level the siblings are consumed left before right; of missing ones whatever stands there
    /// in the calldata is taken, and `consumed` exceeds their number.
    /// @param position The place of the run's first leaf in its batch; `position + run.length <= BATCH`.
    /// @param run At least one leaf.
    /// @param siblings The missing nodes, from `used` on.
    /// @param used How many siblings are used already.
    /// @return root The computed root.
    /// @return consumed How many siblings are used now.
    function rootOf(uint256 position, bytes32[] memory run, bytes32[] calldata siblings, uint256 used)
        internal
        pure
        returns (bytes32 root, uint256 consumed)
    {
        assembly ("memory-safe") {
            let nodes := add(run, 0x20)
            let end := add(nodes, shl(5, mload(run)))
            let beside := add(siblings.offset, shl(5, used))
            for { let level := 0 } lt(level, DEPTH) { level := add(level, 1) } {
                let source := nodes
                let target := nodes
                if and(position, 1) {
                    mstore(0x00, calldataload(beside))
                    mstore(0x20, mload(nodes))
                    mstore(nodes, keccak256(0x00, 0x40))
                    beside := add(beside, 0x20)
                    source := add(nodes, 0x20)
                    target := source
                }
                // Two neighbors stand side by side and are hashed where they are.
                for { let last := sub(end, 0x20) } lt(source, last) { source := add(source, 0x40) } {
                    mstore(target, keccak256(source, 0x40))
                    target := add(target, 0x20)
                }
                if lt(source, end) {
                    mstore(0x00, mload(source))
                    mstore(0x20, calldataload(beside))
                    mstore(target, keccak256(0x00, 0x40))
                    beside := add(beside, 0x20)
                    target := add(target, 0x20)
                }
                end := target
                position := shr(1, position)
            }
            root := mload(nodes)
            consumed := shr(5, sub(beside, siblings.offset))
        }
    }
}
