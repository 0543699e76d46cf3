"""
Encrypted files of keys: their passwords, and how they are written.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from oracle.cli.options import environment_secret
from oracle.errors import ConfigError
from oracle.given import read_secret_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MIN_PASSWORD = 8


def password() -> str:
    """
    Return the password of an encrypted file: from its variable, or asked for.
    """
    given = environment_secret("ORACLE_WALLET_PASSWORD")
    if given is None and not sys.stdin.isatty():
        raise ConfigError("there is no password: set ORACLE_WALLET_PASSWORD_FILE")
    return given or str(click.prompt("Password", hide_input=True, err=True))


def new_password() -> str:
    """
    Return the password of a file to be encrypted. Raises `ConfigError` for a short one.
    """
    given = environment_secret("ORACLE_WALLET_PASSWORD")
    if given is None and not sys.stdin.isatty():
        raise ConfigError("there is no password: set ORACLE_WALLET_PASSWORD_FILE")
    if given is None:
        given = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if len(given) < _MIN_PASSWORD:
        raise ConfigError(
            f"the password has fewer than {_MIN_PASSWORD} characters: choose a longer one"
        )
    return given


def check_free(out: Path) -> None:
    """
    Raise `ConfigError` unless a new file can stand here.
    """
    if out.exists():
        raise ConfigError(f"{out} exists and is not overwritten: choose another file")
    if not out.parent.is_dir():
        raise ConfigError(f"there is no folder {out.parent}: create it first")


def refuse_arguments(refused: Sequence[str]) -> None:
    """
    Raise `ConfigError` if a key was given on the command line.
    """
    if refused:
        # Not repeated: it may be a key.
        raise ConfigError(
            "no key is taken from the command line, where other users and the shell's history see "
            "it: if that was one, it has leaked; name a file that holds it with --from"
        )


def given_secret(source: Path | None, variables: Sequence[str], *, what: str, prompt: str) -> str:
    """
    Return the key or mnemonic to import: from a file or standard input, from one of the variables,
    or asked for. No error repeats what was given for it.
    """
    if source is not None and str(source) == "-":
        text = sys.stdin.read().strip()
        if not text:
            raise ConfigError(f"standard input holds no {what}")
        return text
    if source is not None:
        try:
            known = source.is_file()
        except OSError:
            known = False  # too long a name
        if not known:
            # Not repeated: it may be the key itself.
            raise ConfigError(
                f"--from names no file: it takes the name of a file that holds the {what}, or - "
                "for standard input"
            )
        return read_secret_file(source)
    found = [text for name in variables if (text := environment_secret(name)) is not None]
    if len(found) > 1:
        raise ConfigError(f"{' and '.join(variables)} exclude each other: unset one")
    if found:
        return found[0]
    if not sys.stdin.isatty():
        raise ConfigError(
            f"there is no {what}: name a file that holds it with --from, - for stdin"
        )
    text = click.prompt(prompt, hide_input=True, err=True)
    return str(text).strip()


def write_secret_file(path: Path, text: str) -> None:
    """
    Write a new file that only its owner can read. Raises `ConfigError` when it cannot be created.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path} exists and is not overwritten: choose another file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
