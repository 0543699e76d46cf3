// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice All that a request reads and writes besides its own slot, in one word:
/// earned 112 bits (wei) | flat fee 48 (gwei) | gas margin 16 (1/10,000) | committed 40 | next 40.
/// @dev One word, so that taking a seed and collecting what the slot's last request earned are one write.
type Counters is uint256;

using {
    next,
    committed,
    gasMarginBps,
    flatFee,
    earned,
    withNext,
    withCommitted,
    withFee,
    credit,
    debit
} for Counters global;

/// @dev Both `next` and `committed` end here.
uint256 constant MAX_INDEX = type(uint40).max;

/// @notice The index that the next request takes.
function next(Counters counters) pure returns (uint256) {
    return uint40(Counters.unwrap(counters));
}

/// @notice The first index that is not committed.
function committed(Counters counters) pure returns (uint256) {
    return uint40(Counters.unwrap(counters) >> 40);
}

/// @notice What is charged for gas, in 1/10,000 of the base fee's price.
function gasMarginBps(Counters counters) pure returns (uint256) {
    return uint16(Counters.unwrap(counters) >> 80);
}

/// @notice What a request costs besides, in wei.
function flatFee(Counters counters) pure returns (uint256) {
    unchecked {
        return uint256(uint48(Counters.unwrap(counters) >> 96)) * 1 gwei;
    }
}

/// @notice What was earned, collected and not withdrawn, in wei.
function earned(Counters counters) pure returns (uint256) {
    return Counters.unwrap(counters) >> 144;
}

/// @notice The same with another next index, at most `MAX_INDEX`.
function withNext(Counters counters, uint256 next_) pure returns (Counters) {
    return Counters.wrap(Counters.unwrap(counters) >> 40 << 40 | next_);
}

/// @notice The same with another first index that is not committed, at most `MAX_INDEX`.
function withCommitted(Counters counters, uint256 committed_) pure returns (Counters) {
    return Counters.wrap(Counters.unwrap(counters) & ~(MAX_INDEX << 40) | committed_ << 40);
}

/// @notice The same with other fee parameters.
function withFee(Counters counters, uint48 flatFeeGwei, uint16 gasMarginBps_) pure returns (Counters) {
    uint256 cleared = Counters.unwrap(counters) & ~(uint256(type(uint64).max) << 80);
    return Counters.wrap(cleared | uint256(flatFeeGwei) << 96 | uint256(gasMarginBps_) << 80);
}

/// @notice The same with more earned. Reverts beyond 112 bits: more than any chain's supply.
function credit(Counters counters, uint256 amount) pure returns (Counters) {
    return Counters.wrap(Counters.unwrap(counters) + (amount << 144));
}

/// @notice The same with less earned: at most `earned`.
function debit(Counters counters, uint256 amount) pure returns (Counters) {
    return Counters.wrap(Counters.unwrap(counters) - (amount << 144));
}
