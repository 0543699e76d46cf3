// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice What a consumer calls of Chainlink VRF 2.5.
interface IVrfCoordinator {
    struct RandomWordsRequest {
        bytes32 keyHash;
        uint256 subId;
        uint16 requestConfirmations;
        uint32 callbackGasLimit;
        uint32 numWords;
        bytes extraArgs;
    }

    function requestRandomWords(RandomWordsRequest calldata request) external returns (uint256 requestId);
}

/// @notice `MinimalConsumer` for Chainlink VRF 2.5, its subscription paying in the chain's own coin.
contract MinimalChainlinkConsumer {
    bytes4 private constant EXTRA_ARGS_TAG = bytes4(keccak256("VRF ExtraArgsV1"));

    address private immutable COORDINATOR;
    bytes32 private immutable KEY_HASH;
    uint256 private immutable SUBSCRIPTION;
    bool private immutable FRESH;

    uint256 public last;
    mapping(uint256 requestId => uint256) public wordOf;

    constructor(address coordinator, bytes32 keyHash, uint256 subscription, bool fresh) {
        COORDINATOR = coordinator;
        KEY_HASH = keyHash;
        SUBSCRIPTION = subscription;
        FRESH = fresh;
    }

    function ask() external {
        IVrfCoordinator(COORDINATOR)
            .requestRandomWords(
                IVrfCoordinator.RandomWordsRequest({
                keyHash: KEY_HASH,
                subId: SUBSCRIPTION,
                requestConfirmations: 1,
                callbackGasLimit: 100_000,
                numWords: 1,
                extraArgs: abi.encodeWithSelector(EXTRA_ARGS_TAG, true)
            })
            );
    }

    function rawFulfillRandomWords(uint256 requestId, uint256[] calldata words) external {
        require(msg.sender == COORDINATOR);
        if (FRESH) wordOf[requestId] = words[0];
        else last = words[0];
    }
}
