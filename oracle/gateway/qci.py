"""
The dialect of QCI's uQRNG: an API token buys access tokens, and numbers come as a bare array.

Access tokens are signed with a key of this process and kept nowhere: after a restart a client
gets 401 and asks for a new one, as it does when one expires.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

from oracle import __version__
from oracle.errors import KeyRefusedError, ParametersError, QuotaExhaustedError, RateLimitedError
from oracle.gateway.answering import Answers, retry_after
from oracle.gateway.desk import Scope
from oracle.gateway.reading import bearer, cut, json_object, whole

if TYPE_CHECKING:
    from oracle.errors import OracleError
    from oracle.gateway.desk import Desk, Visit

TOKEN_SECONDS = 3600
SAMPLES_MAX = 1_000_000
BITS_MAX = 64
OUTPUT_TYPES = ("decimal", "binary")

_BEARER = [Security(HTTPBearer(auto_error=False))]


class AccessToken(BaseModel):
    """
    A token for an hour; without a slash at the end of the path.
    """

    access_token: str
    expires_in: Annotated[int, Field(description="When it expires: an absolute Unix time.")]
    scope: str
    token_type: str


class OwnedAccessToken(BaseModel):
    """
    A token for an hour; with a slash at the end of the path.
    """

    access_token: str
    expires_at_rfc3339: str
    token_type: str
    organization_id: str
    user_id: str


class Usage(BaseModel):
    """
    What was drawn.
    """

    n_bits: int


class Refusal(BaseModel):
    """
    Why nothing was drawn.
    """

    detail: str


class Mistake(BaseModel):
    """
    A parameter that is missing or out of its range.
    """

    loc: list[str]
    msg: str
    type: str


class Mistakes(BaseModel):
    """
    What is wrong with the body.
    """

    detail: list[Mistake]


class Tokens:
    """
    Signed statements of who may draw, and until when.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def issue(self, client_id: str, expires_at: int) -> str:
        """
        Return a token for a client.
        """
        body = base64.urlsafe_b64encode(f"{expires_at}|{client_id}".encode()).decode("ascii")
        return f"{body}.{self._signature(body)}"

    def client_of(self, token: str) -> str:
        """
        Return whose token it is. Raises `KeyRefusedError` when it is expired or not ours.
        """
        body, _, signature = token.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            raise KeyRefusedError("Could not validate credentials")
        expires_at, _, client_id = base64.urlsafe_b64decode(body).decode().partition("|")
        if int(expires_at) <= time.time():
            raise KeyRefusedError("The access token has expired")
        return client_id

    def _signature(self, body: str) -> str:
        return hmac.digest(self._key, body.encode(), "sha256").hex()


def router(desk: Desk) -> APIRouter:
    """
    Return the routes of the authentication and of the numbers.
    """
    routes = APIRouter()
    service = _Service(desk)
    refusals: dict[int | str, dict[str, Any]] = {
        401: {"model": Refusal, "description": "The token is refused or expired."},
        403: {"model": Refusal, "description": "The month's quota is used up."},
        422: {"model": Mistakes, "description": "A parameter is out of its range."},
        429: {"model": Refusal, "description": "Too many requests."},
        503: {"model": Refusal, "description": "There is no supply."},
    }
    token_refusals = {status: refusals[status] for status in (401, 422)}
    answers = Answers(routes, _refuse)
    for path, model in (("", AccessToken), ("/", OwnedAccessToken)):
        answers.post(
            [f"/auth/v1/access-tokens{path}"],
            service.access_token,
            summary="An access token",
            openapi_extra=_body({"refresh_token": {"type": "string"}}),
            responses={200: {"model": model}, **token_refusals},
        )
    for name, handler in (("health", _health), ("version", _version)):
        answers.get([f"/auth/v1/access-tokens/{name}"], handler, summary=f"{name} of the tokens")
    answers.post(
        ["/qrng/random_numbers"],
        service.random_numbers,
        summary="Random numbers",
        dependencies=_BEARER,
        openapi_extra=_body(
            {
                "distribution": {"type": "string", "enum": ["uniform_discrete"]},
                "output_type": {"type": "string", "enum": list(OUTPUT_TYPES)},
                "n_samples": {"type": "integer", "minimum": 1, "maximum": SAMPLES_MAX},
                "n_bits": {"type": "integer", "minimum": 1, "maximum": BITS_MAX},
            }
        ),
        responses={200: {"model": list[int] | list[str]}, **refusals},
    )
    answers.post(
        ["/qrng/usage"],
        service.usage,
        summary="What was drawn",
        dependencies=_BEARER,
        openapi_extra=_body(
            {
                "start_date": {"type": "string", "format": "date"},
                "end_date": {"type": "string", "format": "date"},
            }
        ),
        responses={200: {"model": Usage}, **token_refusals},
    )
    return routes


class _Service:
    """
    The handlers.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._tokens = Tokens()

    async def access_token(self, request: Request) -> Response:
        """
        Exchange an API token for an access token.
        """
        body = await json_object(request)
        key = (body or {}).get("refresh_token")
        if not isinstance(key, str):
            raise _FieldError("refresh_token", "must be a string")
        visit = await self._desk.admit(request, Scope.QCI, key)
        expires_at = int(time.time()) + TOKEN_SECONDS
        token = self._tokens.issue(visit.client_id, expires_at)
        if not request.url.path.endswith("/"):
            return JSONResponse(
                {
                    "access_token": token,
                    "expires_in": expires_at,
                    "scope": "access_token",
                    "token_type": "bearer",
                }
            )
        at = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return JSONResponse(
            {
                "access_token": token,
                "expires_at_rfc3339": at,
                "token_type": "bearer",
                "organization_id": visit.client_id,
                "user_id": visit.client_id,
            }
        )

    async def random_numbers(self, request: Request) -> Response:
        """
        Draw `n_samples` uniform numbers of `n_bits` bits each.
        """
        visit = await self._admitted(request)
        body = await json_object(request) or {}
        output = body.get("output_type")
        if body.get("distribution") != "uniform_discrete":
            raise _FieldError(
                "distribution", "must be uniform_discrete, the one that is served here"
            )
        if output not in OUTPUT_TYPES:
            raise _FieldError("output_type", f"must be one of {', '.join(OUTPUT_TYPES)}")
        samples = whole(body.get("n_samples"), 1, SAMPLES_MAX)
        if samples is None:
            raise _FieldError("n_samples", f"must be an integer from 1 to {SAMPLES_MAX}")
        bits = whole(body.get("n_bits"), 1, BITS_MAX)
        if bits is None:
            raise _FieldError("n_bits", f"must be an integer from 1 to {BITS_MAX}")
        width = -(-bits // 8)
        surplus = 8 * width - bits
        data = await visit.draw(samples * width)
        numbers = [int.from_bytes(block, "big") >> surplus for block in cut(data, width)]
        if output == "binary":
            return JSONResponse([f"{number:0{bits}b}" for number in numbers])
        return JSONResponse(numbers)

    async def usage(self, request: Request) -> Response:
        """
        Say how many bits were drawn on the days from the first to the last, UTC, both included.
        """
        visit = await self._admitted(request)
        body = await json_object(request) or {}
        first, last = _day(body, "start_date"), _day(body, "end_date")
        return JSONResponse({"n_bits": await visit.usage(first, last)})

    async def _admitted(self, request: Request) -> Visit:
        token = bearer(request)
        if token is None:
            raise KeyRefusedError("Not authenticated")
        return await self._desk.readmit(request, Scope.QCI, self._tokens.client_of(token))


async def _health(request: Request) -> Response:
    """
    Say that tokens are issued.
    """
    del request
    return JSONResponse({"message": "ok"})


async def _version(request: Request) -> Response:
    """
    Say which software issues tokens.
    """
    del request
    return JSONResponse({"application_name": "quantum-oracle", "version": __version__})


class _FieldError(ParametersError):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def _day(body: dict[str, Any], field: str) -> date:
    try:
        return date.fromisoformat(body[field])
    except (KeyError, TypeError, ValueError):
        raise _FieldError(field, "must be a date as in 2026-01-31") from None


def _body(properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": list(properties), "properties": properties}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _refuse(error: OracleError) -> Response:
    match error:
        case _FieldError():
            mistake = {"loc": ["body", error.field], "msg": str(error), "type": "value_error"}
            return JSONResponse({"detail": [mistake]}, status_code=422)
        case KeyRefusedError():
            challenge = {"WWW-Authenticate": "Bearer"}
            return JSONResponse({"detail": str(error)}, status_code=401, headers=challenge)
        case QuotaExhaustedError():
            return JSONResponse({"detail": str(error)}, status_code=403)
        case RateLimitedError():
            pause = retry_after(error.retry_after)
            return JSONResponse({"detail": "Too Many Requests"}, status_code=429, headers=pause)
        case _:
            return JSONResponse({"detail": "Service Unavailable"}, status_code=503)
