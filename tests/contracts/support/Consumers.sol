// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IQuantumCoordinator} from "../../../contracts/interfaces/IQuantumCoordinator.sol";
import {IRandomnessConsumer} from "../../../contracts/interfaces/IRandomnessConsumer.sol";

/// @notice Writes down what it gets.
contract RecordingConsumer is IRandomnessConsumer {
    uint256 public calls;
    address public caller;
    mapping(bytes32 requestId => uint256) public callsOf;
    mapping(bytes32 requestId => bytes32) public wordsOf;

    receive() external payable {}

    function rawFulfillRandomness(bytes32 requestId, uint256[] calldata words) external {
        ++calls;
        ++callsOf[requestId];
        caller = msg.sender;
        wordsOf[requestId] = keccak256(abi.encodePacked(words));
    }
}

/// @notice Refuses its words until it is told to take them, and ether for ever.
contract RevertingConsumer is IRandomnessConsumer {
    error Refused(string why);

    bool public willing;
    mapping(bytes32 requestId => uint256) public callsOf;
    mapping(bytes32 requestId => bytes32) public wordsOf;

    receive() external payable {
        revert Refused("no ether");
    }

    function takeWords(bool willing_) external {
        willing = willing_;
    }

    function rawFulfillRandomness(bytes32 requestId, uint256[] calldata words) external {
        require(willing, Refused("no words"));
        ++callsOf[requestId];
        wordsOf[requestId] = keccak256(abi.encodePacked(words));
    }
}

/// @notice Uses up all gas that it gets, in a loop.
contract LoopingConsumer is IRandomnessConsumer {
    function rawFulfillRandomness(bytes32, uint256[] calldata) external view {
        uint256 sum;
        while (gasleft() != 0) sum += gasleft();
    }
}

/// @notice Uses up all gas that it gets, at once.
contract InvalidConsumer is IRandomnessConsumer {
    function rawFulfillRandomness(bytes32, uint256[] calldata) external pure {
        assembly ("memory-safe") {
            invalid()
        }
    }
}

/// @notice Answers with as much data as its gas can buy, successfully or not.
contract BombingConsumer is IRandomnessConsumer {
    bool private immutable SUCCEEDS;

    constructor(bool succeeds) {
        SUCCEEDS = succeeds;
    }

    function rawFulfillRandomness(bytes32, uint256[] calldata) external view {
        bool succeeds = SUCCEEDS;
        assembly ("memory-safe") {
            if succeeds { return(0, 1000000) }
            revert(0, 1000000)
        }
    }
}

/// @notice Destroys itself; what it has goes to the coordinator, unasked.
contract DestructingConsumer is IRandomnessConsumer {
    function rawFulfillRandomness(bytes32, uint256[] calldata) external {
        selfdestruct(payable(msg.sender));
    }
}

/// @notice Calls whatever it was armed with from inside its callback, once, and writes down how it went.
contract ReentrantConsumer is IRandomnessConsumer {
    address private _target;
    bytes private _payload;
    uint256 private _value;

    uint256 public calls;
    uint256 public attempts;
    bool public success;
    bytes public answer;

    receive() external payable {}

    function arm(address target, bytes calldata payload, uint256 value) external {
        (_target, _payload, _value) = (target, payload, value);
    }

    function rawFulfillRandomness(bytes32, uint256[] calldata) external {
        ++calls;
        if (_target == address(0)) return;
        address target = _target;
        delete _target;
        ++attempts;
        (success, answer) = target.call{value: _value}(_payload);
    }
}

/// @notice Asks the coordinator for the state of the request whose words it gets.
contract StatusConsumer is IRandomnessConsumer {
    IQuantumCoordinator.Status public seen = IQuantumCoordinator.Status.CallbackFailed;
    uint64 private _index;

    function watch(uint64 index) external {
        _index = index;
    }

    function rawFulfillRandomness(bytes32 requestId, uint256[] calldata) external {
        seen = IQuantumCoordinator(msg.sender).status(_index, requestId);
    }
}

/// @notice Passes calls on with an exact amount of gas.
contract Relay {
    function run(address target, uint256 gasLimit, bytes calldata payload) external returns (bool success) {
        (success,) = target.call{gas: gasLimit}(payload);
    }
}

/// @dev `GAS PUSH0 SSTORE STOP`: writes the gas it has into slot 0 before it does anything else. The first
/// instruction has taken 2 when it answers.
bytes constant GAS_RECORDER = hex"5a5f5500";
uint256 constant GAS_RECORDER_COST = 2;
