// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice What is asked of the contract at 0x420000000000000000000000000000000000000F on the chains of the OP stack.
/// @dev Source: the specifications of the OP stack, predeploys of its upgrades Fjord and Isthmus.
interface IGasPriceOracle {
    /// @notice The most that a transaction of this size costs on L1, in wei. Since Fjord.
    /// @param unsignedTxSize Bytes of the transaction without its signature.
    function getL1FeeUpperBound(uint256 unsignedTxSize) external view returns (uint256);

    /// @notice What the operator of the rollup takes for so much gas, in wei. Since Isthmus.
    function getOperatorFee(uint256 gasUsed) external view returns (uint256);
}
