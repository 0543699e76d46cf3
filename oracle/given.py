"""
What a person gives as text: addresses, endpoints, and secrets in variables and files.

It imports nothing that is slow, so that a verb's `--help` needs no more of the configuration.
"""

from __future__ import annotations

import ipaddress
import re
import stat
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from oracle.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

ENVIRONMENT_PREFIX = "ORACLE_"
# Where one stands, `oracle.log.redact_urls` takes the URL to end, and would show what follows.
_ENDS_URL = re.compile(r"[\s'\"<>]")


def check_address(text: str) -> str:
    """
    Return an address in EIP-55 form; raises `ValueError` with what is wrong with it.
    """
    from oracle.evm import checksum_address  # noqa: PLC0415 - its hash is slow to import

    try:
        address = checksum_address(text)
    except ValueError:
        raise ValueError("an address is 0x and 40 hexadecimal digits") from None
    digits = text.removeprefix("0x")
    if digits not in (digits.lower(), digits.upper()) and text != address:
        raise ValueError("the address has a wrong checksum: a digit or its case is mistyped")
    return address


def checked_address(text: str, option: str) -> str:
    """
    Return an address in EIP-55 form; raises `ConfigError` naming the option that held it.
    """
    try:
        return check_address(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: {error}") from None


def checked_endpoint(url: str, option: str) -> str:
    """
    Return the URL of a JSON-RPC endpoint; raises `ConfigError` when it is none over HTTP.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{option} must begin with http:// or https://")
    _check_characters(url, option)
    return url


def checked_websocket(url: str, option: str) -> str:
    """
    Return the URL of a WebSocket; raises `ConfigError` when it is none, or open to whoever is on
    the way.
    """
    _check_characters(url, option)
    try:
        parts = urlsplit(url)
        host = parts.hostname if url.startswith(("ws://", "wss://")) and parts.port != 0 else None
    except ValueError:
        host = None
    if not host:
        raise ConfigError(f"{option} must begin with ws:// or wss://, and name a host")
    if url.startswith("ws://") and not is_near(host):
        raise ConfigError(
            f"{option}: over ws:// whoever is on the way reads the key in the URL: write wss://"
        )
    return url


def _check_characters(url: str, option: str) -> None:
    if _ENDS_URL.search(url):
        raise ConfigError(
            f"{option} holds white space, a quote or an angle bracket: write it as %20, %22, %27, "
            "%3C or %3E"
        )


def is_near(host: str) -> bool:
    """
    Say whether a host can only be in a network of one's own: an address or a name without a dot.
    """
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        name = host.lower().rstrip(".")
        return "." not in name or name.endswith((".internal", ".local", ".localhost", ".test"))


def secret(value: SecretStr | None, file: Path | None, *, what: str, variable: str) -> str:
    """
    Return a secret from its value or its file.

    Raises `ConfigError` when there is none, or its file can be read by everybody.
    """
    if value is not None:
        return value.get_secret_value().strip()
    if file is None:
        raise ConfigError(
            f"there is no {what}: set {variable}, or {variable}_FILE to a file that holds it"
        )
    return read_secret_file(file)


def read_secret_file(path: Path) -> str:
    """
    Return what a secret file holds, without white space around it.

    Raises `ConfigError` when it cannot be read, is empty, or is open to everybody.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise ConfigError(f"the secret file {path} does not exist") from None
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"the secret file {path} cannot be read: check its owner and mode"
        ) from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigError(f"the secret file {path} is open to everybody: run `chmod 600 {path}`")
    if not text:
        raise ConfigError(f"the secret file {path} is empty")
    return text


def variable_of(*place: str) -> str:
    """
    Name the environment variable of a setting.
    """
    return ENVIRONMENT_PREFIX + "__".join(place).upper()
