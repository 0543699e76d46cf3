// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {QuantumCoordinator} from "../../../contracts/QuantumCoordinator.sol";
import {IQuantumCoordinator, Request} from "../../../contracts/interfaces/IQuantumCoordinator.sol";
import {RecordingConsumer, RevertingConsumer} from "./Consumers.sol";
import {CoordinatorTest} from "./CoordinatorTest.sol";

/// @notice Does to a coordinator whatever its users can do, in any order, and predicts how each act ends.
contract Handler is CoordinatorTest {
    enum State {
        None,
        Pending,
        Fulfilled,
        Cancelled
    }

    uint256 private constant BATCHES = 5;
    uint16 private constant SHORT_WINDOW = 64;
    uint32 private constant GAS = 100_000;

    RecordingConsumer public good;
    RevertingConsumer public bad;

    uint256 public paid;
    uint256 public earned;
    uint256 public refunded;
    uint256 public withdrawn;
    uint256 public donated;
    uint256 public fulfilled;
    uint256 public cancelled;
    /// @dev What did not end as predicted.
    string public surprise;

    Request[] private _all;
    bytes32[] private _ids;
    mapping(uint256 index => uint256 place) private _placeOf;
    mapping(bytes32 requestId => State) public stateOf;
    mapping(bytes32 requestId => bool) public undelivered;

    constructor() {
        _rollTo(20_000);
        good = new RecordingConsumer();
        bad = new RevertingConsumer();
        QuantumCoordinator.Config memory config = _config();
        config.window = SHORT_WINDOW;
        config.ringSize = 2;
        _setUpCoordinator(config);
    }

    function target() external view returns (QuantumCoordinator) {
        return coordinator;
    }

    function count() external view returns (uint256) {
        return _ids.length;
    }

    function requestAt(uint256 place) external view returns (uint64 index, bytes32 requestId) {
        return (uint64(_all[place].terms.index()), _ids[place]);
    }

    /// @dev Wei of requests that are still pending.
    function escrow() external view returns (uint256 sum) {
        for (uint256 k; k < _all.length; ++k) {
            if (stateOf[_ids[k]] == State.Pending) sum += _all[k].terms.fee();
        }
    }

    function roll(uint256 blocks) external {
        _mine(bound(blocks, 1, 50));
    }

    function request(uint256 who, uint8 confirmations, uint64 tip, bytes32 userSeed) external {
        address requester = who % 3 == 0 ? address(good) : who % 3 == 1 ? address(bad) : ALICE;
        confirmations = uint8(bound(confirmations, 1, 3));
        uint256 value = coordinator.fee(GAS, 1) + tip;
        vm.deal(requester, value);
        (uint64 next, uint64 committed) = coordinator.seeds();
        vm.recordLogs();
        vm.prank(requester);
        (bool success,) = address(coordinator).call{value: value}(
            abi.encodeCall(IQuantumCoordinator.requestRandomness, (GAS, 1, confirmations, userSeed))
        );
        _expect(success, next != committed, "request");
        if (!success) return;
        Request memory made = _requestIn(vm.getRecordedLogs()[0]);
        bytes32 id = _idOf(made);
        _expect(stateOf[id] == State.None && made.terms.index() == next, true, "id");
        paid += value;
        stateOf[id] = State.Pending;
        _all.push(made);
        _ids.push(id);
        _placeOf[next] = _all.length;
    }

    function fulfill(uint256 which, bool other) external {
        if (_all.length == 0) return;
        Request memory made = _all[which % _all.length];
        if (other) made.userSeed = keccak256("another");
        _serve(_one(made));
    }

    /// @dev A run in one batch, with gaps where `gaps` says so and where no request took the index.
    function fulfillRun(uint256 which, uint256 length, uint256 gaps) external {
        if (_all.length == 0) return;
        uint256 first = _all[which % _all.length].terms.index();
        length = bound(length, 1, 12);
        if (length > BATCH - first % BATCH) length = BATCH - first % BATCH;
        gaps &= ~uint256(1);
        uint256 served;
        for (uint256 k; k < length; ++k) {
            if (_placeOf[first + k] == 0) gaps |= 1 << k;
            if (gaps >> k & 1 == 0) ++served;
        }
        Request[] memory requests = new Request[](served);
        served = 0;
        for (uint256 k; k < length; ++k) {
            if (gaps >> k & 1 == 0) requests[served++] = _all[_placeOf[first + k] - 1];
        }
        _serve(requests);
    }

    function cancel(uint256 which, bool other) external {
        if (_all.length == 0) return;
        Request memory made = _all[which % _all.length];
        bytes32 id = _ids[which % _all.length];
        uint256 before = BOB.balance;
        vm.prank(other ? BOB : made.requester);
        (bool success,) =
            address(coordinator).call(abi.encodeCall(IQuantumCoordinator.cancel, (made, payable(BOB))));
        bool expected =
            !other && stateOf[id] == State.Pending && height > made.terms.requestBlock() + SHORT_WINDOW;
        _expect(success, expected, "cancel");
        if (!success) return;
        _expect(BOB.balance - before == made.terms.fee(), true, "refund");
        refunded += made.terms.fee();
        ++cancelled;
        stateOf[id] = State.Cancelled;
    }

    function redeliver(uint256 which, bool willing) external {
        if (_all.length == 0) return;
        Request memory made = _all[which % _all.length];
        bytes32 id = _ids[which % _all.length];
        bad.takeWords(willing);
        bytes memory payload = abi.encodeCall(
            IQuantumCoordinator.redeliver, (id, made.requester, GAS, 1, uint256(_outputOf(made)))
        );
        (bool success,) = address(coordinator).call(payload);
        bad.takeWords(false);
        _expect(success, undelivered[id] && willing, "redeliver");
        if (success) undelivered[id] = false;
    }

    function commit(uint256 amount) external {
        (, uint64 committed) = coordinator.seeds();
        uint256 batch = committed / BATCH;
        amount = bound(amount, 1, 2);
        if (batch + amount > BATCHES) return;
        bytes32[] memory roots = new bytes32[](amount);
        for (uint256 k; k < amount; ++k) {
            roots[k] = _plant(address(coordinator), batch + k);
        }
        vm.prank(OPERATOR);
        coordinator.commit(committed, roots);
    }

    function discard(uint64 amount) external {
        (uint64 next, uint64 committed) = coordinator.seeds();
        amount = uint64(bound(amount, 0, 150));
        vm.prank(OPERATOR);
        (bool success,) =
            address(coordinator).call(abi.encodeCall(IQuantumCoordinator.discard, (next + amount)));
        _expect(success, amount != 0 && next + amount <= committed, "discard");
    }

    function setFee(uint48 flatFeeGwei, uint16 margin) external {
        vm.prank(OPERATOR);
        coordinator.setFee(
            uint48(bound(flatFeeGwei, 0, MAX_FLAT_FEE_GWEI)), uint16(bound(margin, 0, MAX_MARGIN))
        );
    }

    function collect(uint64 slot, uint64 amount) external {
        uint256 before = coordinator.earned();
        uint256 collected = coordinator.collect(uint64(bound(slot, 0, 2)), uint64(bound(amount, 0, 2)));
        _expect(coordinator.earned() == before + collected, true, "collect");
    }

    function withdraw(uint256 amount, bool all) external {
        uint256 there = coordinator.earned();
        amount = all ? there : bound(amount, 0, there + 1);
        vm.prank(OWNER);
        (bool success,) =
            address(coordinator).call(abi.encodeCall(IQuantumCoordinator.withdraw, (payable(OWNER), amount)));
        _expect(success, amount <= there, "withdraw");
        if (success) withdrawn += amount;
    }

    /// @dev Nobody can refuse what a destructed contract leaves.
    function donate(uint64 amount) external {
        vm.deal(address(this), amount);
        new Donation{value: amount}(payable(address(coordinator)));
        donated += amount;
    }

    function _serve(Request[] memory requests) private {
        bytes memory payload = _fulfillCall(requests);
        for (uint256 k; k < requests.length; ++k) {
            // forge forgets hashes between the acts of a sequence
            uint256 number = requests[k].terms.requestBlock();
            if (number < height && number + BATCH >= height) vm.setBlockhash(number, _blockhash(number));
        }
        (bool success,) = address(coordinator).call(payload);
        _expect(success, true, "fulfill");
        for (uint256 k; k < requests.length; ++k) {
            Request memory made = requests[k];
            bytes32 id = _idOf(made);
            uint256 since = height - made.terms.requestBlock();
            if (stateOf[id] != State.Pending || since < made.terms.confirmations() || since > SHORT_WINDOW) {
                continue;
            }
            stateOf[id] = State.Fulfilled;
            earned += made.terms.fee();
            ++fulfilled;
            if (made.requester == address(bad)) {
                undelivered[id] = true;
            } else if (made.requester == address(good)) {
                _expect(good.wordsOf(id) == _wordsOf(made), true, "words");
            }
        }
    }

    function _expect(bool actual, bool expected, string memory what) private {
        if (actual != expected) surprise = what;
    }
}

contract Donation {
    constructor(address payable to) payable {
        selfdestruct(to);
    }
}
