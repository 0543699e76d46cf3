#!/usr/bin/env python3
"""
Compile the contracts into the artifacts that ship inside the Python package.

    scripts/_compile.py           write oracle/artifacts/*.json where a source or a setting changed
    scripts/_compile.py --check   compile again and exit 1 if any artifact differs from that

The settings are those of foundry.toml.
Each contract is compiled alone with the sources that it imports, under their paths from the root
of the project, so that the result depends neither on the clone's place nor on other contracts.
A compiler warning about a source of the project is an error.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import posixpath
import re
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ARTIFACTS = ROOT / "oracle" / "artifacts"

# Contract name → its source. The code of an interface is empty; its ABI is what is wanted.
TARGETS = {
    "QuantumCoordinator": "contracts/QuantumCoordinator.sol",
    "OpStackCoordinator": "contracts/OpStackCoordinator.sol",
    "DiceRoller": "contracts/examples/DiceRoller.sol",
    "Raffle": "contracts/examples/Raffle.sol",
    "NftTraits": "contracts/examples/NftTraits.sol",
    "IQuantumCoordinator": "contracts/interfaces/IQuantumCoordinator.sol",
    "QrngConsumer": "devnet/contracts/QrngConsumer.sol",
    "MinimalConsumer": "benchmarks/contracts/MinimalConsumer.sol",
    "MinimalAirnodeConsumer": "benchmarks/contracts/MinimalAirnodeConsumer.sol",
    "MinimalChainlinkConsumer": "benchmarks/contracts/MinimalChainlinkConsumer.sol",
}

OUTPUTS = [
    "abi",
    "evm.bytecode.object",
    "evm.deployedBytecode.object",
    "evm.deployedBytecode.immutableReferences",
    "metadata",
    "storageLayout",
]

# What the compiler says of every use of transient storage, a lock included.
TRANSIENT_STORAGE = "2394"

_COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL
)
_IMPORT = re.compile(r'\bimport\b[^;"\']*["\']([^"\']+)["\']')


class CompileError(Exception):
    """
    The contracts cannot be compiled; the message says why.
    """


@dataclass(frozen=True, slots=True)
class Compiler:
    """
    The compiler and its settings, as foundry.toml has them.
    """

    binary: Path
    settings: dict[str, Any]
    remappings: dict[str, str]

    @classmethod
    def from_foundry(cls, root: Path = ROOT) -> Compiler:
        """
        Read `[profile.default]` of the project's foundry.toml.
        """
        document = tomllib.loads((root / "foundry.toml").read_text(encoding="utf-8"))
        profile = document["profile"]["default"]
        return cls(
            binary=root / profile["solc"],
            settings={
                "optimizer": {"enabled": profile["optimizer"], "runs": profile["optimizer_runs"]},
                "viaIR": profile["via_ir"],
                "evmVersion": profile["evm_version"],
                "metadata": {
                    "bytecodeHash": profile["bytecode_hash"],
                    "appendCBOR": profile["cbor_metadata"],
                },
            },
            remappings=dict(line.split("=", 1) for line in profile["remappings"]),
        )

    def compile(self, name: str, unit: str, sources: dict[str, str]) -> dict[str, Any]:
        """
        Give the artifact of the contract `name` of the source `unit`.
        """
        # py-solc-x makes a folder in the home directory unless it is told of one.
        os.environ["SOLCX_BINARY_PATH"] = str(self.binary.parent)
        import solcx  # noqa: PLC0415  (after the line above, and only where something is compiled)

        if not self.binary.is_file():
            raise CompileError(f"The compiler is not at {self.binary}: run scripts/install.sh.")
        try:
            output = solcx.compile_standard(
                {
                    "language": "Solidity",
                    "sources": {unit: {"content": text} for unit, text in sources.items()},
                    "settings": {**self.settings, "outputSelection": {unit: {name: OUTPUTS}}},
                },
                solc_binary=self.binary,
            )
        except solcx.exceptions.SolcError as error:
            raise CompileError(f"{unit} does not compile:\n{error.message}") from error
        if complaints := [
            said["formattedMessage"] for said in output.get("errors", []) if ours(said)
        ]:
            raise CompileError(f"{unit} compiles with warnings:\n" + "\n".join(complaints))
        contract = output["contracts"].get(unit, {}).get(name)
        if contract is None:
            raise CompileError(f"{unit} holds no contract called {name}.")
        deployed = contract["evm"]["deployedBytecode"]
        return {
            "abi": contract["abi"],
            "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
            "compiler": json.loads(contract["metadata"])["compiler"]["version"],
            "contractName": name,
            "deployedBytecode": "0x" + deployed["object"],
            "immutableReferences": deployed.get("immutableReferences", {}),
            "metadata": contract["metadata"],
            "settings": self.settings,
            "sourceName": unit,
            "sources": hashes(sources),
            "storageLayout": contract.get("storageLayout", {}),
        }


def ours(warning: dict[str, Any]) -> bool:
    """
    Tell whether a compiler's warning is one to heed here.
    """
    source = warning.get("sourceLocation", {}).get("file", "")
    return warning["errorCode"] != TRANSIENT_STORAGE and not source.startswith("@")


def gather(unit: str, remappings: dict[str, str], root: Path = ROOT) -> dict[str, str]:
    """
    Give the text of the source `unit` and of all that it imports, by the names that solc uses.
    """
    sources: dict[str, str] = {}
    waiting = [(unit, "the list of targets")]
    while waiting:
        unit, wanted_by = waiting.pop()
        if unit in sources:
            continue
        prefix = next((prefix for prefix in remappings if unit.startswith(prefix)), "")
        path = root / (remappings.get(prefix, "") + unit.removeprefix(prefix))
        if not path.is_file():
            raise CompileError(f"There is no source {unit}, which {wanted_by} names.")
        sources[unit] = path.read_bytes().decode("utf-8")
        waiting += [(imported, unit) for imported in imports(unit, sources[unit])]
    return dict(sorted(sources.items()))


def gather_all(compiler: Compiler) -> dict[str, dict[str, str]]:
    """
    Give the sources of every target.
    """
    return {name: gather(unit, compiler.remappings) for name, unit in TARGETS.items()}


def imports(unit: str, text: str) -> list[str]:
    """
    Give the names of the sources that `unit`, whose text is `text`, imports.
    """
    code = _COMMENT_OR_STRING.sub(lambda found: found[0] if found[0][0] in "\"'" else " ", text)
    here = posixpath.dirname(unit)
    return [
        posixpath.normpath(posixpath.join(here, name)) if name.startswith(".") else name
        for name in _IMPORT.findall(code)
    ]


def hashes(sources: dict[str, str]) -> dict[str, str]:
    """
    Give the SHA-256 of every source.
    """
    return {unit: hashlib.sha256(text.encode()).hexdigest() for unit, text in sources.items()}


def rendered(artifact: dict[str, Any]) -> str:
    """
    Give the one text that an artifact is written as.
    """
    return json.dumps(artifact, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def is_current(name: str, compiler: Compiler, sources: dict[str, str]) -> bool:
    """
    Tell whether the artifact on disk names these sources and settings.
    """
    try:
        old = json.loads((ARTIFACTS / f"{name}.json").read_text(encoding="utf-8"))
        return bool(
            old["sources"] == hashes(sources)
            and old["settings"] == compiler.settings
            and compiler.binary.name.removeprefix("solc-v") == old["compiler"].split("+")[0]
        )
    except (FileNotFoundError, ValueError, KeyError):
        return False


def strays() -> list[Path]:
    """
    Give the artifacts that belong to no target.
    """
    return sorted(path for path in ARTIFACTS.glob("*.json") if path.stem not in TARGETS)


def write() -> None:
    """
    Bring the artifacts up to date, compiling only what has changed.
    """
    compiler = Compiler.from_foundry()
    jobs = gather_all(compiler)
    current = {name for name, sources in jobs.items() if is_current(name, compiler, sources)}
    stale = {name: sources for name, sources in jobs.items() if name not in current}
    for name, artifact in compile_all(compiler, stale).items():
        (ARTIFACTS / f"{name}.json").write_text(rendered(artifact), encoding="utf-8", newline="\n")
        print(f"{name}: written")
    for path in strays():
        path.unlink()
        print(f"{path.stem}: removed")


def check() -> list[str]:
    """
    Compile everything and give one sentence for every artifact that differs.
    """
    compiler = Compiler.from_foundry()
    fresh = compile_all(compiler, gather_all(compiler))
    complaints = [f"{path.name} belongs to no target of scripts/_compile.py." for path in strays()]
    for name, artifact in fresh.items():
        path = ARTIFACTS / f"{name}.json"
        on_disk = path.read_bytes().decode("utf-8") if path.is_file() else None
        if on_disk is None:
            complaints.append(f"{path.name} is missing.")
        elif on_disk != rendered(artifact):
            parts = difference(on_disk, artifact)
            complaints.append(f"{path.name} differs from what its sources give in: {parts}.")
    return complaints


def difference(on_disk: str, artifact: dict[str, Any]) -> str:
    """
    Name the parts in which the text of an artifact differs from `artifact`.
    """
    try:
        old = json.loads(on_disk)
    except ValueError:
        return "everything: it is no JSON"
    parts = [key for key in sorted({*old, *artifact}) if old.get(key) != artifact.get(key)]
    return ", ".join(parts) or "its formatting"


def compile_all(compiler: Compiler, jobs: dict[str, dict[str, str]]) -> dict[str, dict[str, Any]]:
    """
    Compile every job, two at a time: each takes seconds and a few hundred megabytes.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        running = {
            name: pool.submit(compiler.compile, name, TARGETS[name], sources)
            for name, sources in jobs.items()
        }
        return {name: future.result() for name, future in running.items()}


def main() -> int:
    """
    Run as a script.
    """
    parser = argparse.ArgumentParser(description="Compile the contracts into oracle/artifacts.")
    parser.add_argument("--check", action="store_true", help="compile and compare, write nothing")
    arguments = parser.parse_args()
    try:
        if not arguments.check:
            write()
            return 0
        complaints = check()
    except CompileError as error:
        print(error, file=sys.stderr)
        return 1
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    if complaints:
        print("Run scripts/_compile.py and keep what it writes.", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
