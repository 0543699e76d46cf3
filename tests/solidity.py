"""
Contracts of tests, compiled where they are wanted.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache

from oracle.artifacts import Artifact
from scripts._compile import Compiler, gather
from tests.javascript import ROOT, SOLC


@cache
def compiled(unit: str) -> dict[str, Artifact]:
    """
    Give the contracts of a source by their names. Without the detour over Yul, to be quick.
    """
    sources = gather(unit, Compiler.from_foundry().remappings)
    outputs = ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]
    order = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": {
            "optimizer": {"enabled": True},
            "evmVersion": "cancun",
            "outputSelection": {unit: {"*": outputs}},
        },
    }
    said = subprocess.run(
        [SOLC, "--standard-json"],
        cwd=ROOT,
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=True,
    )
    output = json.loads(said.stdout)
    assert unit in output.get("contracts", {}), output
    return {
        name: Artifact(
            name=name,
            abi=contract["abi"],
            bytecode=bytes.fromhex(contract["evm"]["bytecode"]["object"]),
            deployed_bytecode=bytes.fromhex(contract["evm"]["deployedBytecode"]["object"]),
        )
        for name, contract in output["contracts"][unit].items()
    }
