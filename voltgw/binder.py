"""``python -m voltgw.binder FD UID GID``: a process that binds low ports for a gateway that has given up root.

It is started as root, becomes the gateway's user, keeps CAP_NET_BIND_SERVICE alone (capabilities(7)), and opens the listening
sockets that it is asked for over the Unix socket that it was started with. When that closes it ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import struct
import sys
from typing import Any, Final

from voltgw.net.datagrams import datagram_socket
from voltgw.net.passing import receive_frame, send_frame
from voltgw.net.sockets import CannotListen, listening_socket

# prctl(2), capabilities(7)
_PR_SET_KEEPCAPS: Final = 8
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAP_NET_BIND_SERVICE: Final = 10
_CAP_LAST: Final = 63
_VERSION_3: Final = 0x20080522
#: Longest question.
_MOST_BYTES: Final = 4096


def give_up_all_but_binding(uid: int, gid: int) -> None:
    """Become this user, with one capability. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    for number in range(_CAP_LAST + 1):
        if number != _CAP_NET_BIND_SERVICE:
            libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)       # fails for those that this kernel does not have
    _checked(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    keeps = 1 << _CAP_NET_BIND_SERVICE
    head = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0))
    sets = ctypes.create_string_buffer(struct.pack("=6I", keeps, keeps, 0, 0, 0, 0))    # effective, permitted, inheritable
    _checked(libc.capset(head, sets))
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def opened(asked: dict[str, Any]) -> socket.socket:
    """The socket that is asked for. Raises `CannotListen`."""
    address, port = asked["address"], int(asked["port"])
    freebind, reuse_port = bool(asked["freebind"]), bool(asked["reuse_port"])
    if address is not None and not isinstance(address, str) or address is not None and address.startswith("/"):
        raise ValueError("no address of a low port")
    make = datagram_socket if asked["kind"] == "UDP" else listening_socket
    made: socket.socket = make(address, port, freebind=freebind, reuse_port=reuse_port)
    return made


def serve(sock: socket.socket) -> None:
    """Open what is asked for until nobody asks any more."""
    while True:
        try:
            data, fds = receive_frame(sock, _MOST_BYTES)
        except (OSError, ValueError):
            return
        for fd in fds:
            os.close(fd)
        try:
            with opened(json.loads(data)) as made:
                send_frame(sock, b"{}", [made.fileno()])
        except CannotListen as error:
            send_frame(sock, json.dumps({"errno": error.errno, "place": error.place, "hint": error.hint}).encode())
        except (ValueError, KeyError, TypeError) as error:
            send_frame(sock, json.dumps({"errno": 22, "place": "what was asked for", "hint": str(error)}).encode())


def main(arguments: list[str]) -> int:
    """Run until nobody asks any more; the exit status."""
    fd, uid, gid = map(int, arguments)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)       # typed at a terminal they go to all; it ends with the gateway
    with socket.socket(fileno=fd) as sock:
        sock.set_inheritable(False)
        give_up_all_but_binding(uid, gid)
        serve(sock)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
