"""
The compiled contracts, as they ship inside the package.

The JSON files beside this module are written by `scripts/_compile.py` and checked in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Artifact:
    """
    One contract: what it takes to deploy it, call it and recognise it on a chain.

    `bytecode` is the creation code; both codes are empty for an interface.
    In `deployed_bytecode` the places of immutables are zero.
    """

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    deployed_bytecode: bytes
    immutables: tuple[slice, ...] = ()

    def is_code(self, code: bytes) -> bool:
        """
        Say whether this is the contract's code on a chain, whatever its immutables are.
        """
        masked = bytearray(code)
        if len(masked) != len(self.deployed_bytecode):
            return False
        for place in self.immutables:
            masked[place] = self.deployed_bytecode[place]
        return bytes(masked) == self.deployed_bytecode


@cache
def load(name: str) -> Artifact:
    """
    Give the artifact of the contract called `name`, read once.
    """
    file = files(__name__).joinpath(f"{name}.json")
    if not file.is_file():
        raise LookupError(f"There is no artifact '{name}': scripts/_compile.py writes them.")
    content = json.loads(file.read_text(encoding="utf-8"))
    return Artifact(
        name=name,
        abi=content["abi"],
        bytecode=bytes.fromhex(content["bytecode"].removeprefix("0x")),
        deployed_bytecode=bytes.fromhex(content["deployedBytecode"].removeprefix("0x")),
        immutables=tuple(
            slice(place["start"], place["start"] + place["length"])
            for places in content["immutableReferences"].values()
            for place in places
        ),
    )
