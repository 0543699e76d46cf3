"""
What `oracle check` asks a coordinator about the seeds that are committed ahead of its requests.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from oracle.protocols.coordinator import BATCH, CoordinatorProtocol
from oracle.store import batches
from oracle.together import together

if TYPE_CHECKING:
    from oracle.chain.reader import Web3Reader
    from oracle.cli.findings import Findings
    from oracle.config import ChainSettings
    from oracle.store.engine import Database

#: Less than a block of requests can ask for.
LOW_WATER = 4096
_ASKED_AT_ONCE = 8


async def check_runway(
    where: str, chain: ChainSettings, reader: Web3Reader, findings: Findings
) -> None:
    """
    Say whether enough seeds are committed ahead for the requests to come.
    """
    answer = await reader.call(chain.coordinator, CoordinatorProtocol.SEEDS)
    counters = CoordinatorProtocol.decode_counters(answer)
    left = counters.committed - counters.next
    said = f"{left} seeds are committed ahead, {chain.runway} are wanted"
    if not chain.runway:
        findings.ok(where, "runway", f"{left} seeds are left, and no more are committed")
    elif not left:
        findings.warn(
            where, "runway", said, "requests revert until the node, or `oracle commit`, commits"
        )
    elif min(left, chain.runway) < LOW_WATER and not chain.devnet:
        findings.warn(
            where,
            "runway",
            said,
            f"fewer than {LOW_WATER} can be gone within blocks: let `runway` be that at least, "
            "and the node commit",
        )
    else:
        findings.ok(where, "runway", said)


async def check_seeds(
    where: str,
    chain: ChainSettings,
    reader: Web3Reader,
    database: Database | None,
    findings: Findings,
) -> None:
    """
    Say whether the seeds that are committed ahead are in this database: requests take them in
    turn, whoever has them.
    """
    place = chain.coordinator
    counters = CoordinatorProtocol.decode_counters(
        await reader.call(place, CoordinatorProtocol.SEEDS)
    )
    begin = counters.next - counters.next % BATCH
    wanted = range(begin, counters.committed, BATCH)
    if not wanted:
        return
    known: dict[int, bytes] = {}
    if database is not None:
        async with database.read() as connection:
            known = await batches.roots(connection, chain.chain_id, place, wanted)
    queries = [CoordinatorProtocol.encode_root_of(index // BATCH) for index in wanted]
    on_chain = await together(
        [partial(reader.call, place, query) for query in queries], _ASKED_AT_ONCE
    )
    foreign = [
        max(index, counters.next)
        for index, root in zip(wanted, on_chain, strict=True)
        if known.get(index) != root
    ]
    if not foreign:
        findings.ok(where, "seeds", "those that are committed ahead are in the database")
        return
    many = sum(min(BATCH - index % BATCH, counters.committed - index) for index in foreign)
    findings.fail(
        where,
        "seeds",
        f"{many} of the {counters.committed - counters.next} seeds that are committed ahead, from "
        f"index {foreign[0]} on, are not in this database: no request that takes one is served",
        "name the database that has them, or end them with `oracle coordinator discard`, after "
        "which the node commits others",
    )
