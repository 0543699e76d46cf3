// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

/// @notice The terms of a request in one word, exactly as events carry them and fulfillments bring them back:
/// fee 96 bits (wei) | request block 40 | confirmations 8 | number of words 16 | callback gas limit 32 | seed index 64.
/// @dev One word instead of six keeps a request's event and a fulfillment's calldata short.
type Terms is uint256;

using {index, callbackGasLimit, numWords, confirmations, requestBlock, fee} for Terms global;

/// @notice Packs the terms of a request.
/// @dev The caller has checked that every value fits its field.
function packTerms(
    uint256 index_,
    uint256 callbackGasLimit_,
    uint256 numWords_,
    uint256 confirmations_,
    uint256 requestBlock_,
    uint256 fee_
) pure returns (Terms) {
    return Terms.wrap(
        index_ | callbackGasLimit_ << 64 | numWords_ << 96 | confirmations_ << 112 | requestBlock_ << 120
            | fee_ << 160
    );
}

/// @notice The index of the seed that the request took.
function index(Terms terms) pure returns (uint256) {
    return uint64(Terms.unwrap(terms));
}

/// @notice The gas that the callback is promised.
function callbackGasLimit(Terms terms) pure returns (uint256) {
    return uint32(Terms.unwrap(terms) >> 64);
}

/// @notice How many random words the callback gets.
function numWords(Terms terms) pure returns (uint256) {
    return uint16(Terms.unwrap(terms) >> 96);
}

/// @notice How many blocks after the request's own the fulfillment may land at the earliest.
function confirmations(Terms terms) pure returns (uint256) {
    return uint8(Terms.unwrap(terms) >> 112);
}

/// @notice The number of the block that the request was mined in.
function requestBlock(Terms terms) pure returns (uint256) {
    return uint40(Terms.unwrap(terms) >> 120);
}

/// @notice The fee that was paid with the request, in wei.
function fee(Terms terms) pure returns (uint256) {
    return Terms.unwrap(terms) >> 160;
}
