"""
A configuration file with every setting in it: those that are set, and the others as comments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.airnode_settings import AirnodeChainSettings, AirnodeSettings
from oracle.config import ChainSettings, FeeSettings, PoolSettings, Settings, WalletSettings
from oracle.given import variable_of
from oracle.setting_docs import SettingDoc, describe, toml
from oracle.source_settings import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

_SECTIONS = ("pool", "chains", "sources", "wallet", "fee", "airnode")
_HEAD = """\
# Written by `oracle init`. Relative paths are relative to this file; a setting behind # has its
# default. Secrets stay in files or variables.
"""


def rendered(content: Mapping[str, Any]) -> str:
    """
    Return the text of a configuration file that sets what `content` says, as TOML would load it.
    """
    parts = [_HEAD, "\n".join(_lines(Settings, content))]
    parts.append("\n".join(["[pool]", *_lines(PoolSettings, content["pool"], "pool")]))
    for name, source in content["sources"].items():
        place = ("sources", name)
        source_lines = _lines(KINDS[source["kind"]], source, *place)
        parts.append("\n".join([f"[sources.{name}]", *source_lines]))
    for name, chain in content["chains"].items():
        place = ("chains", name)
        lines = [f"[chains.{name}]", *_lines(ChainSettings, chain, *place)]
        wallet = _lines(WalletSettings, chain["wallet"], *place, "wallet")
        parts.append("\n".join([*lines, "", f"[chains.{name}.wallet]", *wallet]))
        # An empty section would lack its band, so without one the heading is a comment too.
        heading = f"{'' if 'fee' in chain else '# '}[chains.{name}.fee]"
        fee = _lines(FeeSettings, chain.get("fee", {}), *place, "fee")
        parts.append("\n".join([heading, *fee]))
    if "airnode" in content:
        parts += _airnode(content["airnode"])
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _airnode(section: Mapping[str, Any]) -> Iterator[str]:
    yield "\n".join(["[airnode]", *_lines(AirnodeSettings, section, "airnode")])
    for name, chain in section["chains"].items():
        place = ("airnode", "chains", name)
        lines = _lines(AirnodeChainSettings, chain, *place)
        yield "\n".join([f"[airnode.chains.{name}]", *lines])


def _lines(model: type[BaseModel], content: Mapping[str, Any], *place: str) -> Iterator[str]:
    for doc in describe(model):
        if doc.name in _SECTIONS:
            continue
        if doc.name in content:
            yield f"{doc.name} = {toml(content[doc.name])}  # {doc.comment}"
        else:
            yield _unset(doc, *place)
    # Unknown ones too, for whoever loads the file to refuse.
    known = {*model.model_fields, *_SECTIONS}
    for name in content.keys() - known:
        yield f"{name} = {toml(content[name])}"


def _unset(doc: SettingDoc, *place: str) -> str:
    if doc.secret:
        return f"# {doc.name}: only as the variable {variable_of(*place, doc.name)}: {doc.comment}"
    default = "…" if doc.default is None else toml(doc.default)
    return f"# {doc.name} = {default}  # {doc.comment}"
