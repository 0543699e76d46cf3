// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {RandomnessConsumer} from "../RandomnessConsumer.sol";
import {IQuantumCoordinator, Request} from "../interfaces/IQuantumCoordinator.sol";
import {RandomWords} from "../libraries/RandomWords.sol";

/// @title DiceRoller
/// @notice Rolls six-sided dice for anybody who pays the coordinator's fee.
contract DiceRoller is RandomnessConsumer {
    using RandomWords for uint256;

    /// @notice Thrown when somebody cancels a roll that is not theirs.
    error NotYourRoll(bytes32 requestId);

    /// @notice Emitted when dice are in the air.
    event DiceRolled(bytes32 indexed requestId, address indexed player);
    /// @notice Emitted when they have landed.
    event DiceLanded(bytes32 indexed requestId, uint8[] faces);

    /// @notice The gas that landing one die takes (1,400), with room to spare.
    uint32 public constant GAS_PER_DIE = 2000;
    /// @notice The gas that landing takes besides (47,000).
    uint32 public constant GAS_BASE = 80_000;
    /// @notice Blocks to wait before dice land.
    uint8 public constant CONFIRMATIONS = 1;

    /// @notice Who rolled.
    mapping(bytes32 requestId => address player) public playerOf;

    mapping(bytes32 requestId => uint8[] faces) private _faces;

    constructor(IQuantumCoordinator coordinator) RandomnessConsumer(coordinator) {}

    /// @notice Rolls dice; send at least `priceAt(count, block.basefee)`.
    /// @param count How many dice.
    function roll(uint16 count) external payable nonReentrant returns (bytes32 requestId) {
        // The coordinator calls nobody back from here, and this contract is locked.
        // slither-disable-next-line reentrancy-benign
        requestId = _requestRandomness(gasFor(count), count, CONFIRMATIONS, bytes32(0), msg.value);
        playerOf[requestId] = msg.sender;
        emit DiceRolled(requestId, msg.sender);
    }

    /// @notice Takes back what a roll cost that never landed.
    function cancel(Request calldata request) external nonReentrant {
        bytes32 requestId = COORDINATOR.requestIdOf(request);
        require(playerOf[requestId] == msg.sender, NotYourRoll(requestId));
        delete playerOf[requestId];
        _cancelRequest(request, payable(msg.sender));
    }

    /// @notice What to send with a roll at the head's base fee, in wei: a quarter more than the fee would be now, because
    /// it can rise before the roll is in a block.
    function priceAt(uint16 count, uint256 baseFee) external view returns (uint256) {
        return COORDINATOR.feeAt(gasFor(count), count, baseFee) * 5 / 4;
    }

    /// @notice The faces of a roll, 1 to 6 each; empty while the dice are in the air.
    function facesOf(bytes32 requestId) external view returns (uint8[] memory) {
        return _faces[requestId];
    }

    /// @notice The callback gas that a roll asks for.
    function gasFor(uint16 count) public pure returns (uint32) {
        return GAS_BASE + GAS_PER_DIE * count;
    }

    /// @dev A word for each die.
    function _fulfillRandomness(bytes32 requestId, uint256[] calldata words) internal override {
        uint8[] memory faces = new uint8[](words.length);
        for (uint256 i; i < words.length; ++i) {
            faces[i] = uint8(words[i].between(1, 6));
        }
        _faces[requestId] = faces;
        emit DiceLanded(requestId, faces);
    }
}
