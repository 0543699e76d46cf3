"""
The QRNG Open API: capabilities, entropy in blocks of base64, and a health test.

The interface is that of the Markdown document in github.com/PaloAltoNetworks/QRNG-OPENAPI; it
specifies no error body and no authentication beyond Bearer and X-API-KEY.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, Field

from oracle.errors import KeyRefusedError, ParametersError, QuotaExhaustedError, RateLimitedError
from oracle.gateway.answering import Answers, retry_after
from oracle.gateway.reading import bearer, cut, json_object, whole

if TYPE_CHECKING:
    from oracle.errors import OracleError
    from oracle.gateway.desk import Desk, Scope

TEST = "pool_level"
THRESHOLDS = {"test_type": TEST, "good": 0.5, "warning": 0.1, "error": 0.01}

_SECURITY = [
    Security(HTTPBearer(auto_error=False)),
    Security(APIKeyHeader(name="X-API-KEY", auto_error=False)),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """
    Where one deployment of the API differs from another.
    """

    scope: Scope
    block_size_max: int = 1024
    block_count_max: int = 512
    health: bool = True
    quota_status: int = 429


class EntropyCapabilities(BaseModel):
    """
    What one call for entropy may ask.
    """

    min_block_size: int
    max_block_size: int
    min_block_count: int
    max_block_count: int
    entropy_types: list[str]
    extensions: list[dict[str, Any]]


class Threshold(BaseModel):
    """
    At or above which result a test is good, or worth a warning or an error.
    """

    test_type: str
    good: float
    warning: float
    error: float


class HealthCapabilities(BaseModel):
    """
    Which tests there are.
    """

    test_threshold: list[Threshold]


class Capabilities(BaseModel):
    """
    What this server can do.
    """

    entropy: EntropyCapabilities
    healthtest: HealthCapabilities | None = None
    extensions: list[dict[str, Any]]


class Entropy(BaseModel):
    """
    As many blocks as were asked for.
    """

    entropy: Annotated[list[str], Field(description="Each of `block_size` bytes, in base64.")]
    extensions: list[dict[str, Any]]


class TestResult(BaseModel):
    """
    The newest result of one test.
    """

    test_type: str
    test_result: float
    time_stamp: datetime
    report_link: str


class HealthTest(BaseModel):
    """
    The newest result of every test.
    """

    test_result: list[TestResult]
    extensions: list[dict[str, Any]]


class Refusal(BaseModel):
    """
    Why nothing was drawn.
    """

    detail: str


def router(desk: Desk, variant: Variant) -> APIRouter:
    """
    Return the routes, to be mounted under as many prefixes as deployments have.
    """
    routes = APIRouter()
    service = _Service(desk, variant)
    answers = Answers(routes, service.refuse)
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": Refusal} for status in sorted({401, 422, 429, 503, variant.quota_status})
    }
    answers.get(
        ["/capabilities"],
        service.capabilities,
        summary="What may be asked for",
        dependencies=_SECURITY,
        responses={200: {"model": Capabilities}, **refusals},
    )
    answers.post(
        ["/entropy"],
        service.entropy,
        summary="Entropy",
        dependencies=_SECURITY,
        openapi_extra={
            "requestBody": _body(variant.block_size_max, service.count_max, service.kind)
        },
        responses={200: {"model": Entropy}, **refusals},
    )
    if variant.health:
        answers.get(
            ["/healthtest"],
            service.healthtest,
            summary="Health",
            dependencies=_SECURITY,
            responses={200: {"model": HealthTest}, **refusals},
        )
    return routes


class _Service:
    """
    The handlers of one variant.
    """

    def __init__(self, desk: Desk, variant: Variant) -> None:
        self._desk = desk
        self._variant = variant
        self._extensions = [{"simulated": True}] if desk.simulated else []
        self.kind = "simulated" if desk.simulated else "quantum"
        blocks = desk.largest // variant.block_size_max
        self.count_max = max(1, min(variant.block_count_max, blocks))

    async def capabilities(self, request: Request) -> Response:
        """
        Say what may be asked for.
        """
        await self._desk.admit(request, self._variant.scope, _key(request))
        document: dict[str, Any] = {
            "entropy": {
                "min_block_size": 1,
                "max_block_size": self._variant.block_size_max,
                "min_block_count": 1,
                "max_block_count": self.count_max,
                "entropy_types": [self.kind],
                "extensions": [],
            }
        }
        if self._variant.health:
            document["healthtest"] = {"test_threshold": [THRESHOLDS]}
        return JSONResponse({**document, "extensions": self._extensions})

    async def entropy(self, request: Request) -> Response:
        """
        Draw `block_count` blocks of `block_size` bytes. The content type does not matter.
        """
        visit = await self._desk.admit(request, self._variant.scope, _key(request))
        body = await json_object(request)
        if body is None:
            raise ParametersError("the body must be a JSON object")
        size = whole(body.get("block_size"), 1, self._variant.block_size_max)
        if size is None:
            raise ParametersError(
                f"block_size must be an integer from 1 to {self._variant.block_size_max}"
            )
        count = whole(body.get("block_count", 1), 1, self.count_max)
        if count is None:
            raise ParametersError(f"block_count must be an integer from 1 to {self.count_max}")
        if body.get("entropy_type", self.kind) != self.kind:
            raise ParametersError(f"entropy_type must be {self.kind}")
        blocks = cut(await visit.draw(size * count), size)
        return JSONResponse(
            {
                "entropy": [base64.b64encode(block).decode("ascii") for block in blocks],
                "extensions": self._extensions,
            }
        )

    async def healthtest(self, request: Request) -> Response:
        """
        Say how full the supply is, from 0 to 1.
        """
        await self._desk.admit(request, self._variant.scope, _key(request))
        result = {
            "test_type": TEST,
            "test_result": round(await self._desk.level(), 4),
            "time_stamp": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "report_link": f"{request.base_url}docs",
        }
        return JSONResponse({"test_result": [result], "extensions": self._extensions})

    def refuse(self, error: OracleError) -> Response:
        """
        Answer an error; only the key, the body, the rate and the quota are a client's concern.
        """
        body = {"detail": str(error)}
        match error:
            case ParametersError():
                return JSONResponse(body, status_code=422)
            case KeyRefusedError():
                challenge = {"WWW-Authenticate": "Bearer"}
                return JSONResponse(body, status_code=401, headers=challenge)
            case QuotaExhaustedError():
                pause = retry_after(error.retry_after)
                return JSONResponse(body, status_code=self._variant.quota_status, headers=pause)
            case RateLimitedError():
                pause = retry_after(error.retry_after)
                return JSONResponse(body, status_code=429, headers=pause)
            case _:
                return JSONResponse({"detail": "Service Unavailable"}, status_code=503)


def _key(request: Request) -> str | None:
    return bearer(request) or request.headers.get("X-API-KEY")


def _body(size_max: int, count_max: int, kind: str) -> dict[str, Any]:
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["block_size"],
                    "properties": {
                        "block_size": {"type": "integer", "minimum": 1, "maximum": size_max},
                        "block_count": {
                            "type": "integer",
                            "minimum": 1,
                            "maximum": count_max,
                            "default": 1,
                        },
                        "entropy_type": {"type": "string", "enum": [kind], "default": kind},
                    },
                }
            }
        },
    }
