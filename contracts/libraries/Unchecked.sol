// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Fulfillment} from "../interfaces/IQuantumCoordinator.sol";

/// @notice Access to arrays without the check of their bounds, for loops that keep them.
/// @dev Assembly, because Solidity has no other way; it saves 200 gas per fulfillment of a run.
library Unchecked {
    /// @notice `items[k]`; beyond the end it is whatever stands there in the calldata.
    function get(Fulfillment[] calldata items, uint256 k) internal pure returns (Fulfillment calldata item) {
        assembly ("memory-safe") {
            item := add(items.offset, shl(7, k))
        }
    }

    /// @notice `words[k]`; beyond the end it is whatever stands there in the calldata, or zero.
    function get(bytes32[] calldata words, uint256 k) internal pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := calldataload(add(words.offset, shl(5, k)))
        }
    }

    /// @notice `words[k] = word`. The caller keeps `k` below the length: memory beyond would be overwritten.
    function set(bytes32[] memory words, uint256 k, bytes32 word) internal pure {
        assembly ("memory-safe") {
            mstore(add(add(words, 0x20), shl(5, k)), word)
        }
    }
}
