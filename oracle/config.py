"""
The configuration: one TOML file, and the environment for secrets.

Every secret is a field `x` that only the environment can set (`ORACLE_…__X`), with a sibling
`x_file` that names a file holding it. Relative paths are relative to the configuration file.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from oracle.airnode_settings import AirnodeChainSettings, AirnodeSettings
from oracle.chain_settings import Address, EndpointSettings, Name
from oracle.database_url import DatabaseUrl, is_url
from oracle.errors import ConfigError
from oracle.given import ENVIRONMENT_PREFIX, read_secret_file, variable_of
from oracle.source_settings import KINDS, ErrorRuleSettings, QuotaSettings, Section, SourceSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

_SECRETS = frozenset({"key", "password", "token"})


def _read_place(value: object) -> object:
    if isinstance(value, str) and is_url(value):
        return DatabaseUrl.parse(value)
    return value


def _read_url(path: Path) -> DatabaseUrl:
    try:
        return DatabaseUrl.parse(read_secret_file(path))
    except ValueError as error:
        raise ConfigError(f"the URL in {path} {error}") from None


DatabasePlace = Annotated[Path | DatabaseUrl, NoDecode, BeforeValidator(_read_place)]


class WalletSettings(Section):
    """
    The wallet that commits and fulfills: a keystore file with its password, or a key.
    """

    keystore: Path | None = None  #: an encrypted keystore file, see `oracle wallet create`
    password: SecretStr | None = None  #: of the keystore
    password_file: Path | None = None  #: a file that holds the password
    key: SecretStr | None = None  #: 64 hexadecimal digits, instead of a keystore
    key_file: Path | None = None  #: a file that holds the key

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [
            name for name in ("keystore", "key", "key_file") if getattr(self, name) is not None
        ]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: one wallet, one key")
        return self


class FeeSettings(Section):
    """
    A band in which the node sets the coordinator's gas margin, so that fees follow what serving
    costs. Without this section the fee stays as it is.
    """

    #: the least that is charged for gas, in 1/10,000 of the base fee's price
    gas_margin_bps_min: Annotated[int, Field(ge=1, le=65_535)]
    #: the most, within the bound of the coordinator
    gas_margin_bps_max: Annotated[int, Field(ge=1, le=65_535)]
    gain_percent: Annotated[int, Field(ge=0, le=1000)] = 10  #: what fees shall bring above costs
    pause_blocks: Annotated[int, Field(ge=1)] = 300  #: blocks between two changes at least

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.gas_margin_bps_min > self.gas_margin_bps_max:
            raise ValueError("gas_margin_bps_min is above gas_margin_bps_max")
        return self


class ChainSettings(EndpointSettings):
    """
    One coordinator on one chain.
    """

    coordinator: Address  #: the QuantumCoordinator that is served
    wallet: WalletSettings  #: the coordinator's operator
    #: gwei that a request may cost above its fee before it waits for cheaper gas; default: any
    max_loss_gwei: Annotated[Decimal, Field(ge=0)] | None = None
    fee: FeeSettings | None = None  #: a band for the coordinator's gas margin
    runway: Annotated[int, Field(ge=0)] = 4096  #: seeds committed ahead of requests; 0: no more


class PoolSettings(Section):
    """
    The encrypted pool of entropy.
    """

    key: SecretStr | None = None  #: 64 hexadecimal digits
    key_file: Path | None = None  #: a file that holds the key, see `oracle entropy create-key`
    epoch_file: Path | None = None  #: default: the key file's name with .epoch behind it
    fresh: Annotated[int, Field(ge=256)] = 512  #: blocks kept ready beside the committed ones
    max_age_hours: Annotated[float, Field(gt=0)] = 720  #: unbound blocks are destroyed after that
    #: vendors that a seed is mixed from; default: 2 where there are 2
    sources_per_seed: Annotated[int, Field(ge=1)] | None = None


class Settings(BaseSettings):
    """
    Everything that `oracle run` is told.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    #: SQLite file, or `postgresql+psycopg://USER@HOST/NAME` without a password
    database: DatabasePlace = Path("oracle.db")
    database_file: Path | None = None  #: instead, a file that holds the URL with its password
    #: how often the head is asked for; while a `websocket` announces heads, every 2 s is enough
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 0.25
    #: days that a finished request is kept with its history; 0: for ever
    keep_days: Annotated[float, Field(ge=0)] = 90
    pool: PoolSettings = PoolSettings()  #: where entropy is kept
    chains: dict[Name, ChainSettings] = {}  #: by names of your own
    airnode: AirnodeSettings | None = None  #: who answers API3's QRNG consumers
    sources: Annotated[dict[Name, SourceSettings], Field(min_length=1)]  #: by names of your own

    @model_validator(mode="after")
    def _check(self) -> Self:
        served = self.served
        if not served and type(self) is Settings:
            raise ValueError("chains is missing: name at least one, there or under airnode.chains")
        if len({chain.devnet for chain in served}) > 1:
            raise ValueError(
                "devnets and other chains cannot share a node: simulated entropy is for devnets "
                "alone"
            )
        named: dict[tuple[int, str], str] = {}
        for name, chain in self.chains.items():
            other = named.setdefault((chain.chain_id, chain.coordinator), name)
            if other != name:
                raise ValueError(f"chains.{other} and chains.{name} are the same coordinator")
        return self

    @property
    def served(self) -> list[EndpointSettings]:
        """
        All chains, whatever is served there.
        """
        airnodes = [] if self.airnode is None else self.airnode.chains.values()
        return [*self.chains.values(), *airnodes]

    @property
    def devnet(self) -> bool:
        """
        Whether all of it is play: simulated entropy and well-known keys are allowed.
        """
        return all(chain.devnet for chain in self.served)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """
        Let the environment add to the file.
        """
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @classmethod
    def load(cls, path: Path) -> Self:
        """
        Read the configuration.

        Raises `ConfigError` with one sentence about the first thing that is wrong.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(
                f"there is no configuration at {path}: name it with --config"
            ) from None
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from None
        _refuse_secrets(path, content, [])
        _refuse_password(path, content.get("database"))
        _refuse_unknown_variables(cls)
        try:
            settings = cls(**content)
        except ValidationError as error:
            raise ConfigError(f"{_origin(path, error)}: {_sentence(cls, error)}") from None
        except SettingsError as error:
            raise ConfigError(
                f"{path}: a variable of the environment does not fit: {error}; name single "
                "settings, as in "
                f"{variable_of('pool', 'key_file')}"
            ) from None
        if settings.database_file is not None and "database" in settings.model_fields_set:
            raise ConfigError(
                f"{path}: database and database_file exclude each other: one database"
            )
        settings = settings.model_copy(update=_rooted(settings, path.resolve().parent))
        if settings.database_file is None:
            return settings
        return settings.model_copy(update={"database": _read_url(settings.database_file)})


class GatewaySettings(Settings):
    """
    Everything that `oracle gateway` is told: a database, a pool and sources of its own, no chain.
    """

    #: SQLite file, or `postgresql+psycopg://USER@HOST/NAME` without a password; never a node's
    database: DatabasePlace = Path("gateway.db")
    chains: dict[Name, ChainSettings] = {}  #: a gateway has none
    airnode: AirnodeSettings | None = None  #: a gateway has none

    @field_validator("chains", "airnode")
    @classmethod
    def _check_chains(cls, chains: object) -> object:
        if chains:
            raise ValueError(
                "a gateway knows none and never shares a node's pool: give it a file of its own, "
                "with database, pool and sources"
            )
        return chains


def load_pool_settings(path: Path) -> Settings:
    """
    Read the configuration of a node, or of a gateway, which has no chains and no Airnode.

    Raises `ConfigError` as `Settings.load` does.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        chains = not {"chains", "airnode"}.isdisjoint(content)
    except (OSError, ValueError):
        chains = True  # what is wrong is said below
    prefixes = (variable_of("chains", ""), variable_of("airnode", ""))
    chains |= any(name.startswith(prefixes) for name in os.environ)
    return (Settings if chains else GatewaySettings).load(path)


def _refuse_secrets(path: Path, content: Mapping[str, Any], place: list[str]) -> None:
    for name, value in content.items():
        here = [*place, name]
        if isinstance(value, dict):
            _refuse_secrets(path, value, here)
        elif place and name in _SECRETS:
            raise ConfigError(
                f"{path}: {'.'.join(here)} is a secret and does not belong into this file: "
                f"use {'.'.join(here)}_file, or the variable {variable_of(*here)}"
            )


def _refuse_password(path: Path, database: object) -> None:
    try:
        url = _read_place(database)
    except ValueError:
        return  # what is wrong is said where it is validated
    if isinstance(url, DatabaseUrl) and url.holds_password:
        raise ConfigError(
            f"{path}: the URL of database holds a password, which does not belong into this file: "
            f"use database_file, or the variable {variable_of('database')}"
        )


def _refuse_unknown_variables(model: type[BaseModel]) -> None:
    """
    Raise `ConfigError` for a variable that is named as a setting is, and is in no known section.
    """
    for name in sorted(os.environ):
        section, _, rest = name.upper().removeprefix(ENVIRONMENT_PREFIX).partition("__")
        if not (name.upper().startswith(ENVIRONMENT_PREFIX) and rest):
            continue
        known = [field.upper() for field in model.model_fields]
        if section not in known:
            close = difflib.get_close_matches(section, known, n=1)
            advice = f": did you mean {ENVIRONMENT_PREFIX}{close[0]}__{rest}?" if close else ""
            raise ConfigError(f"the variable {name} is no setting{advice}")


def _origin(path: Path, error: ValidationError) -> str:
    """
    Return where the value comes from that an error is about: a variable, or the file.
    """
    place, _ = _place(_first(error)["loc"])
    variables = {name.upper(): name for name in os.environ}
    name = variables.get(variable_of(*place))
    return str(path) if name is None else f"the variable {name}"


_TAG = 2  # where the kind of a source stands in the place of an error


def _first(error: ValidationError) -> ErrorDetails:
    errors = error.errors(include_input=False, include_url=False)
    # A mistyped key is also a missing one: the typo is what helps.
    return min(errors, key=lambda one: one["type"] != "extra_forbidden")


def _sentence(model: type[BaseModel], error: ValidationError) -> str:
    first = _first(error)
    place, kind = _place(first["loc"])
    name = ".".join(place)
    sentences = {
        "missing": f"{name} is missing",
        "union_tag_not_found": f"{name}.kind is missing",
        "union_tag_invalid": f"{name}.kind is none of {', '.join(sorted(KINDS))}",
        "string_pattern_mismatch": f"{'.'.join(place[:2])} is no name: use small letters, digits "
        "and underscores",
        "too_short": f"{name} is empty: name at least one",
    }
    if first["type"] in sentences:
        return sentences[first["type"]]
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, place[:-1], kind)
        close = difflib.get_close_matches(place[-1], known, n=1)
        advice = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
        return f"{name} is no setting: {advice}"
    said = first["msg"].removeprefix("Value error, ")
    return f"{name}: {said}" if name else said


def _place(loc: tuple[int | str, ...]) -> tuple[list[str], str]:
    """
    Return where an error is, and the kind of the source that it is in: no part of the name.
    """
    place = [str(part) for part in loc]
    kind = place.pop(_TAG) if place[:1] == ["sources"] and place[_TAG : _TAG + 1] else ""
    return place, kind


def _fields_at(model: type[BaseModel], place: Sequence[str], kind: str) -> list[str]:
    match place:
        case ["chains", _]:
            model = ChainSettings
        case ["airnode"]:
            model = AirnodeSettings
        case ["airnode", "chains", _]:
            model = AirnodeChainSettings
        case ["chains", _, "wallet"]:
            model = WalletSettings
        case ["chains", _, "fee"]:
            model = FeeSettings
        case ["sources", _]:
            model = KINDS[kind]
        case ["sources", _, "quota"]:
            model = QuotaSettings
        case ["sources", _, "errors", _]:
            model = ErrorRuleSettings
        case ["pool"]:
            model = PoolSettings
    return list(model.model_fields)


def _rooted(model: BaseModel, folder: Path) -> dict[str, Any]:
    """
    Return the fields that hold relative paths, made absolute, through all sections.
    """
    changed: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Path):
            changed[name] = folder / value.expanduser()
        elif isinstance(value, BaseModel):
            changed[name] = value.model_copy(update=_rooted(value, folder))
        elif isinstance(value, dict):
            changed[name] = {
                key: item.model_copy(update=_rooted(item, folder))
                if isinstance(item, BaseModel)
                else item
                for key, item in value.items()
            }
    return changed
