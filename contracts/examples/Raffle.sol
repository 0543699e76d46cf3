// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Arrays} from "@openzeppelin/contracts/utils/Arrays.sol";

import {RandomnessConsumer} from "../RandomnessConsumer.sol";
import {IQuantumCoordinator, Request} from "../interfaces/IQuantumCoordinator.sol";
import {RandomWords} from "../libraries/RandomWords.sol";

/// @title Raffle
/// @notice One raffle for a good cause: half of the ticket money goes to the cause, the other half is shared by the
/// winning tickets.
/// 1. `buy` until the sale closes. Tickets cannot be transferred, so that nobody can sell what is known to have lost.
/// 2. `draw`, by anybody who pays the coordinator's fee, once the sale has closed. It can be asked only once.
/// 3. When the word is there, `claimPrize` and `claimProceeds`, without a deadline.
///
/// If the operator withholds the word, `expire` ends the raffle after the coordinator's window. There is no second
/// draw, which would let an operator who plays try until it wins. The cause gets its half as after a draw, so that it
/// gains nothing by it; tickets are refunded the other half. A player with the operator at its side can so
/// exchange a draw that it loses for half of its stake, but not make playing pay: what its tickets win on average and
/// that refund are together never more than what the tickets cost. What is left is a cause that plays itself with the
/// operator at its side, at half the price.
///
/// A raffle that never asked, because too few tickets were sold or nobody called `draw` for a week, is refunded in full:
/// nobody can have known how it would end.
/// @dev The callback stores one word. Which tickets win follows from it and is computed when it is asked for, so that
/// the callback takes the same gas whatever was sold. Nothing is paid out, and so nobody called, before the raffle has
/// ended: a callback never meets a held lock.
contract Raffle is RandomnessConsumer {
    using Address for address payable;
    using Arrays for uint256[];
    using RandomWords for uint256;
    using RandomWords for RandomWords.Stream;

    /// @notice Where the raffle stands; it ends as one of the last three.
    enum Stage {
        Open,
        Drawing,
        Drawn,
        Expired,
        CalledOff
    }

    /// @notice Thrown by the constructor when a setting can never work.
    error InvalidTerms();
    /// @notice Thrown when somebody buys after the sale has closed.
    error SaleClosed(uint256 closedAt);
    /// @notice Thrown when somebody draws or calls off before the time for it.
    error TooEarly(uint256 notBefore);
    /// @notice Thrown when something else was paid than the tickets' price.
    error WrongPayment(uint256 sent, uint256 price);
    /// @notice Thrown when fewer tickets were sold than there are prizes: the raffle can only be called off.
    error TooFewTickets(uint256 sold, uint256 winners);
    /// @notice Thrown when a raffle that stands here does not allow what was asked of it.
    error WrongStage(Stage stage);
    /// @notice Thrown when somebody claims a prize that is not theirs.
    error NotYourPrize(uint256 place, address winner);
    /// @notice Thrown when nothing is owed to who claims, or not any more.
    error NothingOwed(address account);
    /// @notice Thrown when somebody else than the coordinator sends ether without buying.
    error NotForSale();

    /// @notice Emitted when tickets are sold, from number `first` on.
    event TicketsSold(address indexed buyer, uint256 first, uint256 count);
    /// @notice Emitted when the raffle reaches another stage.
    event StageReached(Stage indexed stage);
    /// @notice Emitted when somebody takes out ether that is theirs.
    event Paid(address indexed to, uint256 amount);

    /// @notice The gas that the callback is promised: it takes 30,000, whatever was sold.
    uint32 public constant CALLBACK_GAS = 50_000;
    /// @notice Blocks from the request to the draw at the earliest.
    uint8 public constant CONFIRMATIONS = 12;
    /// @notice The most winners.
    uint256 public constant MAX_WINNERS = 100;
    /// @notice How long after the sale a raffle that nobody draws can be called off.
    uint256 public constant GRACE = 7 days;

    /// @notice Who gets half of the ticket money.
    address payable public immutable CAUSE;
    /// @notice What a ticket costs, in wei.
    uint256 public immutable PRICE;
    /// @notice What of that goes into the prizes: half, rounded down.
    uint256 public immutable PRIZE_PART;
    /// @notice When the sale closes, in seconds since 1970.
    uint256 public immutable CLOSES_AT;
    /// @notice How many tickets win. One account can win with several.
    uint256 public immutable WINNERS;

    /// @notice Where the raffle stands.
    Stage public stage;
    /// @notice How many tickets were sold; the first is number 0.
    uint96 public sold;
    /// @notice The request of the draw.
    bytes32 public requestId;
    /// @notice The tickets of an account.
    mapping(address buyer => uint256 count) public ticketsOf;

    uint256 private _word;
    address private _drawer;
    uint256 private _feeToReturn;
    bool private _proceedsClaimed;
    mapping(uint256 place => bool) private _claimed;
    /// @dev Of every purchase its last ticket, 96 bits, and its buyer, 160: sorted by ticket.
    uint256[] private _purchases;

    modifier onlyIn(Stage wanted) {
        require(stage == wanted, WrongStage(stage));
        _;
    }

    constructor(
        IQuantumCoordinator coordinator,
        address payable cause,
        uint256 price,
        uint256 closesAt,
        uint256 winners
    ) RandomnessConsumer(coordinator) {
        // Whoever sets a block's time can shift it by seconds, which do not matter to a sale of days.
        // slither-disable-next-line timestamp
        require(
            cause != address(0) && price > 1 && closesAt > block.timestamp && winners != 0
                && winners <= MAX_WINNERS,
            InvalidTerms()
        );
        CAUSE = cause;
        PRICE = price;
        PRIZE_PART = price / 2;
        CLOSES_AT = closesAt;
        WINNERS = winners;
    }

    /// @notice The coordinator's refund; nobody else sends ether here.
    receive() external payable {
        require(msg.sender == address(COORDINATOR), NotForSale());
    }

    /// @notice Buys tickets; send exactly `count * PRICE`.
    function buy(uint96 count) external payable nonReentrant {
        // Seconds do not matter.
        // slither-disable-next-line timestamp
        require(block.timestamp < CLOSES_AT, SaleClosed(CLOSES_AT));
        require(count != 0 && msg.value == count * PRICE, WrongPayment(msg.value, count * PRICE));
        uint96 first = sold;
        sold = first + count;
        ticketsOf[msg.sender] += count;
        _purchases.push(uint256(first + count - 1) << 160 | uint160(msg.sender));
        emit TicketsSold(msg.sender, first, count);
    }

    /// @notice Asks for the draw; send at least `drawPriceAt(baseFee)`, all of which is the coordinator's fee.
    function draw() external payable nonReentrant onlyIn(Stage.Open) {
        // Seconds do not matter.
        // slither-disable-next-line timestamp
        require(block.timestamp >= CLOSES_AT, TooEarly(CLOSES_AT));
        require(sold >= WINNERS, TooFewTickets(sold, WINNERS));
        _drawer = msg.sender;
        _enter(Stage.Drawing);
        requestId = _requestRandomness(CALLBACK_GAS, 1, CONFIRMATIONS, bytes32(0), msg.value);
    }

    /// @notice Ends a raffle whose draw was not fulfilled within the coordinator's window.
    /// @param request The draw's request, as its event tells it.
    function expire(Request calldata request) external nonReentrant onlyIn(Stage.Drawing) {
        _feeToReturn = request.terms.fee();
        _enter(Stage.Expired);
        // To this contract: a drawer who refuses ether must not be able to stop the refunds.
        _cancelRequest(request, payable(address(this)));
    }

    /// @notice Ends a raffle that never asked: too few tickets were sold, or nobody has drawn it.
    function callOff() external nonReentrant onlyIn(Stage.Open) {
        uint256 notBefore = sold < WINNERS ? CLOSES_AT : CLOSES_AT + GRACE;
        // Seconds do not matter.
        // slither-disable-next-line timestamp
        require(block.timestamp >= notBefore, TooEarly(notBefore));
        _enter(Stage.CalledOff);
    }

    /// @notice Pays a prize to the caller, who holds its ticket.
    /// @param place The prize, 0 to `WINNERS - 1`; all are equal.
    function claimPrize(uint256 place) external nonReentrant onlyIn(Stage.Drawn) {
        address winner = winnerOf(place);
        require(msg.sender == winner, NotYourPrize(place, winner));
        require(!_claimed[place], NothingOwed(winner));
        _claimed[place] = true;
        _pay(payable(winner), prize());
    }

    /// @notice Pays the cause its half. Anybody can call it.
    function claimProceeds() external nonReentrant {
        require(stage == Stage.Drawn || stage == Stage.Expired, WrongStage(stage));
        require(!_proceedsClaimed, NothingOwed(CAUSE));
        _proceedsClaimed = true;
        _pay(CAUSE, sold * (PRICE - PRIZE_PART));
    }

    /// @notice Refunds the caller's tickets when the raffle has expired or was called off, and the drawer's fee.
    function claimRefund() external nonReentrant {
        require(stage == Stage.Expired || stage == Stage.CalledOff, WrongStage(stage));
        uint256 amount = ticketsOf[msg.sender] * (stage == Stage.Expired ? PRIZE_PART : PRICE);
        delete ticketsOf[msg.sender];
        if (msg.sender == _drawer) {
            amount += _feeToReturn;
            delete _feeToReturn;
        }
        require(amount != 0, NothingOwed(msg.sender));
        _pay(payable(msg.sender), amount);
    }

    /// @notice What to send with `draw` at the head's base fee, in wei: a quarter more than the fee would be now, because
    /// it can rise before the transaction is in a block.
    function drawPriceAt(uint256 baseFee) external view returns (uint256) {
        return COORDINATOR.feeAt(CALLBACK_GAS, 1, baseFee) * 5 / 4;
    }

    /// @notice The tickets that have won, by place.
    function winningTickets() public view onlyIn(Stage.Drawn) returns (uint256[] memory) {
        return _word.stream("winners").sample(WINNERS, sold);
    }

    /// @notice Who has won the prize of a place.
    function winnerOf(uint256 place) public view returns (address) {
        return holderOf(winningTickets()[place]);
    }

    /// @notice Who holds a ticket; zero if it was not sold.
    function holderOf(uint256 ticket) public view returns (address) {
        if (ticket >= sold) return address(0);
        return address(uint160(_purchases[_purchases.lowerBound(ticket << 160)]));
    }

    /// @notice What each winning ticket wins, in wei, rounded down.
    function prize() public view returns (uint256) {
        return sold * PRIZE_PART / WINNERS;
    }

    /// @dev There is only one request, so it needs no key.
    function _fulfillRandomness(bytes32, uint256[] calldata words) internal override {
        _word = words[0];
        _enter(Stage.Drawn);
    }

    function _enter(Stage next) private {
        stage = next;
        emit StageReached(next);
    }

    function _pay(address payable to, uint256 amount) private {
        emit Paid(to, amount);
        to.sendValue(amount);
    }
}
