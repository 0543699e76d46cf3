"""
What nobody will ever reveal, and what somebody else revealed, is in no file of the database.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from eth_abi.abi import encode

from oracle.chain.transact import send_transaction
from oracle.chain.wallets import from_private_key
from oracle.devnet.network import OPERATOR_KEY
from oracle.protocols import roles
from oracle.request import State
from oracle.steps.settle import erase
from oracle.store import discards
from oracle.store.seed_blocks import native_purpose
from tests.erased import block_ciphertexts, found_in_files

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from tests.integration.conftest import Bench

    NewBench = Callable[..., Awaitable[Bench]]

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def _sealed(bench: Bench, indices: Iterable[int]) -> list[bytes]:
    """
    Return the ciphertexts that the pool holds for indices.
    """
    place = (bench.service.chain_id, bench.service.contract)
    purposes = [native_purpose(*place, index) for index in indices]
    return await block_ciphertexts(bench.service.database, *purposes)


async def test_the_seed_that_somebody_else_revealed_is_in_no_file_after_its_window(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(window=64, confirmations=3)
    database = bench.service.database
    request = await bench.roll()
    [sealed] = await _sealed(bench, [request.seed_index])
    await bench.mine()
    await bench.fulfill_as_stranger(request)
    await bench.mine(4)
    await bench.walk(2)
    assert await bench.state(request) is State.DONE
    # A deep reorg may still ask for it.
    assert await found_in_files(database, sealed) == [sealed]

    await bench.mine(request.block_number + 64 - (await bench.service.reader.block()).number)
    await bench.mine(3)
    await bench.walk()
    assert await found_in_files(database, sealed) == [sealed]
    await bench.mine()
    await bench.walk()
    assert await found_in_files(database, sealed) == []


async def _discard(bench: Bench, up_to: int) -> None:
    await bench.mined(
        await send_transaction(
            bench.devnet.reader,
            from_private_key(OPERATOR_KEY),
            to=bench.service.contract,
            data=roles.encode_discard(up_to),
        )
    )


async def test_discarded_seeds_are_in_no_file_once_that_is_final(new_bench: NewBench) -> None:
    bench = await new_bench(confirmations=5, runway=512)
    database = bench.service.database
    pending = await bench.roll()
    sealed = await _sealed(bench, range(300))
    gone = await _sealed(bench, range(pending.seed_index + 1, 300))
    assert len(sealed) == 300
    await _discard(bench, 300)
    await bench.mine(4)
    await bench.walk(2)
    assert await found_in_files(database, *gone) == gone

    kept = await _sealed(bench, range(300, 512))
    await bench.mine()
    await bench.walk()
    assert await found_in_files(database, *gone) == []
    assert await found_in_files(database, *kept) == kept
    for _ in range(8):
        await bench.mine()
        await bench.walk(2)
    # Those that a request held, or that one took afterwards, are served.
    taker = await bench.roll()
    assert taker.seed_index == 300
    for _ in range(14):
        await bench.mine()
        await bench.walk(2)
    assert await bench.state(pending) is State.DONE
    assert await bench.state(taker) is State.DONE
    assert (await bench.audit()).clean


async def test_a_discard_that_a_reorg_takes_away_has_erased_nothing(new_bench: NewBench) -> None:
    bench = await new_bench(confirmations=5)
    await _discard(bench, 200)
    await bench.mine(3)
    await bench.walk()
    await bench.fork(4)
    taker = await bench.roll()
    assert taker.seed_index == 0
    sealed = await _sealed(bench, range(1, 200))
    assert len(sealed) == 199
    for _ in range(14):
        await bench.mine()
        await bench.walk(2)
    assert await bench.state(taker) is State.DONE
    assert await _sealed(bench, range(1, 200)) == sealed
    async with bench.service.database.read() as connection:
        head = (await bench.service.reader.block()).number
        assert not await discards.pending(
            connection, bench.service.chain_id, bench.service.contract, head
        )


async def test_a_discard_that_a_reorg_moves_erases_once_it_is_deep_there(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(confirmations=5)
    await _discard(bench, 10)
    await bench.mine(2)
    await bench.walk()
    await bench.fork(3)
    await bench.mine(2)
    await _discard(bench, 20)
    await bench.mine(4)
    await bench.walk()
    assert len(await _sealed(bench, range(20))) == 20
    await bench.mine()
    await bench.walk()
    assert len(await _sealed(bench, range(20))) == 0


async def test_what_was_discarded_while_no_node_ran_is_erased_however_often_it_dies(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await new_bench(confirmations=3, runway=512)
    sealed = await _sealed(bench, range(512))
    await _discard(bench, 300)
    # Far beyond what is read again with every head.
    await bench.mine(60)

    real, died = discards.erase, []

    async def dying(*args: Any) -> int:
        erased = await real(*args)
        died.append(erased)
        if len(died) == 1:
            raise KeyboardInterrupt
        return erased

    monkeypatch.setattr(discards, "erase", dying)
    with pytest.raises(KeyboardInterrupt):
        await bench.walk()
    assert await _sealed(bench, range(512)) == sealed
    await bench.walk()
    assert len(await _sealed(bench, range(512))) == 212
    assert died == [256, 256, 44]
    await bench.mine()
    await bench.walk()
    assert len(died) == 3


async def test_an_endpoint_alone_cannot_have_seeds_erased_by_a_discard_that_it_made_up(
    new_bench: NewBench,
) -> None:
    bench = await new_bench(confirmations=3)
    service = bench.service
    await bench.roll()
    await bench.mine(3)
    invented = discards.Discard(
        chain_id=service.chain_id,
        contract=service.contract,
        first_index=1,
        up_to=100,
        block_number=(block := await service.reader.block()).number,
        block_hash=block.hash,
    )
    async with service.database.write() as tx:
        await discards.observe(tx, invented)
    await bench.mine(4)
    await bench.walk()
    assert len(await _sealed(bench, range(1, 100))) == 99

    # It lies about the counter as well, and the second endpoint does not.
    real = service.reader.call

    async def lie(
        to: str, data: bytes, block: int | None = None, *, sender: str | None = None
    ) -> bytes:
        answer = await real(to, data, block, sender=sender)
        return (
            encode(["uint64", "uint64"], [100, 512]) if data == service.protocol.SEEDS else answer
        )

    liar = copy(service.reader)
    liar.call = lie  # type: ignore[method-assign]
    bench.service = replace(service, reader=liar, witnesses=(service.reader,))
    await bench.mine()
    await erase(bench.service, await service.reader.block())
    assert len(await _sealed(bench, range(1, 100))) == 99
    bench.service = replace(bench.service, witnesses=None)
    await erase(bench.service, await service.reader.block())
    assert len(await _sealed(bench, range(1, 100))) == 0
