// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";

import {Fulfillment, IQuantumCoordinator, Request} from "./interfaces/IQuantumCoordinator.sol";
import {Callback} from "./libraries/Callback.sol";
import {Keccak} from "./libraries/Keccak.sol";
import {SeedTree} from "./libraries/SeedTree.sol";
import {Terms, packTerms} from "./types/Terms.sol";

/// @title QuantumCoordinator
/// @notice The protocol, its guarantees and its limits are told in `IQuantumCoordinator`.
/// @dev Where a request's pending mark is kept: slot `index % ringSize` of the ring holds the id while the request is
/// pending and `DONE` afterwards, so that in the steady state a request overwrites a used slot (5,000 gas) instead of
/// filling a fresh one (22,100). A newcomer whose slot still holds a pending request goes to the overflow mapping.
contract QuantumCoordinator is IQuantumCoordinator, Ownable2Step {
    using Address for address payable;

    /// @notice What is fixed or set at deployment.
    /// @param owner Cold: appoints the operator, withdraws.
    /// @param operator Hot: commits, discards, sets the fee.
    /// @param window Blocks from a request's own to the last in which it can be fulfilled: 64 to 256, or to 8,191
    /// where the chain keeps block hashes as EIP-2935 says.
    /// @param ringSize Pending requests that find their slot used; more than that go to the overflow.
    /// @param maxCallbackGas The most gas that a callback can be promised.
    /// @param flatFee Wei per request.
    /// @param maxFlatFee The most that `flatFee` can ever be.
    /// @param gasMarginBps What is charged for gas, in 1/10,000 of the base fee's price.
    /// @param maxGasMarginBps The most that `gasMarginBps` can ever be.
    struct Config {
        address owner;
        address operator;
        uint16 window;
        uint32 ringSize;
        uint32 maxCallbackGas;
        uint112 flatFee;
        uint112 maxFlatFee;
        uint16 gasMarginBps;
        uint16 maxGasMarginBps;
    }

    /// @dev All that a request reads and writes besides its own slot.
    struct Counters {
        uint64 next;
        uint64 committed;
        uint112 flatFee;
        uint16 gasMarginBps;
    }

    /// @dev All that a fulfillment writes besides its own slot.
    struct Ledger {
        uint128 earned;
        uint64 fulfilled;
        uint64 cancelled;
    }

    uint256 private constant MAX_WORDS = 500;
    uint256 private constant MIN_WINDOW = 64;
    uint256 private constant BLOCKHASH_WINDOW = 256;
    uint256 private constant HISTORY_WINDOW = 8191;
    address private constant HISTORY_STORAGE = 0x0000F90827F1C53a10cb7A02335B175320002935;

    /// @dev What a fulfillment of one request costs beside its callback and words, measured with everything cold.
    uint256 private constant GAS_PER_REQUEST = 70_000;
    /// @dev What one more word costs the delivery.
    uint256 private constant GAS_PER_WORD = 200;
    /// @dev What a failed callback adds: a fresh slot and an event.
    uint256 private constant GAS_PER_FAILURE = 25_000;
    uint256 private constant BPS = 10_000;

    /// @dev A ring slot whose request is settled: not zero, so that it stays used.
    bytes32 private constant DONE = bytes32(uint256(1));

    bytes32 private immutable _DOMAIN;
    uint256 private immutable _WINDOW;
    uint256 private immutable _RING_SIZE;
    uint256 private immutable _MAX_CALLBACK_GAS;
    uint256 private immutable _MAX_FLAT_FEE;
    uint256 private immutable _MAX_GAS_MARGIN_BPS;
    uint256 private immutable _DEPLOYMENT_BLOCK = block.number;

    Counters private _counters;
    Ledger private _ledger;
    address private _operator;
    mapping(uint256 slot => bytes32 requestId) private _ring;
    mapping(uint256 index => bytes32 requestId) private _overflow;
    mapping(uint256 batch => bytes32 root) private _roots;
    mapping(bytes32 requestId => bytes32 particulars) private _failed;

    modifier onlyOperator() {
        require(msg.sender == _operator, NotOperator(msg.sender));
        _;
    }

    constructor(Config memory config) Ownable(config.owner) {
        require(
            config.operator != address(0) && config.ringSize != 0 && config.maxCallbackGas != 0,
            InvalidConfig()
        );
        require(config.window >= MIN_WINDOW && config.window <= HISTORY_WINDOW, InvalidWindow(config.window));
        if (config.window > BLOCKHASH_WINDOW) {
            bytes32 known = blockhash(block.number - 1);
            require(known != 0 && _historicalHash(block.number - 1) == known, InvalidWindow(config.window));
        }
        _DOMAIN = keccak256(abi.encode(block.chainid, address(this)));
        _WINDOW = config.window;
        _RING_SIZE = config.ringSize;
        _MAX_CALLBACK_GAS = config.maxCallbackGas;
        _MAX_FLAT_FEE = config.maxFlatFee;
        _MAX_GAS_MARGIN_BPS = config.maxGasMarginBps;
        _setOperator(config.operator);
        _setFee(config.flatFee, config.gasMarginBps, config.maxFlatFee, config.maxGasMarginBps);
    }

    /// @inheritdoc IQuantumCoordinator
    function requestRandomness(
        uint32 callbackGasLimit,
        uint16 numWords,
        uint8 confirmations,
        bytes32 userSeed
    ) external payable returns (bytes32 requestId) {
        Counters memory counters = _counters;
        uint256 index = counters.next;
        require(index != counters.committed, NoSeed());
        require(
            callbackGasLimit <= _MAX_CALLBACK_GAS,
            CallbackGasLimitTooHigh(callbackGasLimit, _MAX_CALLBACK_GAS)
        );
        require(numWords != 0 && numWords <= MAX_WORDS, InvalidNumWords(numWords));
        require(
            confirmations != 0 && confirmations <= _WINDOW / 2,
            InvalidConfirmations(confirmations, _WINDOW / 2)
        );
        uint256 required = _fee(counters, callbackGasLimit, numWords, block.basefee) + _dataFee(numWords);
        require(msg.value >= required, InsufficientFee(msg.value, required));
        require(msg.value <= type(uint96).max, ExcessiveFee(msg.value, type(uint96).max));

        unchecked {
            _counters.next = uint64(index + 1);
        }
        Terms terms = packTerms(index, callbackGasLimit, numWords, confirmations, block.number, msg.value);
        requestId = _requestId(msg.sender, terms, userSeed);
        uint256 slot = index % _RING_SIZE;
        if (uint256(_ring[slot]) <= uint256(DONE)) _ring[slot] = requestId;
        else _overflow[index] = requestId;
        emit RandomnessRequested(requestId, msg.sender, terms, userSeed);
    }

    /// @inheritdoc IQuantumCoordinator
    function fulfill(
        uint256 first,
        uint256 gaps,
        Fulfillment[] calldata fulfillments,
        bytes32[] calldata leaves,
        bytes32[] calldata proof
    ) external {
        _verify(first, gaps, fulfillments, leaves, proof);
        uint256 earned;
        uint256 fulfilled;
        for (uint256 k; k < fulfillments.length; ++k) {
            (bool served, uint256 paid) = _serve(fulfillments[k]);
            if (served) {
                earned += paid;
                ++fulfilled;
            }
        }
        // Written once, after every callback: a callback that re-enters finds a consistent ledger and adds its own.
        if (fulfilled != 0) {
            _ledger.earned += uint128(earned);
            _ledger.fulfilled += uint64(fulfilled);
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
        bytes32 requestId = _requestId(request.requester, request.terms, request.userSeed);
        uint256 lastBlock = request.terms.requestBlock() + _WINDOW;
        require(block.number > lastBlock, WindowOpen(lastBlock));
        uint256 index = request.terms.index();
        require(_settle(index, requestId), NotPending(requestId));
        _ledger.cancelled += 1;
        uint256 amount = request.terms.fee();
        emit RequestCancelled(requestId, index, to, amount);
        to.sendValue(amount);
    }

    /// @inheritdoc IQuantumCoordinator
    function commit(uint64 first, bytes32[] calldata roots) external onlyOperator {
        uint256 committed = _counters.committed;
        require(first == committed, UnexpectedFirstIndex(first, committed));
        require(roots.length != 0, InvalidRoots());
        for (uint256 k; k < roots.length; ++k) {
            require(roots[k] != 0, InvalidRoots());
            _roots[committed / SeedTree.BATCH + k] = roots[k];
        }
        _counters.committed = uint64(committed + roots.length * SeedTree.BATCH);
        emit RootsCommitted(first, roots);
    }

    /// @inheritdoc IQuantumCoordinator
    function discard(uint64 upTo) external onlyOperator {
        (uint64 next, uint64 committed) = (_counters.next, _counters.committed);
        require(upTo > next && upTo <= committed, InvalidDiscard(upTo, next, committed));
        _counters.next = upTo;
        emit SeedsDiscarded(next, upTo);
    }

    /// @inheritdoc IQuantumCoordinator
    function setFee(uint112 flatFee, uint16 gasMarginBps) external onlyOperator {
        _setFee(flatFee, gasMarginBps, _MAX_FLAT_FEE, _MAX_GAS_MARGIN_BPS);
    }

    /// @inheritdoc IQuantumCoordinator
    function setOperator(address newOperator) external onlyOwner {
        require(newOperator != address(0), InvalidConfig());
        _setOperator(newOperator);
    }

    /// @inheritdoc IQuantumCoordinator
    function withdraw(address payable to, uint256 amount) external onlyOwner {
        uint256 earned = _ledger.earned;
        require(amount <= earned, InsufficientEarnings(amount, earned));
        unchecked {
            _ledger.earned = uint128(earned - amount);
        }
        emit EarningsWithdrawn(to, amount);
        to.sendValue(amount);
    }

    /// @notice Always reverts: without an owner the earnings could never be withdrawn.
    function renounceOwnership() public view override onlyOwner {
        revert InvalidConfig();
    }

    /// @inheritdoc IQuantumCoordinator
    function fee(uint32 callbackGasLimit, uint16 numWords) external view returns (uint256) {
        return _fee(_counters, callbackGasLimit, numWords, block.basefee) + _dataFee(numWords);
    }

    /// @inheritdoc IQuantumCoordinator
    function feeAt(uint32 callbackGasLimit, uint16 numWords, uint256 baseFee)
        external
        view
        returns (uint256)
    {
        return _fee(_counters, callbackGasLimit, numWords, baseFee) + _dataFee(numWords);
    }

    /// @inheritdoc IQuantumCoordinator
    function status(uint64 index, bytes32 requestId) external view returns (Status) {
        if (uint256(requestId) > uint256(DONE)) {
            if (_ring[index % _RING_SIZE] == requestId || _overflow[index] == requestId) {
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
        return (_counters.next, _counters.committed);
    }

    /// @inheritdoc IQuantumCoordinator
    function rootOf(uint256 batch) external view returns (bytes32) {
        return _roots[batch];
    }

    /// @inheritdoc IQuantumCoordinator
    function ledger() external view returns (uint128 earned, uint64 fulfilled, uint64 cancelled) {
        return (_ledger.earned, _ledger.fulfilled, _ledger.cancelled);
    }

    /// @inheritdoc IQuantumCoordinator
    function window() external view returns (uint256) {
        return _WINDOW;
    }

    /// @inheritdoc IQuantumCoordinator
    function deploymentBlock() external view returns (uint256) {
        return _DEPLOYMENT_BLOCK;
    }

    /// @inheritdoc IQuantumCoordinator
    function maxCallbackGas() external view returns (uint256) {
        return _MAX_CALLBACK_GAS;
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

    /// @dev What a rollup charges for the data of a fulfillment beside its gas, in wei.
    function _dataFee(uint256) internal view virtual returns (uint256) {
        return 0;
    }

    /// @dev Reverts unless the run's leaves, gaps and proof give the committed root.
    function _verify(
        uint256 first,
        uint256 gaps,
        Fulfillment[] calldata fulfillments,
        bytes32[] calldata leaves,
        bytes32[] calldata proof
    ) private view {
        uint256 length = fulfillments.length + leaves.length;
        uint256 position = first % SeedTree.BATCH;
        require(fulfillments.length != 0 && position + length <= SeedTree.BATCH, InvalidRun(first, length));
        bytes32[] memory run = new bytes32[](length);
        uint256 served;
        // An index has 64 bits and `first` must match it, the rest stays below 256; array bounds are checked.
        unchecked {
            for (uint256 k; k < length; ++k) {
                if (gaps >> k & 1 == 1) {
                    run[k] = leaves[k - served];
                } else {
                    Fulfillment calldata item = fulfillments[served++];
                    uint256 index = item.request.terms.index();
                    require(index == first + k, UnexpectedIndex(index, first + k));
                    run[k] = SeedTree.leaf(_DOMAIN, index, item.seed);
                }
            }
        }
        (bytes32 root, uint256 consumed) = SeedTree.rootOf(position, run, proof);
        require(
            root == _roots[first / SeedTree.BATCH] && root != 0 && consumed == proof.length, InvalidProof()
        );
    }

    /// @dev Serves a request whose seed has been verified; passes it over when it is not pending, too early or too old.
    function _serve(Fulfillment calldata item) private returns (bool served, uint256 paid) {
        Terms terms = item.request.terms;
        uint256 requestBlock = terms.requestBlock();
        if (block.number < requestBlock + terms.confirmations() || block.number > requestBlock + _WINDOW) {
            return (false, 0);
        }
        bytes32 beacon = _beacon(requestBlock);
        if (beacon == 0) return (false, 0);
        bytes32 requestId = _requestId(item.request.requester, terms, item.request.userSeed);
        uint256 index = terms.index();
        if (!_settle(index, requestId)) return (false, 0);
        bytes32 output = Keccak.hash(item.seed, requestId, beacon);
        bool success = _deliver(item.request.requester, terms, requestId, output);
        emit RandomnessFulfilled(requestId, index, item.seed, success);
        return (true, terms.fee());
    }

    /// @dev Clears the pending mark of a request; false when it has none.
    function _settle(uint256 index, bytes32 requestId) private returns (bool) {
        uint256 slot = index % _RING_SIZE;
        if (_ring[slot] == requestId) _ring[slot] = DONE;
        // Every item of a run has an entry of its own.
        // slither-disable-next-line costly-loop
        else if (_overflow[index] == requestId) delete _overflow[index];
        else return false;
        return true;
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

    function _setFee(uint112 flatFee, uint16 gasMarginBps, uint256 maxFlatFee, uint256 maxGasMarginBps)
        private
    {
        require(flatFee <= maxFlatFee, FeeOutOfBounds(flatFee, maxFlatFee));
        require(gasMarginBps <= maxGasMarginBps, FeeOutOfBounds(gasMarginBps, maxGasMarginBps));
        (_counters.flatFee, _counters.gasMarginBps) = (flatFee, gasMarginBps);
        emit FeeChanged(flatFee, gasMarginBps);
    }

    function _fee(Counters memory counters, uint256 callbackGasLimit, uint256 numWords, uint256 baseFee)
        private
        pure
        returns (uint256)
    {
        uint256 units =
            GAS_PER_REQUEST + GAS_PER_FAILURE + numWords * GAS_PER_WORD + callbackGasLimit * 64 / 63;
        return counters.flatFee + units * baseFee * counters.gasMarginBps / BPS;
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
