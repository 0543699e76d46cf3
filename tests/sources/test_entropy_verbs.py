"""
`oracle entropy status` and `oracle entropy check` against real servers.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from oracle.cli.main import main
from oracle.cli.sources import compose_supplies, sources_per_seed
from oracle.config import Settings
from oracle.errors import ConfigError, SourceCredentialsError
from oracle.steps.refill import refill
from oracle.store.engine import Access, Database
from oracle.store.pool import Pool
from oracle.store.seal import EpochFile, PoolKey
from tests.vendors import anu, json_http, qci, qrng_open_api, qrypt
from tests.vendors.server import Answer, Seen, reply, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.responses import Response

pytestmark = pytest.mark.sources

KEY = PoolKey(bytes(range(32)))


def everything(seen: Seen, service: Answer) -> Response:
    """
    Answer as the vendor whose path it is.
    """
    vendors: dict[str, Answer] = {
        "anu": anu.quantum_numbers,
        "old": anu.legacy,
        "open": qrng_open_api.server(qrng_open_api.QUSIDE_ENTROPY_CORE),
        "qrypt": qrypt.entropy,
        "qci": service,
        "lfd": json_http.lfd,
        "quandela": json_http.quandela,
        "outshift": json_http.outshift,
        "own": lambda _: reply({"bytes": os.urandom(1024).hex()}),
    }
    return vendors[seen.path.split("/")[1]](seen)


def all_kinds(url: str, folder: Path) -> str:
    (folder / "device").write_bytes(os.urandom(4096))
    return f"""
[sources.anu]
kind = "anu-quantum-numbers"
url = "{url}/anu"
key_file = "SECRET"
quota = {{ requests = 100 }}
requests_per_minute = 1000000

[sources.old]
kind = "anu-legacy"
url = "{url}/old"

[sources.open]
kind = "qrng-open-api"
url = "{url}/open/v1"
token_file = "SECRET"

[sources.qrypt]
kind = "qrypt"
url = "{url}/qrypt"
token_file = "SECRET"

[sources.qci]
kind = "qci"
url = "{url}/qci"
token_file = "SECRET"

[sources.device]
kind = "device"
path = "device"

[sources.lfd]
kind = "lfd"
url = "{url}/lfd"

[sources.quandela]
kind = "quandela"
url = "{url}/quandela"
token_file = "SECRET"

[sources.outshift]
kind = "outshift"
url = "{url}/outshift"
key_file = "SECRET"

[sources.own]
kind = "json-http"
url = "{url}/own"
key_file = "SECRET"
key_header = "Authorization"
key_prefix = "Bearer "
data = "bytes"
encoding = "hex"
max_bytes = 1024
errors = [{{ contains = "broken", meaning = "retry" }}]
"""


async def verb(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    """
    Run the command; return its exit code, its document and what it said as a text.
    """

    def run() -> int:
        try:
            main(arguments)
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    capsys.readouterr()
    code = await asyncio.to_thread(run)
    said = capsys.readouterr()
    document = json.loads(said.out) if "--json" in arguments and said.out else None
    assert qci.REFRESH_TOKEN not in said.out + said.err
    return code, document, said.out + said.err


async def test_every_kind_is_checked_with_one_draw(
    capsys: pytest.CaptureFixture[str], configure: Callable[[str], Path], tmp_path: Path
) -> None:
    service = qci.Uqrng()
    async with serving(lambda seen: everything(seen, service)) as server:
        path = str(configure(all_kinds(server.url, tmp_path)))
        code, document, _ = await verb(capsys, "entropy", "check", "--config", path, "--json")
        assert code == 0
        found = {one["name"]: one for one in document["sources"]}
        assert {name: one["verdict"] for name, one in found.items()} == dict.fromkeys(
            found, "would be used"
        )
        assert len(found) == 10
        assert (found["anu"]["vendor"], found["old"]["vendor"]) == ("anu", "anu")
        assert found["open"]["vendorTest"][0]["verdict"] == "good"
        assert found["qci"]["vendorBits"] == service.used_bits
        assert document["sourcesPerSeed"] == 2
        draws = [seen for seen in server.seen if seen.path == "/anu"]
        assert len(draws) == 1
        code, _, text = await verb(capsys, "entropy", "check", "--config", path)
    # Two of them are behind one host: nobody says that they are run by two.
    assert code == 0
    assert "mixed from 2 of 8 vendors" in text


async def test_status_says_what_is_left_and_when_it_begins_anew(
    capsys: pytest.CaptureFixture[str], configure: Callable[[str], Path], tmp_path: Path
) -> None:
    async with serving(lambda seen: everything(seen, qci.Uqrng())) as server:
        path = configure(all_kinds(server.url, tmp_path))
        settings = Settings.load(path)
        async with AsyncExitStack() as stack:
            supplies = compose_supplies(settings, KEY, stack, allow_simulated=False)
            database = await Database.open(settings.database, Access.NODE)
            stack.push_async_callback(database.close)
            pool = Pool(KEY, EpochFile(tmp_path / "epoch"))
            await pool.unlock(database)
            assert (await refill(database, pool, supplies, 300)).blocks == 300
            # While the node runs.
            code, document, _ = await verb(
                capsys, "entropy", "status", "--config", str(path), "--json"
            )
            assert code == 0
            await verb(capsys, "entropy", "check", "--config", str(path), "--json")
            assert (await refill(database, pool, supplies, 301)).blocks == 1
        _, after, _ = await verb(capsys, "entropy", "status", "--config", str(path), "--json")
    found = {one["name"]: one for one in document["sources"]}
    quota = found["anu"]["quota"]
    assert (quota["usedRequests"], quota["leftRequests"], quota["per"]) == (1, 99, "month")
    assert quota["resetsAt"][8:10] == "01"
    assert found["outshift"]["quota"]["leftBits"] == 100_000
    assert found["anu"]["state"] == "ready"
    assert document["pool"] == {
        "fresh": 300,
        "bound": 0,
        "destroyed": 0,
        "unused": 0,
        "target": 512,
    }
    assert "best of 2 vendors" in document["trust"]
    # Two of the node, and the one of the check between them.
    anu_after = after["sources"][0]["quota"]
    assert anu_after["usedRequests"] == 3
    code, _, text = await verb(capsys, "entropy", "status", "--config", str(path))
    assert "pool: 301 of 512 blocks fresh" in text


async def test_a_check_says_what_a_node_would_refuse(
    capsys: pytest.CaptureFixture[str], configure: Callable[[str], Path]
) -> None:
    def simulated(seen: Seen) -> Response:
        if seen.path.startswith("/qrypt"):
            return reply({}, 403)
        response = anu.quantum_numbers(seen)
        response.headers["X-Entropy-Simulated"] = "1"
        return response

    async with serving(simulated) as server:
        path = configure(
            f"""
[sources.anu]
kind = "anu-quantum-numbers"
url = "{server.url}/anu"
key_file = "SECRET"

[sources.qrypt]
kind = "qrypt"
url = "{server.url}/qrypt"
token_file = "SECRET"
"""
        )
        code, document, _ = await verb(capsys, "entropy", "check", "--config", str(path), "--json")
        _, _, text = await verb(capsys, "entropy", "check", "--config", str(path))
    assert code == 1
    assert [one["verdict"] for one in document["sources"]] == [
        "would be refused: simulated",
        "would not be used: quota",
    ]
    assert document["production"] == ("the node would wait: a seed needs 2 vendors and 0 deliver")
    assert "allotment is used up" in " ".join(text.split())


async def test_one_source_is_called_one_source(
    capsys: pytest.CaptureFixture[str], configure: Callable[[str], Path]
) -> None:
    path = configure('[sources.lfd]\nkind = "lfd"\nurl = "http://127.0.0.1:1"\n')
    _, document, _ = await verb(capsys, "entropy", "status", "--config", str(path), "--json")
    assert document["trust"] == (
        "one source: the trust is that of lfd and of the operating system"
    )
    code, document, _ = await verb(capsys, "entropy", "check", "--config", str(path), "--json")
    assert code == 1
    assert document["sources"][0]["error"] == "unavailable"


def test_more_sources_per_seed_than_vendors_are_refused(
    configure: Callable[[str], Path],
) -> None:
    path = configure('[sources.a]\nkind = "anu-legacy"\n[sources.lfd]\nkind = "lfd"\n')
    assert sources_per_seed(Settings.load(path)) == 2
    same = configure('[sources.a]\nkind = "lfd"\n[sources.b]\nkind = "lfd"\n')
    assert sources_per_seed(Settings.load(same)) == 1
    text = same.read_text().replace("[pool]", "[pool]\nsources_per_seed = 2")
    same.write_text(text)
    with pytest.raises(ConfigError, match=r"sources_per_seed is 2, .* run by 1: lfd"):
        sources_per_seed(Settings.load(same))


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ('kind = "qrypt"', "there is no token of the source x: set ORACLE_SOURCES__X__TOKEN"),
        ('kind = "outshift"', "there is no API key of the source x"),
        ('kind = "lfd"\nurl = "http://lfdr.de"', "write https://"),
        ('kind = "lfd"\nca_file = "nowhere.pem"', "the CA file .* cannot be used"),
        (
            'kind = "lfd"\ncertificate_file = "a.pem"\nprivate_key_file = "b.pem"',
            "the secret file .*b.pem does not exist",
        ),
    ],
)
async def test_a_source_that_cannot_work_is_refused_at_the_start(
    configure: Callable[[str], Path], section: str, sentence: str
) -> None:
    settings = Settings.load(configure(f"[sources.x]\n{section}\n"))
    async with AsyncExitStack() as stack:
        with pytest.raises((ConfigError, SourceCredentialsError), match=sentence):
            compose_supplies(settings, KEY, stack, allow_simulated=False)


async def test_a_database_of_another_version_is_named(
    capsys: pytest.CaptureFixture[str], configure: Callable[[str], Path], tmp_path: Path
) -> None:
    path = configure('[sources.lfd]\nkind = "lfd"\n')
    (tmp_path / "oracle.db").touch()
    code, _, text = await verb(capsys, "requests", "list", "--config", str(path))
    assert code == 2
    assert "no database of this version" in text
