"""
How the bytes of several sources become one seed: HMAC-SHA-512, a vetted conditioning component.

Every input is bound with its name and length, so that no two sets of inputs give one message, and
the order is fixed, so that no source chooses its place. A seed is as unpredictable as the best of
its inputs.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from oracle.errors import OracleError

if TYPE_CHECKING:
    from collections.abc import Sequence

DOMAIN = b"quantum-oracle/seed/v1"
SEED_BYTES = 32
INPUT_BYTES_MIN = 64  # twice the seed: full entropy needs 64 bits more in than out
OS_NAME = "os"
OS_BYTES = 32


class MixingError(OracleError, ValueError):
    """
    The inputs of a seed break a rule; nothing was mixed.
    """


def mix_seed(*, block_id: bytes, inputs: Sequence[tuple[str, bytes]], os_entropy: bytes) -> bytes:
    """
    Return the 32-byte seed of a block.

    The key is `DOMAIN || block_id`; all block ids of a pool have one length, since HMAC pads a
    short key with zeros. The message is, for each input by name and then for `os`: the length of
    the name (2 bytes, big-endian), the name in UTF-8, the length of the bytes (4 bytes), the
    bytes.

    Guarantees: every bit of every input takes part; the order of `inputs` does not matter.
    Does not: judge the quality of an input, nor count the operating system as quantum.
    """
    names = [name for name, _ in inputs]
    if not block_id:
        raise MixingError("A seed needs a block id: give one.")
    if not inputs:
        raise MixingError("A seed needs at least one quantum source: give one.")
    if len(set(names)) != len(names) or OS_NAME in names:
        raise MixingError(f"The sources of a seed have unique names other than '{OS_NAME}'.")
    if not all(0 < len(name.encode()) < 1 << 16 for name in names):
        raise MixingError("The name of a source has 1 to 65,535 bytes.")
    for name, data in inputs:
        if len(data) < INPUT_BYTES_MIN:
            raise MixingError(f"{name}: a seed takes at least {INPUT_BYTES_MIN} bytes: draw more.")
    if len(os_entropy) != OS_BYTES:
        raise MixingError(f"The operating system's part has exactly {OS_BYTES} bytes.")
    mac = hmac.new(DOMAIN + block_id, digestmod=hashlib.sha512)
    for name, data in (*sorted(inputs), (OS_NAME, os_entropy)):
        encoded = name.encode()
        mac.update(len(encoded).to_bytes(2, "big") + encoded)
        mac.update(len(data).to_bytes(4, "big"))
        mac.update(data)
    return mac.digest()[:SEED_BYTES]
