"""
What holds for every test: its folder says what it may touch, and its marker says so too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_socket
import structlog
from eth_keyfile import keyfile
from hypothesis import settings

from oracle.chain import mnemonics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import Postgres

HERE = Path(__file__).parent
# Tests through Ape have their own root and fixtures: scripts/ape.sh test tests/ape.
collect_ignore = ["ape"]
KINDS = frozenset({"unit", "sources", "store", "contracts", "integration", "e2e", "chaos"})

# Full strength takes most of a second to write and again to read.
LIGHT = 1 << 10

# A loaded machine is no reason for a property to fail; every run tries other examples.
settings.register_profile("oracle", deadline=None, max_examples=50)
settings.load_profile("oracle")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Refuse tests that do not carry the one marker of their folder.
    """
    wrong = []
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        folder = item.path.relative_to(HERE).parts[0]
        kinds = {mark.name for mark in item.iter_markers()} & KINDS
        if kinds != {folder}:
            carried = ", ".join(sorted(kinds)) or "no marker"
            wrong.append(f"{item.nodeid} carries {carried}, not {folder}")
    if wrong:
        raise pytest.UsageError("a test carries the marker of its folder:\n" + "\n".join(wrong))


@pytest.fixture(autouse=True)
def sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    """
    Block the network for unit tests; asyncio's own socket pair needs AF_UNIX.
    """
    if request.node.get_closest_marker("unit") is None:
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """
    Forget how a verb set up logging: to a stream that ends with its test.
    """
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """
    A PostgreSQL server, started for the first test that asks for it.
    """
    from tests.postgres import running_postgres  # noqa: PLC0415 - most tests need no store

    with running_postgres() as server:
        yield server


def _lighten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(keyfile, "get_default_work_factor_for_kdf", lambda _: LIGHT)
    patch.setitem(mnemonics._SCRYPT, "n", LIGHT)


@pytest.fixture(scope="session", autouse=True)
def light_keystores() -> Iterator[pytest.MonkeyPatch]:
    """
    Let this process write keystores and mnemonics' files that cost little to open.
    """
    with pytest.MonkeyPatch.context() as patch:
        _lighten(patch)
        yield patch


@pytest.fixture
def full_strength(light_keystores: pytest.MonkeyPatch) -> Iterator[None]:
    """
    Write them as the product does.
    """
    light_keystores.undo()
    yield
    _lighten(light_keystores)
