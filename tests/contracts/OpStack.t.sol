// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {OpStackCoordinator} from "../../contracts/OpStackCoordinator.sol";
import {QuantumCoordinator} from "../../contracts/QuantumCoordinator.sol";
import {IGasPriceOracle} from "../../contracts/interfaces/IGasPriceOracle.sol";
import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";

/// @notice The fee of a rollup of the OP stack.
contract OpStackTest is CoordinatorTest {
    address private constant PREDEPLOY = 0x420000000000000000000000000000000000000F;

    function setUp() public override {
        super.setUp();
        vm.etch(PREDEPLOY, address(new RollupFees()).code);
        RollupFees(PREDEPLOY).set(3, 7);
        coordinator = new OpStackCoordinator(_config());
    }

    function testFuzz_fee_coversDataAndOperator(
        uint16 numWords,
        uint64 baseFee,
        uint64 perByte,
        uint32 perGas
    ) public {
        RollupFees(PREDEPLOY).set(perByte, perGas);
        uint256 units = 81_000 + 200 * uint256(numWords) + uint256(CALLBACK_GAS) * 64 / 63;
        uint256 cost = units * baseFee + 580 * uint256(perByte) + units * perGas;
        assertEq(coordinator.feeAt(CALLBACK_GAS, numWords, baseFee), FLAT_FEE + cost * MARGIN / 10_000, "fee");
    }

    /// @dev What is charged for is at least as long as what is sent: calldata, and some 60 bytes around.
    function test_fee_countsTheBytesOfAFulfillment() public {
        _setUpCoordinator(_config());
        Request memory request = _request(ALICE);
        assertLe(_fulfillCall(_one(request)).length + 60, 580, "bytes");
    }

    function test_request_takesTheFeeOfTheRollup() public {
        bytes32[] memory roots = new bytes32[](1);
        roots[0] = keccak256("root");
        vm.prank(OPERATOR);
        coordinator.commit(0, roots);
        uint256 quoted = coordinator.fee(CALLBACK_GAS, 1);
        RollupFees(PREDEPLOY).set(4, 7);
        vm.deal(ALICE, 1 ether);
        vm.prank(ALICE);
        vm.expectRevert(
            abi.encodeWithSelector(IQuantumCoordinator.InsufficientFee.selector, quoted, quoted + 696)
        );
        coordinator.requestRandomness{value: quoted}(CALLBACK_GAS, 1, 1, 0);
        vm.prank(ALICE);
        coordinator.requestRandomness{value: quoted + 696}(CALLBACK_GAS, 1, 1, 0);
    }

    function test_fee_revertsWhen_theRollupAsksForTooMuch() public {
        RollupFees(PREDEPLOY).set(type(uint128).max, 0);
        vm.expectRevert();
        coordinator.feeAt(CALLBACK_GAS, 1, 0);
    }

    function test_constructor_revertsWhen_theChainIsNoneOfThem() public {
        vm.etch(PREDEPLOY, "");
        vm.expectRevert();
        new OpStackCoordinator(_config());
    }

    function test_constructor_revertsWhen_theRollupLacksAnUpgrade() public {
        vm.etch(PREDEPLOY, address(new RollupBeforeIsthmus()).code);
        vm.expectRevert();
        new OpStackCoordinator(_config());
    }
}

/// @notice Stands in for the predeploy, which no chain of these tests has: so much for a byte, so much for gas.
contract RollupFees is IGasPriceOracle {
    uint256 private _perByte;
    uint256 private _perGas;

    function set(uint256 perByte, uint256 perGas) external {
        (_perByte, _perGas) = (perByte, perGas);
    }

    function getL1FeeUpperBound(uint256 unsignedTxSize) external view returns (uint256) {
        return unsignedTxSize * _perByte;
    }

    function getOperatorFee(uint256 gasUsed) external view returns (uint256) {
        return gasUsed * _perGas;
    }
}

contract RollupBeforeIsthmus {
    function getL1FeeUpperBound(uint256 unsignedTxSize) external pure returns (uint256) {
        return unsignedTxSize;
    }
}
