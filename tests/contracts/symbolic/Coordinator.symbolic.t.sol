// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {QuantumCoordinator} from "../../../contracts/QuantumCoordinator.sol";
import {
    Fulfillment,
    IQuantumCoordinator,
    Request
} from "../../../contracts/interfaces/IQuantumCoordinator.sol";
import {IRandomnessConsumer} from "../../../contracts/interfaces/IRandomnessConsumer.sol";
import {Terms, packTerms} from "../../../contracts/types/Terms.sol";
import {Vm} from "../support/Vm.sol";

/// @notice The coordinator on a chain that has every block's hash: nothing that is proved rests on its value.
contract AnyBlockHash is QuantumCoordinator {
    constructor(Config memory config) QuantumCoordinator(config) {}

    function _beacon(uint256 blockNumber) internal pure override returns (bytes32) {
        return keccak256(abi.encode(blockNumber));
    }
}

/// @notice A coordinator with one batch, of which the first two seeds are known: halmos calls each `check_` with
/// every argument at once.
contract CoordinatorProof is IRandomnessConsumer {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint16 private constant WINDOW = 64;
    uint256 private constant START = 1000;
    bytes32 private constant SEED = keccak256("seed 0");
    bytes32 private constant OTHER = keccak256("seed 1");

    QuantumCoordinator private _coordinator;
    uint256 private _calls;
    uint256 private _height = START;

    receive() external payable {}

    function setUp() public {
        vm.roll(START);
        _coordinator = new AnyBlockHash(
            QuantumCoordinator.Config({
                owner: address(this),
                operator: address(this),
                window: WINDOW,
                ringSize: 1,
                callbackGasLimitMax: 2_500_000,
                flatFeeGwei: 0,
                maxFlatFeeGwei: 0,
                gasMarginBps: 0,
                maxGasMarginBps: 0
            })
        );
        bytes32 node = keccak256(abi.encode(_leaf(0, SEED), _leaf(1, OTHER)));
        for (uint256 level = 1; level < 8; ++level) {
            node = keccak256(abi.encode(node, _sibling(level)));
        }
        bytes32[] memory roots = new bytes32[](1);
        roots[0] = node;
        _coordinator.commit(0, roots);
    }

    function rawFulfillRandomness(bytes32, uint256[] calldata) external {
        ++_calls;
    }

    /// @notice In no block can of two requests that are alike one be fulfilled and the other cancelled.
    function check_fulfillOrCancel(uint96 value, uint8 confirmations, uint40 later) external {
        Request memory fulfilled = _request(0, value, confirmations);
        Request memory cancelled = _request(1, value, confirmations);
        _roll(later);
        _fulfill(fulfilled, SEED);
        assert(!_cancel(cancelled) || _calls == 0);
    }

    /// @notice A request is fulfilled once or cancelled once, whatever is tried and when.
    function check_settlesOnce(uint96 value, uint8 confirmations, uint40 later, uint40 muchLater) external {
        Request memory request = _request(0, value, confirmations);
        _roll(later);
        _fulfill(request, SEED);
        uint256 cancelled = _cancel(request) ? 1 : 0;
        _fulfill(request, SEED);
        _roll(muchLater);
        _fulfill(request, SEED);
        if (_cancel(request)) ++cancelled;
        if (_cancel(request)) ++cancelled;
        assert(_calls + cancelled <= 1);
    }

    /// @notice No seed but the committed one is accepted, whatever the siblings.
    function check_onlyTheCommittedSeed(bytes32 seed, bytes32[] calldata siblings) external {
        Request memory request = _request(0, 1, 1);
        vm.roll(START + 1);
        Fulfillment[] memory items = new Fulfillment[](1);
        items[0] = Fulfillment(request, seed);
        (bool success,) =
            address(_coordinator).call(abi.encodeCall(IQuantumCoordinator.fulfill, (items, siblings)));
        assert(!success || seed == SEED);
        assert(_calls == 0 || seed == SEED);
    }

    /// @notice After any three acts every wei is escrow, earned or paid out, and no request is lost. There is one slot,
    /// so that the second request finds it pending, settled or collected.
    function check_moneyAddsUp(uint96 first, uint96 second, uint8[3] calldata acts, uint40[3] calldata blocks)
        external
    {
        Request[2] memory requests;
        requests[0] = _request(0, first, 1);
        bool asked;
        uint256 paidOut;
        for (uint256 k; k < 3; ++k) {
            _roll(blocks[k]);
            uint256 act = acts[k];
            if (act == 0 && !asked) {
                requests[1] = _request(1, second, 1);
                asked = true;
            } else if (act == 1) {
                _fulfill(requests[0], SEED);
            } else if (act == 2 && asked) {
                _fulfill(requests[1], OTHER);
            } else if (act == 3) {
                _cancel(requests[0]);
            } else if (act == 4 && asked) {
                _cancel(requests[1]);
            } else if (act == 5) {
                _coordinator.collect(0, 1);
            } else if (act == 6) {
                paidOut = _coordinator.earned();
                _coordinator.withdraw(payable(address(0xBEEF)), paidOut);
            }
        }
        uint256 escrow;
        if (_pending(requests[0], 0)) escrow += first;
        if (asked && _pending(requests[1], 1)) escrow += second;
        _coordinator.collect(0, 1);
        assert(address(_coordinator).balance == escrow + _coordinator.earned());
    }

    function _pending(Request memory request, uint64 index) private view returns (bool) {
        return
            _coordinator.status(index, _coordinator.requestIdOf(request))
                == IQuantumCoordinator.Status.Pending;
    }

    function _leaf(uint256 index, bytes32 seed) private view returns (bytes32) {
        return keccak256(abi.encode(keccak256(abi.encode(block.chainid, address(_coordinator))), index, seed));
    }

    function _sibling(uint256 level) private pure returns (bytes32) {
        return keccak256(abi.encode("sibling", level));
    }

    function _roll(uint40 number) private {
        vm.assume(number >= _height);
        _height = number;
        vm.roll(number);
    }

    function _request(uint256 index, uint96 value, uint8 confirmations) private returns (Request memory) {
        vm.assume(confirmations != 0 && confirmations <= WINDOW / 2);
        vm.deal(address(this), value);
        _coordinator.requestRandomness{value: value}(100_000, 1, confirmations, 0);
        Request memory request =
            Request(address(this), packTerms(index, 100_000, 1, confirmations, _height, value), 0);
        // A hash that is as small as what a settled slot holds, one in 2^159, would be taken for that.
        vm.assume(uint256(_coordinator.requestIdOf(request)) > 1 + uint256(type(uint96).max));
        return request;
    }

    function _fulfill(Request memory request, bytes32 seed) private returns (bool success) {
        Fulfillment[] memory items = new Fulfillment[](1);
        items[0] = Fulfillment(request, seed);
        bytes32[] memory siblings = new bytes32[](8);
        siblings[0] = request.terms.index() == 0 ? _leaf(1, OTHER) : _leaf(0, SEED);
        for (uint256 level = 1; level < 8; ++level) {
            siblings[level] = _sibling(level);
        }
        (success,) =
            address(_coordinator).call(abi.encodeCall(IQuantumCoordinator.fulfill, (items, siblings)));
    }

    function _cancel(Request memory request) private returns (bool success) {
        (success,) = address(_coordinator)
            .call(abi.encodeCall(IQuantumCoordinator.cancel, (request, payable(address(this)))));
    }
}
