"""
The npm package holds all that a project of somebody else needs: it is packed, installed there and
compiled, the way Forge finds sources and the way Hardhat does. The consumer is its README's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.javascript import SOLC, node

pytestmark = pytest.mark.contracts

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "contracts" / "README.md").read_text(encoding="utf-8")

# Sources by their names, every import as node finds it from the project: so does Hardhat.
COMPILE = """
const { readFileSync } = require("node:fs");
const solc = require(process.argv[1]);
const input = {
  language: "Solidity",
  sources: { "LuckyNumber.sol": { content: readFileSync("src/LuckyNumber.sol", "utf8") } },
  settings: { evmVersion: "cancun", outputSelection: { "*": { LuckyNumber: ["abi"] } } },
};
const find = (name) => ({
  contents: readFileSync(require.resolve(name, { paths: [process.cwd()] }), "utf8"),
});
process.stdout.write(solc.compile(JSON.stringify(input), { import: find }));
"""


def npm() -> list[str]:
    """
    Give npm's command: the system's, or that of the Python package that install.sh takes instead.
    """
    bundled = Path(node()).parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [node(), str(bundled)] if bundled.is_file() else [shutil.which("npm") or "npm"]


def run(*words: str, cwd: Path) -> str:
    result = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def code(language: str) -> str:
    [block] = re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)
    return str(block)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dapp")
    offline = ("--offline", "--ignore-scripts", "--loglevel=error", f"--cache={folder}/.npm")
    packed = run(*npm(), "pack", *offline, f"--pack-destination={folder}", cwd=ROOT)
    (folder / "package.json").write_text('{"name": "dapp", "private": true}')
    library = ROOT / "node_modules" / "@openzeppelin" / "contracts"
    tarball = folder / packed.split()[-1]
    run(*npm(), "install", *offline, "--install-links", str(tarball), str(library), cwd=folder)
    (folder / "src").mkdir()
    (folder / "src" / "LuckyNumber.sol").write_text(code("solidity"), encoding="utf-8")
    return folder


def test_forge_compiles_a_consumer_with_the_remappings_of_the_readme(project: Path) -> None:
    (project / "foundry.toml").write_text(
        f"[profile.default]\nsolc = '{SOLC}'\noffline = true\nevm_version = 'cancun'\n"
        f"auto_detect_remappings = false\n{code('toml')}"
    )
    run(str(ROOT / "scripts" / "forge.sh"), "build", "--root", str(project), cwd=project)
    artifact = json.loads((project / "out" / "LuckyNumber.sol" / "LuckyNumber.json").read_text())
    assert artifact["methodIdentifiers"].keys() >= {"ask()", "numberOf(bytes32)"}


def test_standard_json_compiles_a_consumer_with_the_imports_of_node(project: Path) -> None:
    said = run(node(), "-e", COMPILE, str(ROOT / "node_modules" / "solc"), cwd=project)
    output = json.loads(said)
    errors = [item for item in output.get("errors", []) if item["severity"] == "error"]
    assert errors == []
    abi = output["contracts"]["LuckyNumber.sol"]["LuckyNumber"]["abi"]
    assert {"ask", "numberOf"} <= {item.get("name") for item in abi}


def test_the_package_ships_every_source_and_nothing_else(project: Path) -> None:
    package = project / "node_modules" / "quantum-oracle-contracts"
    shipped = {
        str(Path(folder, name).relative_to(package))
        for folder, _, names in os.walk(package)
        for name in names
    }
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "contracts").rglob("*.sol")}
    besides = {"LICENSE", "README.md", "package.json", "contracts/README.md"}
    assert shipped == sources | besides
