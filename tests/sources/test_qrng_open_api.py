"""
QRNG Open API: what is asked follows from what is offered.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.entropy.qrng_open_api import MAX_BYTES, Capabilities, SelfTest
from oracle.errors import (
    ConfigError,
    SimulatedEntropyError,
    SourceCredentialsError,
    SourceReplyError,
)
from tests.vendors.qrng_open_api import (
    QRYPT_APPLIANCE,
    QUSIDE_ENTROPY_CORE,
    QUSIDE_EXTENSIONS,
    server,
)
from tests.vendors.server import Seen, always, reply, serving

pytestmark = pytest.mark.sources

Make = Any
KIND = "qrng-open-api"


def limits(base: dict[str, Any] = QRYPT_APPLIANCE, **changes: Any) -> dict[str, Any]:
    changed = copy.deepcopy(base)
    changed["entropy"] |= changes
    return changed


async def test_capabilities_are_asked_for_once(make: Make) -> None:
    async with serving(server()) as running:
        source = make(KIND, running.url)
        for n_bytes in (1, 64, 5000):
            await source.fetch(n_bytes)
    assert [seen.method for seen in running.seen] == ["GET", "POST", "POST", "POST"]


@pytest.mark.parametrize(
    ("n_bytes", "order"),
    [(1, (1, 1)), (1024, (1024, 1)), (1025, (1024, 2)), (32 * 1024, (1024, 32))],
)
async def test_a_kibibyte_is_a_kibibyte_and_not_one_byte(
    make: Make, n_bytes: int, order: tuple[int, int]
) -> None:
    async with serving(server()) as running:
        sample = await make(KIND, running.url).fetch(n_bytes)
    asked = running.seen[1].json()
    assert (asked["block_size"], asked["block_count"]) == order
    assert len(sample.data) == order[0] * order[1]


async def test_a_smallest_number_of_blocks_brings_more_than_asked_for(make: Make) -> None:
    async with serving(server(limits(min_block_count=4, min_block_size=32))) as running:
        sample = await make(KIND, running.url).fetch(10)
    assert len(sample.data) == 128


@given(
    n_bytes=st.integers(1, MAX_BYTES),
    sizes=st.tuples(st.integers(1, 2**20), st.integers(0, 2**20)),
    counts=st.tuples(st.integers(1, 1000), st.integers(0, 1000)),
)
def test_every_plan_is_within_the_limits_and_covers_what_it_can(
    n_bytes: int, sizes: tuple[int, int], counts: tuple[int, int]
) -> None:
    offered = Capabilities(
        min_block_size=sizes[0],
        max_block_size=sum(sizes),
        min_block_count=counts[0],
        max_block_count=sum(counts),
        entropy_types=(),
        thresholds=None,
        source_count=None,
    )
    size, count = offered.plan(n_bytes)
    assert offered.min_block_size <= size <= offered.max_block_size
    assert offered.min_block_count <= count <= offered.max_block_count
    assert size * count >= n_bytes or count == offered.max_block_count
    # No block too many.
    assert size * (count - 1) < n_bytes or count == offered.min_block_count


async def test_raw_entropy_is_never_asked_for(make: Make) -> None:
    async with serving(server(QUSIDE_ENTROPY_CORE)) as running:
        await make(KIND, running.url).fetch(64)
    assert running.seen[1].json()["entropy_type"] == "processed"
    async with serving(server(limits(entropy_types=["raw"]))) as running:
        with pytest.raises(SourceReplyError, match="raw entropy alone"):
            await make(KIND, running.url).fetch(64)
    with pytest.raises(ConfigError, match="not conditioned"):
        make(KIND, running.url, entropy_type="raw")


async def test_types_are_left_out_where_none_is_offered(make: Make) -> None:
    async with serving(server(limits(entropy_types=[]))) as running:
        await make(KIND, running.url).fetch(64)
    assert "entropy_type" not in running.seen[1].json()


async def test_refused_parameters_make_capabilities_be_read_again(make: Make) -> None:
    offered = limits()

    def shrinking(seen: Seen) -> Any:
        return server(copy.deepcopy(offered))(seen)

    async with serving(shrinking) as running:
        source = make(KIND, running.url)
        await source.fetch(1024)
        offered["entropy"]["max_block_size"] = 256
        assert len((await source.fetch(1024)).data) == 1024
    assert [seen.path for seen in running.seen[2:]] == ["/entropy", "/capabilities", "/entropy"]


async def test_refused_parameters_that_fit_are_refused_for_good(make: Make) -> None:
    def stubborn(seen: Seen) -> Any:
        return reply({}, 422) if seen.method == "POST" else server()(seen)

    async with serving(stubborn) as running:
        with pytest.raises(SourceReplyError):
            await make(KIND, running.url).fetch(64)
    assert [seen.method for seen in running.seen] == ["GET", "POST", "GET"]


@pytest.mark.parametrize(
    "content",
    [
        None, [], {}, {"entropy": []}, {"entropy": {}},
        limits(max_block_size=None), limits(max_block_size="1024"), limits(max_block_size=True),
        limits(max_block_size=0), limits(min_block_size=2048), limits(min_block_count=0),
        limits(max_block_count=1.5), limits(entropy_types="quantum"), limits(entropy_types=[1]),
    ],
)  # fmt: skip
async def test_capabilities_that_make_no_sense_are_refused(make: Make, content: Any) -> None:
    async with serving(always(lambda: reply(content))) as running:
        with pytest.raises(SourceReplyError, match="no capabilities"):
            await make(KIND, running.url).fetch(64)


async def test_a_draw_that_must_be_huge_is_not_made(make: Make) -> None:
    async with serving(server(limits(min_block_size=2**20, max_block_size=2**20))) as running:
        with pytest.raises(SourceReplyError, match="smallest draw"):
            await make(KIND, running.url).fetch(64)
    assert [seen.method for seen in running.seen] == ["GET"]


async def test_extensions_are_kept_as_provenance(make: Make) -> None:
    async with serving(server(QUSIDE_ENTROPY_CORE, QUSIDE_EXTENSIONS)) as running:
        sample = await make(KIND, running.url).fetch(64)
    assert sample.provenance == {"entropyType": "processed", "extensions": QUSIDE_EXTENSIONS}


@pytest.mark.parametrize(
    ("given", "header", "value"),
    [
        ({"token": " t0k\n"}, "authorization", "Bearer t0k"),
        ({"token": None, "api_key": "k3y"}, "x-api-key", "k3y"),
        ({"token": None}, "authorization", None),
    ],
)
async def test_credentials_go_into_the_header_that_they_are_for(
    make: Make, given: dict[str, Any], header: str, value: str | None
) -> None:
    async with serving(server(QUSIDE_ENTROPY_CORE)) as running:
        source = make(KIND, running.url, **given)
        await source.fetch(64)
        await source.self_test()
    assert [seen.headers.get(header) for seen in running.seen] == [value] * 3


@pytest.mark.parametrize("token", ["", "two words", "new\nline", "schlüssel"])
async def test_a_token_that_no_header_can_carry_is_refused(make: Make, token: str) -> None:
    with pytest.raises(SourceCredentialsError):
        make(KIND, "http://localhost", token=token)


@pytest.mark.parametrize(
    ("health", "verdict"),
    [(0.97, "good"), ("0.97", "good"), (0.92, "warning"), (0.1, "error"), ("bad", "unknown")],
)
async def test_the_vendors_own_test_is_judged_by_its_own_thresholds(
    make: Make, health: Any, verdict: str
) -> None:
    async with serving(server(QUSIDE_ENTROPY_CORE, health=health)) as running:
        [result] = await make(KIND, running.url).self_test()
    assert isinstance(result, SelfTest)
    assert (result.test_type, result.verdict) == ("H-min", verdict)


async def test_a_server_without_a_health_test_is_not_asked_for_it(make: Make) -> None:
    async with serving(server()) as running:
        assert await make(KIND, running.url).self_test() == []
    assert [seen.path for seen in running.seen] == ["/capabilities"]


@pytest.mark.parametrize("capabilities", [limits(entropy_types=["simulated"]), limits()])
async def test_entropy_that_is_said_to_be_simulated_is_refused(
    make: Make, capabilities: dict[str, Any]
) -> None:
    async with serving(server(capabilities, [{"simulated": True}])) as running:
        with pytest.raises(SimulatedEntropyError):
            await make(KIND, running.url).fetch(64)
