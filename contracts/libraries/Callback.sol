// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IRandomnessConsumer} from "../interfaces/IRandomnessConsumer.sol";

/// @notice Delivers random words to a consumer, with the gas that it was promised.
/// @dev Assembly, because the gas has to be read right before the call, after the words are encoded, and because the
/// return data of a hostile consumer must not be copied.
library Callback {
    /// @dev What the call itself may take before 63/64 of the rest go to the consumer: a cold account (2,600), the
    /// cold code that the account may delegate to (2,600, EIP-7702), and the instructions between the check and the
    /// call.
    uint256 private constant CALL_COST = 5600;

    /// @notice Calls `rawFulfillRandomness(requestId, words)` with `words[i] = keccak256(output, i)`.
    /// @param consumer Any address; one without code succeeds.
    /// @param promised The gas that the consumer must get.
    /// @param limit The gas that the consumer may get at most, at least `promised`.
    /// @return enough Whether the promise could be kept; if not, nothing was called.
    /// @return success Whether the call succeeded.
    function deliver(
        address consumer,
        uint256 promised,
        uint256 limit,
        bytes32 requestId,
        bytes32 output,
        uint256 numWords
    ) internal returns (bool enough, bool success) {
        bytes32 selector = IRandomnessConsumer.rawFulfillRandomness.selector;
        assembly ("memory-safe") {
            let data := mload(0x40)
            mstore(data, selector)
            mstore(add(data, 4), requestId)
            mstore(add(data, 36), 0x40)
            mstore(add(data, 68), numWords)
            let word := add(data, 100)
            mstore(0x00, output)
            for { let i := 0 } lt(i, numWords) { i := add(i, 1) } {
                mstore(0x20, i)
                mstore(word, keccak256(0x00, 0x40))
                word := add(word, 0x20)
            }
            let left := gas()
            if gt(left, CALL_COST) {
                left := sub(left, CALL_COST)
                enough := iszero(lt(sub(left, shr(6, left)), promised))
            }
            if enough { success := call(limit, consumer, 0, data, sub(word, data), 0, 0) }
        }
    }
}
