"""
What docs/moving-from-api3.md tells people to type exists, and what it quotes is so.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest
from eth_hash.auto import keccak

from oracle.airnode_settings import AirnodeSettings
from oracle.cli.main import cli
from oracle.doctor.advice import GAS_PER_ANSWER, SETTERS, Verdict
from oracle.doctor.examine import LOOK_BACK
from oracle.protocols.airnode_calls import MAX_RESPONSE, MAX_WORDS
from oracle.protocols.airnode_published import RRP_CHAINS, UINT256_ENDPOINTS, rrp_address

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "moving-from-api3.md").read_text(encoding="utf-8")
LINES = re.findall(r"^ *(oracle .*)$", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize("line", LINES)
def test_command_exists_with_its_options(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command = found
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_commands_are_there() -> None:
    assert len(LINES) == 7


def test_figures_are_the_codes() -> None:
    signature = next(iter(SETTERS))
    assert f"{signature}\n" in TEXT
    assert keccak(signature.encode())[:4].hex() in TEXT
    for figure in (GAS_PER_ANSWER, LOOK_BACK, MAX_RESPONSE):
        assert f"{figure:,}" in TEXT
    assert f"1 to {MAX_WORDS} words" in TEXT
    assert f"on {len(RRP_CHAINS)} chains" in TEXT
    for verdict in Verdict:
        assert f"| `{verdict}` |" in TEXT


def test_configuration_is_one() -> None:
    [text] = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    settings = AirnodeSettings.model_validate(tomllib.loads(text)["airnode"])
    [chain] = settings.chains.values()
    assert chain.is_trusted
    assert chain.contract == rrp_address(1)
    assert chain.uint256 == tuple(f"0x{id_.hex()}" for id_ in UINT256_ENDPOINTS)
