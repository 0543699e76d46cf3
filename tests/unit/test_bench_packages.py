from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from oracle.bench import packages
from oracle.bench.gas import or_documented
from oracle.bench.packages import Package, Sources, fetch, read
from oracle.errors import PackageError

if TYPE_CHECKING:
    from pathlib import Path

    from oracle.bench.figures import Figures

pytestmark = pytest.mark.unit


def tarball_of(folder: Path, files: dict[str, str]) -> Path:
    path = folder / "thing-1.0.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def pinned(tarball: Path) -> Package:
    digest = hashlib.sha512(tarball.read_bytes()).digest()
    return Package("thing", "1.0.0", "sha512-" + base64.b64encode(digest).decode())


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "rivals"
    folder.mkdir()
    monkeypatch.setattr(packages, "_SHELF", folder)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    return folder


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    A program in npm's place, because a registry does not lie when asked to.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("node", "npm"):
        (folder / name).write_text("#!/bin/sh\nexit 0\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "npm"


async def test_package_that_is_there_is_not_fetched_again(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    tarball = tarball_of(shelf, {"a.txt": "a"})
    assert await fetch(pinned(tarball), pytest.fail) == tarball


async def test_missing_npm_is_named(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PackageError, match="there is no npm: install Node"):
        await fetch(Package("thing", "1.0.0", "sha512-"), pytest.fail)


async def test_missing_checkout_is_named(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "ROOT", tmp_path)
    with pytest.raises(PackageError, match="checkout"):
        await fetch(Package("thing", "1.0.0", "sha512-"), pytest.fail)


async def test_other_bytes_than_the_pinned_ones_are_refused(
    shelf: Path, npm: Path, tmp_path: Path
) -> None:
    other = tarball_of(tmp_path, {"a.txt": "b"})
    npm.write_text(f'#!/bin/sh\ncp {other} "$4"\n')
    with pytest.raises(PackageError, match=r"other bytes for thing@1\.0\.0"):
        await fetch(Package("thing", "1.0.0", "sha512-AAAA"), lambda _: None)
    assert list(shelf.iterdir()) == []
    assert (await fetch(pinned(other), lambda _: None)).read_bytes() == other.read_bytes()


async def test_what_npm_complains_of_is_passed_on(shelf: Path, npm: Path) -> None:
    npm.write_text("#!/bin/sh\necho 'no such registry' >&2\nexit 1\n")
    with pytest.raises(PackageError, match="no such registry: is a package registry in reach"):
        await fetch(Package("thing", "1.0.0", "sha512-"), lambda _: None)


async def test_npm_does_not_see_the_operators_secrets(
    shelf: Path, npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORACLE_WALLET_KEY", "secret")
    npm.write_text(f"#!/bin/sh\nenv > {tmp_path}/environment\nexit 1\n")
    with pytest.raises(PackageError):
        await fetch(Package("thing", "1.0.0", "sha512-"), lambda _: None)
    assert "ORACLE" not in (tmp_path / "environment").read_text()


def test_sources_are_gathered_with_all_that_they_import(tmp_path: Path) -> None:
    tarball = tarball_of(
        tmp_path,
        {
            "src/A.sol": 'import {B} from "./B.sol";\nimport "@lib/C.sol";\n// import "D.sol";\n',
            "src/B.sol": 'import {A} from "../src/A.sol";\n',
            "C.sol": "contract C {}\n",
            "D.sol": "contract D {}\n",
        },
    )
    found = Sources({"": tarball, "@lib/": tarball}).gather("src/A.sol")
    assert list(found) == ["@lib/C.sol", "src/A.sol", "src/B.sol"]


def test_file_that_a_package_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="holds no a/b"):
        read(tarball_of(tmp_path, {"a": ""}), "a/b")


async def test_documented_figures_say_that_they_are() -> None:
    async def unmeasurable() -> Figures:
        raise PackageError("there is no npm")

    document = (await or_documented(unmeasurable(), {"request": 1})).document()
    assert document == {
        "request": 1,
        "documented": True,
        "source": "docs/gas.md",
        "reason": "there is no npm",
    }
