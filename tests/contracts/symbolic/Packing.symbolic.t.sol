// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {SeedTree} from "../../../contracts/libraries/SeedTree.sol";
import {Counters} from "../../../contracts/types/Counters.sol";
import {Terms, packTerms} from "../../../contracts/types/Terms.sol";

/// @notice What fields share a word, and what a root stands for: proved for every value by `scripts/prove.sh`.
contract PackingProof {
    function check_withNext_changesNothingElse(uint256 word, uint40 next) external pure {
        Counters before = Counters.wrap(word);
        Counters afterwards = before.withNext(next);
        assert(afterwards.next() == next);
        assert(afterwards.committed() == before.committed());
        _assertSameFee(before, afterwards);
        assert(afterwards.earned() == before.earned());
    }

    function check_withCommitted_changesNothingElse(uint256 word, uint40 committed) external pure {
        Counters before = Counters.wrap(word);
        Counters afterwards = before.withCommitted(committed);
        assert(afterwards.committed() == committed);
        assert(afterwards.next() == before.next());
        _assertSameFee(before, afterwards);
        assert(afterwards.earned() == before.earned());
    }

    function check_withFee_changesNothingElse(uint256 word, uint48 flatFeeGwei, uint16 gasMarginBps)
        external
        pure
    {
        Counters before = Counters.wrap(word);
        Counters afterwards = before.withFee(flatFeeGwei, gasMarginBps);
        assert(afterwards.flatFee() == uint256(flatFeeGwei) * 1 gwei);
        assert(afterwards.gasMarginBps() == gasMarginBps);
        assert(afterwards.next() == before.next() && afterwards.committed() == before.committed());
        assert(afterwards.earned() == before.earned());
    }

    function check_credit_changesNothingElse(uint256 word, uint96 amount) external pure {
        Counters before = Counters.wrap(word);
        if (before.earned() + amount > type(uint112).max) return;
        Counters afterwards = before.credit(amount);
        assert(afterwards.earned() == before.earned() + amount);
        assert(afterwards.next() == before.next() && afterwards.committed() == before.committed());
        _assertSameFee(before, afterwards);
    }

    function check_debit_changesNothingElse(uint256 word, uint112 amount) external pure {
        Counters before = Counters.wrap(word);
        if (amount > before.earned()) return;
        Counters afterwards = before.debit(amount);
        assert(afterwards.earned() == before.earned() - amount);
        assert(afterwards.next() == before.next() && afterwards.committed() == before.committed());
        _assertSameFee(before, afterwards);
    }

    function check_terms_giveBackWhatWasPacked(
        uint64 index,
        uint32 callbackGasLimit,
        uint16 numWords,
        uint8 confirmations,
        uint40 requestBlock,
        uint96 fee
    ) external pure {
        Terms terms = packTerms(index, callbackGasLimit, numWords, confirmations, requestBlock, fee);
        assert(terms.index() == index && terms.callbackGasLimit() == callbackGasLimit);
        assert(terms.numWords() == numWords && terms.confirmations() == confirmations);
        assert(terms.requestBlock() == requestBlock && terms.fee() == fee);
    }

    /// @notice One place of a batch has one leaf and one path, if no two inputs of Keccak have the same hash.
    function check_root_standsForOneLeaf(
        uint8 position,
        bytes32 one,
        bytes32 other,
        bytes32[] calldata beside,
        bytes32[] calldata otherBeside
    ) external pure {
        bytes32[] memory run = new bytes32[](1);
        run[0] = one;
        (bytes32 root, uint256 consumed) = SeedTree.rootOf(position, run, beside, 0);
        run = new bytes32[](1);
        run[0] = other;
        (bytes32 otherRoot, uint256 otherConsumed) = SeedTree.rootOf(position, run, otherBeside, 0);
        assert(consumed == 8 && otherConsumed == 8);
        if (root != otherRoot) return;
        assert(one == other);
        for (uint256 k; k < 8; ++k) {
            assert(beside[k] == otherBeside[k]);
        }
    }

    function _assertSameFee(Counters before, Counters afterwards) private pure {
        assert(afterwards.flatFee() == before.flatFee());
        assert(afterwards.gasMarginBps() == before.gasMarginBps());
    }
}
