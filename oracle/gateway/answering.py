"""
How a dialect's handlers become routes: a refusal is an exception.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from oracle.errors import OracleError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fastapi import APIRouter, Request, Response

    Handler = Callable[[Request], Awaitable[Response]]


class Answers:
    """
    Adds handlers to a router; `refuse` turns every error of the tree into the dialect's reply.

    The framework hands the one parameter of a handler over by its name, which is `request`.
    """

    def __init__(self, routes: APIRouter, refuse: Callable[[OracleError], Response]) -> None:
        self._routes = routes
        self._refuse = refuse

    def get(self, paths: Sequence[str], handler: Handler, **documentation: Any) -> None:
        """
        Answer GET and HEAD; the last of the paths is the one in the documentation.

        A handler that sees HEAD draws nothing; the server drops whatever body it returns.
        """
        self._add("GET", paths, handler, documentation)
        for path in paths:
            self._routes.add_api_route(
                path, self._answering(handler), methods=["HEAD"], include_in_schema=False
            )

    def post(self, paths: Sequence[str], handler: Handler, **documentation: Any) -> None:
        """
        Answer POST; the last of the paths is the one in the documentation.
        """
        self._add("POST", paths, handler, documentation)

    def _add(
        self, method: str, paths: Sequence[str], handler: Handler, documentation: dict[str, Any]
    ) -> None:
        for path in paths:
            self._routes.add_api_route(
                path,
                self._answering(handler),
                methods=[method],
                include_in_schema=path == paths[-1],
                **documentation,
            )

    def _answering(self, handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except OracleError as error:
                return self._refuse(error)

        return answer


def retry_after(seconds: float) -> dict[str, str]:
    """
    Return the header that asks for a pause, in whole seconds.
    """
    return {"Retry-After": str(max(1, -int(-seconds // 1)))}
