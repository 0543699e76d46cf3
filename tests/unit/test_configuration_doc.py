from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oracle.airnode_settings import AirnodeChainSettings, AirnodeSettings
from oracle.config import ChainSettings, FeeSettings, PoolSettings, Settings, WalletSettings
from oracle.source_settings import KINDS, ErrorRuleSettings, QuotaSettings

if TYPE_CHECKING:
    from types import ModuleType

    from pydantic import BaseModel

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = ROOT / "scripts" / "_configuration_doc.py"
    spec = importlib.util.spec_from_file_location("configuration_doc", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_document_says_what_the_settings_say(script: ModuleType) -> None:
    text = script.DOCUMENT.read_text(encoding="utf-8")
    assert script.rendered(text) == text, "run scripts/_configuration_doc.py"


def test_every_setting_is_in_its_section(script: ModuleType) -> None:
    text = script.DOCUMENT.read_text(encoding="utf-8")
    named = {
        part.splitlines()[0].strip("# "): set(re.findall(r"^\| \[?`(\w+)`", part, re.MULTILINE))
        for part in re.split(r"^(?=#)", text, flags=re.MULTILINE)
        if part
    }
    sections: dict[str, type[BaseModel]] = {
        "The first lines": Settings,
        "`[pool]`": PoolSettings,
        "`[chains.NAME]`": ChainSettings,
        "`[chains.NAME.wallet]`": WalletSettings,
        "`[chains.NAME.fee]`": FeeSettings,
        "`[airnode]`": AirnodeSettings,
        "`[airnode.chains.NAME]`": AirnodeChainSettings,
        "`quota`": QuotaSettings,
        "`errors`": ErrorRuleSettings,
    }
    for heading, model in sections.items():
        assert named[heading] == set(model.model_fields), heading
    for kind, source in KINDS.items():
        besides = named["Every kind"] | (
            set() if kind == "device" else named["Every kind over HTTP"]
        )
        assert named[f"`{kind}`"] | besides | {"kind"} == set(source.model_fields), kind


def test_links_lead_to_sections(script: ModuleType) -> None:
    text = script.DOCUMENT.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
    links = set(re.findall(r"\]\(#([^)]+)\)", text))
    assert {"pool", "quota", *KINDS} <= links
    assert links <= anchors


def test_check_refuses_another_text_and_writes_nothing(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = tmp_path / "configuration.md"
    old = script.DOCUMENT.read_text(encoding="utf-8").replace("`4096`", "`4097`")
    document.write_text(old, encoding="utf-8")
    monkeypatch.setattr(script, "DOCUMENT", document)
    monkeypatch.setattr(sys, "argv", ["_configuration_doc.py", "--check"])
    assert script.main() == 1
    assert "run scripts/_configuration_doc.py" in capsys.readouterr().err
    assert document.read_text(encoding="utf-8") == old

    monkeypatch.setattr(sys, "argv", ["_configuration_doc.py"])
    assert script.main() == 0
    assert "`4096`" in document.read_text(encoding="utf-8")
