// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {RrpRequesterV0} from "@api3/airnode-protocol/contracts/rrp/requesters/RrpRequesterV0.sol";

/// @notice A consumer whose Airnode, endpoint and sponsor wallet are in its code: no transaction moves it.
contract HardCodedQrng is RrpRequesterV0 {
    address internal constant AIRNODE = 0x9d3C147cA16DB954873A498e0af5852AB39139f2;
    bytes32 internal constant ENDPOINT = 0xfb6d017bb87991b7495f563db3c8cf59ff87b09781947bb1e417006ad7f55a78;
    address internal immutable SPONSOR_WALLET;

    uint256 public word;

    constructor(address rrp, address sponsorWallet) RrpRequesterV0(rrp) {
        SPONSOR_WALLET = sponsorWallet;
    }

    function ask() external returns (bytes32) {
        return airnodeRrp.makeFullRequest(
            AIRNODE, ENDPOINT, address(this), SPONSOR_WALLET, address(this), this.receiveWord.selector, ""
        );
    }

    function receiveWord(bytes32, bytes calldata data) external onlyAirnodeRrp {
        word = abi.decode(data, (uint256));
    }
}

/// @notice A consumer that can be told whom to ask, by functions of its own names.
contract OwnNamesQrng is RrpRequesterV0 {
    address public provider;
    bytes32 public endpoint;
    address public payer;

    constructor(address rrp) RrpRequesterV0(rrp) {}

    function configure(address provider_, bytes32 endpoint_) external {
        (provider, endpoint) = (provider_, endpoint_);
    }

    function setPayer(address payer_) external {
        payer = payer_;
    }

    function ask() external returns (bytes32) {
        return airnodeRrp.makeFullRequest(
            provider, endpoint, address(this), payer, address(this), this.receiveWord.selector, ""
        );
    }

    function receiveWord(bytes32, bytes calldata) external onlyAirnodeRrp {}
}

/// @notice A consumer of a template, whose id is a variable that nobody can change.
contract TemplateQrng is RrpRequesterV0 {
    bytes32 internal immutable TEMPLATE;
    address internal immutable SPONSOR_WALLET;

    constructor(address rrp, bytes32 template, address sponsorWallet) RrpRequesterV0(rrp) {
        TEMPLATE = template;
        SPONSOR_WALLET = sponsorWallet;
    }

    function ask() external returns (bytes32) {
        return airnodeRrp.makeTemplateRequest(
            TEMPLATE, address(this), SPONSOR_WALLET, address(this), this.receiveWord.selector, ""
        );
    }

    function receiveWord(bytes32, bytes calldata) external onlyAirnodeRrp {}
}

/// @notice An authorizer that lets one requester through.
contract OnlyRequester {
    address internal immutable REQUESTER;

    constructor(address requester) {
        REQUESTER = requester;
    }

    function isAuthorizedV0(bytes32, address, bytes32, address, address requester)
        external
        view
        returns (bool)
    {
        return requester == REQUESTER;
    }
}
