"""What systemd is told of a service of ``Type=notify-reload`` or ``notify`` (sd_notify(3)): ready, reloading, stopping, alive.

Listening sockets are kept in systemd's store as well, where the unit has one (``FileDescriptorStoreMax=``): after a crash the
next process has them, and clients wait in their queues meanwhile.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger

if TYPE_CHECKING:
    from voltgw.app.service import GatewayService

#: How often it is looked whether there is something to tell.
_LOOK_S: Final = 0.25
#: How often the line of ``systemctl status`` is renewed.
_STATUS_S: Final = 5.0


class Systemd:
    """Tells it. Without ``NOTIFY_SOCKET`` in `environ` nothing happens. It lives on the reactor: a loop that does not turn
    does not say that it is alive.
    """

    _log = Logger()

    def __init__(self, gateway: GatewayService, environ: MutableMapping[str, str]) -> None:
        self._gateway = gateway
        self._reactor: Any = gateway.deps.reactor
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_s = watchdog_s(environ, os.getpid())
        self._stores = int(store) if (store := environ.get("FDSTORE", "")).isdecimal() else 0
        self._stored: dict[str, str] = {}   # names in the store, with the socket that each means
        self._ready = self._over = self._failed = False
        self._alive_at = self._status_at = 0.0
        self._call: Any = None

    def start(self) -> None:
        """Tell from now on, if somebody listens."""
        if not self._address:
            return
        gateway = self._gateway
        gateway.handover.gives_way = self._gives_way
        begins, ended = gateway.on_reload, gateway.on_reloaded

        def reload() -> None:
            if self._ready:                 # CLOCK_MONOTONIC, whatever clock the gateway has
                self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
            if begins is not None:
                begins()

        def reloaded() -> None:
            if ended is not None:
                ended()
            if self._ready and not self._over:
                self.tell("READY=1")
                self._status_at = 0.0

        gateway.on_reload, gateway.on_reloaded = reload, reloaded
        self._look()

    def stop(self) -> None:
        """It drains. The watchdog is told that we are alive until `end`."""
        if self._address and not self._over:
            self._over = True
            self.tell("STOPPING=1", "STATUS=draining")

    def end(self) -> None:
        """Nothing more is told."""
        self._over = True
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def tell(self, *lines: str, fds: Sequence[int] = ()) -> None:
        """Send one message; who does not listen is no reason to end."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
                sock.connect(self._address)
                socket.send_fds(sock, ["\n".join(lines).encode()], list(fds))
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._log.warn("systemd cannot be told: {error}", error=error.strerror, event="systemd.silent")

    # -- inside ----------------------------------------------------------------------------------------------------

    def _gives_way(self, pid: int) -> None:
        """The process of the service is another one from now on, and speaks for it."""
        self.tell(f"MAINPID={pid}")
        self.end()

    def _look(self) -> None:
        self._call = self._reactor.callLater(min(_LOOK_S, self._watchdog_s / 2 or _LOOK_S), self._look)
        gateway, now = self._gateway, self._gateway.deps.monotonic()
        if gateway.predecessor is not None and not gateway.predecessor.replaced:
            return                          # another process speaks for the service
        if self._watchdog_s and now >= self._alive_at:
            self._alive_at = now + self._watchdog_s / 2
            self.tell("WATCHDOG=1")
        if self._over:
            return
        ready, missing = gateway.ready()
        if ready and not self._ready:
            self._ready = True
            self._status_at = 0.0
            self.tell("READY=1")
        if self._stores and self._ready:
            self._store()
        if now >= self._status_at:
            self._status_at = now + _STATUS_S
            state = f"{gateway.listening.connections} connections" if ready else f"not ready: {missing[0]}"
            self.tell(f"STATUS=generation {gateway.generation}, {len(gateway.listening.bound)} listeners, {state}")

    def _store(self) -> None:
        """Have the store hold what listens, and nothing else."""
        wanted = {hashlib.sha256(str(key).encode()).hexdigest()[:24]: (key, fd) for key, fd in self._gateway.listening.handed()
                  if "@" not in key.network}        # of another namespace: its place does not say whose it is
        for name in [each for each in self._stored if each not in wanted]:
            del self._stored[name]
            self.tell("FDSTOREREMOVE=1", f"FDNAME={name}")
        for name, (_, fd) in wanted.items():
            inode = os.fstat(fd).st_ino
            if self._stored.get(name) == str(inode) or len(self._stored) >= self._stores:
                continue
            if name in self._stored:
                self.tell("FDSTOREREMOVE=1", f"FDNAME={name}")
            self._stored[name] = str(inode)
            self.tell("FDSTORE=1", "FDPOLL=0", f"FDNAME={name}", fds=[fd])


def watchdog_s(environ: MutableMapping[str, str], pid: int) -> float:
    """Within how many seconds systemd wants to hear of process `pid` again; 0.0 = it does not."""
    usec, who = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or who and who != str(pid):
        return 0.0
    return int(usec) / 1e6
