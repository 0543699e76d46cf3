// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IQuantumCoordinator} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {IRandomnessConsumer} from "../../contracts/interfaces/IRandomnessConsumer.sol";

/// @notice The smallest useful consumer: checks the caller, keeps the first word, in a fresh slot or a used one.
contract MinimalConsumer is IRandomnessConsumer {
    address private immutable COORDINATOR;
    bool private immutable FRESH;

    uint256 public last;
    mapping(bytes32 requestId => uint256) public wordOf;

    constructor(address coordinator, bool fresh) {
        COORDINATOR = coordinator;
        FRESH = fresh;
    }

    function ask() external payable {
        IQuantumCoordinator(COORDINATOR).requestRandomness{value: msg.value}(100_000, 1, 1, 0);
    }

    function rawFulfillRandomness(bytes32 requestId, uint256[] calldata words) external {
        require(msg.sender == COORDINATOR);
        if (FRESH) wordOf[requestId] = words[0];
        else last = words[0];
    }
}
