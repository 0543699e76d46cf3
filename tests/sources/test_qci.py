"""
QCI uQRNG: tokens that end, and what they are exchanged for.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from oracle.errors import SourceCredentialsError, SourceReplyError
from tests.vendors.qci import Uqrng
from tests.vendors.server import always, in_turn, reply, serving

pytestmark = pytest.mark.sources

Make = Any


def rfc3339(**ahead: float) -> dict[str, str]:
    stamp = datetime.now(UTC) + timedelta(**ahead)
    return {"expires_at_rfc3339": stamp.strftime("%Y-%m-%dT%H:%M:%SZ")}


@pytest.mark.parametrize(
    ("expiry", "issued"),
    [
        pytest.param({"expires_in": int(time.time()) + 3600}, 1, id="trap-absolute"),
        pytest.param({"expires_in": 3600}, 1, id="relative"),
        pytest.param(rfc3339(hours=1), 1, id="rfc3339"),
        pytest.param(rfc3339(hours=1) | {"expires_in": 1}, 1, id="rfc3339-first"),
        pytest.param({}, 1, id="unsaid"),
        pytest.param({"expires_in": "soon"}, 1, id="unreadable"),
        pytest.param({"expires_in": 61.001}, 2, id="relative-over"),
        pytest.param({"expires_in": 1_680_287_957}, 2, id="absolute-over"),
        pytest.param(rfc3339(hours=-1), 2, id="rfc3339-over"),
    ],
)
async def test_a_token_is_used_until_it_ends(
    make: Make, monkeypatch: pytest.MonkeyPatch, expiry: dict[str, Any], issued: int
) -> None:
    service = Uqrng(expiry=expiry)
    async with serving(service) as server:
        source = make("qci", server.url)
        await source.fetch(64)
        then = time.time() + 120
        monkeypatch.setattr("oracle.entropy.qci.time.time", lambda: then)
        await source.fetch(64)
    assert service.issued == issued


async def test_many_draws_share_one_renewal(make: Make) -> None:
    service = Uqrng()
    async with serving(service) as server:
        source = make("qci", server.url)
        samples = await asyncio.gather(*(source.fetch(64) for _ in range(8)))
    assert service.issued == 1
    assert len(samples) == 8


async def test_a_failed_renewal_fails_all_that_wait_and_is_asked_once(make: Make) -> None:
    async with serving(always(lambda: reply({}, 401))) as server:
        source = make("qci", server.url)
        results = await asyncio.gather(
            *(source.fetch(64) for _ in range(8)), return_exceptions=True
        )
    assert {type(result) for result in results} == {SourceCredentialsError}
    assert len(server.seen) == 1


async def test_a_token_that_is_revoked_early_is_renewed_once(make: Make) -> None:
    service = Uqrng(revoked={"access-1"})
    async with serving(service) as server:
        assert len((await make("qci", server.url).fetch(64)).data) == 64
    assert service.issued == 2


async def test_a_fresh_token_that_is_refused_ends_it(make: Make) -> None:
    service = Uqrng(revoked={"access-1", "access-2"})
    async with serving(service) as server:
        with pytest.raises(SourceCredentialsError, match="fresh access token"):
            await make("qci", server.url).fetch(64)
    assert service.issued == 2


@pytest.mark.parametrize(
    "content", [{}, {"access_token": 7}, {"access_token": "t", "token_type": "mac"}, []]
)
async def test_a_token_of_another_shape_is_refused(make: Make, content: Any) -> None:
    async with serving(always(lambda: reply(content))) as server:
        with pytest.raises(SourceReplyError):
            await make("qci", server.url).fetch(64)


async def test_what_was_used_is_asked_for_by_day(make: Make) -> None:
    service = Uqrng(used_bits=7)
    async with serving(service) as server:
        used = await make("qci", server.url).used_bits(date(2026, 1, 1), date(2026, 1, 31))
    assert used == 7
    assert server.seen[-1].json() == {"start_date": "2026-01-01", "end_date": "2026-01-31"}


@pytest.mark.parametrize("content", [{}, {"n_bits": -1}, {"n_bits": True}, {"n_bits": "7"}, 7])
async def test_usage_of_another_shape_is_refused(make: Make, content: Any) -> None:
    usage = always(lambda: reply(content))
    async with serving(in_turn(Uqrng(), usage)) as server:
        with pytest.raises(SourceReplyError):
            await make("qci", server.url).used_bits(date(2026, 1, 1), date(2026, 1, 31))
