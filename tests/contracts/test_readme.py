"""
The consumer that the README shows is a contract that compiles.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.contracts

ROOT = Path(__file__).resolve().parents[2]


def test_the_readmes_consumer_compiles() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [consumer] = re.findall(r"```solidity\n(.*?)```", readme, flags=re.DOTALL)
    names = [
        "contracts/RandomnessConsumer.sol",
        "contracts/interfaces/IQuantumCoordinator.sol",
        "contracts/interfaces/IRandomnessConsumer.sol",
        "contracts/types/Terms.sol",
        "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol",
        "@openzeppelin/contracts/utils/TransientSlot.sol",
    ]
    sources = {name: ROOT / name.replace("@", "node_modules/@") for name in names}
    request = {
        "language": "Solidity",
        "sources": {
            name: {"content": path.read_text(encoding="utf-8")} for name, path in sources.items()
        }
        | {"CoinFlip.sol": {"content": consumer}},
        "settings": {"outputSelection": {"CoinFlip.sol": {"CoinFlip": ["abi"]}}},
    }
    result = subprocess.run(
        [ROOT / ".build" / "solc-v0.8.37", "--standard-json"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
    )
    reply = json.loads(result.stdout)
    errors = [item for item in reply.get("errors", []) if item["severity"] == "error"]
    assert errors == []
    abi = reply["contracts"]["CoinFlip.sol"]["CoinFlip"]["abi"]
    assert "flip" in {item.get("name") for item in abi}
