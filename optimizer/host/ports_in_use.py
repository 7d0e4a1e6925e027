"""Listening sockets: the wanted port, or the next free one with a word on who holds the wanted one."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache

import psutil

from optimizer.core.base.errors import Conflict

Bound = socket.socket  # by another name, as BoundPort has a member ``socket``

N_TRIES = 50
SPREADS = sys.platform == "linux"  # connections over all sockets of a port; elsewhere the last one gets them all


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPort:
    """A bound socket; ``notice`` is a sentence when it is not the wanted port.

    It listens, unless it ``is_shared``: then it only holds the port, and each process has a socket of its own.
    """

    socket: socket.socket
    host: str
    port: int
    notice: str | None
    is_shared: bool = False

    def shared(self) -> BoundPort:
        """The same port for several processes, over which the system spreads connections, where it can.

        The port was free: otherwise another server's connections would be spread over here, too. It is held to the end,
        whatever becomes of the processes, so that no other process of any user can listen on it.
        """
        if not SPREADS:
            return self
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # lets in further sockets of this user alone
        holding = _bind(self.host, self.port, shared=True)
        # Needed to bind beside connections that the last server has ended. On a socket that does not listen it would
        # let in the listening socket of any user.
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        self.socket.close()
        return replace(self, socket=holding, is_shared=True)

    def of_one(self) -> Bound:
        """A socket for a process that listens once it is ready, and gets no connection once it has died.

        Where it is passed on, this process closes it. Raises OSError where the system has no more sockets.
        """
        return _bind(self.host, self.port, shared=True)


def listen(host: str, wanted: int, server: str) -> BoundPort:
    """Bind ``wanted`` on ``host``, else the next free port (0: any).

    Raises:
        Conflict: the address is not this machine's, the port needs rights, or no port nearby is free.
    """
    notice = None
    for port in range(wanted, min(wanted + N_TRIES, 65536)):
        try:
            bound = _bind(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise Conflict(
                    f"{server} cannot listen on {host}:{port}: {error.strerror or error}. Choose another host or port."
                ) from None
            notice = notice or f"Port {wanted} is taken by {owner_of(wanted)}"
            continue
        actual = bound.getsockname()[1]
        return BoundPort(
            socket=bound, host=host, port=actual, notice=f"{notice}; {server} uses {actual}." if notice else None
        )
    raise Conflict(
        f"{notice}, and so are the {N_TRIES - 1} ports after it. Free one, or set another port for {server}."
    )


def is_free(host: str, port: int) -> bool:
    """Whether the port could be bound right now."""
    try:
        _bind(host, port).close()
    except OSError:
        return False
    return True


def owner_of(port: int) -> str:
    """Who listens on the port, where the system tells."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="inet"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.pid
                and getattr(connection.laddr, "port", None) == port
            ):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another process (this system does not say which)"


def listening_hosts(pid: int) -> set[str]:
    """The addresses on which a process listens; empty where the system does not say."""
    try:
        listening = (c for c in psutil.Process(pid).net_connections(kind="inet") if c.status == psutil.CONN_LISTEN)
        return {str(getattr(connection.laddr, "ip", "")) for connection in listening}
    except (psutil.Error, OSError):
        return set()


@lru_cache(maxsize=4096)
def is_loopback(host: str | None) -> bool:
    """Whether an address is reachable from this machine only; None is the end of a Unix socket."""
    if host is None or host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return bool((getattr(address, "ipv4_mapped", None) or address).is_loopback)


def network_of(address: str) -> str:
    """An IPv6 host has 2^64 addresses to itself, so they count as one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or f"{parsed.exploded[:19]}::/64") if parsed.version == 6 else address


def reachable_host(host: str) -> str:
    """The host to put into an address that is opened on this machine."""
    if host in ("0.0.0.0", ""):
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host


def _bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
        if not shared:
            bound.listen(1024)
    except OSError:
        bound.close()
        raise
    return bound
