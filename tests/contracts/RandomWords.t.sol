// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RandomWords} from "../../contracts/libraries/RandomWords.sol";
import {Test} from "./support/Test.sol";

/// @notice The library against its description, and against the distributions that it promises.
contract RandomWordsTest is Test {
    using RandomWords for uint256;
    using RandomWords for RandomWords.Stream;

    /// @dev Words that are counted where all results should be equally likely: always the same ones.
    uint256 private constant SAMPLES = 12_000;

    event log_named_uint(string key, uint256 val);

    function testFuzz_below_isInRange(uint256 word, uint256 bound_) public pure {
        bound_ = bound(bound_, 1, type(uint256).max);
        assertLe(word.below(bound_), bound_ - 1, "number");
    }

    /// @dev What is accepted is a whole multiple of the bound, counted with the language's 512-bit arithmetic.
    function testFuzz_below_rejectsTheLowestWordsOnly(uint256 bound_) public pure {
        bound_ = bound(bound_, 1, type(uint256).max);
        uint256 rejected = addmod(type(uint256).max, 1, bound_);
        assertEq(rejected.below(bound_), rejected % bound_, "first accepted word");
        assertEq(type(uint256).max.below(bound_), type(uint256).max % bound_, "last accepted word");
        if (rejected == 0) return;
        assertEq((rejected - 1).below(bound_), _replacement(rejected - 1).below(bound_), "last rejected word");
        assertEq(uint256(0).below(bound_), _replacement(0).below(bound_), "first rejected word");
    }

    /// @dev The bound that rejects most: almost every second word.
    function testFuzz_below_replacesUntilAccepted(uint256 word) public pure {
        uint256 bound_ = 2 ** 255 + 1;
        uint256 number = word.below(bound_);
        while (word < 2 ** 255 - 1) word = _replacement(word);
        assertEq(number, word % bound_, "number");
    }

    function test_below_revertsWhen_nothingIsThere() public {
        vm.expectRevert(abi.encodeWithSelector(RandomWords.EmptyRange.selector));
        this.below(1, 0);
    }

    function testFuzz_between_isInRange(uint256 word, uint256 least, uint256 most) public pure {
        (least, most) = least < most ? (least, most) : (most, least);
        uint256 number = word.between(least, most);
        assertGe(number, least, "number");
        assertLe(number, most, "number");
    }

    function testFuzz_between_allNumbersIsTheWord(uint256 word) public pure {
        assertEq(word.between(0, type(uint256).max), word, "number");
    }

    function testFuzz_between_revertsWhen_endIsBeforeBeginning(uint256 least, uint256 most) public {
        most = bound(most, 0, type(uint256).max - 1);
        least = bound(least, most + 1, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(RandomWords.InvertedRange.selector, least, most));
        this.between(1, least, most);
    }

    function test_between_isUniform() public {
        uint256[] memory seen = new uint256[](6);
        for (uint256 k; k < SAMPLES; ++k) {
            ++seen[_word(k).between(10, 15) - 10];
        }
        _assertUniform(seen, SAMPLES);
    }

    function testFuzz_weighted_isThePlaceOfItsPoint(uint256 word, uint64[5] memory parts) public pure {
        uint256[] memory weights = new uint256[](5);
        uint256 sum;
        for (uint256 k; k < 5; ++k) {
            sum += weights[k] = parts[k];
        }
        vm.assume(sum != 0);
        uint256 place = word.weighted(weights);
        uint256 before;
        for (uint256 k; k < place; ++k) {
            before += weights[k];
        }
        uint256 point = word.below(sum);
        assertGe(point, before, "point");
        assertLe(point + 1, before + weights[place], "point");
    }

    function test_weighted_isInProportion() public pure {
        uint256[] memory weights = new uint256[](4);
        (weights[0], weights[1], weights[3]) = (1, 2, 3);
        uint256[] memory sixths = new uint256[](3);
        uint256[4] memory seen;
        for (uint256 k; k < SAMPLES; ++k) {
            ++seen[_word(k).weighted(weights)];
        }
        assertEq(seen[2], 0, "times that a weight of 0 was chosen");
        (sixths[0], sixths[1], sixths[2]) = (6 * seen[0], 3 * seen[1], 2 * seen[3]);
        for (uint256 k; k < 3; ++k) {
            assertGe(sixths[k], SAMPLES * 9 / 10, "times chosen");
            assertLe(sixths[k], SAMPLES * 11 / 10, "times chosen");
        }
    }

    function test_weighted_revertsWhen_nothingHasWeight() public {
        for (uint256 size; size < 3; ++size) {
            vm.expectRevert(abi.encodeWithSelector(RandomWords.NoWeight.selector));
            this.weighted(1, new uint256[](size));
        }
    }

    function testFuzz_stream_isNeitherAnotherNorTheCoordinators(uint256 word, bytes32 label, bytes32 other)
        public
        pure
    {
        vm.assume(label != other);
        RandomWords.Stream memory stream = word.stream(label);
        uint256 first = stream.next();
        assertEq(first, word.stream(label).next(), "the same again");
        uint256[4] memory others = [
            stream.next(),
            word.stream(other).next(),
            (word ^ 1).stream(label).next(),
            uint256(keccak256(abi.encode(word, 0)))
        ];
        for (uint256 k; k < 4; ++k) {
            assertEq(others[k] == first, false, "the same");
        }
    }

    function testFuzz_shuffle_isAPermutation(uint256 word, uint8 count) public pure {
        uint256[] memory items = _row(count);
        word.stream("test").shuffle(items);
        _assertDistinctBelow(items, count);
    }

    function test_shuffle_makesEveryOrderEquallyLikely() public {
        uint256[] memory seen = new uint256[](4 * 4 * 4 * 4);
        for (uint256 k; k < SAMPLES; ++k) {
            uint256[] memory items = _row(4);
            _word(k).stream("test").shuffle(items);
            ++seen[_digits(items, 4)];
        }
        _assertUniform(_withoutZeros(seen, 24), SAMPLES);
    }

    function testFuzz_sample_isDistinctAndInRange(uint256 word, uint8 count, uint256 bound_) public pure {
        bound_ = bound(bound_, count, type(uint256).max);
        uint256[] memory drawn = word.stream("test").sample(count, bound_);
        assertEq(drawn.length, count, "length");
        _assertDistinctBelow(drawn, bound_);
    }

    function testFuzz_sample_ofAllIsAPermutation(uint256 word, uint8 count) public pure {
        _assertDistinctBelow(word.stream("test").sample(count, count), count);
    }

    function test_sample_makesEveryRowEquallyLikely() public {
        uint256[] memory seen = new uint256[](5 * 5 * 5);
        for (uint256 k; k < SAMPLES; ++k) {
            ++seen[_digits(_word(k).stream("test").sample(3, 5), 5)];
        }
        _assertUniform(_withoutZeros(seen, 60), SAMPLES);
    }

    function test_sample_revertsWhen_moreAreWantedThanThereAre() public {
        vm.expectRevert(abi.encodeWithSelector(RandomWords.TooFew.selector, 3, 4));
        this.sample(1, 4, 3);
    }

    /// @dev What the descriptions say of gas; told by `forge test -vv`.
    function testFuzz_gas_isWithinWhatIsSaid(uint256 word) public {
        uint256[] memory items = _row(100);
        RandomWords.Stream memory stream = word.stream("gas");
        _assertGas("below", this.gasOfBelow(word), 250);
        uint256 left = gasleft();
        stream.shuffle(items);
        _assertGas("shuffle of 100, each", (left - gasleft()) / 100, 700);
        left = gasleft();
        stream.sample(100, 1_000_000);
        _assertGas("sample of 100, each", (left - gasleft()) / 100, 1500);
    }

    function gasOfBelow(uint256 word) external view returns (uint256 used) {
        used = gasleft();
        word.below(6);
        used -= gasleft();
    }

    function below(uint256 word, uint256 bound_) external pure returns (uint256) {
        return word.below(bound_);
    }

    function between(uint256 word, uint256 least, uint256 most) external pure returns (uint256) {
        return word.between(least, most);
    }

    function weighted(uint256 word, uint256[] memory weights) external pure returns (uint256) {
        return word.weighted(weights);
    }

    function sample(uint256 word, uint256 count, uint256 bound_) external pure returns (uint256[] memory) {
        return word.stream("test").sample(count, bound_);
    }

    function _assertGas(string memory what, uint256 used, uint256 most) private {
        emit log_named_uint(what, used);
        assertLe(used, most, what);
    }

    /// @dev Pearson's chi-square may exceed its expectation by five of its standard deviations.
    function _assertUniform(uint256[] memory seen, uint256 total) private {
        uint256 freedom = seen.length - 1;
        uint256 squares;
        for (uint256 k; k < seen.length; ++k) {
            squares += seen[k] * seen[k];
        }
        uint256 chiSquare = squares * seen.length / total - total;
        emit log_named_uint("chi-square", chiSquare);
        // (chiSquare - freedom)^2 <= 25 * 2 * freedom
        if (chiSquare > freedom) assertLe((chiSquare - freedom) ** 2, 50 * freedom, "chi-square");
    }

    function _withoutZeros(uint256[] memory seen, uint256 expected)
        private
        pure
        returns (uint256[] memory found)
    {
        found = new uint256[](expected);
        uint256 count;
        for (uint256 k; k < seen.length; ++k) {
            if (seen[k] != 0) found[count++] = seen[k];
        }
        assertEq(count, expected, "kinds of result");
    }

    function _assertDistinctBelow(uint256[] memory numbers, uint256 bound_) private pure {
        for (uint256 k; k < numbers.length; ++k) {
            assertLe(numbers[k], bound_ - 1, "number");
            for (uint256 n; n < k; ++n) {
                assertEq(numbers[n] == numbers[k], false, "twice the same");
            }
        }
    }

    /// @dev A row of digits as one number.
    function _digits(uint256[] memory row, uint256 base) private pure returns (uint256 number) {
        for (uint256 k; k < row.length; ++k) {
            number = number * base + row[k];
        }
    }

    function _row(uint256 count) private pure returns (uint256[] memory items) {
        items = new uint256[](count);
        for (uint256 k; k < count; ++k) {
            items[k] = k;
        }
    }

    function _word(uint256 number) private pure returns (uint256) {
        return uint256(keccak256(abi.encode("word", number)));
    }

    function _replacement(uint256 word) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(word, keccak256("RandomWords.replacement"))));
    }
}
