#!/usr/bin/env python3
"""
Write what the settings say of themselves into docs/configuration.md, between its two marks.

    .venv/bin/python scripts/_configuration_doc.py            write
    .venv/bin/python scripts/_configuration_doc.py --check    write nothing, exit 1 if it differs
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from oracle.airnode_settings import AirnodeChainSettings, AirnodeSettings
from oracle.config import (
    ChainSettings,
    FeeSettings,
    GatewaySettings,
    PoolSettings,
    Settings,
    WalletSettings,
)
from oracle.errors import OracleError
from oracle.given import variable_of
from oracle.setting_docs import SettingDoc, describe, toml
from oracle.source_settings import (
    KINDS,
    DeviceSettings,
    ErrorRuleSettings,
    LfdSettings,
    QuotaSettings,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pydantic import BaseModel

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
BEGIN, END = "<!-- begin: written by scripts/_configuration_doc.py -->\n", "<!-- end -->\n"

# What every source has, and what every source over HTTP has besides.
_EVERY, _HTTP = DeviceSettings.__bases__[0], LfdSettings.__bases__[0]
# The sections that settings of the type `table` are described in; the others are free tables.
_TOP = {
    "pool": "pool",
    "chains": "chainsname",
    "airnode": "airnode",
    "sources": "sourcesname",
}
_AIRNODE = {"chains": "airnodechainsname"}
_CHAIN = {"wallet": "chainsnamewallet", "fee": "chainsnamefee"}
_SOURCE = {"quota": "quota", "errors": "errors"}


def rendered(text: str) -> str:
    """
    Return the document with the settings as they are in the place of those that it has.

    Raises `OracleError` when the document lacks its marks.
    """
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise OracleError(f"{DOCUMENT.name} lacks its marks: {BEGIN.strip()} and {END.strip()}")
    parts = "\n\n".join(_parts())
    return f"{before}{BEGIN}\n{parts}\n\n{END}{after}"


def _parts() -> Iterator[str]:
    yield _table(("secret", "of", "variable", "or a file that holds it"), _secret_rows())
    yield "## The first lines"
    yield _settings(describe(Settings), _TOP)
    yield from _section("## `[pool]`", PoolSettings)
    yield from _section("## `[chains.NAME]`", ChainSettings, _CHAIN)
    yield from _section("### `[chains.NAME.wallet]`", WalletSettings)
    yield from _section("### `[chains.NAME.fee]`", FeeSettings)
    yield from _section("## `[airnode]`", AirnodeSettings, _AIRNODE)
    yield from _section("### `[airnode.chains.NAME]`", AirnodeChainSettings)
    yield "## `[sources.NAME]`"
    yield (
        "One source. Its `kind` is required and says which API it speaks: "
        "[sources.md](sources.md) knows the services, and has an example of `json-http`."
    )
    kinds = ((f"[`{kind}`](#{kind})", _sentence(model)) for kind, model in KINDS.items())
    yield _table(("kind", "what"), kinds)
    yield "### Every kind"
    yield _settings(describe(_EVERY), _SOURCE)
    yield "### Every kind over HTTP"
    yield "All but `device`; each has its own `url`."
    yield _settings(_besides(_HTTP, _EVERY, but="url"), {})
    for kind, model in KINDS.items():
        yield f"### `{kind}`"
        yield _settings(_besides(model, _HTTP, but="kind"), _SOURCE)
    yield from _section("### `quota`", QuotaSettings)
    yield from _section("### `errors`", ErrorRuleSettings)
    yield "## A gateway's file"
    yield "`oracle gateway --config gateway.toml` reads the same file but for this:"
    yield _settings(_besides(GatewaySettings, Settings), {})


def _section(
    heading: str, model: type[BaseModel], sections: Mapping[str, str] | None = None
) -> Iterator[str]:
    yield heading
    yield _sentence(model)
    yield _settings(describe(model), sections or {})


def _sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _besides(
    model: type[BaseModel], base: type[BaseModel], *, but: str | None = None
) -> list[SettingDoc]:
    """
    Return the settings of a model that are not, word for word, those of its base.
    """
    known = describe(base)
    return [doc for doc in describe(model) if doc not in known and doc.name != but]


def _settings(docs: Iterable[SettingDoc], sections: Mapping[str, str]) -> str:
    return _table(
        ("setting", "type", "default", "meaning"),
        (
            (
                f"[`{doc.name}`](#{sections[doc.name]})"
                if doc.name in sections
                else f"`{doc.name}`",
                doc.type,
                _default(doc),
                doc.comment,
            )
            for doc in docs
        ),
    )


def _default(doc: SettingDoc) -> str:
    if doc.required:
        return "required"
    return "unset" if doc.default is None else f"`{toml(doc.default)}`"


def _secret_rows() -> Iterator[Sequence[str]]:
    # A path is no secret, and stands in the file: no field of the type `secret`.
    yield (
        "`database`",
        "the URL of a PostgreSQL database, if it holds a password",
        f"`{variable_of('database')}`",
        f"`database_file`, `{variable_of('database_file')}`",
    )
    yield from _secrets_of(PoolSettings, "pool")
    yield from _secrets_of(WalletSettings, "chains", "NAME", "wallet")
    yield from _secrets_of(AirnodeSettings, "airnode")
    found: dict[tuple[str, ...], list[str]] = {}
    for kind, model in KINDS.items():
        for row in _secrets_of(model, "sources", "NAME"):
            found.setdefault((row[0], *row[2:]), []).append(f"`{kind}`")
    for (name, *rest), kinds in found.items():
        yield name, ", ".join(kinds), *rest


def _secrets_of(model: type[BaseModel], *place: str) -> Iterator[Sequence[str]]:
    for doc in describe(model):
        if doc.secret:
            file = f"{doc.name}_file"
            yield (
                f"`{'.'.join((*place, doc.name))}`",
                doc.comment,
                f"`{variable_of(*place, doc.name)}`",
                f"`{file}`, `{variable_of(*place, file)}`",
            )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(header)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def main() -> int:
    """
    Run as a script.
    """
    parser = argparse.ArgumentParser(description="Write docs/configuration.md.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    arguments = parser.parse_args()
    try:
        old = DOCUMENT.read_text(encoding="utf-8")
        new = rendered(old)
    except OracleError as error:
        print(error, file=sys.stderr)
        return 1
    if not arguments.check:
        DOCUMENT.write_text(new, encoding="utf-8", newline="\n")
    elif new != old:
        print(
            "docs/configuration.md is not what the settings say: run "
            "scripts/_configuration_doc.py.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
