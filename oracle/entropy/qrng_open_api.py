"""
QRNG Open API, which several vendors serve: ask what there is, then ask for blocks of it.

Vendors differ in the path before `/capabilities`, so the base URL holds all of it. Only what the
API publishes is relied on: unknown fields are ignored, extensions are kept as provenance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx

from oracle.entropy.endpoint import Endpoint
from oracle.entropy.source import Sample, checked_key
from oracle.errors import ConfigError, SimulatedEntropyError, SourceReplyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oracle.entropy.source import Reply

MAX_BYTES = 64 * 1024  # what is held in memory is kept small
RAW = "raw"
SIMULATED = "simulated"
# What this project's own gateway reports is how full it is: the draw itself will say.
_TESTS_OF_SUPPLY = frozenset({"pool_level"})
_NAME_CHARACTERS = 40
_NOT_SERVED = frozenset(
    {httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED, httpx.codes.NOT_IMPLEMENTED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """
    What a server offers: block sizes in bytes, blocks per call, and kinds of entropy.
    """

    min_block_size: int
    max_block_size: int
    min_block_count: int
    max_block_count: int
    entropy_types: tuple[str, ...]
    thresholds: tuple[Mapping[str, Any], ...] | None  #: None: there is no health test
    source_count: int | None

    def plan(self, n_bytes: int) -> tuple[int, int]:
        """
        Return the block size and the number of blocks of one call that covers `n_bytes` bytes, or
        as many as a call can.
        """
        size = max(self.min_block_size, min(n_bytes, self.max_block_size, MAX_BYTES))
        count = max(self.min_block_count, min(-(-n_bytes // size), self.max_block_count))
        return size, count


@dataclass(frozen=True, slots=True)
class SelfTest:
    """
    One result of a vendor's own health test; `verdict` is good, warning, error or unknown.
    """

    test_type: str
    result: float | None
    verdict: str

    @property
    def failed(self) -> bool:
        """
        Whether the vendor says that its entropy must not be used.
        """
        return self.verdict == "error" and self.test_type not in _TESTS_OF_SUPPLY


class QrngOpenApi:
    """
    Any server of the QRNG Open API; the base URL is what stands before `/entropy`.

    Guarantees: unconditioned (`raw`) entropy is never asked for.
    """

    max_bytes = MAX_BYTES

    def __init__(  # noqa: PLR0913
        self,
        *,
        client: httpx.AsyncClient,
        base_url: str,
        allow_simulated: bool,
        name: str = "qrng-open-api",
        token: str | None = None,
        api_key: str | None = None,
        entropy_type: str | None = None,
    ) -> None:
        if entropy_type == RAW:
            raise ConfigError(
                f"{name}: raw entropy is not conditioned: name another entropy_type, or none."
            )
        self.name = name
        self._endpoint = Endpoint(
            client=client, name=name, base_url=base_url, allow_simulated=allow_simulated
        )
        self._headers: dict[str, str] = {}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {checked_key(name, token)}"
        if api_key is not None:
            self._headers["X-API-KEY"] = checked_key(name, api_key)
        self._entropy_type = entropy_type
        self._known: Capabilities | None = None

    async def fetch(self, n_bytes: int) -> Sample:
        """
        Make one call and return all that it delivered; the first one asks for capabilities before.

        A 422 makes the capabilities be asked for again, and the call be made once more if they
        have changed. Guarantees and errors are those of `EntropySource.fetch`.
        """
        if n_bytes < 1:
            raise ValueError("Ask for at least one byte.")
        wanted = min(n_bytes, MAX_BYTES)
        order = self._order(self._known or await self.capabilities(), wanted)
        reply = await self._draw(order)
        if reply.status == httpx.codes.UNPROCESSABLE_ENTITY:
            again = self._order(await self.capabilities(), wanted)
            if again != order:
                order = again
                reply = await self._draw(order)
        if reply.status != httpx.codes.OK:
            raise self._endpoint.refusal(reply)
        content = reply.json() or {}
        blocks = content.get("entropy")
        if not isinstance(blocks, list):
            raise self._endpoint.malformed("no array `entropy`")
        extensions = content.get("extensions") or []
        simulated = self._is_simulated(order.get("entropy_type"), extensions)
        data = self._endpoint.joined(
            [self._endpoint.base64(block) for block in blocks],
            order["block_count"],
            order["block_size"],
        )
        provenance = {"entropyType": order.get("entropy_type"), "extensions": extensions}
        sample = self._endpoint.sample(reply, data, provenance)
        return replace(sample, simulated=sample.simulated or simulated)

    async def capabilities(self) -> Capabilities:
        """
        Ask what the server offers and keep the answer for later calls.

        Raises `SourceError`.
        """
        reply = await self._endpoint.ask("GET", "capabilities", headers=self._headers)
        if reply.status != httpx.codes.OK:
            raise self._endpoint.refusal(reply)
        self._known = _capabilities(reply.json())
        if self._known is None:
            raise self._endpoint.malformed("no capabilities")
        return self._known

    async def self_test(self) -> list[SelfTest]:
        """
        Ask for the vendor's own health test and compare it with the server's own thresholds.

        Empty where the server advertises none, or advertises one and serves none. Raises
        `SourceError`.
        """
        offered = self._known or await self.capabilities()
        if offered.thresholds is None:
            return []
        reply = await self._endpoint.ask("GET", "healthtest", headers=self._headers)
        if reply.status in _NOT_SERVED:
            return []
        if reply.status != httpx.codes.OK:
            raise self._endpoint.refusal(reply)
        results = (reply.json() or {}).get("test_result")
        if not isinstance(results, list):
            raise self._endpoint.malformed("no array `test_result`")
        return [_judged(item, offered.thresholds) for item in results if isinstance(item, dict)]

    async def failed_tests(self) -> list[str]:
        """
        Return the vendor's own tests that say that its entropy must not be used.
        """
        return [one.test_type[:_NAME_CHARACTERS] for one in await self.self_test() if one.failed]

    async def _draw(self, order: Mapping[str, Any]) -> Reply:
        n_bytes = order["block_size"] * order["block_count"]
        return await self._endpoint.ask(
            "POST", "entropy", n_bytes=n_bytes, headers=self._headers, json=order
        )

    def _order(self, offered: Capabilities, n_bytes: int) -> dict[str, Any]:
        size, count = offered.plan(n_bytes)
        if size * count > 2 * MAX_BYTES:
            raise SourceReplyError(
                f"{self.name}: the smallest draw that the server allows has {size * count} bytes:"
                " have its minimum lowered."
            )
        order: dict[str, Any] = {"block_size": size, "block_count": count}
        if self._entropy_type is not None:
            order["entropy_type"] = self._entropy_type
        elif offered.entropy_types:
            usable = [kind for kind in offered.entropy_types if kind != RAW]
            if not usable:
                raise SourceReplyError(
                    f"{self.name}: the server offers raw entropy alone, which is not conditioned:"
                    " have it offer another type."
                )
            order["entropy_type"] = usable[0]
        return order

    def _is_simulated(self, entropy_type: str | None, extensions: Any) -> bool:
        """
        Say whether the body marks its entropy as simulated; raise where that is not allowed.
        """
        listed = extensions if isinstance(extensions, list) else []
        marked = entropy_type == SIMULATED or any(
            isinstance(item, dict) and item.get(SIMULATED) for item in listed
        )
        if marked and not self._endpoint.allow_simulated:
            raise SimulatedEntropyError(
                f"{self.name}: the server marks its entropy as simulated: point the base URL at a"
                " real source; only a chain with devnet = true accepts it."
            )
        return marked


def _capabilities(reply: dict[str, Any] | None) -> Capabilities | None:
    reply = reply or {}
    entropy, health = reply.get("entropy"), reply.get("healthtest")
    if not isinstance(entropy, dict):
        return None
    sizes = _range(entropy, "size")
    counts = _range(entropy, "count")
    if sizes is None or counts is None:
        return None
    kinds = entropy.get("entropy_types") or []
    if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
        return None
    thresholds = None
    if isinstance(health, dict):
        listed = health.get("test_threshold")
        listed = listed if isinstance(listed, list) else []
        thresholds = tuple(item for item in listed if isinstance(item, dict))
    count = reply.get("source_count")
    return Capabilities(
        min_block_size=sizes[0],
        max_block_size=sizes[1],
        min_block_count=counts[0],
        max_block_count=counts[1],
        entropy_types=tuple(kinds),
        thresholds=thresholds,
        source_count=count if type(count) is int else None,
    )


def _range(entropy: Mapping[str, Any], of: str) -> tuple[int, int] | None:
    low, high = entropy.get(f"min_block_{of}", 1), entropy.get(f"max_block_{of}")
    if type(low) is not int or type(high) is not int or not 1 <= low <= high:
        return None
    return low, high


def _judged(item: Mapping[str, Any], thresholds: tuple[Mapping[str, Any], ...]) -> SelfTest:
    name = str(item.get("test_type"))
    result = _number(item.get("test_result"))
    limits = next((one for one in thresholds if str(one.get("test_type")) == name), {})
    good, warning = _number(limits.get("good")), _number(limits.get("warning"))
    if result is None or good is None or warning is None:
        return SelfTest(name, result, "unknown")
    # Which way is better is the vendor's own: its limits say.
    sign = 1 if good >= warning else -1
    if sign * result >= sign * good:
        verdict = "good"
    else:
        verdict = "warning" if sign * result >= sign * warning else "error"
    return SelfTest(name, result, verdict)


def _number(value: Any) -> float | None:
    """
    Return a number that some servers send as a text.
    """
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
