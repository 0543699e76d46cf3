// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {MinimalConsumer} from "../../benchmarks/contracts/MinimalConsumer.sol";
import {QuantumCoordinator} from "../../contracts/QuantumCoordinator.sol";
import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {Relay} from "./support/Consumers.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";
import {HISTORY, HISTORY_CODE, HISTORY_SLOTS} from "./support/History.sol";
import {Vm} from "./support/Vm.sol";

/// @notice What things cost: gas of whole transactions, each with everything cold, `forge test -vv --mc GasTest`.
/// What was measured is only told; asserted is that it took place and that the bounds for senders suffice.
contract GasTest is CoordinatorTest {
    uint32 private constant GAS = 100_000;
    uint16 private constant LONG_WINDOW = 8191;
    /// @dev The first index of the second batch with 128 leaves on either side.
    uint64 private constant MIDDLE = 256 + 127;

    address private constant BURNER = address(0xB012);

    uint256 private constant PER_TRANSACTION = 37_000;
    /// @dev With its first word, from overflow and history, to an account that delegates.
    uint256 private constant PER_ITEM = 19_300;
    uint256 private constant PER_FAILURE = 24_000;
    uint256 private constant PER_WORD = 135;
    uint256 private constant PER_PROOF_ELEMENT = 700;
    uint256 private constant PER_GAP = 800;

    event log_named_uint(string key, uint256 val);

    function _config() internal pure override returns (QuantumCoordinator.Config memory config) {
        config = super._config();
        config.ringSize = 64;
    }

    function test_gas_freshSlot1() public {
        _steady(1, true);
    }

    function test_gas_usedSlot1() public {
        _steady(1, false);
    }

    function test_gas_freshSlot10() public {
        _steady(10, true);
    }

    function test_gas_usedSlot10() public {
        _steady(10, false);
    }

    function test_gas_freshSlot50() public {
        _steady(50, true);
    }

    function test_gas_usedSlot50() public {
        _steady(50, false);
    }

    function test_gas_commit() public {
        for (uint256 count = 1; count <= 16; count *= 4) {
            bytes32[] memory roots = new bytes32[](count);
            for (uint256 k; k < count; ++k) {
                roots[k] = _seed(k);
            }
            (, uint64 committed) = coordinator.seeds();
            vm.prank(OPERATOR);
            coordinator.commit(committed, roots);
            _tell("commit, roots", count);
            (uint256 used,) = _spent();
            _tell("  gas", used);
        }
    }

    /// @dev Beside callback and words: the account is cold and has no code, the proof has eight elements. The dearest
    /// is an overflow entry with a hash from EIP-2935.
    function test_gas_overheadOfOne() public {
        _warmUp();
        (uint256 used, uint256 limit) = _overhead(1, 1, hex"");
        _tell("one, from the ring", used, limit);
        _setUpDearest();
        (used, limit) = _overhead(300, 1, hex"");
        _tell("one, from overflow and history", used, limit);
        (, uint256 failing) = _overhead(300, 1, hex"fe");
        _tell("  failure", failing - limit - GAS);
        for (uint16 words = 10; words <= 490; words *= 7) {
            (, uint256 more) = _overhead(300, words, hex"");
            _tell("  words", words);
            _tell("    each beyond the first", (more - limit) / (words - 1));
        }
        (, uint256 most) = _overhead(300, 500, hex"");
        _tell("  499 words", most - limit);
    }

    /// @dev The dearest runs, every requester a cold account of its own, around the middle of a batch.
    function test_gas_overheadOfRuns() public {
        _setUpDearest();
        for (uint256 count = 1; count <= 128; count *= 2) {
            _tell("run", count);
            _tell("  proof elements", _proof(address(coordinator), MIDDLE, count).length);
            (uint256 used, uint256 limit) = _run(count, 1, hex"");
            _tell("  all", used, limit);
        }
        (, uint256 failing) = _run(32, 1, hex"fe");
        (, uint256 succeeding) = _run(32, 1, hex"");
        _tell("failure in a run of 32, each", (failing - succeeding) / 32 - GAS);
        (, uint256 wordy) = _run(32, 500, hex"");
        _tell("words in a run of 32, each", (wordy - succeeding) / 32 / 499);
    }

    function test_gas_overheadOfGaps() public {
        _setUpDearest();
        for (uint256 gaps; gaps <= 64; gaps = gaps == 0 ? 1 : 2 * gaps) {
            uint256 state = vm.snapshotState();
            Request[] memory ends = new Request[](2);
            ends[0] = _ask(0, 1, hex"");
            if (gaps != 0) _discardTo(uint64(MIDDLE + gaps + 1));
            ends[1] = _ask(1, 1, hex"");
            _mine(300);
            _fulfill(ends);
            (uint256 used, uint256 limit) = _spent();
            _tell("gaps", gaps);
            _tell("  proof elements", _siblingsOf(ends).length - gaps);
            _tell("  all", used, limit);
            _assertCounts(3, 0);
            vm.revertToState(state);
        }
    }

    /// @dev A sender that neither simulates nor estimates needs bounds: this sum suffices where every requester is a
    /// delegating account (EIP-7702) that burns all it gets.
    /// forge-config: default.evm_version = "prague"
    function testFuzz_gas_boundsSuffice(uint8 count, uint8 spread, uint16 numWords) public {
        _setUpDearest();
        uint256 served = bound(count, 1, 12);
        uint256 step = bound(spread, 1, 6);
        numWords = uint16(bound(numWords, 1, 500));
        uint256 length = (served - 1) * step + 1;
        Request[] memory requests = new Request[](served);
        vm.etch(BURNER, hex"fe");
        for (uint256 k; k < served; ++k) {
            if (k != 0 && step != 1) _discardTo(uint64(MIDDLE + k * step));
            requests[k] = _ask(k, numWords, abi.encodePacked(hex"ef0100", BURNER));
            _mine(1);
        }
        _mine(300);
        bytes memory payload = _fulfillCall(requests);
        uint256 limit = PER_TRANSACTION + length * PER_GAP + PER_PROOF_ELEMENT
            * _proof(address(coordinator), MIDDLE, length).length;
        limit += served
            * (PER_ITEM - PER_GAP + PER_FAILURE + PER_WORD * (numWords - 1) + uint256(GAS) * 64 / 63);
        bool success = new Relay().run(address(coordinator), limit - _intrinsic(payload), payload);
        assertEq(success, true, "success");
        _assertCounts(served + 1, 0);
        for (uint256 k; k < served; ++k) {
            _assertStatus(requests[k], IQuantumCoordinator.Status.CallbackFailed);
        }
    }

    /// @dev What a transaction with these data takes before it does anything.
    function _intrinsic(bytes memory payload) private pure returns (uint256 total) {
        total = 21_000;
        for (uint256 k; k < payload.length; ++k) {
            total += payload[k] == 0 ? 4 : 16;
        }
    }

    /// @dev Four rounds of requests and one fulfillment each; the last round is told.
    function _steady(uint256 count, bool fresh) private {
        QuantumCoordinator.Config memory config = _config();
        config.ringSize = 1;
        while (config.ringSize < count) config.ringSize *= 2;
        _setUpCoordinator(config);
        MinimalConsumer consumer = new MinimalConsumer(address(coordinator), fresh);
        uint256 fee = coordinator.fee(GAS, 1);
        vm.deal(address(this), 4 * count * fee);
        for (uint256 round = 1; round <= 4; ++round) {
            uint256 asking;
            vm.recordLogs();
            for (uint256 k; k < count; ++k) {
                consumer.ask{value: fee}();
                (uint256 used,) = _spent();
                asking += used;
            }
            Vm.Log[] memory logs = vm.getRecordedLogs();
            Request[] memory requests = new Request[](count);
            for (uint256 k; k < count; ++k) {
                requests[k] = _requestIn(logs[k]);
            }
            _mine(5);
            _fulfill(requests);
            if (round == 4) {
                (uint256 serving,) = _spent();
                _tell("request, each", asking / count);
                _tell("fulfill, each", serving / count);
            }
        }
        _assertCounts(4 * count, 0);
    }

    /// @dev One request and its fulfillment, so that neither slot nor ledger is fresh.
    function _warmUp() private {
        Request memory request = _request(ALICE);
        _mine(1);
        _fulfill(request);
    }

    /// @dev A long window and one ring slot, which a request holds that stays pending.
    function _setUpDearest() private {
        vm.etch(HISTORY, HISTORY_CODE);
        vm.store(HISTORY, bytes32((height - 1) % HISTORY_SLOTS), _blockhash(height - 1));
        QuantumCoordinator.Config memory config = _config();
        config.window = LONG_WINDOW;
        config.ringSize = 1;
        _setUpCoordinator(config);
        _warmUp();
        _request(ALICE);
        _discardTo(MIDDLE);
    }

    /// @dev A request of an account of its own with this code.
    function _ask(uint256 which, uint16 numWords, bytes memory code) private returns (Request memory) {
        address requester = address(uint160(uint256(_blockhash(which))));
        if (code.length != 0) vm.etch(requester, code);
        vm.store(HISTORY, bytes32(height % HISTORY_SLOTS), _blockhash(height));
        return _request(requester, GAS, numWords, 1, keccak256("user seed"));
    }

    /// @dev What one fulfillment takes after some blocks. Undone at once.
    function _overhead(uint256 blocks, uint16 numWords, bytes memory code)
        private
        returns (uint256 used, uint256 limit)
    {
        uint256 state = vm.snapshotState();
        Request memory request = _ask(0, numWords, code);
        _mine(blocks);
        _fulfill(request);
        (used, limit) = _spent();
        _assertCounts(2, 0);
        vm.revertToState(state);
    }

    /// @dev What a run takes whose requests stand in a block each. Undone at once.
    function _run(uint256 count, uint16 numWords, bytes memory code)
        private
        returns (uint256 used, uint256 limit)
    {
        uint256 state = vm.snapshotState();
        Request[] memory requests = new Request[](count);
        for (uint256 k; k < count; ++k) {
            requests[k] = _ask(k, numWords, code);
            _mine(1);
        }
        _mine(300);
        _fulfill(requests);
        (used, limit) = _spent();
        _assertCounts(count + 1, 0);
        vm.revertToState(state);
    }

    /// @dev The gas that the last transaction paid for, and what it needed before refunds.
    function _spent() private view returns (uint256 used, uint256 limit) {
        Vm.Gas memory last = vm.lastCallGas();
        used = last.gasTotalUsed;
        limit = used + uint64(last.gasRefunded);
    }

    function _tell(string memory what, uint256 used, uint256 limit) private {
        _tell(string.concat(what, ", paid for"), used);
        _tell(string.concat(what, ", needed"), limit);
    }

    function _tell(string memory what, uint256 value) private {
        emit log_named_uint(what, value);
    }
}
