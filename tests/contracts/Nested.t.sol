// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {QuantumCoordinator} from "../../contracts/QuantumCoordinator.sol";
import {IQuantumCoordinator, Request} from "../../contracts/interfaces/IQuantumCoordinator.sol";
import {CoordinatorTest} from "./support/CoordinatorTest.sol";
import {Vm} from "./support/Vm.sol";

/// @notice Calls inside callbacks inside refunds: whatever is done there, in whatever order, the money adds up.
contract NestedTest is CoordinatorTest {
    uint256 private constant ACTS = 14;

    NestingConsumer private _consumer;
    Request[] private _asked;

    function _config() internal pure override returns (QuantumCoordinator.Config memory config) {
        config = super._config();
        config.ringSize = 2;
    }

    /// @dev The consumer is the owner too, so that it can withdraw in the middle of all.
    function setUp() public override {
        super.setUp();
        _consumer = new NestingConsumer(address(coordinator));
        vm.prank(OWNER);
        coordinator.transferOwnership(address(_consumer));
        vm.prank(address(_consumer));
        coordinator.acceptOwnership();
    }

    /// @dev Some requests are too old and one of them has failed before, some can be fulfilled; then the acts, each
    /// inside another.
    function testFuzz_nested_moneyAddsUp(uint256 order, uint8 old, uint8 young) public {
        _ask(1 + old % 4);
        _mine(1);
        _consumer.refuse(true);
        if (order & 1 == 1) _fulfill(_asked[0]);
        _consumer.refuse(false);
        _mine(WINDOW);
        _ask(1 + young % 4);
        _mine(1);
        uint256 purse = 20 * coordinator.fee(CALLBACK_GAS, 1);
        vm.deal(address(_consumer), purse);
        for (uint256 k; k < ACTS; ++k) {
            order = uint256(keccak256(abi.encode(order)));
            _prepare(order);
        }
        uint256 all = purse;
        for (uint256 k; k < _asked.length; ++k) {
            all += _asked[k].terms.fee();
        }

        vm.recordLogs();
        if (order & 1 == 1) _fulfill(_asked);
        else _consumer.act();

        _learn(vm.getRecordedLogs());
        uint256 escrow;
        for (uint256 k; k < _asked.length; ++k) {
            bytes32 id = _idOf(_asked[k]);
            if (_statusOf(_asked[k]) == uint256(IQuantumCoordinator.Status.Pending)) {
                escrow += _asked[k].terms.fee();
                assertEq(_consumer.callsOf(id), 0, "calls of a pending one");
            }
            assertLe(_consumer.callsOf(id), 1, "calls");
        }
        assertEq(address(coordinator).balance, escrow + _earned(), "escrow and earnings");
        assertEq(address(coordinator).balance + address(_consumer).balance, all, "nothing came or went");
    }

    function _ask(uint256 count) private {
        for (uint256 k; k < count; ++k) {
            _asked.push(_request(address(_consumer), MAX_CALLBACK_GAS, 1, 1, 0));
        }
    }

    function _prepare(uint256 order) private {
        Request memory request = _asked[(order >> 8) % _asked.length];
        uint256 act = order % 7;
        if (act == 0) {
            _consumer.prepare(abi.encodeCall(IQuantumCoordinator.collect, (0, 2)), 0);
        } else if (act == 1) {
            _consumer.prepare(
                abi.encodeCall(
                    IQuantumCoordinator.withdraw, (payable(address(_consumer)), request.terms.fee())
                ),
                0
            );
        } else if (act == 2) {
            _consumer.prepare(
                abi.encodeCall(IQuantumCoordinator.requestRandomness, (CALLBACK_GAS, 1, 1, bytes32(order))),
                coordinator.fee(CALLBACK_GAS, 1)
            );
        } else if (act == 3) {
            _consumer.prepare(
                abi.encodeCall(IQuantumCoordinator.cancel, (request, payable(address(_consumer)))), 0
            );
        } else if (act == 4) {
            // The first of all, whose callback may have failed.
            _consumer.prepare(
                abi.encodeCall(
                    IQuantumCoordinator.redeliver,
                    (_idOf(_asked[0]), address(_consumer), MAX_CALLBACK_GAS, 1, uint256(_outputOf(_asked[0])))
                ),
                0
            );
        } else if (act == 5) {
            _consumer.prepare(_fulfillCall(_one(request)), 0);
        } else {
            _consumer.prepare(_fulfillCall(_asked), 0);
        }
    }

    /// @dev Keeps the requests that were made inside.
    function _learn(Vm.Log[] memory logs) private {
        for (uint256 k; k < logs.length; ++k) {
            if (logs[k].topics[0] == IQuantumCoordinator.RandomnessRequested.selector) {
                _asked.push(_requestIn(logs[k]));
            }
        }
    }
}

/// @notice Makes its next two prepared calls whenever it is called back or paid.
contract NestingConsumer {
    error Refused();

    address private immutable COORDINATOR;

    bool private _refuses;
    bytes[] private _payloads;
    uint256[] private _values;
    mapping(bytes32 requestId => uint256) public callsOf;

    constructor(address coordinator) {
        COORDINATOR = coordinator;
    }

    receive() external payable {
        act();
    }

    function refuse(bool refuses) external {
        _refuses = refuses;
    }

    function prepare(bytes calldata payload, uint256 value) external {
        _payloads.push(payload);
        _values.push(value);
    }

    function rawFulfillRandomness(bytes32 requestId, uint256[] calldata) external {
        require(!_refuses, Refused());
        ++callsOf[requestId];
        act();
    }

    function act() public {
        _next();
        _next();
    }

    function _next() private {
        if (_payloads.length == 0) return;
        bytes memory payload = _payloads[_payloads.length - 1];
        uint256 value = _values[_values.length - 1];
        _payloads.pop();
        _values.pop();
        (bool success,) = COORDINATOR.call{value: value}(payload);
        success; // what is not possible here is not done
    }
}
