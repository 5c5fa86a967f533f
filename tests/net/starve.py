"""A program for `test_listener`: an echo server of ours under a limit of open files that its clients exceed."""

from __future__ import annotations

import os
import resource
import sys
import time

from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.protocols.wire import Echo

from voltgw.net import listener as listener_module
from voltgw.net.listener import Listener
from voltgw.net.loop import Loop
from voltgw.net.sockets import listening_socket

#: Clients, and descriptors for the server beyond those that it has at the start.
CLIENTS = 60
ROOM = 20


def main() -> None:
    """Serve as many clients as come; print how many there were, and whether accepting had to pause."""
    listener_module.FD_PAUSE_S = 0.02       # type: ignore[misc]  # so that the test is short
    loop = Loop(reactor, time.monotonic)
    listener = Listener(loop, listening_socket("127.0.0.1", 0), Factory.forProtocol(Echo))
    port = listener.getHost().port      # type: ignore[union-attr]  # it is no Unix socket
    clients = os.fork()                     # no reactor runs yet
    if not clients:
        os.execv(sys.executable, [sys.executable, "-c", _CLIENTS, str(port), str(CLIENTS)])
    here = max(int(fd) for fd in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (here + ROOM, here + ROOM))
    loop.start()
    listener.startListening()

    def look() -> None:
        if os.waitpid(clients, os.WNOHANG)[0]:
            reactor.stop()
        else:
            loop.clock.callLater(0.02, look)

    look()
    reactor.run()
    counters = listener.counters
    paused = "paused" if 0 < counters.paused_fds < 200 else f"paused {counters.paused_fds} times"
    sys.stdout.write(f"served {counters.accepted}, {paused}\n")
    loop.stop()


_CLIENTS = """
import socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
socks = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(count)]
for sock in socks:
    sock.sendall(b"x")
for sock in socks:
    assert sock.recv(1) == b"x"
    sock.close()
"""


if __name__ == "__main__":
    main()
