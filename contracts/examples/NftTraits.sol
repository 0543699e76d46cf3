// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC4906} from "@openzeppelin/contracts/interfaces/IERC4906.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Base64} from "@openzeppelin/contracts/utils/Base64.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

import {RandomnessConsumer} from "../RandomnessConsumer.sol";
import {IQuantumCoordinator, Request} from "../interfaces/IQuantumCoordinator.sol";
import {RandomWords} from "../libraries/RandomWords.sol";

/// @title NftTraits
/// @notice A collection whose tokens get their traits by lot after they are minted: a word for each token, a rarity for
/// each of its three traits.
///
/// A token cannot be transferred while its traits are hidden: the operator knows them from the block after the mint on,
/// and everybody from the broadcast of the fulfillment on, when the token must not be sold to who does not look.
///
/// If the operator withholds a word, the holder ends the wait with `giveUp` after the coordinator's window: the fee
/// comes back and the token gets the commonest traits, the worst that a draw can give. A second draw, or a refund of
/// the price, would let an operator who mints try until it likes the result. It can still make the tokens of others
/// plain, which everybody sees: choose an operator who has no stake in the collection.
/// @dev A token's traits depend on its word alone. With a fixed number of each rarity they would depend on the order of
/// the callbacks, which the sender of the fulfillments chooses.
contract NftTraits is ERC721, IERC4906, RandomnessConsumer {
    using Address for address payable;
    using RandomWords for uint256;
    using RandomWords for RandomWords.Stream;
    using Strings for uint256;

    /// @notice The rarities of a token's traits: 0 common, 1 uncommon, 2 rare, 3 legendary.
    struct Traits {
        uint8 sky;
        uint8 coat;
        uint8 hat;
    }

    /// @notice Thrown by the constructor when a setting can never work.
    error InvalidTerms();
    /// @notice Thrown when nobody can mint so many at once.
    error InvalidCount(uint256 count, uint256 maximum);
    /// @notice Thrown when fewer tokens are left than wanted.
    error SoldOut(uint256 left);
    /// @notice Thrown when less was sent than the tokens' price, the coordinator's fee not counted.
    error PriceNotPaid(uint256 sent, uint256 price);
    /// @notice Thrown when a token whose traits are hidden is transferred, or asked for them.
    error TraitsHidden(uint256 tokenId);
    /// @notice Thrown when no mint waits for this request, or somebody else's does.
    error NotYourMint(bytes32 requestId);

    /// @notice Emitted when tokens are minted; their traits are still to come.
    event Minted(bytes32 indexed requestId, address indexed to, uint256 first, uint256 count);

    /// @notice The gas that revealing one token takes (22,400), with room to spare.
    uint32 public constant GAS_PER_TOKEN = 25_000;
    /// @notice The gas that revealing takes besides (5,300).
    uint32 public constant GAS_BASE = 20_000;
    /// @notice Blocks from the mint to the traits at the earliest.
    uint8 public constant CONFIRMATIONS = 3;
    /// @notice The most tokens in one mint.
    uint16 public constant MAX_PER_MINT = 20;

    /// @dev Stands in the place of a word that never came. A word has this value, or 0, with a probability of 2^-255.
    uint256 private constant NEVER_CAME = 1;

    /// @notice Who gets the price of the tokens.
    address payable public immutable TREASURY;
    /// @notice What a token costs, in wei, beside the coordinator's fee.
    uint256 public immutable PRICE;
    /// @notice The most tokens that there will be.
    uint256 public immutable MAX_SUPPLY;

    /// @notice How many tokens were minted; the first is number 1.
    uint256 public minted;
    /// @notice The first token of a mint.
    mapping(bytes32 requestId => uint256 tokenId) public firstOf;

    mapping(uint256 tokenId => uint256 word) private _words;

    constructor(IQuantumCoordinator coordinator, address payable treasury, uint256 price, uint256 maxSupply)
        ERC721("Weather Cats", "CAT")
        RandomnessConsumer(coordinator)
    {
        require(treasury != address(0) && maxSupply != 0, InvalidTerms());
        TREASURY = treasury;
        PRICE = price;
        MAX_SUPPLY = maxSupply;
    }

    /// @notice Mints tokens to the caller and asks for their traits; send at least `costAt(count, baseFee)`. All that is
    /// sent above the price is the coordinator's fee.
    function mint(uint16 count) external payable nonReentrant returns (bytes32 requestId) {
        require(count != 0 && count <= MAX_PER_MINT, InvalidCount(count, MAX_PER_MINT));
        uint256 last = minted;
        require(count <= MAX_SUPPLY - last, SoldOut(MAX_SUPPLY - last));
        uint256 price = PRICE * count;
        require(msg.value >= price, PriceNotPaid(msg.value, price));
        minted = last + count;
        for (uint256 tokenId = last + 1; tokenId <= last + count; ++tokenId) {
            _mint(msg.sender, tokenId); // calls nobody, as _safeMint would
        }
        // The coordinator calls nobody back from here, and this contract is locked.
        // slither-disable-next-line reentrancy-benign
        requestId = _requestRandomness(gasFor(count), count, CONFIRMATIONS, bytes32(0), msg.value - price);
        firstOf[requestId] = last + 1;
        emit Minted(requestId, msg.sender, last + 1, count);
    }

    /// @notice Ends the wait for traits that did not come within the coordinator's window: the fee goes to the caller,
    /// who holds the tokens, and they get the commonest traits.
    /// @param request The mint's request, as its event tells it.
    function giveUp(Request calldata request) external nonReentrant {
        bytes32 requestId = COORDINATOR.requestIdOf(request);
        uint256 first = firstOf[requestId];
        require(first != 0 && ownerOf(first) == msg.sender, NotYourMint(requestId));
        uint256 count = request.terms.numWords();
        for (uint256 i; i < count; ++i) {
            _words[first + i] = NEVER_CAME;
        }
        emit BatchMetadataUpdate(first, first + count - 1);
        _cancelRequest(request, payable(msg.sender));
    }

    /// @notice Pays the treasury what tokens were sold for. Anybody can call it.
    function withdraw() external nonReentrant {
        TREASURY.sendValue(address(this).balance);
    }

    /// @notice What to send with a mint at the head's base fee, in wei: a quarter of the fee more than it would be now,
    /// because it can rise before the mint is in a block.
    function costAt(uint16 count, uint256 baseFee) external view returns (uint256) {
        return PRICE * count + COORDINATOR.feeAt(gasFor(count), count, baseFee) * 5 / 4;
    }

    /// @notice The token's description, its traits among it as soon as it has them.
    function tokenURI(uint256 tokenId) public view override returns (string memory) {
        _requireOwned(tokenId);
        string memory attributes = "";
        if (isRevealed(tokenId)) {
            Traits memory traits = traitsOf(tokenId);
            attributes = string.concat(
                _attribute("Sky", ["clear", "cloudy", "stormy", "aurora"][traits.sky]),
                ",",
                _attribute("Coat", ["grey", "striped", "spotted", "golden"][traits.coat]),
                ",",
                _attribute("Hat", ["none", "cap", "sou'wester", "crown"][traits.hat])
            );
        }
        string memory json =
            string.concat('{"name":"Cat ', tokenId.toString(), '","attributes":[', attributes, "]}");
        return string.concat("data:application/json;base64,", Base64.encode(bytes(json)));
    }

    /// @notice The traits of a token, each 0 to 3 with the odds 60 : 30 : 9 : 1.
    function traitsOf(uint256 tokenId) public view returns (Traits memory) {
        require(isRevealed(tokenId), TraitsHidden(tokenId));
        if (_words[tokenId] == NEVER_CAME) return Traits(0, 0, 0);
        uint256[] memory odds = new uint256[](4);
        (odds[0], odds[1], odds[2], odds[3]) = (60, 30, 9, 1);
        RandomWords.Stream memory lots = _words[tokenId].stream("traits");
        return Traits({
            sky: uint8(lots.next().weighted(odds)),
            coat: uint8(lots.next().weighted(odds)),
            hat: uint8(lots.next().weighted(odds))
        });
    }

    /// @notice Whether a token has its traits.
    function isRevealed(uint256 tokenId) public view returns (bool) {
        return _words[tokenId] != 0;
    }

    /// @notice The callback gas that a mint asks for.
    function gasFor(uint16 count) public pure returns (uint32) {
        return GAS_BASE + GAS_PER_TOKEN * count;
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC721, IERC165) returns (bool) {
        return interfaceId == bytes4(0x49064906) || super.supportsInterface(interfaceId);
    }

    function _fulfillRandomness(bytes32 requestId, uint256[] calldata words) internal override {
        uint256 first = firstOf[requestId];
        for (uint256 i; i < words.length; ++i) {
            _words[first + i] = words[i];
        }
        emit BatchMetadataUpdate(first, first + words.length - 1);
    }

    /// @dev Every transfer passes here; a mint comes from nobody.
    function _update(address to, uint256 tokenId, address auth) internal override returns (address) {
        require(_ownerOf(tokenId) == address(0) || isRevealed(tokenId), TraitsHidden(tokenId));
        return super._update(to, tokenId, auth);
    }

    function _attribute(string memory name, string memory value) private pure returns (string memory) {
        return string.concat('{"trait_type":"', name, '","value":"', value, '"}');
    }
}
