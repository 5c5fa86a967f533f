"""Hot restart: a new process takes the place of the one that serves, on the same sockets, and no client is refused or reset.

The one that serves listens on a Unix socket (`gateway.restart_socket`). The new one asks there for descriptors of all sockets
and for the keys that clients hold something of; it builds, warms up and begins to accept, and only then has the old one give
way: that takes nothing more, answers with ``Connection: close``, and ends when its last connection has, or its drain time is
up. Until then the old one is as it was, whatever becomes of the new one.

Messages are frames of `voltgw.net.passing` with JSON; both ends believe processes of their own user, and of root, alone.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from zope.interface import implementer

from voltgw import __version__
from voltgw.app.settings import StartError
from voltgw.net.inherited import Inherited, SocketKey
from voltgw.net.passing import Channel, NotOurs, check_peer, receive_frame, send_frame
from voltgw.net.sockets import CannotListen, remove_socket
from voltgw.net.tls.tickets import TicketKey

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from voltgw.app.service import GatewayService
    from voltgw.config.model import Config

#: The name of the socket in `gateway.data_dir`.
SOCKET_NAME: Final = "restart.sock"
#: Says to a process that we start that it is to take our place.
VARIABLE: Final = "VOLTGW_TAKEOVER"
#: After giving way, idle connections stay so long for a request that is on its way to them.
LEAVE_S: Final = 1.0
#: How long the other end may take for an answer.
_ANSWER_S: Final = 10.0
_MOST_BYTES: Final = 4 << 20
_MOST_REFUSED: Final = 8
#: Longest path of a Unix socket on Linux, without the NUL (unix(7)).
_MAX_UNIX_PATH: Final = 107


def socket_path(config: Config) -> str:
    """Where a gateway of this configuration is found; "" = nowhere."""
    gateway = config.gateway
    path = gateway.restart_socket or (os.path.join(gateway.data_dir, SOCKET_NAME) if gateway.data_dir else "")
    return path if len(os.fsencode(path)) <= _MAX_UNIX_PATH else ""


class Predecessor:
    """The process that serves until we do, as we see it."""

    _log = Logger()

    def __init__(self, sock: socket.socket, said: dict[str, Any], inherited: Inherited) -> None:
        self.pid = int(said["pid"])
        self.generation = int(said["generation"])
        self.version = str(said["version"])
        self.affinity_key = b64decode(said["affinity_key"])
        self.tickets = tuple(TicketKey(*map(b64decode, each)) for each in said["tickets"])
        self.inherited = inherited
        self._sock: socket.socket | None = sock

    @property
    def replaced(self) -> bool:
        """Whether we serve in its place."""
        return self._sock is None

    def replace(self) -> None:
        """Have it give way; it has when this returns. Raises StartError."""
        sock = self._sock
        if sock is None:
            return
        try:
            send_frame(sock, b'{"want": "way"}')
            said, fds = receive_frame(sock, _MOST_BYTES)
            _close(fds)
            if not json.loads(said).get("ok"):
                raise ValueError("it refuses")
        except (OSError, ValueError) as error:
            raise StartError(f"process {self.pid} does not give way: {error}") from error
        self._log.info("process {pid} has given way after {sockets} sockets were taken over", pid=self.pid,
                       sockets=self.inherited.taken, event="restart.took_over")
        self.let_go()

    def let_go(self) -> None:
        """Speak with it no more; unless it has given way, it serves on."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def ask(path: str) -> Predecessor:
    """Descriptors of all sockets of the process that serves. Raises StartError when it does not hand them over."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    fds: list[int] = []
    inherited = Inherited()
    try:
        sock.settimeout(_ANSWER_S)
        sock.connect(path)
        check_peer(sock)
        send_frame(sock, json.dumps({"want": "sockets", "pid": os.getpid(), "version": __version__}).encode())
        data, fds = receive_frame(sock, _MOST_BYTES)
        said = json.loads(data)
        if not said["ok"]:
            raise ValueError(str(said["why"]))
        keys = [SocketKey(*each) for each in said["sockets"]]
        if len(keys) != len(fds):
            raise ValueError("it has not as many descriptors as sockets")
        for key in keys:
            inherited.offer(key, fds[0])
            del fds[0]
        return Predecessor(sock, said, inherited)
    except (OSError, NotOurs, ValueError, KeyError, TypeError, CannotListen) as error:
        sock.close()
        inherited.rest()
        raise StartError(f"nobody at {path} can be taken over from: {error}") from error
    finally:
        _close(fds)


@implementer(IReadDescriptor)
class Handover:
    """Waits for whoever is to take this process's place. `gave_way` is called when it has."""

    _log = Logger()

    def __init__(self, gateway: GatewayService) -> None:
        self.handed_over = False            # another process serves in our place
        self.failed = 0                     # processes that were to take our place and did not
        self.gives_way: Callable[[int], None] = lambda pid: None     # told who takes our place before that hears
        self.gave_way: Callable[[], None] = lambda: None
        self._gateway = gateway
        self._path = ""
        self._door: socket.socket | None = None
        self._successor: Channel | None = None
        self._successor_pid = 0
        self._refused: set[Channel] = set()     # who will be told no
        self._child = 0                     # the process that we have started for that

    def start(self) -> None:
        """Wait, if there is a place to; instead of a process that has given way, or has died there."""
        path = socket_path(self._gateway.runtime.config)
        if not path:
            return
        mine = f"{path}.{os.getpid()}"
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            if _somebody(path):
                raise OSError(None, "another process listens there")
            mask = os.umask(0o177)
            try:
                door.bind(mine)
            finally:
                os.umask(mask)
            door.listen(4)
            os.rename(mine, path)           # there is always one, whole
        except OSError as error:
            door.close()
            self._log.warn("{path} cannot be used, so nobody can take over from this process: {error}", path=path,
                           error=error.strerror or str(error), event="restart.no_door")
            return
        self._path, self._door = path, door
        self._gateway.deps.reactor.addReader(self)

    def stop(self) -> None:
        """Wait no more."""
        self._close_door()
        if self._successor is not None:
            self._successor.close()         # what was said leaves first
            self._successor = None
        for channel in list(self._refused):
            channel.abort()
        self._refused.clear()

    def _close_door(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            self._gateway.deps.reactor.removeReader(self)
            door.close()
            if not self.handed_over:
                remove_socket(self._path)

    def respawn(self) -> None:
        """Start the program that we are anew, as we were started; it takes our place (SIGUSR2)."""
        if self._door is None or self._child or self._gateway.draining:
            why = "it starts already" if self._child else "it drains" if self._gateway.draining else "no gateway.restart_socket"
            self._log.error("no new process is started to take over: {why}", why=why, event="restart.failed")
            return
        environ = {name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"}
        reactor = self._gateway.deps.reactor
        started = reactor.spawnProcess(
            _Child(self), sys.executable, [sys.executable, *sys.orig_argv[1:]],
            env={**environ, VARIABLE: str(os.getpid())}, childFDs={0: 0, 1: 1, 2: 2})
        self._child = started.pid
        self._log.info("process {pid} is started to take over", pid=self._child, event="restart.began")

    def child_ended(self, why: str) -> None:
        """What `respawn` has started is over."""
        pid, self._child = self._child, 0
        if not self.handed_over:
            self.failed += 1
            self._log.error("process {pid}, which was to take over, has ended: {why}; this one serves on", pid=pid, why=why,
                            event="restart.failed")

    # -- IReadDescriptor -----------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The socket's; -1 when it is closed."""
        return -1 if self._door is None else self._door.fileno()

    def logPrefix(self) -> str:
        """Its name in logs."""
        return "Handover"

    def connectionLost(self, reason: object) -> None:
        """The reactor stops."""

    def doRead(self) -> None:
        """Somebody wants our place."""
        if self._door is None:
            return
        try:
            client, _ = self._door.accept()
        except OSError:
            return                          # it has gone again
        try:
            pid = check_peer(client)
        except (NotOurs, OSError) as error:
            self._log.warn("refused to hand over: {error}", error=error, event="restart.stranger")
            client.close()
            return
        if self._successor is not None or self._gateway.draining:
            why = "it drains" if self._gateway.draining else "another process is about to take over"
            self._refuse(client, why)
            return
        self._successor_pid = pid
        self._successor = channel = Channel(self._gateway.deps.reactor, client, self._asked, self._lost)
        channel.start()

    def _refuse(self, client: socket.socket, why: str) -> None:
        """Say so once it has asked, and until then hold at most a few who do not."""
        def asked(data: bytes, fds: list[int]) -> None:
            channel.send(json.dumps({"ok": False, "why": why}).encode())
            self._refused.discard(channel)
            channel.close()

        channel = Channel(self._gateway.deps.reactor, client, asked, lambda why: self._refused.discard(channel))
        if len(self._refused) >= _MOST_REFUSED:
            channel.abort()
            return
        self._refused.add(channel)
        channel.start()

    def _lost(self, why: str) -> None:
        self._successor = None
        if not self.handed_over:
            self.failed += 1
            self._log.error("the process that was to take over is gone ({why}); this one serves on", why=why,
                            event="restart.failed")

    def _asked(self, data: bytes, fds: list[int]) -> None:
        channel, gateway = self._successor, self._gateway
        if channel is None:
            return
        want = json.loads(data)["want"]
        if want == "sockets":
            handed = list(_sockets(gateway))
            said = {"ok": True, "pid": os.getpid(), "generation": gateway.generation, "version": __version__,
                    "affinity_key": b64encode(gateway.affinity_key).decode(), "sockets": [list(key) for key, _ in handed],
                    "tickets": [[b64encode(part).decode() for part in (key.name, key.mac, key.cipher)]
                                for key in gateway.tickets.export()]}
            channel.send(json.dumps(said).encode(), [fd for _, fd in handed])
            self._log.info("a new process has {count} sockets of ours, and builds; this one serves until it does",
                           count=len(handed), event="restart.handed")
        elif want == "way" and not self.handed_over:
            self.handed_over = True
            gateway.give_way()
            self.gives_way(self._successor_pid)
            self._close_door()              # the other one opens its own as soon as it hears of it
            channel.send(b'{"ok": true}')
            self._log.info("another process serves in our place: {left} connections are left",
                           left=gateway.listening.connections, event="restart.gave_way")
            self.gave_way()


class _Child(ProcessProtocol):
    def __init__(self, handover: Handover) -> None:
        self._handover = handover

    def processEnded(self, reason: Failure) -> None:
        """Called by Twisted."""
        self._handover.child_ended(reason.getErrorMessage())


def _sockets(gateway: GatewayService) -> Iterator[tuple[SocketKey, int]]:
    yield from gateway.listening.handed()
    yield from gateway.dns.handed()
    yield from gateway.admin.handed()


def _somebody(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        return probe.connect_ex(path) == 0


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
    fds.clear()
