"""
What a devnet needs is found, or missed in one sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oracle.devnet.processes import find_anvil
from oracle.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("named", ["/nonexistent/anvil", "/tmp"])
def test_an_anvil_that_cannot_be_executed_is_refused(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANVIL", named)
    with pytest.raises(ConfigError, match=r"ANVIL names .*: correct or unset it"):
        find_anvil()


def test_a_relative_anvil_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "anvil"
    binary.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANVIL", "./anvil")
    assert find_anvil() == str(binary)
