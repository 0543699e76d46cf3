"""
What a settings model says of its fields: type, default, and the comment behind `#:`.

From here the file that `oracle init` writes has its words.
"""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from oracle.database_url import DatabaseUrl

if TYPE_CHECKING:
    from collections.abc import Iterator

# A comment stands behind its field, or on the line above.
_BEHIND = re.compile(r"^    (\w+): .*?  #: (.+)$", re.MULTILINE)
_ABOVE = re.compile(r"^    #: (.+)\n    (\w+): ", re.MULTILINE)
_WORDS = {
    bool: "true or false",
    int: "integer",
    float: "number",
    Decimal: "number",
    str: "text",
    Path: "path",
    DatabaseUrl: "URL",
    SecretStr: "secret",
}
_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDoc:
    """
    A setting for people.
    """

    name: str
    type: str
    comment: str
    required: bool
    default: object  #: nothing where there is none

    @property
    def secret(self) -> bool:
        """
        Whether it is for the environment alone.
        """
        return self.type == "secret"


def describe(model: type[BaseModel]) -> list[SettingDoc]:
    """
    Describe the fields of a model, in their order; a `kind` comes first.

    Raises `KeyError` for a field that has no comment.
    """
    comments: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base.__module__.startswith("oracle."):
            source = inspect.getsource(base)
            comments |= dict(_BEHIND.findall(source))
            comments |= {name: comment for comment, name in _ABOVE.findall(source)}
    fields = sorted(model.model_fields.items(), key=lambda item: item[0] != "kind")
    return [
        SettingDoc(
            name=name,
            type=_type(field.annotation, field),
            comment=comments[name],
            required=field.is_required(),
            default=None
            if field.is_required()
            else field.get_default(call_default_factory=True, validated_data={}),
        )
        for name, field in fields
    ]


def toml(value: object) -> str:
    """
    Return a value as TOML writes it.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_defaults=True)
    if isinstance(value, dict):
        inner = ", ".join(f"{name} = {toml(item)}" for name, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    # A basic string of TOML escapes what one of JSON does.
    return json.dumps(str(value), ensure_ascii=False)


def _type(annotation: Any, field: FieldInfo | None = None) -> str:
    bounds = " and ".join(_bounds(field)) if field is not None else ""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *extra = arguments
        word = _type(inner)
        bounds = " and ".join(
            bound for one in extra if isinstance(one, FieldInfo) for bound in _bounds(one)
        )
    elif origin in (Union, UnionType):
        word = " or ".join(_type(one) for one in arguments if one is not NoneType)
    elif origin is Literal:
        word = " or ".join(f"`{one}`" for one in arguments)
    elif origin in (list, tuple):
        word = f"list of {_type(arguments[0])}s"
    elif origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        word = "table"
    elif isinstance(annotation, type) and SecretStr in annotation.__bases__:
        word = annotation.__name__  # kept like a secret, and no secret all the same
    else:
        word = _WORDS[annotation]
    return f"{word} {bounds}" if bounds else word


def _bounds(field: FieldInfo) -> Iterator[str]:
    for item in field.metadata:
        for name, sign in _BOUNDS:
            bound = getattr(item, name, PydanticUndefined)
            if bound not in (PydanticUndefined, None):
                yield f"{sign} {bound}"
