// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice What a consumer calls of Airnode RRP v0.
interface IAirnodeRrp {
    function setSponsorshipStatus(address requester, bool sponsorshipStatus) external;

    function makeFullRequest(
        address airnode,
        bytes32 endpointId,
        address sponsor,
        address sponsorWallet,
        address fulfillAddress,
        bytes4 fulfillFunctionId,
        bytes calldata parameters
    ) external returns (bytes32 requestId);
}

/// @notice `MinimalConsumer` for Airnode RRP v0. It sponsors itself, as consumers of that protocol do.
contract MinimalAirnodeConsumer {
    address private immutable RRP;
    address private immutable AIRNODE;
    bytes32 private immutable ENDPOINT;
    address private immutable SPONSOR_WALLET;
    bool private immutable FRESH;

    uint256 public last;
    mapping(bytes32 requestId => uint256) public wordOf;

    constructor(address rrp, address airnode, bytes32 endpoint, address sponsorWallet, bool fresh) {
        RRP = rrp;
        AIRNODE = airnode;
        ENDPOINT = endpoint;
        SPONSOR_WALLET = sponsorWallet;
        FRESH = fresh;
        IAirnodeRrp(rrp).setSponsorshipStatus(address(this), true);
    }

    function ask() external {
        IAirnodeRrp(RRP)
            .makeFullRequest(
                AIRNODE, ENDPOINT, address(this), SPONSOR_WALLET, address(this), this.receiveWord.selector, ""
            );
    }

    function receiveWord(bytes32 requestId, bytes calldata data) external {
        require(msg.sender == RRP);
        uint256 word = abi.decode(data, (uint256));
        if (FRESH) wordOf[requestId] = word;
        else last = word;
    }
}
