// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Base64} from "@openzeppelin/contracts/utils/Base64.sol";

import {NftTraits} from "../../contracts/examples/NftTraits.sol";
import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";

/// @notice The example from the mint to the traits.
contract NftTraitsTest is CoordinatorTest {
    address payable private constant TREASURY = payable(address(0x74EA));
    uint256 private constant PRICE = 0.05 ether;

    NftTraits private _cats;

    event log_named_uint(string key, uint256 val);

    function setUp() public override {
        super.setUp();
        _cats = new NftTraits(coordinator, TREASURY, PRICE, 1000);
    }

    function testFuzz_mint_isRevealedWithinThePromisedGas(uint16 count) public {
        count = uint16(bound(count, 1, _cats.MAX_PER_MINT()));
        _mint(BOB, 2);
        Request memory request = _mint(ALICE, count);
        assertEq(request.terms.callbackGasLimit(), _cats.gasFor(count), "promised");
        uint256[] memory words = _wordsFor(request);
        bytes32 id = _idOf(request);
        uint256 state = vm.snapshotState();
        vm.prank(address(coordinator));
        _cats.rawFulfillRandomness(id, words);
        uint256 used = vm.lastCallGas().gasTotalUsed - 21_000; // and some for the data
        emit log_named_uint("callback", used);
        assertLe(used, uint256(_cats.gasFor(count)) * 19 / 20, "gas");
        vm.revertToState(state);
        _land(request);
        _assertStatus(request, IQuantumCoordinator.Status.NotPending);
        for (uint256 k; k < count; ++k) {
            assertEq(_cats.ownerOf(3 + k), ALICE, "owner");
            assertEq(_cats.isRevealed(3 + k), true, "revealed");
        }
        assertEq(_cats.isRevealed(1), false, "another's");
    }

    /// @dev The order of the callbacks makes no difference.
    function test_traits_doNotDependOnTheOrderOfCallbacks() public {
        Request[2] memory requests = [_mint(ALICE, 3), _mint(BOB, 3)];
        _mine(3);
        uint256 state = vm.snapshotState();
        _fulfill(requests[0]);
        _fulfill(requests[1]);
        bytes32 forward = _allTraits(6);
        vm.revertToState(state);
        _fulfill(requests[1]);
        assertEq(_cats.isRevealed(3), false, "the first mint's");
        _fulfill(requests[0]);
        assertEq(_allTraits(6), forward, "traits");
    }

    function test_traits_haveTheirOdds() public {
        uint256[4] memory seen;
        for (uint256 k; k < 25; ++k) {
            _land(_mint(ALICE, 20));
        }
        for (uint256 tokenId = 1; tokenId <= 500; ++tokenId) {
            NftTraits.Traits memory traits = _cats.traitsOf(tokenId);
            ++seen[traits.sky];
            ++seen[traits.coat];
            ++seen[traits.hat];
        }
        // Of 1,500: 900, 450, 135, 15, give or take five standard deviations.
        uint256[4] memory least = [uint256(805), 361, 79, 1];
        uint256[4] memory most = [uint256(995), 539, 191, 35];
        for (uint256 k; k < 4; ++k) {
            assertGe(seen[k], least[k], "times seen");
            assertLe(seen[k], most[k], "times seen");
        }
    }

    function test_transfer_revertsWhile_traitsAreHidden() public {
        Request memory request = _mint(ALICE, 1);
        vm.prank(ALICE);
        _cats.approve(BOB, 1);
        vm.expectRevert(abi.encodeWithSelector(NftTraits.TraitsHidden.selector, 1));
        vm.prank(BOB);
        _cats.transferFrom(ALICE, BOB, 1);
        _land(request);
        vm.prank(BOB);
        _cats.transferFrom(ALICE, BOB, 1);
        assertEq(_cats.ownerOf(1), BOB, "owner");
    }

    function test_traitsOf_revertsWhile_traitsAreHidden() public {
        _mint(ALICE, 1);
        for (uint256 tokenId = 1; tokenId < 3; ++tokenId) {
            vm.expectRevert(abi.encodeWithSelector(NftTraits.TraitsHidden.selector, tokenId));
            _cats.traitsOf(tokenId);
        }
    }

    function test_tokenURI_tellsTraitsWhenThereAreSome() public {
        Request memory request = _mint(ALICE, 1);
        _assertURI('{"name":"Cat 1","attributes":[]}');
        _mine(WINDOW + 1);
        vm.prank(ALICE);
        _cats.giveUp(request);
        _assertURI(
            '{"name":"Cat 1","attributes":[{"trait_type":"Sky","value":"clear"},{"trait_type":"Coat","value":"grey"},{"trait_type":"Hat","value":"none"}]}'
        );
    }

    function testFuzz_giveUp_returnsTheFeeAndLeavesTheWorst(uint16 count) public {
        count = uint16(bound(count, 1, _cats.MAX_PER_MINT()));
        Request memory request = _mint(ALICE, count);
        _mine(WINDOW + 1);
        vm.prank(ALICE);
        _cats.giveUp(request);
        assertEq(ALICE.balance, request.terms.fee(), "refund");
        for (uint256 tokenId = 1; tokenId <= count; ++tokenId) {
            NftTraits.Traits memory traits = _cats.traitsOf(tokenId);
            assertEq(uint256(traits.sky) + traits.coat + traits.hat, 0, "rarities");
        }
        vm.prank(ALICE);
        _cats.transferFrom(ALICE, BOB, count);
        _cats.withdraw();
        assertEq(TREASURY.balance, count * PRICE, "proceeds");
    }

    function test_giveUp_revertsWhile_traitsCanCome() public {
        Request memory request = _mint(ALICE, 1);
        _mine(WINDOW);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.WindowOpen.selector, height));
        vm.prank(ALICE);
        _cats.giveUp(request);
    }

    function test_giveUp_revertsWhen_traitsHaveComeOrTheWaitWasEnded() public {
        Request[2] memory requests = [_mint(ALICE, 1), _mint(ALICE, 1)];
        _land(requests[0]);
        bytes32 traits = _allTraits(1);
        _mine(WINDOW);
        vm.prank(ALICE);
        _cats.giveUp(requests[1]);
        for (uint256 k; k < 2; ++k) {
            bytes32 id = _idOf(requests[k]);
            vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.NotPending.selector, id));
            vm.prank(ALICE);
            _cats.giveUp(requests[k]);
        }
        assertEq(_allTraits(1), traits, "traits");
    }

    function test_giveUp_revertsWhen_theMintIsSomebodyElses() public {
        Request[2] memory requests = [_mint(ALICE, 1), _request(BOB)];
        _mine(WINDOW + 1);
        for (uint256 k; k < 2; ++k) {
            bytes32 id = _idOf(requests[k]);
            vm.expectRevert(abi.encodeWithSelector(NftTraits.NotYourMint.selector, id));
            vm.prank(BOB);
            _cats.giveUp(requests[k]);
        }
    }

    /// @dev Who gets a refund has the lock held, and fulfills another's mint meanwhile: its callback fails, and what was
    /// drawn is delivered all the same.
    function test_failedCallback_isRedeliveredWithTheSameTraits() public {
        Meddler meddler = new Meddler(address(coordinator));
        Request memory old = _mint(address(meddler), 1);
        _mine(WINDOW + 1 - 3);
        Request memory request = _mint(ALICE, 2);
        _mine(3);
        uint256 state = vm.snapshotState();
        _fulfill(request);
        bytes32 traits = keccak256(abi.encode(_cats.traitsOf(2), _cats.traitsOf(3)));
        vm.revertToState(state);

        meddler.arm(_fulfillCall(_one(request)));
        vm.prank(address(meddler));
        _cats.giveUp(old);
        assertEq(meddler.success(), true, "fulfilled inside");
        _assertStatus(request, IQuantumCoordinator.Status.CallbackFailed);
        assertEq(_cats.isRevealed(2), false, "revealed");
        _mine(WINDOW);
        bytes32 id = _idOf(request);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.NotPending.selector, id));
        vm.prank(ALICE);
        _cats.giveUp(request);

        coordinator.redeliver(id, address(_cats), _cats.gasFor(2), 2, uint256(_outputOf(request)));
        assertEq(keccak256(abi.encode(_cats.traitsOf(2), _cats.traitsOf(3))), traits, "traits");
    }

    function testFuzz_withdraw_paysTheTreasuryThePriceAlone(uint16 count, uint64 tip) public {
        count = uint16(bound(count, 1, _cats.MAX_PER_MINT()));
        uint256 cost = _cats.costAt(count, block.basefee) + tip;
        vm.deal(ALICE, cost);
        vm.prank(ALICE);
        _cats.mint{value: cost}(count);
        _cats.withdraw();
        assertEq(TREASURY.balance, count * PRICE, "proceeds");
        assertEq(address(coordinator).balance, cost - count * PRICE, "fee");
    }

    function test_mint_revertsWhen_itIsNotPaidFor() public {
        uint256 fee = coordinator.fee(_cats.gasFor(2), 2);
        uint256 cost = 2 * PRICE + fee;
        assertEq(_cats.costAt(2, block.basefee), 2 * PRICE + fee * 5 / 4, "cost with its margin");
        vm.deal(ALICE, cost);
        vm.expectRevert(abi.encodeWithSelector(IQuantumCoordinator.InsufficientFee.selector, fee - 1, fee));
        vm.prank(ALICE);
        _cats.mint{value: cost - 1}(2);
        vm.expectRevert(abi.encodeWithSelector(NftTraits.PriceNotPaid.selector, PRICE, 2 * PRICE));
        vm.prank(ALICE);
        _cats.mint{value: PRICE}(2);
    }

    function test_mint_revertsWhen_tooManyAreWanted() public {
        for (uint16 count; count < 22; count += 21) {
            vm.expectRevert(abi.encodeWithSelector(NftTraits.InvalidCount.selector, count, 20));
            _cats.mint(count);
        }
        _cats = new NftTraits(coordinator, TREASURY, PRICE, 3);
        _mint(ALICE, 2);
        vm.expectRevert(abi.encodeWithSelector(NftTraits.SoldOut.selector, 1));
        _cats.mint(2);
        _mint(ALICE, 1);
    }

    function test_supportsInterface_knowsItsStandards() public view {
        bytes4[4] memory standards =
            [bytes4(0x01ffc9a7), bytes4(0x80ac58cd), bytes4(0x5b5e139f), bytes4(0x49064906)];
        for (uint256 k; k < 4; ++k) {
            assertEq(_cats.supportsInterface(standards[k]), true, "supported");
        }
        assertEq(_cats.supportsInterface(0xffffffff), false, "supported");
    }

    function _assertURI(string memory json) private view {
        string memory expected = string.concat("data:application/json;base64,", Base64.encode(bytes(json)));
        assertEq(keccak256(bytes(_cats.tokenURI(1))), keccak256(bytes(expected)), "URI");
    }

    function _mint(address to, uint16 count) private returns (Request memory) {
        uint256 cost = _cats.costAt(count, block.basefee);
        vm.deal(to, cost);
        vm.recordLogs();
        vm.prank(to);
        _cats.mint{value: cost}(count);
        return _requestIn(vm.getRecordedLogs()[count]); // behind the transfers
    }

    function _land(Request memory request) private {
        _mine(request.terms.confirmations());
        _fulfill(request);
    }

    function _wordsFor(Request memory request) private view returns (uint256[] memory words) {
        words = new uint256[](request.terms.numWords());
        for (uint256 k; k < words.length; ++k) {
            words[k] = uint256(keccak256(abi.encode(_outputOf(request), k)));
        }
    }

    function _allTraits(uint256 count) private view returns (bytes32 all) {
        for (uint256 tokenId = 1; tokenId <= count; ++tokenId) {
            all = keccak256(abi.encode(all, _cats.traitsOf(tokenId)));
        }
    }
}

/// @notice Calls the coordinator while it is paid.
contract Meddler {
    address private immutable COORDINATOR;
    bytes private _payload;
    bool public success;

    constructor(address coordinator) {
        COORDINATOR = coordinator;
    }

    receive() external payable {
        (success,) = COORDINATOR.call(_payload);
    }

    function arm(bytes calldata payload) external {
        _payload = payload;
    }
}
