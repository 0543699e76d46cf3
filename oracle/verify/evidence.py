"""
Asking an endpoint for everything that is known about a request.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eth_abi.abi import encode

from oracle import artifacts
from oracle.chain.ranges import logs_in_ranges
from oracle.errors import ConfigError, RevertedError
from oracle.evm import keccak
from oracle.verify.events import BATCH, COMMITTED, Committed, Fulfilled, Made, read_event
from oracle.verify.judgment import Evidence, Place

if TYPE_CHECKING:
    from oracle.chain.interfaces import ChainReader
    from oracle.evm import Log

# Blocks per query at first: the logs of one request are few, however long the chain.
SPAN = 1 << 20
_WORD = 32
# Commits come once in hundreds of requests.
_COMMIT_SPAN = 10_000
_CONTRACTS = ("QuantumCoordinator", "OpStackCoordinator")


async def known_code(reader: ChainReader, contract: str) -> str | None:
    """
    Return the name of the coordinator whose code is at an address; nothing for any other code.

    Raises `ConfigError` when there is no code.
    """
    code = await reader.code(contract)
    if not code:
        raise ConfigError(f"there is no contract at {contract}: check the address and the chain")
    return next((name for name in _CONTRACTS if artifacts.load(name).is_code(code)), None)


async def ask(
    reader: ChainReader, contract: str, signature: str, *values: object, block: int | None = None
) -> int:
    """
    Return what a view of the coordinator answers, as one integer.

    Raises `ConfigError` when the contract has no such view.
    """
    return (await ask_all(reader, contract, signature, *values, block=block))[0]


async def ask_all(
    reader: ChainReader, contract: str, signature: str, *values: object, block: int | None = None
) -> tuple[int, ...]:
    """
    Return what a view of the coordinator answers, as integers.

    Raises `ConfigError` when the contract has no such view.
    """
    name, _, types = signature.rstrip(")").partition("(")
    data = keccak(signature.encode())[:4] + encode(types.split(",") if types else [], values)
    try:
        answer = await reader.call(contract, data, block)
    except RevertedError:
        answer = b""
    if not answer or len(answer) % _WORD:
        raise ConfigError(
            f"the contract at {contract} does not answer {name}(): it is no QuantumCoordinator"
        )
    return tuple(
        int.from_bytes(answer[at : at + _WORD], "big") for at in range(0, len(answer), _WORD)
    )


async def gather(
    reader: ChainReader,
    chain_id: int,
    contract: str,
    request_id: bytes,
    from_block: int | None = None,
) -> Evidence:
    """
    Collect the evidence about a request as of the head.

    The request is looked for from `from_block` on, or from the coordinator's deployment. Raises
    `ConfigError` when there is no coordinator at the address.
    """
    head = await reader.block()
    code = await known_code(reader, contract)
    start = await ask(reader, contract, "deployedAt()", block=head.number)
    window = await ask(reader, contract, "window()", block=head.number)
    life = [
        event
        async for found in logs_in_ranges(
            reader,
            contract,
            start if from_block is None else from_block,
            head.number,
            span=SPAN,
            topics=(None, request_id),
        )
        for item in found
        if (event := read_event(item)) is not None and not isinstance(event, Committed)
    ]
    made = next((event for event in life if isinstance(event, Made)), None)
    basis = Evidence(
        chain_id=chain_id,
        contract=contract,
        request_id=request_id,
        head=head,
        code=code,
        window=window,
        life=life,
    )
    return basis if made is None else await _with_places(reader, basis, made, start)


async def _with_places(reader: ChainReader, basis: Evidence, made: Made, start: int) -> Evidence:
    contract, head, terms = basis.contract, basis.head, made.terms
    commit = await _find_commit(reader, contract, start, made)
    fulfilled = next((event for event in basis.life if isinstance(event, Fulfilled)), None)
    block = made.log.block_number
    return replace(
        basis,
        status=await ask(
            reader,
            contract,
            "status(uint64,bytes32)",
            terms.index,
            made.request_id,
            block=head.number,
        ),
        root=(
            await ask(reader, contract, "rootOf(uint256)", terms.index // BATCH, block=head.number)
        ).to_bytes(32, "big"),
        made=await place_of(reader, made.log),
        next_parent=(await reader.block(block + 1)).parent_hash if block < head.number else None,
        commit=commit,
        committed=await place_of(reader, commit.log) if commit else None,
        fulfilled=await place_of(reader, fulfilled.log) if fulfilled else None,
        transaction=await reader.transaction(fulfilled.log.transaction_hash)
        if fulfilled
        else None,
    )


async def _find_commit(
    reader: ChainReader, contract: str, start: int, made: Made
) -> Committed | None:
    """
    Return the newest commit up to the request's block that covers its index.
    """
    async for found in logs_in_ranges(
        reader,
        contract,
        start,
        made.log.block_number,
        span=_COMMIT_SPAN,
        topics=(COMMITTED,),
        newest_first=True,
    ):
        for item in reversed(found):
            event = read_event(item)
            if isinstance(event, Committed) and event.root_of(made.terms.index) is not None:
                return event
    return None


async def place_of(reader: ChainReader, log: Log) -> Place:
    """
    Return a log with the header and the receipt of where it is.
    """
    return Place(
        log=log,
        header=await reader.block(log.block_number),
        receipt=await reader.receipt(log.transaction_hash),
    )
