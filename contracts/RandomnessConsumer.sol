// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IQuantumCoordinator, Request} from "./interfaces/IQuantumCoordinator.sol";
import {IRandomnessConsumer} from "./interfaces/IRandomnessConsumer.sol";

/// @title RandomnessConsumer
/// @notice The base of contracts that ask a `QuantumCoordinator` for random words.
/// @dev The rules that make a fair application:
/// 1. Close every input before you request. From the next block on the operator knows the outcome, and from the
///    broadcast of the fulfillment on everybody does.
/// 2. Let results depend on nothing but the words and state that was frozen at the request.
/// 3. Key everything by the request id, never by "the latest": requests can be fulfilled in any order.
/// 4. Keep the callback small and certain: store the word, derive the rest when it is read, pay nobody. If it fails,
///    anybody can have it repeated with the same words.
/// 5. A request that was never fulfilled can be cancelled after `window()` blocks. Decide who may do that, and do not
///    let the expiry favor anybody who could collude with the operator.
/// 6. Put `nonReentrant` on your own entry points: the callback holds the same lock. A callback that arrives while the
///    lock is held fails and waits for `redeliver`: whoever is paid or called under it can delay others so, no more.
/// 7. Make numbers of words with `RandomWords`, which adds no bias.
abstract contract RandomnessConsumer is IRandomnessConsumer, ReentrancyGuardTransient {
    /// @notice Thrown when somebody else than the coordinator delivers words.
    error NotCoordinator(address caller);

    /// @notice The coordinator that is asked and that delivers.
    IQuantumCoordinator public immutable COORDINATOR;

    constructor(IQuantumCoordinator coordinator) {
        COORDINATOR = coordinator;
    }

    /// @inheritdoc IRandomnessConsumer
    function rawFulfillRandomness(bytes32 requestId, uint256[] calldata words) external nonReentrant {
        if (msg.sender != address(COORDINATOR)) revert NotCoordinator(msg.sender);
        _fulfillRandomness(requestId, words);
    }

    /// @dev What the application does with its words.
    /// @param requestId The request.
    /// @param words As many words as were asked for.
    function _fulfillRandomness(bytes32 requestId, uint256[] calldata words) internal virtual;

    /// @dev Asks for words and pays `value` for them, at least `COORDINATOR.fee(callbackGasLimit, numWords)` of this
    /// block; who sends the transaction sends 5/4 of `feeAt` with the head's base fee.
    /// All of `value` is the fee: nothing of it comes back unless the request is cancelled.
    function _requestRandomness(
        uint32 callbackGasLimit,
        uint16 numWords,
        uint8 confirmations,
        bytes32 userSeed,
        uint256 value
    ) internal returns (bytes32 requestId) {
        return COORDINATOR.requestRandomness{value: value}(
            callbackGasLimit, numWords, confirmations, userSeed
        );
    }

    /// @dev Cancels a request whose window has passed; the refund goes to `to`. Expose it behind a rule of your own,
    /// never with a `to` that anybody can choose.
    function _cancelRequest(Request calldata request, address payable to) internal {
        COORDINATOR.cancel(request, to);
    }
}
