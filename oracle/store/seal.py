"""
The pool key: AES-256-GCM for whatever holds entropy, and the epoch counter that shows a restored
backup.

Both live outside the database, so that a copy of the database alone is worth nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from oracle.errors import PoolKeyError

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32
NONCE_BYTES = 12
_DIGEST_KEY_CONTEXT = b"digest-key"


@dataclass(frozen=True, slots=True)
class Sealed:
    """
    A 12-byte nonce and the ciphertext with its 16-byte tag.
    """

    nonce: bytes
    ciphertext: bytes = field(repr=False)


class PoolKey:
    """
    A 32-byte key for AES-256-GCM (NIST SP 800-38D) with a fresh random nonce per record.

    At 2^32 records per key a nonce may repeat with probability 2^-32: rotate long before.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise PoolKeyError(f"a pool key has {KEY_BYTES} bytes, not {len(key)}")
        self._cipher = AESGCM(key)
        self._own_digest_key = hmac.digest(key, b"quantum-oracle/pool/digest/v1", "sha256")
        self._digest_key = self._own_digest_key

    @classmethod
    def from_text(cls, text: str) -> PoolKey:
        """
        Read a key from 64 hexadecimal digits.
        """
        try:
            return cls(bytes.fromhex(text.strip()))
        except ValueError:
            raise PoolKeyError("a pool key is 64 hexadecimal digits") from None

    @staticmethod
    def generate() -> str:
        """
        Return a new key as 64 hexadecimal digits.
        """
        return secrets.token_hex(KEY_BYTES)

    def __repr__(self) -> str:
        return "PoolKey(…)"

    def seal(self, plaintext: bytes, context: bytes) -> Sealed:
        """
        Encrypt a record; only the same `context` opens it again.
        """
        nonce = os.urandom(NONCE_BYTES)
        return Sealed(nonce, self._cipher.encrypt(nonce, plaintext, context))

    def open(self, sealed: Sealed, context: bytes, *, table: str = "blocks") -> bytes:
        """
        Decrypt a record of a table; raises `PoolKeyError` when it was changed, moved, or sealed by
        another key.
        """
        try:
            return self._cipher.decrypt(sealed.nonce, sealed.ciphertext, context)
        except InvalidTag:
            raise PoolKeyError(
                f"a row of the table {table} does not open with this pool key: give the node the "
                "right key, or, where the row was changed, restore the newest backup or build a "
                "new database from the chain with `oracle recover`"
            ) from None

    def digest(self, data: bytes) -> bytes:
        """
        Return a keyed 32-byte digest, by which repeats are found without keeping what was seen.
        """
        return hmac.digest(self._digest_key, data, "sha256")

    def check_value(self) -> str:
        """
        Return what the database keeps to recognize its key.
        """
        own = hmac.digest(self._own_digest_key, b"check", "sha256")
        return hashlib.sha256(own).hexdigest()[:32]

    def bequeath(self, successor: PoolKey) -> Sealed:
        """
        Seal the key of the digests for the pool key that follows this one, so that repeats are
        recognized through a rotation. It tells nothing of this key.
        """
        return successor.seal(self._digest_key, _DIGEST_KEY_CONTEXT)

    def inherit(self, sealed: Sealed) -> None:
        """
        Take over the key of the digests from the pool key before this one.
        """
        self._digest_key = self.open(sealed, _DIGEST_KEY_CONTEXT, table="settings")


@dataclass(frozen=True, slots=True)
class Epoch:
    """
    What an epoch file holds: the counter, and while it is being advanced the mark of the database
    that does so.
    """

    number: int
    mark: str | None = None


class EpochFile:
    """
    A counter in a file outside the database, advanced before entropy is bound.

    A database that shows a smaller number than its file is a restored backup, unless the file
    holds a mark that this database knows: then a crash cut the binding off, and nothing that it
    bound was used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None

    def hold(self) -> None:
        """
        Keep other nodes from using the file while this process lives.

        Raises `PoolKeyError` when one does.
        """
        lock = self._path.with_name(self._path.name + ".lock")
        self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PoolKeyError(
                f"another node uses the epoch file {self._path}: give every node one of its own "
                "with pool.epoch_file"
            ) from None

    def read(self) -> Epoch | None:
        """
        Return what the file holds; nothing if there is no file yet.
        """
        try:
            number, _, mark = self._path.read_text(encoding="ascii").strip().partition(" ")
            return Epoch(int(number), mark or None)
        except FileNotFoundError:
            return None
        except ValueError:
            raise PoolKeyError(f"the epoch file {self._path} does not hold a number") from None
        except OSError as error:
            raise PoolKeyError(
                f"the epoch file {self._path} cannot be read: {error.strerror}"
            ) from None

    def check_writable(self) -> None:
        """
        Raise `PoolKeyError` when the counter could not be advanced.
        """
        folder = self._path.parent
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise PoolKeyError(
                f"the folder {folder} of the epoch file does not exist or cannot be written: "
                "create it, or set pool.epoch_file"
            )

    def write(self, value: int, mark: str | None = None) -> None:
        """
        Set the counter durably: the file is replaced as a whole, or not at all.

        With a mark it is an advance that is not finished, until it is written without.
        """
        replace_file(self._path, f"{value}\n" if mark is None else f"{value} {mark}\n")

    def retired(self) -> list[str]:
        """
        Return the check values of the pool keys that were replaced.
        """
        try:
            return self._retired_path.read_text(encoding="ascii").split()
        except FileNotFoundError:
            return []
        except (OSError, ValueError):
            raise PoolKeyError(f"{self._retired_path} cannot be read") from None

    def retire(self, check_value: str) -> None:
        """
        Note durably that a key is about to be replaced; it tells nothing of the key.
        """
        known = self.retired()
        if check_value not in known:
            replace_file(self._retired_path, "".join(f"{one}\n" for one in [*known, check_value]))

    @property
    def _retired_path(self) -> Path:
        return self._path.with_name(self._path.name + ".retired")


def sync_folder(folder: Path) -> None:
    """
    Make what was created, renamed or removed in a folder durable.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, text: str) -> None:
    """
    Write a file durably: it is replaced as a whole, or not at all.
    """
    draft = path.with_name(path.name + ".new")
    with draft.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)
