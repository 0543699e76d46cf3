"""
An application behind a port.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from oracle.errors import ConfigError, PortInUseError

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI

GRACE_SECONDS = 5
PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Tls:
    """
    PEM files: a certificate with its chain, its key, and the authority of the clients, if each of
    them has to show a certificate too.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def check(self) -> None:
        """
        Raise `ConfigError` when the files cannot be used.
        """
        if self.key.exists() and self.key.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise ConfigError(
                f"the TLS key {self.key} is open to everybody: run `chmod 600 {self.key}`"
            )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # Without a password for the key, the library would ask for one on the terminal.
            context.load_cert_chain(self.certificate, self.key, password="")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the TLS certificate {self.certificate} and the key {self.key} cannot be used "
                f"({_reason(error)}): give PEM files that belong together, the key without a "
                "password"
            ) from None
        if self.client_ca is None:
            return
        try:
            context.load_verify_locations(self.client_ca)
        except OSError as error:
            raise ConfigError(
                f"the certificate authority {self.client_ca} cannot be used ({_reason(error)}): "
                "give a PEM file"
            ) from None


async def serve(app: FastAPI, host: str, port: int, tls: Tls | None = None) -> None:
    """
    Serve the application until the task is cancelled or the process gets SIGINT or SIGTERM.

    The socket listens before anything else is set up. There is no access log: a query string may
    hold what no log should.

    Raises:
        PortInUseError: another socket listens there.
        ConfigError: the address cannot be listened on for another reason, or the files of `tls`
            cannot be used.

    """
    if tls is not None:
        tls.check()
    listener = _listen(host, port)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
            ssl_ca_certs=str(tls.client_ca) if tls and tls.client_ca else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca else ssl.CERT_NONE,
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


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, ssl.SSLError) else str(getattr(error, "strerror", ""))


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= PORT_MAX:
        raise ConfigError(f"{port} is no port: choose one from 1 to {PORT_MAX}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"Port {port} on {host} is in use: stop what listens there or choose another port."
            ) from None
        raise ConfigError(
            f"Nothing can listen on {host} port {port} ({error.strerror}): choose another address."
        ) from None
    # Only a socket that says TCP gets TCP_NODELAY from asyncio, without which every reply waits
    # for the client's delayed acknowledgement: 40 ms.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listener.detach())
