// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";

import {Fulfillment, IQuantumCoordinator, Request} from "./interfaces/IQuantumCoordinator.sol";
import {Callback} from "./libraries/Callback.sol";
import {Keccak} from "./libraries/Keccak.sol";
import {SeedTree} from "./libraries/SeedTree.sol";
import {Unchecked} from "./libraries/Unchecked.sol";
import {Counters, MAX_INDEX} from "./types/Counters.sol";
import {Terms, packTerms} from "./types/Terms.sol";

/// @title QuantumCoordinator
/// @notice The protocol, its guarantees and its limits are told in `IQuantumCoordinator`.
/// @dev Where a request's pending mark is kept: slot `index % ringSize` of the ring holds the id while the request is
/// pending, so that in the steady state a request overwrites a used slot (5,000 gas) instead of filling a fresh one
/// (22,100). A newcomer whose slot still holds a pending request goes to the overflow mapping.
///
/// A settled slot holds `1 + wei`: what its request has earned, until the slot's next request, which writes the
/// counters anyway, or `collect` moves it there. So a fulfillment writes its slot and nothing else.
contract QuantumCoordinator is IQuantumCoordinator, Ownable2Step {
    using Address for address payable;
    using Unchecked for Fulfillment[];
    using Unchecked for bytes32[];

    /// @notice What is fixed or set at deployment.
    /// @param owner Cold: appoints the operator, withdraws.
    /// @param operator Hot: commits, discards, sets the fee.
    /// @param window Blocks from a request's own to the last in which it can be fulfilled: 64 to 256, or to 8,191
    /// where the chain keeps block hashes as EIP-2935 says.
    /// @param ringSize Slots that requests take in turns, a power of 2. A request whose slot holds a pending one goes to
    /// the overflow, which costs it 17,000 gas more.
    /// @param callbackGasLimitMax The most gas that a callback can be promised.
    /// @param flatFeeGwei Gwei per request.
    /// @param maxFlatFeeGwei The most that `flatFeeGwei` can ever be.
    /// @param gasMarginBps What is charged for gas, in 1/10,000 of the base fee's price.
    /// @param maxGasMarginBps The most that `gasMarginBps` can ever be.
    struct Config {
        address owner;
        address operator;
        uint16 window;
        uint32 ringSize;
        uint32 callbackGasLimitMax;
        uint48 flatFeeGwei;
        uint48 maxFlatFeeGwei;
        uint16 gasMarginBps;
        uint16 maxGasMarginBps;
    }

    /// @dev A place of the ring: the id of a pending request, or `1 + wei` of a settled one, or nothing yet.
    struct Slot {
        bytes32 content;
    }

    uint256 private constant MAX_WORDS = 500;
    uint256 private constant MIN_WINDOW = 64;
    uint256 private constant BLOCKHASH_WINDOW = 256;
    uint256 private constant HISTORY_WINDOW = 8191;
    address private constant HISTORY_STORAGE = 0x0000F90827F1C53a10cb7A02335B175320002935;

    /// @dev What a fulfillment of one request costs beside its callback and words, measured with everything cold.
    uint256 private constant GAS_PER_REQUEST = 56_000;
    /// @dev What one more word costs the delivery.
    uint256 private constant GAS_PER_WORD = 200;
    /// @dev What a failed callback adds: a fresh slot and an event.
    uint256 private constant GAS_PER_FAILURE = 25_000;
    uint256 private constant BPS = 10_000;

    /// @dev The most that a settled slot holds: 1 + a fee. An id is above it, being a hash.
    uint256 private constant MAX_SETTLED = 1 + uint256(type(uint96).max);

    bytes32 private immutable _DOMAIN;
    uint256 private immutable _WINDOW;
    uint256 private immutable _RING_MASK;
    uint256 private immutable _CALLBACK_GAS_LIMIT_MAX;
    uint256 private immutable _MAX_FLAT_FEE_GWEI;
    uint256 private immutable _MAX_GAS_MARGIN_BPS;
    uint256 private immutable _DEPLOYMENT_BLOCK = block.number;

    Counters private _counters;
    uint256 private _cancellations;
    address private _operator;
    Slot[1 << 32] private _ring;
    mapping(uint256 index => bytes32 requestId) private _overflow;
    mapping(uint256 batch => bytes32 root) private _roots;
    mapping(bytes32 requestId => bytes32 particulars) private _failed;

    modifier onlyOperator() {
        require(msg.sender == _operator, NotOperator(msg.sender));
        _;
    }

    constructor(Config memory config) Ownable(config.owner) {
        require(
            config.operator != address(0) && config.callbackGasLimitMax != 0 && config.ringSize != 0
                && config.ringSize & config.ringSize - 1 == 0,
            InvalidConfig()
        );
        require(config.window >= MIN_WINDOW && config.window <= HISTORY_WINDOW, InvalidWindow(config.window));
        if (config.window > BLOCKHASH_WINDOW) {
            bytes32 known = blockhash(block.number - 1);
            require(known != 0 && _historicalHash(block.number - 1) == known, InvalidWindow(config.window));
        }
        _DOMAIN = keccak256(abi.encode(block.chainid, address(this)));
        _WINDOW = config.window;
        _RING_MASK = config.ringSize - 1;
        _CALLBACK_GAS_LIMIT_MAX = config.callbackGasLimitMax;
        _MAX_FLAT_FEE_GWEI = config.maxFlatFeeGwei;
        _MAX_GAS_MARGIN_BPS = config.maxGasMarginBps;
        _setOperator(config.operator);
        _setFee(config.flatFeeGwei, config.gasMarginBps, config.maxFlatFeeGwei, config.maxGasMarginBps);
    }

    /// @inheritdoc IQuantumCoordinator
    function requestRandomness(
        uint32 callbackGasLimit,
        uint16 numWords,
        uint8 confirmations,
        bytes32 userSeed
    ) external payable returns (bytes32 requestId) {
        Counters counters = _counters;
        uint256 index = counters.next();
        require(index != counters.committed(), NoSeed());
        require(
            callbackGasLimit <= _CALLBACK_GAS_LIMIT_MAX,
            CallbackGasLimitTooHigh(callbackGasLimit, _CALLBACK_GAS_LIMIT_MAX)
        );
        unchecked {
            // One comparison for both ends: 0 becomes the largest number.
            require(uint256(numWords) - 1 < MAX_WORDS, InvalidNumWords(numWords));
            require(
                uint256(confirmations) - 1 < _WINDOW / 2, InvalidConfirmations(confirmations, _WINDOW / 2)
            );
        }
        uint256 required = _fee(counters, callbackGasLimit, numWords, uint128(block.basefee)); // cuts nothing off
        require(msg.value >= required, InsufficientFee(msg.value, required));
        require(msg.value <= type(uint96).max, ExcessiveFee(msg.value, type(uint96).max));

        Terms terms = packTerms(index, callbackGasLimit, numWords, confirmations, block.number, msg.value);
        requestId = _requestId(msg.sender, terms, userSeed);
        Slot storage slot = _slotOf(index);
        uint256 settled = uint256(slot.content);
        unchecked {
            if (settled > MAX_SETTLED) {
                _overflow[index] = requestId;
            } else {
                slot.content = requestId;
                if (settled > 1) counters = counters.credit(settled - 1);
            }
            _counters = counters.withNext(index + 1);
        }
        emit RandomnessRequested(requestId, msg.sender, terms, userSeed);
    }

    /// @inheritdoc IQuantumCoordinator
    function fulfill(Fulfillment[] calldata fulfillments, bytes32[] calldata siblings) external {
        _verify(fulfillments, siblings);
        unchecked {
            for (uint256 k; k < fulfillments.length; ++k) {
                _serve(fulfillments.get(k));
            }
        }
    }

    /// @inheritdoc IQuantumCoordinator
    function redeliver(
        bytes32 requestId,
        address requester,
        uint32 callbackGasLimit,
        uint16 numWords,
        uint256 output
    ) external {
        bytes32 particulars = _particulars(requester, callbackGasLimit, numWords, bytes32(output));
        require(_failed[requestId] == particulars, NotFailed(requestId));
        delete _failed[requestId];
        emit CallbackRedelivered(requestId);
        (bool enough, bool success) =
            Callback.deliver(requester, callbackGasLimit, gasleft(), requestId, bytes32(output), numWords);
        require(enough, InsufficientGas(callbackGasLimit));
        require(success, RedeliveryFailed(requestId));
    }

    /// @inheritdoc IQuantumCoordinator
    function cancel(Request calldata request, address payable to) external {
        require(msg.sender == request.requester, NotRequester(msg.sender, request.requester));
        require(to != address(0), InvalidReceiver());
        bytes32 requestId = _requestId(request.requester, request.terms, request.userSeed);
        uint256 lastBlock = request.terms.requestBlock() + _WINDOW;
        require(block.number > lastBlock, WindowOpen(lastBlock));
        uint256 index = request.terms.index();
        require(_settle(index, requestId, 0), NotPending(requestId));
        ++_cancellations;
        uint256 amount = request.terms.fee();
        emit RequestCancelled(requestId, index, to, amount);
        to.sendValue(amount);
    }

    /// @inheritdoc IQuantumCoordinator
    function commit(uint64 first, bytes32[] calldata roots) external onlyOperator {
        Counters counters = _counters;
        uint256 committed = counters.committed();
        require(first == committed, UnexpectedFirstIndex(first, committed));
        uint256 upTo = committed + roots.length * SeedTree.BATCH;
        require(roots.length != 0 && upTo <= MAX_INDEX, InvalidRoots());
        for (uint256 k; k < roots.length; ++k) {
            require(roots[k] != 0, InvalidRoots());
            _roots[committed / SeedTree.BATCH + k] = roots[k];
        }
        _counters = counters.withCommitted(upTo);
        emit RootsCommitted(first, roots);
    }

    /// @inheritdoc IQuantumCoordinator
    function discard(uint64 upTo) external onlyOperator {
        Counters counters = _counters;
        (uint256 next, uint256 committed) = (counters.next(), counters.committed());
        require(upTo > next && upTo <= committed, InvalidDiscard(upTo, next, committed));
        _counters = counters.withNext(upTo);
        emit SeedsDiscarded(next, upTo);
    }

    /// @inheritdoc IQuantumCoordinator
    function setFee(uint48 flatFeeGwei, uint16 gasMarginBps) external onlyOperator {
        _setFee(flatFeeGwei, gasMarginBps, _MAX_FLAT_FEE_GWEI, _MAX_GAS_MARGIN_BPS);
    }

    /// @inheritdoc IQuantumCoordinator
    function setOperator(address newOperator) external onlyOwner {
        require(newOperator != address(0), InvalidConfig());
        _setOperator(newOperator);
    }

    /// @inheritdoc IQuantumCoordinator
    function collect(uint64 slot, uint64 count) external returns (uint256 collected) {
        Counters counters = _counters;
        for (uint64 end = slot + count; slot < end; ++slot) {
            uint256 settled = uint256(_ring[slot].content);
            if (settled > 1 && settled <= MAX_SETTLED) {
                _ring[slot].content = bytes32(uint256(1));
                counters = counters.credit(settled - 1);
                collected += settled - 1;
            }
        }
        if (collected != 0) {
            _counters = counters;
            emit EarningsCollected(collected);
        }
    }

    /// @inheritdoc IQuantumCoordinator
    function withdraw(address payable to, uint256 amount) external onlyOwner {
        require(to != address(0), InvalidReceiver());
        Counters counters = _counters;
        require(amount <= counters.earned(), InsufficientEarnings(amount, counters.earned()));
        _counters = counters.debit(amount);
        emit EarningsWithdrawn(to, amount);
        to.sendValue(amount);
    }

    /// @notice Always reverts: without an owner the earnings could never be withdrawn.
    function renounceOwnership() public view override onlyOwner {
        revert InvalidConfig();
    }

    /// @inheritdoc IQuantumCoordinator
    function fee(uint32 callbackGasLimit, uint16 numWords) external view returns (uint256) {
        return _fee(_counters, callbackGasLimit, numWords, uint128(block.basefee));
    }

    /// @inheritdoc IQuantumCoordinator
    function feeAt(uint32 callbackGasLimit, uint16 numWords, uint256 baseFee)
        external
        view
        returns (uint256)
    {
        require(baseFee <= type(uint128).max, FeeOutOfBounds(baseFee, type(uint128).max));
        return _fee(_counters, callbackGasLimit, numWords, uint128(baseFee));
    }

    /// @inheritdoc IQuantumCoordinator
    function status(uint64 index, bytes32 requestId) external view returns (Status) {
        if (uint256(requestId) > MAX_SETTLED) {
            if (_slotOf(index).content == requestId || _overflow[index] == requestId) {
                return Status.Pending;
            }
            if (_failed[requestId] != 0) return Status.CallbackFailed;
        }
        return Status.NotPending;
    }

    /// @inheritdoc IQuantumCoordinator
    function requestIdOf(Request calldata request) external view returns (bytes32) {
        return _requestId(request.requester, request.terms, request.userSeed);
    }

    /// @inheritdoc IQuantumCoordinator
    function seeds() external view returns (uint64 next, uint64 committed) {
        Counters counters = _counters;
        return (uint64(counters.next()), uint64(counters.committed()));
    }

    /// @inheritdoc IQuantumCoordinator
    function rootOf(uint256 batch) external view returns (bytes32) {
        return _roots[batch];
    }

    /// @inheritdoc IQuantumCoordinator
    function earned() external view returns (uint256) {
        return _counters.earned();
    }

    /// @inheritdoc IQuantumCoordinator
    function cancellations() external view returns (uint256) {
        return _cancellations;
    }

    /// @inheritdoc IQuantumCoordinator
    function slotCount() external view returns (uint256) {
        return _RING_MASK + 1;
    }

    /// @inheritdoc IQuantumCoordinator
    function window() external view returns (uint256) {
        return _WINDOW;
    }

    /// @inheritdoc IQuantumCoordinator
    function deployedAt() external view returns (uint256) {
        return _DEPLOYMENT_BLOCK;
    }

    /// @inheritdoc IQuantumCoordinator
    function callbackGasLimitMax() external view returns (uint256) {
        return _CALLBACK_GAS_LIMIT_MAX;
    }

    /// @inheritdoc IQuantumCoordinator
    function operator() external view returns (address) {
        return _operator;
    }

    /// @dev The hash of a request's block that goes into its value: 0 when the chain no longer has it.
    /// EIP-2935 is asked only where the opcode no longer answers.
    function _beacon(uint256 blockNumber) internal view virtual returns (bytes32 beacon) {
        beacon = blockhash(blockNumber);
        if (beacon == 0 && _WINDOW > BLOCKHASH_WINDOW) beacon = _historicalHash(blockNumber);
    }

    /// @dev What a rollup charges for a fulfillment that uses so much gas, beside the gas, in wei.
    function _rollupFee(uint256) internal view virtual returns (uint128) {
        return 0;
    }

    /// @dev Reverts unless the seeds and their siblings give the committed root.
    function _verify(Fulfillment[] calldata fulfillments, bytes32[] calldata siblings) private view {
        require(fulfillments.length != 0, InvalidRun(0, 0));
        unchecked {
            uint256 first = fulfillments.get(0).request.terms.index();
            uint256 last = fulfillments.get(fulfillments.length - 1).request.terms.index();
            require(first <= last && first / SeedTree.BATCH == last / SeedTree.BATCH, InvalidRun(first, last));
            bytes32[] memory run = new bytes32[](last - first + 1);
            uint256 expected = first;
            uint256 used;
            for (uint256 k; k < fulfillments.length; ++k) {
                Fulfillment calldata item = fulfillments.get(k);
                uint256 index = item.request.terms.index();
                require(index >= expected && index <= last, UnexpectedIndex(index, expected));
                for (; expected < index; ++expected) {
                    run.set(expected - first, siblings.get(used++));
                }
                run.set(index - first, SeedTree.leaf(_DOMAIN, index, item.seed));
                expected = index + 1;
            }
            (bytes32 root, uint256 consumed) = SeedTree.rootOf(first % SeedTree.BATCH, run, siblings, used);
            // What is not committed is 0, which no hash is.
            require(root == _roots[first / SeedTree.BATCH] && consumed == siblings.length, InvalidProof());
        }
    }

    /// @dev Serves a request whose seed has been verified; passes it over when it is not pending, too early or too old.
    function _serve(Fulfillment calldata item) private {
        Terms terms = item.request.terms;
        uint256 requestBlock = terms.requestBlock();
        unchecked {
            // Of a block to come it would be beyond every window.
            uint256 age = block.number - requestBlock;
            if (age < terms.confirmations() || age > _WINDOW) return;
        }
        bytes32 beacon = _beacon(requestBlock);
        if (beacon == 0) return;
        address requester = item.request.requester;
        bytes32 requestId = _requestId(requester, terms, item.request.userSeed);
        if (!_settle(terms.index(), requestId, terms.fee())) return;
        bytes32 seed = item.seed;
        bool success = _deliver(requester, terms, requestId, Keccak.hash(seed, requestId, beacon));
        emit RandomnessFulfilled(requestId, seed, success);
    }

    /// @dev Clears the pending mark of a request and keeps what it earned; false when it has none.
    function _settle(uint256 index, bytes32 requestId, uint256 amount) private returns (bool) {
        Slot storage slot = _slotOf(index);
        if (slot.content == requestId) {
            unchecked {
                slot.content = bytes32(1 + amount);
            }
        } else if (_overflow[index] == requestId) {
            // Every item of a run has an entry of its own, and what it earns has to be seen by a callback that
            // requests.
            // slither-disable-start costly-loop
            delete _overflow[index];
            _counters = _counters.credit(amount);
            // slither-disable-end costly-loop
        } else {
            return false;
        }
        return true;
    }

    function _slotOf(uint256 index) private view returns (Slot storage) {
        return _ring[index & _RING_MASK];
    }

    /// @dev Calls the requester back; a failure is recorded, too little gas reverts.
    function _deliver(address requester, Terms terms, bytes32 requestId, bytes32 output)
        private
        returns (bool success)
    {
        uint256 limit = terms.callbackGasLimit();
        bool enough;
        (enough, success) = Callback.deliver(requester, limit, limit, requestId, output, terms.numWords());
        require(enough, InsufficientGas(limit));
        if (!success) {
            _failed[requestId] = _particulars(requester, limit, terms.numWords(), output);
            emit CallbackFailed(requestId, uint256(output));
        }
    }

    function _setOperator(address newOperator) private {
        _operator = newOperator;
        emit OperatorChanged(newOperator);
    }

    function _setFee(uint48 flatFeeGwei, uint16 gasMarginBps, uint256 maxFlatFeeGwei, uint256 maxGasMarginBps)
        private
    {
        require(flatFeeGwei <= maxFlatFeeGwei, FeeOutOfBounds(flatFeeGwei, maxFlatFeeGwei));
        require(gasMarginBps <= maxGasMarginBps, FeeOutOfBounds(gasMarginBps, maxGasMarginBps));
        _counters = _counters.withFee(flatFeeGwei, gasMarginBps);
        emit FeeChanged(flatFeeGwei, gasMarginBps);
    }

    /// @dev Nothing here comes near 256 bits: 34 bits of gas, 128 of price, 128 of a rollup's fee, 16 of margin.
    function _fee(Counters counters, uint256 callbackGasLimit, uint256 numWords, uint128 baseFee)
        private
        view
        returns (uint256)
    {
        unchecked {
            uint256 units =
                GAS_PER_REQUEST + GAS_PER_FAILURE + numWords * GAS_PER_WORD + callbackGasLimit * 64 / 63;
            uint256 cost = units * baseFee + _rollupFee(units);
            return counters.flatFee() + cost * counters.gasMarginBps() / BPS;
        }
    }

    function _requestId(address requester, Terms terms, bytes32 userSeed) private view returns (bytes32) {
        return
            Keccak.hash(_DOMAIN, bytes32(uint256(uint160(requester))), bytes32(Terms.unwrap(terms)), userSeed);
    }

    function _particulars(address requester, uint256 callbackGasLimit, uint256 numWords, bytes32 output)
        private
        pure
        returns (bytes32)
    {
        return Keccak.hash(
            bytes32(uint256(uint160(requester))), bytes32(callbackGasLimit), bytes32(numWords), output
        );
    }

    /// @dev The hash of a block as EIP-2935 keeps it; 0 when it does not have it, or does not exist here.
    function _historicalHash(uint256 blockNumber) private view returns (bytes32) {
        // The protocol's own contract, which cannot harm the other items.
        // slither-disable-next-line calls-loop
        (bool success, bytes memory result) = HISTORY_STORAGE.staticcall(abi.encode(blockNumber));
        return success && result.length == 32 ? bytes32(result) : bytes32(0);
    }
}
