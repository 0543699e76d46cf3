// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @notice Keccak-256 over two to four words, without the allocation that `abi.encode` makes.
/// @dev Assembly, because a fulfillment hashes dozens of times and every allocation would grow its memory.
library Keccak {
    /// @notice `keccak256(abi.encode(a, b))`.
    function hash(bytes32 a, bytes32 b) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            mstore(0x00, a)
            mstore(0x20, b)
            result := keccak256(0x00, 0x40)
        }
    }

    /// @notice `keccak256(abi.encode(a, b, c))`.
    function hash(bytes32 a, bytes32 b, bytes32 c) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, a)
            mstore(add(free, 0x20), b)
            mstore(add(free, 0x40), c)
            result := keccak256(free, 0x60)
        }
    }

    /// @notice `keccak256(abi.encode(a, b, c, d))`.
    function hash(bytes32 a, bytes32 b, bytes32 c, bytes32 d) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, a)
            mstore(add(free, 0x20), b)
            mstore(add(free, 0x40), c)
            mstore(add(free, 0x60), d)
            result := keccak256(free, 0x80)
        }
    }
}
