// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RrpRequesterV0} from "@api3/airnode-protocol/contracts/rrp/requesters/RrpRequesterV0.sol";

/// @notice A consumer whose callback does what the test wants; its parameters are set as API3's example has it.
contract MoodyQrng is RrpRequesterV0 {
    enum Mood {
        Fine,
        Reverting,
        Hungry
    }

    address private _airnode;
    bytes32 private _endpointId;
    address private _sponsorWallet;

    Mood public mood;
    /// How often a request was answered.
    mapping(bytes32 requestId => uint256 times) public answers;
    mapping(uint256 place => uint256 value) private _eaten;

    constructor(address airnodeRrp_) RrpRequesterV0(airnodeRrp_) {}

    function setRequestParameters(address airnode_, bytes32 endpointId_, bytes32, address sponsorWallet_)
        external
    {
        (_airnode, _endpointId, _sponsorWallet) = (airnode_, endpointId_, sponsorWallet_);
    }

    function setMood(uint8 mood_) external {
        mood = Mood(mood_);
    }

    function makeRequestUint256() external returns (bytes32) {
        return airnodeRrp.makeFullRequest(
            _airnode, _endpointId, address(this), _sponsorWallet, address(this), this.receiveWord.selector, ""
        );
    }

    function receiveWord(bytes32 requestId, bytes calldata data) external onlyAirnodeRrp {
        require(mood != Mood.Reverting, "not in the mood");
        uint256 word = abi.decode(data, (uint256));
        if (mood == Mood.Hungry) {
            // Some 1.1 million gas.
            for (uint256 i = 0; i < 50; i++) {
                _eaten[uint256(keccak256(abi.encode(word, i)))] = i + 1;
            }
        }
        answers[requestId]++;
    }
}
