// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;

import {Terms} from "../types/Terms.sol";

/// @notice A request without its seed, as its event tells it.
/// @param requester The contract or account that asked.
/// @param terms Fee, block, confirmations, words, gas limit and index: see `Terms`.
/// @param userSeed Whatever the requester added of its own.
struct Request {
    address requester;
    Terms terms;
    bytes32 userSeed;
}

/// @notice A request together with the committed seed of its index.
/// @param request The request.
/// @param seed The 32 bytes that were committed for the request's index.
struct Fulfillment {
    Request request;
    bytes32 seed;
}

/// @title A coordinator of committed quantum entropy
/// @notice 1. The operator commits Merkle roots over batches of 256 secret seeds, before anybody asks.
/// 2. A request takes the next committed index. Its id hashes all of its terms, the block that it was mined in and
///    the fee among them, so the same request in another block is another request.
/// 3. From `requestBlock + confirmations` to `requestBlock + window()` anybody who knows the seed can fulfill: the
///    proof shows that the seed is the committed one, and the value is
///    `output = keccak256(seed, requestId, blockhash(requestBlock))`, `words[i] = keccak256(output, i)`.
/// 4. The pending mark is cleared before the callback, so an id is fulfilled at most once.
/// 5. After the window, and only then, the requester can cancel and is refunded in full.
///
/// Guarantees: no value without a root that was committed before its request; one fulfillment per id, ever;
/// fulfilling and cancelling an id are never both possible in one block; the callback gets the promised gas or the
/// transaction reverts; a failing callback stops nobody else; what is withdrawn was earned by fulfillments.
///
/// Does not guarantee: that the operator reveals (then the requester is refunded); that the seed's bytes are quantum;
/// that an operator who also builds the request's block does not choose the outcome; that a callback succeeds; that the
/// promise of gas holds to the last unit, and the fee covers its costs, after a fork that makes a call or a fresh slot
/// dearer.
interface IQuantumCoordinator {
    /// @notice Thrown when every committed seed is taken: the operator has to commit more.
    error NoSeed();
    /// @notice Thrown when the promised callback gas is above `callbackGasLimitMax()`.
    error CallbackGasLimitTooHigh(uint256 callbackGasLimit, uint256 maximum);
    /// @notice Thrown when the number of words is 0 or above 500.
    error InvalidNumWords(uint256 numWords);
    /// @notice Thrown when the confirmations are 0 or above half the window.
    error InvalidConfirmations(uint256 confirmations, uint256 maximum);
    /// @notice Thrown when less than `fee` was sent with a request.
    error InsufficientFee(uint256 sent, uint256 required);
    /// @notice Thrown when more was sent with a request than its terms can record.
    error ExcessiveFee(uint256 sent, uint256 maximum);
    /// @notice Thrown when somebody else than the operator calls what is the operator's.
    error NotOperator(address caller);
    /// @notice Thrown when somebody else than its requester cancels a request.
    error NotRequester(address caller, address requester);
    /// @notice Thrown when a commit does not start at the next uncommitted index.
    error UnexpectedFirstIndex(uint256 first, uint256 expected);
    /// @notice Thrown when a commit brings no root, or a zero one, or more indices than there can be (2^40).
    error InvalidRoots();
    /// @notice Thrown when a discard does not move the next index forward within the committed ones.
    error InvalidDiscard(uint256 upTo, uint256 next, uint256 committed);
    /// @notice Thrown when a fulfillment serves nothing, or its first and last index are not of one batch.
    error InvalidRun(uint256 first, uint256 last);
    /// @notice Thrown when a request does not stand in the order of the indices: it has to have `expected` or more, and
    /// no more than the last.
    error UnexpectedIndex(uint256 index, uint256 expected);
    /// @notice Thrown when seeds and siblings do not add up to the committed root, or are too many or too few.
    error InvalidProof();
    /// @notice Thrown when too little gas is left to keep the promise that a request was given.
    error InsufficientGas(uint256 callbackGasLimit);
    /// @notice Thrown when a request is not pending at all.
    error NotPending(bytes32 requestId);
    /// @notice Thrown when a request can still be fulfilled and so cannot be cancelled yet.
    error WindowOpen(uint256 lastBlock);
    /// @notice Thrown when no failed callback with these particulars is on record.
    error NotFailed(bytes32 requestId);
    /// @notice Thrown when a redelivered callback fails again; it stays on record.
    error RedeliveryFailed(bytes32 requestId);
    /// @notice Thrown when more is withdrawn than was earned.
    error InsufficientEarnings(uint256 amount, uint256 earned);
    /// @notice Thrown when money would be sent to the zero address.
    error InvalidReceiver();
    /// @notice Thrown when a fee parameter is above its immutable bound, or a fee is asked for an absurd base fee.
    error FeeOutOfBounds(uint256 value, uint256 maximum);
    /// @notice Thrown by the constructor when the window is out of range, or longer than this chain's block hashes.
    error InvalidWindow(uint256 window);
    /// @notice Thrown by the constructor when a setting can never work, and when ownership is given up for nothing.
    error InvalidConfig();

    /// @notice Emitted when a request is made. The log and its block number hold all that a fulfillment needs.
    /// @param requestId Hash of chain, coordinator, requester, terms and user seed.
    /// @param requester Who asked and gets the callback.
    /// @param terms The terms in one word: see `Terms`.
    /// @param userSeed Whatever the requester added of its own.
    event RandomnessRequested(
        bytes32 indexed requestId, address indexed requester, Terms terms, bytes32 userSeed
    );
    /// @notice Emitted when a request is fulfilled.
    /// @param requestId The request.
    /// @param seed The seed, public from now on.
    /// @param success Whether the callback succeeded.
    event RandomnessFulfilled(bytes32 indexed requestId, bytes32 seed, bool success);
    /// @notice Emitted beside `RandomnessFulfilled` when the callback failed.
    /// @param requestId The request.
    /// @param output The value whose words can be redelivered.
    event CallbackFailed(bytes32 indexed requestId, uint256 output);
    /// @notice Emitted when a failed callback has been repeated with success.
    /// @param requestId The request.
    event CallbackRedelivered(bytes32 indexed requestId);
    /// @notice Emitted when a request was cancelled after its window and refunded.
    /// @param requestId The request.
    /// @param index The index of its seed, which is never used again.
    /// @param to Who got the refund.
    /// @param amount The refund in wei: the whole fee.
    event RequestCancelled(bytes32 indexed requestId, uint256 index, address to, uint256 amount);
    /// @notice Emitted when roots are committed.
    /// @param first The first index of the first root; the others follow at distances of 256.
    /// @param roots The roots.
    event RootsCommitted(uint256 indexed first, bytes32[] roots);
    /// @notice Emitted when committed seeds are given up unused.
    /// @param first The first index that was given up.
    /// @param upTo The next index that a request will take.
    event SeedsDiscarded(uint256 first, uint256 upTo);
    /// @notice Emitted when the fee parameters change, for requests to come only.
    /// @param flatFeeGwei Gwei per request.
    /// @param gasMarginBps What is charged for gas, in 1/10,000 of the base fee's price.
    event FeeChanged(uint256 flatFeeGwei, uint256 gasMarginBps);
    /// @notice Emitted when the owner appoints another operator.
    /// @param operator The new operator.
    event OperatorChanged(address indexed operator);
    /// @notice Emitted when `collect` has collected earnings. What a request collects from its slot has no event.
    /// @param amount Wei.
    event EarningsCollected(uint256 amount);
    /// @notice Emitted when earnings are paid out.
    /// @param to Who got them.
    /// @param amount Wei.
    event EarningsWithdrawn(address indexed to, uint256 amount);

    /// @notice Asks for random words; the callback brings them.
    /// @dev All of `msg.value` is the fee. Read `fee` in the same transaction, or send 5/4 of `feeAt` off chain.
    /// Reverts with `NoSeed`, `CallbackGasLimitTooHigh`, `InvalidNumWords`, `InvalidConfirmations`, `InsufficientFee` or
    /// `ExcessiveFee`.
    /// @param callbackGasLimit The gas that the callback is promised, at most `callbackGasLimitMax()`.
    /// @param numWords How many words, 1 to 500.
    /// @param confirmations Blocks from the request's own to the earliest fulfillment, 1 to half the window.
    /// @param userSeed Anything; it is hashed into the id and so into the value.
    /// @return requestId The id that the callback will bring back.
    function requestRandomness(
        uint32 callbackGasLimit,
        uint16 numWords,
        uint8 confirmations,
        bytes32 userSeed
    ) external payable returns (bytes32 requestId);

    /// @notice Fulfills requests whose indices lie in one batch. Needs no role: the seeds are the authority. A request
    /// that is not pending, too early or too old, or whose block's hash the chain no longer has, is passed over;
    /// everything else that does not fit reverts.
    /// @dev Reverts with `InvalidRun`, `UnexpectedIndex`, `InvalidProof` or `InsufficientGas`.
    /// @param fulfillments What is served, in the order of the indices.
    /// @param siblings The hashes that the committed root takes besides: first the leaves of the indices between the
    /// served ones, in their order; then, level by level from the leaves upwards, the node left of the run and the
    /// one right of it, where the level lacks them. All of them are used, and only as hashes.
    function fulfill(Fulfillment[] calldata fulfillments, bytes32[] calldata siblings) external;

    /// @notice Repeats a callback that failed, with at least the promised gas. Anybody can; reverts if it fails again.
    /// @dev Reverts with `NotFailed`, `InsufficientGas` or `RedeliveryFailed`.
    /// @param requestId The request.
    /// @param requester Its requester.
    /// @param callbackGasLimit Its promised gas.
    /// @param numWords Its number of words.
    /// @param output The output from `CallbackFailed`.
    function redeliver(
        bytes32 requestId,
        address requester,
        uint32 callbackGasLimit,
        uint16 numWords,
        uint256 output
    ) external;

    /// @notice Cancels a request of the caller whose window has passed, and refunds its whole fee.
    /// @dev Reverts with `NotRequester`, `InvalidReceiver`, `WindowOpen` or `NotPending`, and when `to` refuses.
    /// @param request The request.
    /// @param to Who gets the refund.
    function cancel(Request calldata request, address payable to) external;

    /// @notice Commits the roots of the next batches. Operator only.
    /// @dev Reverts with `NotOperator`, `UnexpectedFirstIndex` or `InvalidRoots`.
    /// @param first The next uncommitted index; anything else reverts.
    /// @param roots One root per batch of 256 seeds.
    function commit(uint64 first, bytes32[] calldata roots) external;

    /// @notice Gives up committed seeds that no request has taken. Operator only. Pending requests keep their seeds.
    /// @dev Reverts with `NotOperator` or `InvalidDiscard`.
    /// @param upTo The index that the next request will take.
    function discard(uint64 upTo) external;

    /// @notice Sets the fee parameters, within their immutable bounds. Operator only.
    /// @dev Reverts with `NotOperator` or `FeeOutOfBounds`.
    /// @param flatFeeGwei Gwei per request.
    /// @param gasMarginBps What is charged for gas, in 1/10,000 of the base fee's price.
    function setFee(uint48 flatFeeGwei, uint16 gasMarginBps) external;

    /// @notice Appoints the operator. Owner only.
    /// @dev Reverts with `InvalidConfig` for the zero address.
    /// @param newOperator The account that may commit, discard and set the fee.
    function setOperator(address newOperator) external;

    /// @notice Collects what settled requests have earned and still lies in their slots. Anybody can: it pays nobody.
    /// A slot's next request does the same, so this is only for the last ones before a withdrawal.
    /// @param slot The first slot.
    /// @param count How many: all of them are `collect(0, slotCount())`, in several calls where they are many.
    /// @return collected Wei that were added to `earned()`.
    function collect(uint64 slot, uint64 count) external returns (uint256 collected);

    /// @notice Pays out what fulfillments have earned and was collected. Owner only.
    /// @dev Reverts with `InvalidReceiver` or `InsufficientEarnings`, and when `to` refuses.
    /// @param to Who gets it.
    /// @param amount Wei.
    function withdraw(address payable to, uint256 amount) external;

    /// @notice The least that `requestRandomness` accepts in this block: for calls from contracts.
    /// @param callbackGasLimit The gas that the callback is promised.
    /// @param numWords How many words.
    /// @return Wei.
    function fee(uint32 callbackGasLimit, uint16 numWords) external view returns (uint256);

    /// @notice The fee at a given base fee, for quotes off chain, where `eth_call` sees a base fee of 0.
    /// @dev Send 5/4 of it with the head's base fee: that covers the next block. Where a transaction may wait longer,
    /// send more; all of it is the fee. Reverts with `FeeOutOfBounds` for a base fee beyond 128 bits.
    /// @param callbackGasLimit The gas that the callback is promised.
    /// @param numWords How many words.
    /// @param baseFee Wei per gas.
    /// @return Wei.
    function feeAt(uint32 callbackGasLimit, uint16 numWords, uint256 baseFee) external view returns (uint256);

    /// @notice The state of a request: never made and done are told apart by events.
    /// @param index The index of its seed; another one gives no meaningful answer.
    /// @param requestId The request.
    /// @return Where it stands.
    function status(uint64 index, bytes32 requestId) external view returns (Status);

    /// @notice What `status` answers.
    enum Status {
        NotPending,
        Pending,
        CallbackFailed
    }

    /// @notice The id of a request with these particulars on this coordinator, made or not.
    /// @param request The request.
    /// @return Its id.
    function requestIdOf(Request calldata request) external view returns (bytes32);

    /// @notice How far requests and commits have come.
    /// @return next The index that the next request takes.
    /// @return committed The first index that is not committed.
    function seeds() external view returns (uint64 next, uint64 committed);

    /// @notice The root of a batch of 256 seeds.
    /// @param batch The batch: an index divided by 256.
    /// @return The root, zero if it is not committed.
    function rootOf(uint256 batch) external view returns (bytes32);

    /// @notice What was earned, collected and not withdrawn.
    /// @return Wei.
    function earned() external view returns (uint256);

    /// @notice How many requests were cancelled: what the operator has withheld, counted for ever.
    /// @return A number of requests.
    function cancellations() external view returns (uint256);

    /// @notice The slots that requests take in turns.
    /// @return A power of 2.
    function slotCount() external view returns (uint256);

    /// @notice How long a request can be fulfilled.
    /// @return Blocks from a request's own to the last one.
    function window() external view returns (uint256);

    /// @notice When this contract was deployed: nothing of it is older.
    /// @return A block number.
    function deployedAt() external view returns (uint256);

    /// @notice The most that a callback can be promised.
    /// @return Gas.
    function callbackGasLimitMax() external view returns (uint256);

    /// @notice Who may commit, discard and set the fee.
    /// @return An account.
    function operator() external view returns (address);
}
