"""
The sections `[sources.NAME]` of the configuration, one for every kind of entropy source.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

_CREDENTIAL = re.compile(r"auth|key|token|secret|cookie", re.IGNORECASE)


class Section(BaseModel):
    """
    A section that knows its keys and does not change.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class QuotaSettings(Section):
    """
    What an account may draw in a period; the node stops there by itself.
    """

    requests: Annotated[int, Field(gt=0)] | None = None  #: how many in a period
    bits: Annotated[int, Field(gt=0)] | None = None  #: how many in a period
    per: Literal["day", "month"] = "month"  #: the period, in UTC
    reset_day: Annotated[int, Field(ge=1, le=28)] = 1  #: day of the month on which it begins anew


class _SourceSettings(Section):
    vendor: str | None = None  #: who runs it: sources of one vendor count as one
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None  #: default: the vendor's rate
    quota: QuotaSettings | None = None  #: what the account may draw


class _HttpSettings(_SourceSettings):
    url: str  #: the server's
    ca_file: Path | None = None  #: PEM: trust these authorities, and no others
    certificate_file: Path | None = None  #: PEM: the client's own, where the server wants one
    private_key_file: Path | None = None  #: PEM: of that certificate, without a password

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.certificate_file is None) != (self.private_key_file is None):
            raise ValueError("certificate_file and private_key_file belong together: give both")
        return self


class AnuQuantumNumbersSettings(_HttpSettings):
    """
    ANU Quantum Numbers.
    """

    kind: Literal["anu-quantum-numbers"]  #: which API it speaks
    url: str = "https://api.quantumnumbers.anu.edu.au/"  #: the vendor's, or a gateway's
    key: SecretStr | None = None  #: the vendor's API key
    key_file: Path | None = None  #: a file that holds the key


class AnuLegacySettings(_HttpSettings):
    """
    ANU's older API: free, without a key.
    """

    kind: Literal["anu-legacy"]  #: which API it speaks
    url: str = "https://qrng.anu.edu.au"  #: what stands before /API/jsonI.php


class QrngOpenApiSettings(_HttpSettings):
    """
    Any server of the QRNG Open API; with a key, a token, or neither.
    """

    kind: Literal["qrng-open-api"]  #: which API it speaks
    url: str  #: what stands before /entropy, with /v1 or /api/v1 if the vendor has that
    key: SecretStr | None = None  #: sent as X-API-KEY
    key_file: Path | None = None  #: a file that holds the key
    token: SecretStr | None = None  #: sent as Bearer
    token_file: Path | None = None  #: a file that holds the token
    entropy_type: str | None = None  #: default: the first that the server offers, never raw


class QryptSettings(_HttpSettings):
    """
    Qrypt EaaS.
    """

    kind: Literal["qrypt"]  #: which API it speaks
    url: str = "https://api-eus.qrypt.com/api/v1"  #: what stands before /quantum-entropy
    token: SecretStr | None = None  #: with the Entropy scope
    token_file: Path | None = None  #: a file that holds the token


class QciSettings(_HttpSettings):
    """
    QCI uQRNG.
    """

    kind: Literal["qci"]  #: which API it speaks
    url: str = "https://api.qci-prod.com"  #: what stands before /auth and /qrng
    token: SecretStr | None = None  #: the API token, which buys access tokens
    token_file: Path | None = None  #: a file that holds the token
    quota: QuotaSettings | None = QuotaSettings(bits=1_000_000_000)  #: default: the free plan's


class DeviceSettings(_SourceSettings):
    """
    A QRNG that the operating system shows as a file.
    """

    kind: Literal["device"]  #: which API it speaks
    path: Path  #: a character device, a FIFO, or a file that is used up


class LfdSettings(_HttpSettings):
    """
    The QRNG of lfdr.de.
    """

    kind: Literal["lfd"]  #: which API it speaks
    url: str = "https://lfdr.de/qrng_api/qrng"  #: the whole address


class QuandelaSettings(_HttpSettings):
    """
    Quandela Entropy.
    """

    kind: Literal["quandela"]  #: which API it speaks
    url: str = "https://api.cloud.quandela.com"  #: what stands before /qt
    token: SecretStr | None = None  #: a Cloud job token
    token_file: Path | None = None  #: a file that holds the token


class OutshiftSettings(_HttpSettings):
    """
    Cisco Outshift.
    """

    kind: Literal["outshift"]  #: which API it speaks
    url: str = "https://api.qrng.outshift.com/api/v1"  #: what stands before /random_numbers
    key: SecretStr | None = None  #: the vendor's API key
    key_file: Path | None = None  #: a file that holds the key
    quota: QuotaSettings | None = QuotaSettings(bits=100_000, per="day")  #: the free plan's


class ErrorRuleSettings(Section):
    """
    What a reply means that has this status, or any, and contains this text.
    """

    #: what the node makes of it
    meaning: Literal["retry", "throttled", "quota", "credentials", "refused"]
    status: int | None = None  #: of HTTP; default: any
    contains: str = ""  #: a part of the reply's text
    retry_after: Annotated[float, Field(gt=0)] = 10.0  #: seconds to wait
    resets: Literal["day", "month"] | None = None  #: when a used-up quota begins anew

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.status is None and not self.contains:
            raise ValueError("a rule for errors needs a status or a text: give one")
        return self


class JsonHttpSettings(_HttpSettings):
    """
    Any API that gives bytes in JSON; see `oracle.entropy.json_http.Recipe` for the words.
    """

    kind: Literal["json-http"]  #: which API it speaks
    url: str  #: what stands before `path`
    key: SecretStr | None = None  #: sent where `path` or `key_header` says
    key_file: Path | None = None  #: a file that holds the key
    method: Literal["GET", "POST"] = "GET"  #: of the HTTP request
    path: str = ""  #: `{key}` in it stands for the key
    query: dict[str, str] = Field(default_factory=dict)  #: of the URL; {items}, {bytes}: counts
    body: dict[str, Any] | None = None  #: sent as JSON, with the same counts
    headers: dict[str, str] = Field(default_factory=dict)  #: never credentials
    key_header: str = ""  #: the header that carries the key
    key_prefix: str = ""  #: what stands before the key in it
    data: str  #: where the bytes are, as in jobs[].bytes
    encoding: Literal["hex", "base64", "integer", "decimal", "binary"]  #: how they are written
    item_bytes: Annotated[int, Field(ge=0, le=1024)] = 0  #: width of an item; 0: any
    max_bytes: Annotated[int, Field(ge=64, le=65_536)] = 4096  #: of one call at most
    expect: dict[str, Any] = Field(default_factory=dict)  #: what a success says, by path
    errors: tuple[ErrorRuleSettings, ...] = ()  #: the first rule that fits a failure counts
    provenance: tuple[str, ...] = ()  #: what is kept of a reply

    @model_validator(mode="after")
    def _check_headers(self) -> Self:
        if any(_CREDENTIAL.search(name) for name in self.headers):
            raise ValueError("headers holds credentials: use key_header and key_file instead")
        if not self.item_bytes and self.encoding not in ("hex", "base64"):
            raise ValueError(f"items written as {self.encoding} have a width: give item_bytes")
        return self


SourceSettings = Annotated[
    AnuQuantumNumbersSettings
    | AnuLegacySettings
    | QrngOpenApiSettings
    | QryptSettings
    | QciSettings
    | DeviceSettings
    | LfdSettings
    | QuandelaSettings
    | OutshiftSettings
    | JsonHttpSettings,
    Field(discriminator="kind"),
]
KINDS: dict[str, type[_SourceSettings]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model
    for model in get_args(get_args(SourceSettings)[0])
}
