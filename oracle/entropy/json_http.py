"""
Any API that gives random bytes inside a JSON document over HTTP, described by a recipe.

A recipe says how to ask, where the bytes are and how they are written, and how errors look. The
recipes of three vendors are here; others are written in the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import httpx

from oracle.entropy.endpoint import THROTTLE_SECONDS, Endpoint, next_day, next_month
from oracle.entropy.source import Sample, checked_key
from oracle.errors import ConfigError, SourceError, SourceQuotaError

if TYPE_CHECKING:
    from oracle.entropy.source import Reply

MAX_BYTES = 64 * 1024

Encoding = Literal["hex", "base64", "integer", "decimal", "binary"]
Meaning = Literal["retry", "throttled", "quota", "credentials", "refused"]
Reset = Literal["day", "month"]

_INTEGER = re.compile(r"[0-9]+")
_BITS = re.compile(r"[01]+")
_HEX = re.compile(r"(0[xX])?(([0-9a-fA-F]{2})+)")
_DIGITS_MAX = 4000  # Python reads no longer integers
_ERROR_CHARACTERS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRule:
    """
    What a reply means: one of this status, or of any, whose text contains `contains`.
    """

    meaning: Meaning
    status: int | None = None
    contains: str = ""  #: compared without case
    retry_after: float = THROTTLE_SECONDS  #: seconds, where the reply does not say
    resets: Reset | None = None  #: when a used-up quota begins anew, UTC

    def fits(self, reply: Reply) -> bool:
        """
        Say whether the rule speaks of this reply.
        """
        if self.status is None and not self.contains:
            return False
        text = reply.body[:_ERROR_CHARACTERS].decode("utf-8", "replace").lower()
        return self.status in (None, reply.status) and self.contains.lower() in text


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """
    How an API is asked and read.

    In `query` and `body` the text `{items}` stands for the number of items and `{bytes}` for the
    number of bytes; in `path`, `{key}` for the key. `data` is a path of names with dots between
    them; `[]` behind a name means every element. Items hold `item_bytes` bytes each, except where
    it is 0: then one reply holds as many items as the vendor likes, together exactly as many bytes
    as asked for.
    """

    method: Literal["GET", "POST"] = "GET"
    path: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    key_header: str = ""  #: empty: there is no key, or it is in the path
    key_prefix: str = ""  #: before the key, as in `Bearer `
    data: str
    encoding: Encoding
    item_bytes: int = 0
    max_bytes: int = MAX_BYTES
    expect: Mapping[str, Any] = field(default_factory=dict)  #: what a success says, by path
    errors: tuple[ErrorRule, ...] = ()
    provenance: tuple[str, ...] = ()  #: paths whose values are kept

    @property
    def needs_key(self) -> bool:
        """
        Whether the vendor wants a key.
        """
        return bool(self.key_header) or "{key}" in self.path


LFD = Recipe(
    query={"length": "{bytes}", "format": "HEX"},
    data="qrn",
    encoding="hex",
    max_bytes=32 * 1024,  # the server gives up to 2 GiB
    expect={"length": "{bytes}"},
    errors=(
        ErrorRule(contains="length param", meaning="refused"),
        ErrorRule(contains="failed to open device", meaning="retry"),
        ErrorRule(contains="failed to read device", meaning="retry"),
    ),
)

QUANDELA = Recipe(
    path="qt/qrng/bytes",
    query={"count": "{bytes}"},
    key_header="Authorization",
    key_prefix="Bearer ",
    data="jobs[].bytes",
    encoding="base64",
    max_bytes=4096,  # the vendor's own limit is not published
    errors=(
        ErrorRule(status=401, contains="not enough credits", meaning="quota"),
        ErrorRule(status=401, meaning="credentials"),
        ErrorRule(status=403, meaning="credentials"),
        ErrorRule(status=404, contains="pool empty", meaning="retry"),
    ),
    provenance=("jobs[].id", "jobs[].chsh", "jobs[].min_entropy"),
)

# Numbers of 512 bits come without their leading zeros, so their width is known from here alone.
OUTSHIFT = Recipe(
    method="POST",
    path="random_numbers",
    body={
        "encoding": "raw",
        "format": "decimal",
        "bits_per_block": 512,
        "number_of_blocks": "{items}",
    },
    key_header="x-id-api-key",
    data="random_numbers[].decimal",
    encoding="decimal",
    item_bytes=64,
    max_bytes=4096,  # a third of what a day gives
    errors=(
        ErrorRule(status=429, meaning="quota", resets="day"),
        ErrorRule(status=401, meaning="credentials"),
        ErrorRule(status=403, meaning="credentials"),
    ),
)


class JsonHttp:
    """
    A source that a recipe describes.

    Guarantees: every item has its fixed width, whatever leading zeros the vendor leaves out.
    """

    def __init__(
        self,
        *,
        client: httpx.AsyncClient,
        base_url: str,
        recipe: Recipe,
        allow_simulated: bool,
        api_key: str | None = None,
        name: str = "json-http",
    ) -> None:
        if not recipe.item_bytes and recipe.encoding not in ("hex", "base64"):
            raise ConfigError(
                f"{name}: items written as {recipe.encoding} lose their leading zeros:"
                " say how many bytes each has with item_bytes."
            )
        self.name = name
        self.max_bytes = recipe.max_bytes
        self._recipe = recipe
        self._endpoint = Endpoint(
            client=client, name=name, base_url=base_url, allow_simulated=allow_simulated
        )
        self._key = "" if api_key is None else checked_key(name, api_key)

    async def fetch(self, n_bytes: int) -> Sample:
        """
        Make one call and return all that it delivered: whole items, at most `max_bytes` bytes.

        Guarantees and errors are those of `EntropySource.fetch`.
        """
        if n_bytes < 1:
            raise ValueError("Ask for at least one byte.")
        recipe = self._recipe
        width = recipe.item_bytes or 1
        items = -(-min(n_bytes, recipe.max_bytes) // width)
        counts = {"{items}": items, "{bytes}": items * width}
        headers = dict(recipe.headers)
        if recipe.key_header:
            headers[recipe.key_header] = recipe.key_prefix + self._key
        content: dict[str, Any] = {}
        if recipe.query:
            content["params"] = _filled(recipe.query, counts)
        if recipe.body is not None:
            content["json"] = _filled(recipe.body, counts)
        reply = await self._endpoint.ask(
            recipe.method,
            recipe.path.replace("{key}", self._key),
            # Binary digits are the widest: one character per bit.
            n_bytes=2 * items * width,
            headers=headers,
            **content,
        )
        self._judge(reply, counts)
        blocks = [self._item(item) for item in _at(reply.value(), recipe.data)]
        if not recipe.item_bytes:
            blocks = [b"".join(blocks)]
            items, width = 1, items
        data = self._endpoint.joined(blocks, items, width)
        kept = {path: _at(reply.value(), path) for path in recipe.provenance}
        return self._endpoint.sample(reply, data, kept)

    def _judge(self, reply: Reply, counts: Mapping[str, int]) -> None:
        for rule in self._recipe.errors:
            if rule.fits(reply):
                raise self._meant(rule, reply)
        if reply.status != httpx.codes.OK:
            raise self._endpoint.refusal(reply)
        content = reply.value()
        if content is None:
            raise self._endpoint.malformed("no JSON")
        for path, value in _filled(self._recipe.expect, counts).items():
            if _at(content, path) != [value]:
                raise self._endpoint.malformed(f"{path} is not what a success says")

    def _meant(self, rule: ErrorRule, reply: Reply) -> SourceError:
        match rule.meaning:
            case "retry":
                return self._endpoint.unavailable("the server cannot deliver")
            case "throttled":
                return self._endpoint.throttled(reply, rule.retry_after)
            case "quota":
                resets = {"day": next_day, "month": next_month}.get(rule.resets or "")
                return SourceQuotaError(
                    f"{self.name}: the quota is used up: raise it or wait.",
                    resets_at=resets() if resets else None,
                )
            case "credentials":
                return self._endpoint.wrong_credentials()
            case "refused":
                return self._endpoint.malformed("the server refuses a correct request")

    def _item(self, item: Any) -> bytes:
        """
        Return the bytes of an item, or raise `SourceReplyError`.
        """
        recipe, width = self._recipe, self._recipe.item_bytes
        if recipe.encoding == "base64":
            return self._endpoint.base64(item)
        if recipe.encoding == "integer":
            number = item if type(item) is int else -1
        elif not isinstance(item, str):
            raise self._endpoint.malformed("an item is no text")
        elif recipe.encoding == "hex":
            found = _HEX.fullmatch(item)
            if found is None:
                raise self._endpoint.malformed("an item is not hexadecimal digits")
            return bytes.fromhex(found[2])
        elif recipe.encoding == "decimal":
            readable = len(item) <= _DIGITS_MAX and item.isascii() and _INTEGER.fullmatch(item)
            number = int(item) if readable else -1
        else:
            number = int(item, 2) if _BITS.fullmatch(item) else -1
        if not 0 <= number < 1 << (8 * width):
            raise self._endpoint.malformed(f"an item is no {recipe.encoding} of {width} bytes")
        return number.to_bytes(width, "big")


def _filled(template: Any, counts: Mapping[str, int]) -> Any:
    """
    Return a template with its placeholders replaced by numbers.
    """
    if isinstance(template, Mapping):
        return {name: _filled(value, counts) for name, value in template.items()}
    if isinstance(template, list | tuple):
        return [_filled(value, counts) for value in template]
    return counts.get(template, template) if isinstance(template, str) else template


def _at(content: Any, path: str) -> list[Any]:
    """
    Return the values at a path, in their order; none where the document has another shape.
    """
    found = [content]
    for part in path.split(".") if path else []:
        name = part.removesuffix("[]")
        if name:
            found = [item[name] for item in found if isinstance(item, Mapping) and name in item]
        if part.endswith("[]"):
            found = [one for item in found if isinstance(item, list) for one in item]
    return found
