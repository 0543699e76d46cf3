"""
`oracle entropy report` and `oracle entropy draw` against real servers.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
import os
import re
import struct
import zlib
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from oracle.entropy.figures import measure
from oracle.store.engine import Access, Database
from tests.sources.test_entropy_verbs import verb
from tests.vendors.server import Seen, reply, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.responses import Response

pytestmark = pytest.mark.sources

KEY = bytes(range(32)).hex()


class Giver:
    """
    A server of one's own that remembers what it gave.
    """

    def __init__(self, *, even: bool = False) -> None:
        self.given = bytearray()
        self._even = even

    def __call__(self, seen: Seen) -> Response:
        salt = f"{len(self.given)}".encode()
        data = hashlib.shake_256(salt).digest(int(seen.query["n"]))
        if self._even:
            data = bytes(byte & 0xFE for byte in data)
        self.given += data
        return reply({"bytes": data.hex()})


def own(url: str, name: str = "own", more: str = "") -> str:
    return f"""
[sources.{name}]
kind = "json-http"
url = "{url}"
query = {{ n = "{{bytes}}" }}
data = "bytes"
encoding = "hex"
max_bytes = 16384
{more}
"""


class Page(HTMLParser):
    """
    What a browser would load, and what a person would read.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.text = ""
        self.images: list[str] = []
        self.unnamed = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.references += [
            value or ""
            for name, value in attrs
            if name in {"src", "href", "srcset", "data", "action", "xlink:href", "poster"}
        ]
        assert tag not in {"script", "link", "iframe", "object", "form"}
        if tag == "img":
            self.images.append(given["src"] or "")
        if tag in {"img", "svg"} and not (given.get("alt") or given.get("aria-label")):
            self.unnamed += 1

    def handle_data(self, data: str) -> None:
        self.text += data


def pixels(uri: str) -> bytes:
    """
    Return the bits of a PNG with one bit a pixel.
    """
    png = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    width, height, depth = struct.unpack(">IIB", png[16:25])
    assert depth == 1
    at = png.index(b"IDAT")
    [size] = struct.unpack(">I", png[at - 4 : at])
    lines = zlib.decompress(png[at + 4 : at + 4 + size])
    row = width // 8 + 1
    assert len(lines) == row * height
    return b"".join(lines[at + 1 : at + row] for at in range(0, len(lines), row))


async def test_the_page_shows_the_sample_and_its_numbers_and_asks_for_nothing(
    capsys: pytest.CaptureFixture[str], configure: Callable[[str], Path], tmp_path: Path
) -> None:
    giver, out = Giver(), tmp_path / "entropy.html"
    await (await Database.open(tmp_path / "oracle.db", Access.NODE)).close()
    async with serving(giver) as server:
        path = str(configure(own(server.url, more="quota = { requests = 100 }")))
        code, document, said = await verb(
            capsys, "entropy", "report", "--config", path, "--out", str(out), "--bytes", "65536",
            "--yes", "--json",
        )  # fmt: skip
        _, status, _ = await verb(capsys, "entropy", "status", "--config", path, "--json")
    assert code == 0
    assert "65536 bytes in 4 requests" in said
    assert "100 requests are left" in said
    assert status["sources"][0]["quota"]["usedRequests"] == 4
    sample = bytes(giver.given)
    text = out.read_text()
    page = Page(text)
    # Nothing is loaded from anywhere, and what is seen can be read.
    assert page.references == page.images
    assert all(one.startswith("data:") for one in page.references)
    assert not re.search(r"https?:|url\(|@import", text)
    assert page.unnamed == 0
    # The picture is the sample.
    [uri] = page.images
    assert pixels(uri) == sample
    # Numbers, by other means than the product's.
    [found] = document["sources"]
    bits = "".join(f"{byte:08b}" for byte in sample)
    counts = Counter(sample)
    assert found["ones"] == bits.count("1")
    z = sum(1 if bit == "1" else -1 for bit in bits) / math.sqrt(len(bits))
    assert found["monobitZ"] == pytest.approx(z)
    share = counts.most_common(1)[0][1] / len(sample)
    upper = share + 2.576 * math.sqrt(share * (1 - share) / (len(sample) - 1))
    assert found["minEntropy"] == pytest.approx(-math.log2(upper))
    longest = max(len(run[0]) for run in re.finditer(rb"(?s)(.)\1*", sample))
    assert found["longestRun"] == longest
    windows = [sample[at : at + 512] for at in range(0, 65536, 512)]
    assert found["mostInWindow"] == max(one.count(one[:1]) for one in windows)
    for told in (
        f"{-math.log2(upper):.3f}",
        f"{100 * bits.count('1') / len(bits):.3f} %",
        f"{longest} of 5",
        f"{found['mostInWindow']} of 17",
        "64 KiB",
    ):
        assert told in page.text, told
    cells = [html.unescape(one) for one in re.findall(r"<td>([^<]+)</td>", text)]
    assert cells[:256] == [f"{counts[value]:,}" for value in range(256)]
    lags = [float(one.replace("\N{MINUS SIGN}", "-")) for one in cells[256:]]
    assert len(lags) == 128
    for lag in (1, 8, 128):
        equal = sum(a == b for a, b in zip(bits, bits[lag:], strict=False))
        assert lags[lag - 1] == pytest.approx(2 * equal / (len(bits) - lag) - 1, abs=6e-6)
    assert "simulated" not in page.text
    # Nothing of it is kept.
    for file in tmp_path.glob("oracle.db*"):
        content = file.read_bytes()
        assert not any(sample[at : at + 16] in content for at in range(0, len(sample), 64))


async def test_the_page_names_what_is_wrong_and_what_is_simulated(
    capsys: pytest.CaptureFixture[str], configure: Callable[[str], Path], tmp_path: Path
) -> None:
    even, out = Giver(even=True), tmp_path / "entropy.html"

    def simulated(seen: Seen) -> Response:
        if seen.path.startswith("/down"):
            return reply({}, 503)
        response = even(seen)
        response.headers["X-Entropy-Simulated"] = "1"
        return response

    async with serving(simulated) as server:
        path = str(configure(own(server.url, "biased") + own(server.url + "/down", "down")))
        code, document, _ = await verb(
            capsys, "entropy", "report", "--config", path, "--out", str(out), "--bytes", "16384",
            "--yes", "--json",
        )  # fmt: skip
        refused, _, why = await verb(
            capsys, "entropy", "report", "--config", path, "--out", str(out), "--source", "other"
        )
    assert code == 1
    biased, down = document["sources"]
    assert biased["odd"] == ["ones and zeros", "byte values", "correlation"]
    assert biased["simulated"]
    assert "503" in down["error"] or "wait" in down["error"]
    text = Page(out.read_text()).text
    assert "odd: ones and zeros, byte values, correlation" in text
    assert "Simulated: the source says that a generator made these bytes" in text
    assert "no sample" in text
    assert "0 of 2 pass every test" in text
    assert refused == 2
    assert "there is no source other: configured are biased, down" in why


async def test_a_report_beyond_the_quota_or_unasked_draws_nothing(
    capsys: pytest.CaptureFixture[str], configure: Callable[[str], Path], tmp_path: Path
) -> None:
    out = tmp_path / "entropy.html"
    async with serving(Giver()) as server:
        path = str(configure(own(server.url, more="quota = { requests = 3 }")))
        options = ("entropy", "report", "--config", path, "--out", str(out), "--bytes")
        code, _, why = await verb(capsys, *options, "65536", "--yes")
        assert (code, "more than is left of its quota" in why) == (2, True)
        code, _, why = await verb(capsys, *options, "16384")
        assert (code, "nobody is here to be asked: add --yes" in why) == (2, True)
        assert server.seen == []
    assert not out.exists()


def test_a_perfect_source_is_not_odd_and_a_constant_one_has_no_entropy() -> None:
    assert measure(bytes(4096)).min_entropy == 0
    assert measure(bytes(4096)).longest_run == 4096
    good = measure(os.urandom(65536))
    assert good.min_entropy == pytest.approx(good.min_entropy_expected, abs=0.12)
    with pytest.raises(ValueError, match="4096"):
        measure(bytes(4095))


async def test_draw_fills_the_pool_that_a_node_will_use_and_no_further(
    capsys: pytest.CaptureFixture[str], configure: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "pool.key").touch(0o600)
    (tmp_path / "pool.key").write_text(KEY)

    async def draw(path: str, *more: str) -> tuple[int, Any, str]:
        return await verb(capsys, "entropy", "draw", "--config", path, *more)

    async with serving(Giver()) as server:
        path = str(configure(own(server.url)))
        code, document, _ = await draw(path, "--blocks", "100", "--json")
        assert code == 0
        assert document == {
            "drawn": 100, "fresh": 100, "target": 512, "complete": True, "waiting": {},
        }  # fmt: skip
        code, _, text = await draw(path)
        assert "412 blocks were drawn: the pool holds 512 of 512." in text
        code, _, text = await draw(path, "--blocks", "1")
        assert code == 2
        assert "the pool holds 512 of 512 blocks: there is room for 0" in text
        # Beside a node.
        database = await Database.open(tmp_path / "oracle.db", Access.NODE)
        code, _, text = await draw(path)
        await database.close()
        assert code == 2
        assert "it draws by itself, up to pool.fresh blocks" in text
        used = len(server.seen)
        code, document, _ = await verb(capsys, "entropy", "status", "--config", path, "--json")
        assert document["sources"][0]["quota"]["usedRequests"] == used


async def test_draw_keeps_what_came_and_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], configure: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "pool.key").touch(0o600)
    (tmp_path / "pool.key").write_text(KEY)
    async with serving(Giver()) as server:
        path = str(configure(own(server.url, more="quota = { requests = 1 }")))
        code, document, _ = await verb(capsys, "entropy", "draw", "--config", path, "--json")
    assert code == 1
    assert (document["drawn"], document["waiting"]) == (256, {"own": "quota"})
    assert not document["complete"]


async def test_rotate_key_replaces_the_key_and_takes_or_demands_a_backup(
    capsys: pytest.CaptureFixture[str],
    configure: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key_file, copy = tmp_path / "pool.key", tmp_path / "copy.db"
    key_file.touch(0o600)
    key_file.write_text(KEY)

    async def run(*arguments: str) -> tuple[int, Any, str]:
        return await verb(capsys, "entropy", *arguments, "--config", path)

    async with serving(Giver()) as server:
        path = str(configure(own(server.url)))
        code, _, text = await run("rotate-key", "--yes")
        assert (code, "nothing to rotate" in text) == (2, True)
        await run("draw", "--blocks", "20")
        code, _, text = await run("rotate-key")
        assert (code, "nobody is here to be asked" in text) == (2, True)
        database = await Database.open(tmp_path / "oracle.db", Access.NODE)
        code, _, text = await run("rotate-key", "--yes")
        await database.close()
        assert (code, "stop it first, it works with the old key" in text) == (2, True)
        assert key_file.read_text() == KEY
        code, document, text = await run("rotate-key", "--yes", "--backup", str(copy), "--json")
        assert code == 0
        assert (document["records"], document["backup"]) == (20, str(copy))
        assert key_file.read_text().strip() not in KEY + text
        code, _, text = await run("rotate-key", "--yes", "--backup", str(copy))
        assert (code, "is not overwritten" in text) == (2, True)
        code, _, text = await run("rotate-key", "--yes")
        assert "Before you start the node or gateway, copy" in text
        # What a backup of the key before held cannot be opened any more, and that is said.
        copy.replace(tmp_path / "oracle.db")
        code, _, text = await run("draw")
        assert code == 2
        assert "earlier pool key, which a rotation destroyed: it is an older backup" in text
        monkeypatch.setenv("ORACLE_POOL__KEY", KEY)
        code, _, text = await run("rotate-key", "--yes")
        assert (code, "which no verb can replace" in text) == (2, True)
