"""
The benchmark measures what it says: on receipts, with proofs that the real contract accepts.

Tests that need the contracts of others are skipped only where npm cannot fetch them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

from oracle.bench import airnode, chainlink, native
from oracle.bench.chain import Chain
from oracle.bench.figures import Calldata, Figures
from oracle.bench.tables import commit_line, gas_table
from oracle.errors import PackageError, RevertedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).resolve().parents[2]
SINGLE = {"request", "fulfill_1_fresh", "fulfill_1_used"}
BATCHES = {"fulfill_10_fresh", "fulfill_10_used", "fulfill_50_fresh", "fulfill_50_used"}


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figures]:
    """
    Return what `oracle bench gas --json` prints, once for all tests; it leaves nothing behind.
    """
    folder = tmp_path_factory.mktemp("bench")
    done = subprocess.run(
        [sys.executable, "-m", "oracle", "bench", "gas", "--json"],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []
    return {name: _read(each) for name, each in json.loads(done.stdout).items()}


def _read(document: dict[str, Any]) -> Figures:
    figures = Figures(
        source=document["source"],
        documented=document["documented"],
        reason=document.get("reason", ""),
        gas={name: value for name, value in document.items() if type(value) is int},
    )
    for name, data in document.get("calldata", {}).items():
        size = data.pop("bytes")
        figures.calldata[name] = Calldata(size=size, **data)
    return figures


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain() -> AsyncIterator[Chain]:
    async with Chain.start() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vrf_site(chain: Chain) -> chainlink.Site:
    try:
        artifact = await chainlink.load_coordinator(lambda _: None)
    except PackageError as error:
        pytest.skip(f"Chainlink's coordinator cannot be had: {error}")
    return await chainlink.Site.build(chain, artifact, fresh=True)


def measured(figures: dict[str, Figures], name: str) -> Figures:
    if figures[name].documented:
        pytest.skip(f"{name} could not be measured: {figures[name].reason}")
    return figures[name]


async def raw_receipt(chain: Chain, transaction_hash: bytes) -> dict[str, Any]:
    url = f"http://{chain.reader.name.removeprefix('http://')}"
    question = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "eth_getTransactionReceipt",
        "params": ["0x" + transaction_hash.hex()],
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(url, json=question)
    receipt: dict[str, Any] = answer.json()["result"]
    return receipt


async def test_document_holds_integers_for_every_protocol(figures: dict[str, Figures]) -> None:
    document = {name: each.document() for name, each in figures.items()}
    assert list(document) == ["native", "airnode", "chainlink", "pyth"]
    for name, each in document.items():
        known = {key for key, value in each.items() if type(value) is int}
        assert known >= SINGLE, name
        assert each["source"], name
    assert document["native"].keys() >= {*SINGLE, *BATCHES, "commit"}
    assert document["native"]["documented"] is False
    assert document["pyth"]["documented"] is True


async def test_calldata_is_told_beside_every_measured_gas(figures: dict[str, Figures]) -> None:
    for each in figures.values():
        if each.documented:
            continue
        assert each.calldata.keys() == each.gas.keys()
        for data in each.calldata.values():
            assert data.zero + data.nonzero == data.size
    assert figures["native"].calldata["commit"].size == 4 + 4 * 32


@pytest.mark.parametrize("count", native.COUNTS)
async def test_native_figures_are_those_of_receipts(
    figures: dict[str, Figures], chain: Chain, count: int
) -> None:
    site = await native.Site.build(chain, count, fresh=True)
    for _ in range(4):
        asked, fulfilled = await site.serve_round()
    receipts = [await raw_receipt(chain, sent.receipt.transaction_hash) for sent in asked]
    serving = await raw_receipt(chain, fulfilled.receipt.transaction_hash)
    gas = figures["native"].gas
    # Another coordinator's hashes: some bytes of calldata are zero here and not there.
    assert gas["request"] == pytest.approx(
        sum(int(receipt["gasUsed"], 16) for receipt in receipts) / count, abs=100
    )
    assert gas[f"fulfill_{count}_fresh"] == pytest.approx(
        int(serving["gasUsed"], 16) / count, abs=100
    )


async def test_used_slot_saves_what_the_evm_charges_for_a_fresh_one(
    figures: dict[str, Figures],
) -> None:
    for name in ("native", "airnode", "chainlink"):
        gas = figures[name].gas
        # SSTORE: 22,100 from zero, 5,000 else.
        assert gas["fulfill_1_fresh"] - gas["fulfill_1_used"] == pytest.approx(17_100, abs=1_500)


@pytest.mark.parametrize(
    ("name", "documented"),
    [("airnode", airnode.DOCUMENTED), ("chainlink", chainlink.DOCUMENTED)],
)
async def test_documented_figures_are_what_is_measured(
    figures: dict[str, Figures], name: str, documented: dict[str, int]
) -> None:
    assert measured(figures, name).gas == documented


async def test_our_own_gas_has_not_moved(figures: dict[str, Figures]) -> None:
    # The snapshot, also where the contracts of others cannot be had: nothing skips this.
    text = (ROOT / "docs" / "gas.md").read_text(encoding="utf-8").splitlines()
    ours = [
        row for row in gas_table(figures).markdown().splitlines() if row.startswith("| native")
    ]
    assert len(ours) == 3
    assert set(ours) <= set(text), "run scripts/_gas_doc.py"
    assert commit_line(figures) in text


async def test_document_in_docs_is_what_is_measured(figures: dict[str, Figures]) -> None:
    for name in ("airnode", "chainlink"):
        measured(figures, name)
    spec = importlib.util.spec_from_file_location("gas_doc", ROOT / "scripts" / "_gas_doc.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = script.DOCUMENT.read_text(encoding="utf-8")
    assert script.rendered(text, figures) == text, "run scripts/_gas_doc.py"


async def test_vrf_contract_accepts_a_proof(chain: Chain, vrf_site: chainlink.Site) -> None:
    _, request = await vrf_site.ask()
    call = chainlink.fulfill_call(chainlink.prove(request), request)
    sent = await chain.send(chain.operator, vrf_site.coordinator, call)
    assert sent.receipt.ok


@pytest.mark.parametrize(
    "field",
    ["gamma", "c", "s", "u_witness", "c_gamma_witness", "s_hash_witness", "z_inverse"],
)
async def test_vrf_contract_refuses_a_changed_proof(
    chain: Chain, vrf_site: chainlink.Site, field: str
) -> None:
    _, request = await vrf_site.ask()
    proof = chainlink.prove(request)
    good: Any = getattr(proof, field)
    if isinstance(good, tuple):
        bad: Any = proof.public_key
    elif isinstance(good, bytes):
        bad = bytes([good[0] ^ 1]) + good[1:]
    else:
        bad = good ^ 1
    changed = replace(proof, **{field: bad})
    with pytest.raises(RevertedError):
        await chain.reader.call(vrf_site.coordinator, chainlink.fulfill_call(changed, request))
    await chain.reader.call(vrf_site.coordinator, chainlink.fulfill_call(proof, request))


async def test_vrf_proof_for_another_seed_is_refused(
    chain: Chain, vrf_site: chainlink.Site
) -> None:
    _, one = await vrf_site.ask()
    _, other = await vrf_site.ask()
    with pytest.raises(RevertedError):
        await chain.reader.call(
            vrf_site.coordinator, chainlink.fulfill_call(chainlink.prove(one), other)
        )
