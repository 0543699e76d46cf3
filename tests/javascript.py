"""
Node, and Airnode's own libraries in it.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

ROOT = Path(__file__).resolve().parents[1]
SOLC = ROOT / ".build" / "solc-v0.8.37"


def node() -> str:
    """
    Give the Node that scripts/install.sh has found.
    """
    [path] = re.findall(r'^exec "([^"]+)"', SOLC.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return str(path)


class Refused(Exception):  # noqa: N818 - it is what is expected
    """
    The library did not do it; the message says why.
    """


class AirnodePeer:
    """
    `@api3/airnode-abi`, `@api3/airnode-protocol` and ethers in one process of Node.
    """

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [node(), str(ROOT / "tests" / "airnode_peer.js")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, do: str, **given: Any) -> Any:
        """
        Return what the library answers; bytes go and come as hexadecimal digits.

        Raises `Refused` when it throws.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **given}, default=_hex) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["value"]

    def bytes(self, do: str, **given: Any) -> bytes:
        """
        Return what the library answers in hexadecimal digits.
        """
        return bytes.fromhex(self.ask(do, **given)[2:])


def _hex(value: bytes) -> str:
    return f"0x{value.hex()}"
