"""
The address of a PostgreSQL database, and what of it may be shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl

SCHEME = "postgresql+psycopg"
_EXAMPLE = f"{SCHEME}://oracle@db.internal/oracle"
# SQLAlchemy's own reading of a URL, so that both see the same parts.
_URL = re.compile(
    r"(?P<scheme>[\w+.-]+)://"
    r"(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?P<place>(?:\[[^/?]+\]|[^/:?]+)?(?::[^/?]*)?)"
    r"(?:/(?P<name>[^?]*))?"
    r"(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_SECRETS = frozenset({"password", "sslpassword"})
# What says where the server is when the URL's own place does not.
_SHOWN = frozenset({"host", "port"})


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """
    The URL of a PostgreSQL database.

    Guarantees: neither `str` nor `repr` shows a password; `text` is all of it.
    """

    text: str = field(repr=False)
    shown: str
    holds_password: bool

    def __str__(self) -> str:
        return self.shown

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read a URL; raises `ValueError` with what is wrong with it, and never with the URL.
        """
        parts = _URL.fullmatch(text)
        if parts is None or re.search(r"\s", text):
            raise ValueError(f"is no URL of a database: write it as {_EXAMPLE}")
        scheme = parts["scheme"].lower()
        if scheme != SCHEME:
            raise ValueError(_wrong_scheme(scheme))
        place, name = parts["place"], parts["name"] or ""
        if "@" in place + name or "/" in name:
            raise ValueError(
                "has an @ or / too many: in a user name or password write them as %40 and %2F"
            )
        if not name:
            raise ValueError(f"names no database: write it as {_EXAMPLE}")
        query = parse_qsl(parts["query"] or "", keep_blank_values=True)
        user = f"{parts['user']}@" if parts["user"] else ""
        hosts = "&".join(f"{key}={value}" for key, value in query if key in _SHOWN)
        return cls(
            text=text,
            shown=f"{SCHEME}://{user}{place}/{name}" + (f"?{hosts}" if hosts else ""),
            holds_password=bool(parts["password"]) or any(key in _SECRETS for key, _ in query),
        )


def is_url(text: str) -> bool:
    """
    Return whether this is meant as a URL, and not as the path of a file.
    """
    return re.match(r"[A-Za-z][\w+.-]*:/", text) is not None


def _wrong_scheme(scheme: str) -> str:
    if scheme == "postgres" or scheme.startswith("postgresql"):
        return f"begins with {scheme}://: write {SCHEME}:// instead"
    if scheme.startswith("sqlite") or scheme == "file":
        return "is a URL of a file: for SQLite write its path alone"
    return (
        f"begins with {scheme}://, which is not known: give the path of a SQLite file, or "
        f"{_EXAMPLE}"
    )
