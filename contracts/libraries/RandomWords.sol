// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Keccak} from "./Keccak.sol";

/// @title RandomWords
/// @notice What applications make of random words: numbers in a range, weighted choices, shuffles, samples, and any
/// number of further words from one.
///
/// Guarantees, for words that are uniform and a Keccak-256 that behaves as a random function:
/// - Every result is exactly uniform (`weighted`: exactly in proportion). There is no bias of the remainder, because
///   words that would cause one are rejected and replaced.
/// - A word is rejected with a probability below `bound / 2^256`, and below 1/2 whatever the bound. So a loop goes
///   through fewer than two words on average and through more than `k` with a probability below `2^-k`; with bounds up
///   to 2^64 a rejection is never seen, and gas depends on the arguments alone, up to the branches taken.
/// - The further words of a stream depend on its word and its label: other words, and other labels, give other
///   streams, and none of them is a word that the coordinator makes.
///
/// Does not guarantee: that two results are independent if both were made from the same word without streams.
/// Take one word, or one `next`, for each.
library RandomWords {
    using Keccak for bytes32;

    /// @notice Thrown when there is nothing to choose from: the bound is 0.
    error EmptyRange();
    /// @notice Thrown when a range ends before it begins.
    error InvertedRange(uint256 least, uint256 most);
    /// @notice Thrown when more distinct numbers are wanted than there are.
    error TooFew(uint256 available, uint256 wanted);
    /// @notice Thrown when all weights are 0.
    error NoWeight();

    /// @notice A series of words that follows from one.
    /// @param key What the words are hashed from.
    /// @param position How many have been taken.
    struct Stream {
        bytes32 key;
        uint256 position;
    }

    /// @dev The coordinator's words are `keccak256(output, i)`. A stream's key hashes three words, this first; a
    /// replacement hashes two, this second, where the coordinator and streams have a small number.
    bytes32 private constant STREAM = keccak256("RandomWords.stream");
    bytes32 private constant REPLACEMENT = keccak256("RandomWords.replacement");

    /// @notice A number from 0 to `bound - 1`, exactly uniform. About 80 gas.
    /// @dev The lowest `2^256 % bound` words are rejected: a multiple of `bound` remains. What is rejected is below
    /// `bound`, so that the division is only made for words that are. Reverts with `EmptyRange`.
    function below(uint256 word, uint256 bound) internal pure returns (uint256) {
        if (bound == 0) revert EmptyRange();
        unchecked {
            if (word < bound) {
                uint256 rejected = (0 - bound) % bound;
                while (word < rejected) word = uint256(bytes32(word).hash(REPLACEMENT));
            }
            return word % bound;
        }
    }

    /// @notice A number from `least` to `most`, both included, exactly uniform.
    /// @dev Reverts with `InvertedRange`.
    function between(uint256 word, uint256 least, uint256 most) internal pure returns (uint256) {
        if (least > most) revert InvertedRange(least, most);
        unchecked {
            uint256 bound = most - least + 1;
            return bound == 0 ? word : least + below(word, bound); // 0 stands for 2^256
        }
    }

    /// @notice A place in `weights`, place `i` with the probability `weights[i] / sum`, exactly.
    /// @dev Reverts with `NoWeight`, and panics with 0x11 when the sum does not fit a word.
    function weighted(uint256 word, uint256[] memory weights) internal pure returns (uint256 place) {
        uint256 sum;
        for (uint256 i; i < weights.length; ++i) {
            sum += weights[i];
        }
        if (sum == 0) revert NoWeight();
        uint256 point = below(word, sum);
        while (point >= weights[place]) point -= weights[place++];
    }

    /// @notice The stream of a word: as many words as are wanted, one after the other, by `next`.
    /// @param label What the stream is for. Streams of one word are independent if their labels differ.
    function stream(uint256 word, bytes32 label) internal pure returns (Stream memory) {
        return Stream(STREAM.hash(bytes32(word), label), 0);
    }

    /// @notice The next word of a stream.
    function next(Stream memory self) internal pure returns (uint256) {
        unchecked {
            return uint256(self.key.hash(bytes32(self.position++)));
        }
    }

    /// @notice Brings the items of an array into a random order, in place: every order is equally likely.
    /// @dev Fisher and Yates' shuffle; takes a word per item but the first.
    function shuffle(Stream memory self, uint256[] memory items) internal pure {
        unchecked {
            for (uint256 left = items.length; left > 1; --left) {
                uint256 pick = below(next(self), left);
                (items[left - 1], items[pick]) = (items[pick], items[left - 1]);
            }
        }
    }

    /// @notice `count` distinct numbers from 0 to `bound - 1`, in random order: every such row is equally likely.
    /// @dev Floyd's sampling, shuffled from the inside out: two words for each number, and memory for `count` numbers
    /// and a table of less than `4 * count`, whatever the bound. Reverts with `TooFew`.
    function sample(Stream memory self, uint256 count, uint256 bound)
        internal
        pure
        returns (uint256[] memory drawn)
    {
        if (count > bound) revert TooFew(bound, count);
        drawn = new uint256[](count);
        uint256 size = 1;
        while (size < 2 * count) size *= 2;
        uint256[] memory table = new uint256[](size);
        unchecked {
            for (uint256 i; i < count; ++i) {
                uint256 last = bound - count + i;
                uint256 pick = below(next(self), last + 1);
                if (!_add(table, pick)) {
                    pick = last; // which no earlier pick can be
                    _add(table, pick);
                }
                uint256 place = below(next(self), i + 1);
                drawn[i] = drawn[place];
                drawn[place] = pick;
            }
        }
    }

    /// @dev Adds a number below 2^256 - 1 to a hash table whose size is a power of two and which never gets more than
    /// half full; false if it is there. Numbers are uniform enough to be their own hashes.
    function _add(uint256[] memory table, uint256 number) private pure returns (bool) {
        unchecked {
            uint256 mask = table.length - 1;
            uint256 slot = number & mask;
            while (table[slot] != 0) {
                if (table[slot] == number + 1) return false;
                slot = (slot + 1) & mask;
            }
            table[slot] = number + 1;
            return true;
        }
    }
}
