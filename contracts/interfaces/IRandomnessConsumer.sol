// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @notice What the coordinator calls when a request is fulfilled.
interface IRandomnessConsumer {
    /// @notice Delivers the random words of a request.
    /// @dev The implementation must refuse every caller but the coordinator.
    /// The call gets the gas limit of the request and no more; if it fails, the words can be redelivered by anyone.
    /// @param requestId The id that `requestRandomness` returned.
    /// @param words Independent, uniformly distributed 256-bit words, as many as were asked for.
    function rawFulfillRandomness(bytes32 requestId, uint256[] calldata words) external;
}
