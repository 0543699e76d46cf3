"""
A real HTTP proxy in front of a chain's endpoint that lies about one thing.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
from aiohttp import web

from oracle.devnet.processes import free_port
from oracle.evm import keccak

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    #: Changes `box["result"]` in place, with `box["params"]` at hand.
    Edit = Callable[[dict[str, Any]], None]


@asynccontextmanager
async def lying(rpc_url: str, method: str, edit: Edit) -> AsyncIterator[str]:
    """
    Yield the URL of a proxy that edits every answer to one method.
    """

    # Without TLS: a client of its own for every call would read all authorities every time.
    client = httpx.AsyncClient(trust_env=False, verify=False)

    async def answer(asked: web.Request) -> web.Response:
        query = await asked.json()
        reply = (await client.post(rpc_url, json=query)).json()
        if query["method"] == method and reply.get("result"):
            box = {"result": reply["result"], "params": query["params"]}
            edit(box)
            reply["result"] = box["result"]
        return web.json_response(reply)

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
        await client.aclose()


def flip(text: str, at: int = -1) -> str:
    """
    Change one hexadecimal digit.
    """
    digits = list(text)
    digits[at] = "1" if digits[at] == "0" else "0"
    return "".join(digits)


def in_logs(topic: bytes, field: str, at: int = -1) -> Edit:
    """
    Change a digit of a field in every log of a kind.
    """

    def edit(box: dict[str, Any]) -> None:
        for log in box["result"]:
            if log["topics"][0] == "0x" + topic.hex():
                log[field] = flip(log[field], at)

    return edit


def without(topic: bytes) -> Edit:
    """
    Lose every log of a kind.
    """

    def edit(box: dict[str, Any]) -> None:
        box["result"] = [log for log in box["result"] if log["topics"][0] != "0x" + topic.hex()]

    return edit


def in_answer(signature: str, at: int = -1) -> Edit:
    """
    Change a digit of what a view answers.
    """
    selector = "0x" + keccak(signature.encode())[:4].hex()

    def edit(box: dict[str, Any]) -> None:
        call = box["params"][0]
        if (call.get("data") or call.get("input")).startswith(selector):
            box["result"] = flip(box["result"], at)

    return edit


def in_result(field: str, at: int = -1) -> Edit:
    """
    Change a digit of one field.
    """

    def edit(box: dict[str, Any]) -> None:
        box["result"][field] = flip(box["result"][field], at)

    return edit
