"""TCP options that an operator may choose. Set on a listening socket, they are those of every connection accepted later."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Final

#: Level, name and value, as setsockopt(2) wants them.
SocketOption = tuple[int, int, int | bytes]

_TCP_USER_TIMEOUT: Final = 18               # tcp(7); milliseconds
#: How options are called in the configuration.
_NAMES: Final = {
    (socket.IPPROTO_TCP, socket.TCP_CONGESTION): "congestion_control", (socket.SOL_SOCKET, socket.SO_SNDBUF): "send_buffer",
    (socket.SOL_SOCKET, socket.SO_RCVBUF): "receive_buffer", (socket.IPPROTO_TCP, _TCP_USER_TIMEOUT): "user_timeout",
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE): "keep_alive", (socket.IPPROTO_TCP, socket.TCP_FASTOPEN): "fast_open",
}
_PROBES: Final = 3
#: The shortest pause between two keep-alive probes; a third of the silence before the first one, if that is longer.
_PROBE_INTERVAL_S: Final = 5


def tcp_options(
    *, congestion_control: str | None, send_buffer_bytes: int | None, receive_buffer_bytes: int | None,
    user_timeout_s: float | None, keep_alive_s: float | None, fast_open: int | None = None,
) -> tuple[SocketOption, ...]:
    """The options for what is said (None = the host's own settings).

    `keep_alive_s` is the silence after which the peer is asked for a sign of life; three questions without an answer end the
    connection. `user_timeout_s` bounds how long bytes that were sent may stay unacknowledged. `fast_open` is how many
    connections with data in their SYN may wait (0: none).
    """
    tcp, options = socket.IPPROTO_TCP, list[SocketOption]()
    if congestion_control is not None:
        options.append((tcp, socket.TCP_CONGESTION, congestion_control.encode("ascii")))
    if send_buffer_bytes is not None:
        options.append((socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes))
    if receive_buffer_bytes is not None:
        options.append((socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes))
    if user_timeout_s is not None:
        options.append((tcp, _TCP_USER_TIMEOUT, round(user_timeout_s * 1000)))
    if keep_alive_s is not None:
        idle_s = max(1, round(keep_alive_s))
        options += [(tcp, socket.TCP_KEEPIDLE, idle_s), (tcp, socket.TCP_KEEPINTVL, max(_PROBE_INTERVAL_S, idle_s // 3)),
                    (tcp, socket.TCP_KEEPCNT, _PROBES)]
    if fast_open is not None:
        options.append((tcp, socket.TCP_FASTOPEN, fast_open))
    return tuple(options)


def refused_by_host(options: Iterable[SocketOption]) -> list[str]:
    """What this host does not take of the options for connections that are yet to be made."""
    try:
        trial = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []                           # no descriptor is left to try them with
    with trial:
        return tune(trial.fileno(), options)


def tune(fd: int, options: Iterable[SocketOption]) -> list[str]:
    """Set them on a socket; what the kernel refuses is left as it is, and said in the result."""
    refused = []
    sock = socket.socket(fileno=fd)         # no copy of the descriptor: there may be none left, and a reload must not fail here
    try:
        for level, name, value in options:
            try:
                sock.setsockopt(level, name, value)
            except OSError as error:
                said = value.decode("ascii") if isinstance(value, bytes) else value
                refused.append(f"{_NAMES.get((level, name), f'option {name}')} of {said}: {error.strerror}")
    finally:
        sock.detach()
    return refused
