"""
From the configuration's sections to the sources that they describe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from oracle.errors import ConfigError
from oracle.given import read_secret_file, secret, variable_of
from oracle.source_settings import (
    AnuLegacySettings,
    AnuQuantumNumbersSettings,
    DeviceSettings,
    JsonHttpSettings,
    LfdSettings,
    OutshiftSettings,
    QciSettings,
    QrngOpenApiSettings,
    QryptSettings,
    QuandelaSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack
    from pathlib import Path

    import httpx
    from pydantic import SecretStr

    from oracle.config import Settings
    from oracle.entropy.json_http import Recipe
    from oracle.entropy.limits import Quota, Rate
    from oracle.entropy.source import EntropySource
    from oracle.source_settings import SourceSettings
    from oracle.store.seal import PoolKey
    from oracle.supplies import Supplies

_VENDORS = {
    "anu-quantum-numbers": "anu",
    "anu-legacy": "anu",
    "qrypt": "qrypt",
    "qci": "qci",
    "lfd": "lfd",
    "quandela": "quandela",
    "outshift": "outshift",
}
# What the vendors publish: requests, seconds.
_RATES = {"anu-quantum-numbers": (1, 1.0), "anu-legacy": (1, 60.0), "qrypt": (30, 10.0)}


def compose_supplies(
    settings: Settings, key: PoolKey, stack: AsyncExitStack, *, allow_simulated: bool
) -> Supplies:
    """
    Return all configured sources with their limits; the stack closes what they hold.

    Raises `ConfigError` or `SourceCredentialsError` when one of them cannot work.
    """
    from oracle.supplies import Supplies  # noqa: PLC0415 - SQLAlchemy is slow to import
    from oracle.supply import Supply  # noqa: PLC0415 - SQLAlchemy is slow to import

    per_seed = sources_per_seed(settings)
    supplies = [
        Supply(
            build(name, source, stack, allow_simulated=allow_simulated),
            vendor=vendor_of(name, source),
            digest=key.digest,
            rate=rate_of(source),
            quota=quota_of(source),
        )
        for name, source in settings.sources.items()
    ]
    return Supplies(supplies, per_seed=per_seed)


def build(
    name: str, settings: SourceSettings, stack: AsyncExitStack, *, allow_simulated: bool
) -> EntropySource:
    """
    Return the source of a section `[sources.NAME]`; the stack closes what it holds.

    Raises `ConfigError` or `SourceCredentialsError` when it cannot work.
    """
    if isinstance(settings, DeviceSettings):
        from oracle.entropy.device import Device  # noqa: PLC0415 - httpx is slow to import

        return Device(path=settings.path, allow_simulated=allow_simulated, name=name)
    return _http_source(name, settings, _client(settings, stack), allow_simulated=allow_simulated)


def _http_source(  # noqa: C901, PLR0911 - one case per kind
    name: str,
    settings: SourceSettings,
    client: httpx.AsyncClient,
    *,
    allow_simulated: bool,
) -> EntropySource:
    # Imported here: httpx is slow to import, and `--help` does not need it.
    from oracle.entropy import json_http  # noqa: PLC0415
    from oracle.entropy.anu import AnuQuantumNumbers  # noqa: PLC0415
    from oracle.entropy.anu_legacy import AnuLegacy  # noqa: PLC0415
    from oracle.entropy.qci import Qci  # noqa: PLC0415
    from oracle.entropy.qrng_open_api import QrngOpenApi  # noqa: PLC0415
    from oracle.entropy.qrypt import Qrypt  # noqa: PLC0415

    def json_source(recipe: Recipe, api_key: str | None) -> EntropySource:
        return json_http.JsonHttp(
            client=client,
            base_url=url,
            recipe=recipe,
            allow_simulated=allow_simulated,
            api_key=api_key,
            name=name,
        )

    assert not isinstance(settings, DeviceSettings)
    url = settings.url
    match settings:
        case AnuQuantumNumbersSettings():
            return AnuQuantumNumbers(
                client=client,
                base_url=url,
                api_key=_key(name, settings.key, settings.key_file),
                allow_simulated=allow_simulated,
                name=name,
            )
        case AnuLegacySettings():
            return AnuLegacy(
                client=client, base_url=url, allow_simulated=allow_simulated, name=name
            )
        case QrngOpenApiSettings():
            return QrngOpenApi(
                client=client,
                base_url=url,
                allow_simulated=allow_simulated,
                name=name,
                token=_optional(name, settings.token, settings.token_file, _token),
                api_key=_optional(name, settings.key, settings.key_file, _key),
                entropy_type=settings.entropy_type,
            )
        case QryptSettings():
            return Qrypt(
                client=client,
                base_url=url,
                token=_token(name, settings.token, settings.token_file),
                allow_simulated=allow_simulated,
                reset_day=settings.quota.reset_day if settings.quota else None,
                name=name,
            )
        case QciSettings():
            return Qci(
                client=client,
                base_url=url,
                refresh_token=_token(name, settings.token, settings.token_file),
                allow_simulated=allow_simulated,
                name=name,
            )
        case LfdSettings():
            return json_source(json_http.LFD, None)
        case QuandelaSettings():
            return json_source(
                json_http.QUANDELA, _token(name, settings.token, settings.token_file)
            )
        case OutshiftSettings():
            return json_source(json_http.OUTSHIFT, _key(name, settings.key, settings.key_file))
        case JsonHttpSettings():
            recipe = _recipe(settings)
            if recipe.needs_key:
                return json_source(recipe, _key(name, settings.key, settings.key_file))
            return json_source(recipe, None)


def vendor_of(name: str, settings: SourceSettings) -> str:
    """
    Say who runs a source: sources of one vendor do not make a seed more trustworthy.
    """
    if settings.vendor is not None:
        return settings.vendor
    if isinstance(settings, DeviceSettings):
        return name
    return _VENDORS.get(settings.kind) or urlsplit(settings.url).hostname or name


def sources_per_seed(settings: Settings) -> int:
    """
    Return how many independent sources a seed has: as configured, else two where there are two.

    Raises `ConfigError` when that is more than there are.
    """
    vendors = {vendor_of(name, source) for name, source in settings.sources.items()}
    wanted = settings.pool.sources_per_seed
    if wanted is None:
        return min(2, len(vendors))
    if wanted > len(vendors):
        raise ConfigError(
            f"pool.sources_per_seed is {wanted}, and the sources are run by {len(vendors)}:"
            f" {', '.join(sorted(vendors))}: add sources of other vendors, or lower it"
        )
    return wanted


def rate_of(settings: SourceSettings) -> Rate | None:
    """
    Return the rate at which a source may be asked: as configured, else as its vendor says.
    """
    from oracle.entropy.limits import Rate  # noqa: PLC0415 - beside the others

    if settings.requests_per_minute is not None:
        return Rate(1, 60 / settings.requests_per_minute)
    published = _RATES.get(settings.kind)
    return Rate(*published) if published else None


def quota_of(settings: SourceSettings) -> Quota:
    """
    Return the quota of a source's account; without limits where none is known.
    """
    from oracle.entropy.limits import Quota  # noqa: PLC0415 - beside the others

    return Quota(**settings.quota.model_dump()) if settings.quota else Quota()


def _client(settings: SourceSettings, stack: AsyncExitStack) -> httpx.AsyncClient:
    from oracle.entropy.source import http_client  # noqa: PLC0415 - httpx is slow to import

    assert not isinstance(settings, DeviceSettings)
    if settings.private_key_file is not None:
        read_secret_file(settings.private_key_file)  # refuses what everybody can read
    client = http_client(
        ca_file=settings.ca_file,
        certificate=settings.certificate_file,
        private_key=settings.private_key_file,
    )
    stack.push_async_callback(client.aclose)
    return client


def _key(name: str, value: SecretStr | None, file: Path | None) -> str:
    return secret(
        value,
        file,
        what=f"API key of the source {name}",
        variable=variable_of("sources", name, "key"),
    )


def _token(name: str, value: SecretStr | None, file: Path | None) -> str:
    return secret(
        value,
        file,
        what=f"token of the source {name}",
        variable=variable_of("sources", name, "token"),
    )


def _optional(
    name: str,
    value: SecretStr | None,
    file: Path | None,
    read: Callable[[str, SecretStr | None, Path | None], str],
) -> str | None:
    return None if value is None and file is None else read(name, value, file)


def _recipe(settings: JsonHttpSettings) -> Recipe:
    from oracle.entropy.json_http import ErrorRule, Recipe  # noqa: PLC0415 - httpx is slow

    return Recipe(
        method=settings.method,
        path=settings.path,
        query=settings.query,
        body=settings.body,
        headers=settings.headers,
        key_header=settings.key_header,
        key_prefix=settings.key_prefix,
        data=settings.data,
        encoding=settings.encoding,
        item_bytes=settings.item_bytes,
        max_bytes=settings.max_bytes,
        expect=settings.expect,
        errors=tuple(ErrorRule(**rule.model_dump()) for rule in settings.errors),
        provenance=settings.provenance,
    )
