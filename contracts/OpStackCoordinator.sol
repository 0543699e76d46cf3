// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {QuantumCoordinator} from "./QuantumCoordinator.sol";
import {IGasPriceOracle} from "./interfaces/IGasPriceOracle.sol";

/// @title OpStackCoordinator
/// @notice The coordinator of rollups of the OP stack: its fee also covers what the fulfillment's data cost on L1 and
/// what the rollup's operator takes.
/// @dev Needs the rollup's upgrades Fjord and Isthmus; elsewhere the constructor reverts. If an upgrade to come took
/// either function away, no further request could be made; those that are pending could be fulfilled and cancelled all
/// the same.
contract OpStackCoordinator is QuantumCoordinator {
    using SafeCast for uint256;

    IGasPriceOracle private constant GAS_PRICE_ORACLE =
        IGasPriceOracle(0x420000000000000000000000000000000000000F);

    /// @dev A transaction that fulfills one request, without its signature: 516 bytes of calldata, and what is around.
    uint256 private constant TRANSACTION_BYTES = 580;

    constructor(Config memory config) QuantumCoordinator(config) {
        _rollupFee(0);
    }

    /// @inheritdoc QuantumCoordinator
    function _rollupFee(uint256 gasUsed) internal view override returns (uint128) {
        uint256 data = GAS_PRICE_ORACLE.getL1FeeUpperBound(TRANSACTION_BYTES);
        return (data + GAS_PRICE_ORACLE.getOperatorFee(gasUsed)).toUint128();
    }
}
