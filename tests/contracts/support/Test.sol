// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Vm} from "./Vm.sol";

/// @notice Assertions that show both values when they fail.
abstract contract Test {
    error DifferentNumbers(string what, uint256 actual, uint256 expected);
    error DifferentWords(string what, bytes32 actual, bytes32 expected);
    error DifferentAddresses(string what, address actual, address expected);
    error DifferentAnswers(string what, bool actual, bool expected);
    error TooLittle(string what, uint256 actual, uint256 least);
    error TooMuch(string what, uint256 actual, uint256 most);

    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function assertEq(uint256 actual, uint256 expected, string memory what) internal pure {
        if (actual != expected) revert DifferentNumbers(what, actual, expected);
    }

    function assertEq(bytes32 actual, bytes32 expected, string memory what) internal pure {
        if (actual != expected) revert DifferentWords(what, actual, expected);
    }

    function assertEq(address actual, address expected, string memory what) internal pure {
        if (actual != expected) revert DifferentAddresses(what, actual, expected);
    }

    function assertEq(bool actual, bool expected, string memory what) internal pure {
        if (actual != expected) revert DifferentAnswers(what, actual, expected);
    }

    function assertGe(uint256 actual, uint256 least, string memory what) internal pure {
        if (actual < least) revert TooLittle(what, actual, least);
    }

    function assertLe(uint256 actual, uint256 most, string memory what) internal pure {
        if (actual > most) revert TooMuch(what, actual, most);
    }

    /// @dev Any `value` into `least` to `most`, both included.
    function bound(uint256 value, uint256 least, uint256 most) internal pure returns (uint256) {
        if (value >= least && value <= most) return value;
        return least + value % (most - least + 1);
    }
}
