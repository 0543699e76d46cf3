"""
An application behind a port.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

import uvicorn

from oracle.errors import ConfigError, PortInUseError

if TYPE_CHECKING:
    from fastapi import FastAPI

GRACE_SECONDS = 5
PORT_MAX = 65_535


async def serve(app: FastAPI, host: str, port: int) -> None:
    """
    Serve the application until the task is cancelled or the process gets SIGINT or SIGTERM.

    The socket listens before anything else is set up. There is no access log: a query string may
    hold what no log should.

    Raises:
        PortInUseError: another socket listens there.
        ConfigError: the address cannot be listened on for another reason.

    """
    listener = _listen(host, port)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    try:
        await server.serve(sockets=[listener])
    except asyncio.CancelledError:
        if server.started:
            await server.shutdown(sockets=[listener])
        raise
    finally:
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= PORT_MAX:
        raise ConfigError(f"{port} is no port: choose one from 1 to {PORT_MAX}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"Port {port} on {host} is in use: stop what listens there or choose another port."
            ) from None
        raise ConfigError(
            f"Nothing can listen on {host} port {port} ({error.strerror}): choose another address."
        ) from None
