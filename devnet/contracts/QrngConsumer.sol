// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RrpRequesterV0} from "@api3/airnode-protocol/contracts/rrp/requesters/RrpRequesterV0.sol";

/// @title QrngConsumer
/// @notice A consumer as it was written for API3 QRNG: it asks AirnodeRrpV0 for one random word or for several. The
/// devnet deploys it to show that such a contract moves to another Airnode with one transaction.
/// @dev Contracts that are new inherit `RandomnessConsumer` instead: here the operator's word is all there is.
contract QrngConsumer is RrpRequesterV0 {
    /// @notice Thrown when somebody other than the owner changes whom to ask.
    error NotOwner(address caller);
    /// @notice Thrown when AirnodeRrpV0 brings an answer to a question that was not asked.
    error NotExpected(bytes32 requestId);

    /// @notice Emitted when one word is asked for.
    event RequestedUint256(bytes32 indexed requestId);
    /// @notice Emitted when one word has come.
    event ReceivedUint256(bytes32 indexed requestId, uint256 response);
    /// @notice Emitted when several words are asked for.
    event RequestedUint256Array(bytes32 indexed requestId, uint256 size);
    /// @notice Emitted when several words have come.
    event ReceivedUint256Array(bytes32 indexed requestId, uint256[] response);

    /// @notice Who may change whom to ask.
    address public immutable owner;

    /// @notice The Airnode that is asked.
    address public airnode;
    /// @notice Its endpoint for one word.
    bytes32 public endpointIdUint256;
    /// @notice Its endpoint for several words.
    bytes32 public endpointIdUint256Array;
    /// @notice The wallet that this contract has at the Airnode, which pays for the answers.
    address public sponsorWallet;

    /// @notice Whether a word is expected for a request.
    mapping(bytes32 requestId => bool expected) public expectingUint256;
    /// @notice Whether several words are expected for a request.
    mapping(bytes32 requestId => bool expected) public expectingUint256Array;
    /// @notice How often a request was answered: once, or something is very wrong.
    mapping(bytes32 requestId => uint256 times) public answers;

    constructor(address airnodeRrp_) RrpRequesterV0(airnodeRrp_) {
        owner = msg.sender;
    }

    /// @notice Names whom to ask from now on.
    function setRequestParameters(
        address airnode_,
        bytes32 endpointIdUint256_,
        bytes32 endpointIdUint256Array_,
        address sponsorWallet_
    ) external {
        require(msg.sender == owner, NotOwner(msg.sender));
        airnode = airnode_;
        endpointIdUint256 = endpointIdUint256_;
        endpointIdUint256Array = endpointIdUint256Array_;
        sponsorWallet = sponsorWallet_;
    }

    /// @notice Asks for one word.
    function makeRequestUint256() external returns (bytes32 requestId) {
        requestId = airnodeRrp.makeFullRequest(
            airnode,
            endpointIdUint256,
            address(this),
            sponsorWallet,
            address(this),
            this.fulfillUint256.selector,
            ""
        );
        expectingUint256[requestId] = true;
        emit RequestedUint256(requestId);
    }

    /// @notice Asks for several words.
    function makeRequestUint256Array(uint256 size) external returns (bytes32 requestId) {
        requestId = airnodeRrp.makeFullRequest(
            airnode,
            endpointIdUint256Array,
            address(this),
            sponsorWallet,
            address(this),
            this.fulfillUint256Array.selector,
            abi.encode(bytes32("1u"), bytes32("size"), size)
        );
        expectingUint256Array[requestId] = true;
        emit RequestedUint256Array(requestId, size);
    }

    /// @notice Asks through a template for one word, with more parameters than the template has.
    function makeTemplateRequest(bytes32 templateId, bytes calldata parameters)
        external
        returns (bytes32 requestId)
    {
        requestId = airnodeRrp.makeTemplateRequest(
            templateId, address(this), sponsorWallet, address(this), this.fulfillUint256.selector, parameters
        );
        expectingUint256[requestId] = true;
        emit RequestedUint256(requestId);
    }

    /// @notice Takes one word, from AirnodeRrpV0 alone.
    function fulfillUint256(bytes32 requestId, bytes calldata data) external onlyAirnodeRrp {
        require(expectingUint256[requestId], NotExpected(requestId));
        expectingUint256[requestId] = false;
        answers[requestId]++;
        emit ReceivedUint256(requestId, abi.decode(data, (uint256)));
    }

    /// @notice Takes several words, from AirnodeRrpV0 alone.
    function fulfillUint256Array(bytes32 requestId, bytes calldata data) external onlyAirnodeRrp {
        require(expectingUint256Array[requestId], NotExpected(requestId));
        expectingUint256Array[requestId] = false;
        answers[requestId]++;
        emit ReceivedUint256Array(requestId, abi.decode(data, (uint256[])));
    }
}
