"""A worker whose control process is gone: it serves on, and can be found by the next control process, to hand its sockets over.

It listens on an abstract Unix socket (unix(7)) that is called after the configuration, as all workers of it are, and its own
number. Only processes of its user, or of root, are answered. What they may ask is JSON: ``sockets`` gives descriptors of all
that it listens on; ``drain`` ends it, once others accept on the same sockets. Nobody's connection is lost by that.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from voltgw.app.build import ListenerKey
from voltgw.net.passing import Channel, NotOurs, check_peer, receive_frame, send_frame
from voltgw.net.sockets import CannotListen, adopt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voltgw.app.worker_service import WorkerGateway

#: Where the kernel lists Unix sockets; abstract names begin with an @ there.
_LIST: Final = "/proc/net/unix"
#: A worker that does not answer is not waited for longer.
_ANSWER_S: Final = 5.0
#: Between the end of accepting and the end of idle connections: those who are about to ask are answered, and come anew.
GIVING_WAY_S: Final = 1.0
#: Longest answer, but for its descriptors.
_MOST_BYTES: Final = 16 << 20


@implementer(IReadDescriptor)
class Orphan:
    """The way to a worker that is alone. `end` drains and ends it."""

    _log = Logger()

    def __init__(self, reactor: Any, gateway: WorkerGateway, rendezvous: str, end: Callable[[], None]) -> None:
        self._reactor = reactor
        self._gateway = gateway
        self._rendezvous = rendezvous
        self._end = end
        self._sock: socket.socket | None = None
        self._channels: set[Channel] = set()

    def start(self) -> None:
        """Be found from now on; without a name, or when somebody has it, nobody finds us, and we serve until we are ended."""
        if not self._rendezvous:
            return
        name = f"\0{self._rendezvous}/{self._gateway.number}"
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.bind(name)
            sock.listen(8)
        except OSError as error:
            sock.close()
            self._log.error("the next control process will not find this worker: {error}", error=error.strerror,
                            event="worker.hidden")
            return
        self._sock = sock
        self._reactor.addReader(self)

    def stop(self) -> None:
        """The worker ends."""
        if self._sock is not None:
            self._reactor.removeReader(self)
            self._sock.close()
            self._sock = None
        for channel in tuple(self._channels):
            channel.abort()
        self._channels.clear()

    def fileno(self) -> int:
        """The listening socket's."""
        return -1 if self._sock is None else self._sock.fileno()

    def logPrefix(self) -> str:
        """Its name in logs."""
        return "Orphan"

    def connectionLost(self, reason: object) -> None:
        """The reactor stops."""

    def doRead(self) -> None:
        """Somebody wants something."""
        if self._sock is None:
            return
        try:
            client, _ = self._sock.accept()
        except OSError:
            return                          # it has gone again
        try:
            check_peer(client)
        except (NotOurs, OSError) as error:
            self._log.warn("refused: {error}", error=error, event="worker.stranger")
            client.close()
            return
        # It is over when the other end closes it; its messages come one at a time.
        channel = Channel(self._reactor, client, lambda data, fds: self._asked(channel, data), lambda why: self._gone(channel))
        self._channels.add(channel)
        channel.start()

    def _gone(self, channel: Channel) -> None:
        self._channels.discard(channel)

    def _asked(self, channel: Channel, data: bytes) -> None:
        asked = json.loads(data)
        gateway = self._gateway
        if asked.get("want") == "sockets":
            bound = [(key, each) for key, each in gateway.listening.bound.items() if each.bound]
            said = {"number": gateway.number, "pid": os.getpid(), "generation": gateway.generation,
                    "listeners": [list(key) for key, _ in bound]}
            channel.send(json.dumps(said).encode(), [each.listener.fileno() for _, each in bound])
        elif asked.get("want") == "drain":
            self._log.info("worker {number} gives way to the workers of a new control process", number=gateway.number + 1,
                           event="worker.replaced")
            gateway.listening.give_way()
            gateway.loop.clock.callLater(GIVING_WAY_S, self._end)


class Found:
    """One orphan, as a new control process sees it."""

    def __init__(self, sock: socket.socket, said: dict[str, Any]) -> None:
        self.number = int(said["number"])
        self.pid = int(said["pid"])
        self._sock = sock

    def drain(self) -> None:
        """Others accept on its sockets: it may end."""
        try:
            send_frame(self._sock, json.dumps({"want": "drain"}).encode())
        except OSError:
            pass                            # it has ended by itself
        self._sock.close()

    def let_go(self) -> None:
        """It shall serve on."""
        self._sock.close()


class Orphans:
    """Those of one configuration that there are, and their sockets, by key and number of the worker."""

    _log = Logger()

    def __init__(self, users: tuple[int, ...] = ()) -> None:
        self.found: list[Found] = []
        self.sockets: dict[tuple[ListenerKey, int], socket.socket] = {}
        self._users = users                 # as whom they may run, besides ourselves and root

    def look(self, rendezvous: str) -> None:
        """Find them, and have descriptors of their sockets. What does not answer in time is left alone."""
        for name in _names(rendezvous):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            sock.settimeout(_ANSWER_S)
            try:
                sock.connect(f"\0{name}")
                check_peer(sock, *self._users)
                send_frame(sock, json.dumps({"want": "sockets"}).encode())
                data, fds = receive_frame(sock, _MOST_BYTES)
                self._take(sock, json.loads(data), fds)
            except (OSError, NotOurs, ValueError, KeyError, TypeError) as error:
                self._log.warn("a worker without control process at {name} cannot be taken over: {error}", name=name,
                               error=error, event="worker.not_adopted")
                sock.close()

    def _take(self, sock: socket.socket, said: dict[str, Any], fds: list[int]) -> None:
        keys = [ListenerKey(*each) for each in said["listeners"]]
        made: list[socket.socket] = []
        try:
            if len(keys) != len(fds):
                raise ValueError("it has not as many sockets as listeners")
            for fd in fds:
                made.append(socket.socket(fileno=fd))
            found = Found(sock, said)
            for key, each in zip(keys, made, strict=True):
                _check(key, each)
        except BaseException:
            for each in made:
                each.close()
            for fd in fds[len(made):]:
                os.close(fd)
            raise
        self.found.append(found)
        for key, each in zip(keys, made, strict=True):
            self.sockets[key, found.number] = each
        self._log.info("worker {workers} (process {pid}) is alone: its sockets are taken over, and it serves until ours do",
                       workers=found.number + 1, pid=found.pid, event="worker.adopted")

    def take(self, key: ListenerKey, number: int) -> socket.socket | None:
        """The socket of a worker that was there; the caller's from now on."""
        return self.sockets.pop((key, number), None)

    def has(self, key: ListenerKey) -> bool:
        """Whether a socket of any worker is there for it still."""
        return any(each == key for each, _ in self.sockets)

    def rest(self) -> None:
        """Nobody wants the others."""
        for (key, number), sock in self.sockets.items():
            self._log.info("{key} of worker {number} is not listened on any more", key=str(key), number=number + 1,
                           event="worker.socket_unused")
            sock.close()
        self.sockets.clear()

    def drain(self) -> None:
        """Others serve in their place."""
        found, self.found = self.found, []
        for each in found:
            each.drain()

    def let_go(self) -> None:
        """We do not come to serve; they go on."""
        found, self.found = self.found, []
        for each in found:
            each.let_go()
        self.rest()


def _check(key: ListenerKey, sock: socket.socket) -> None:
    """Raises ValueError for a socket that is not what it is said to be."""
    if key.transport == "UDP":
        good = sock.type == socket.SOCK_DGRAM
    else:
        try:
            sock = adopt(os.dup(sock.fileno()))
        except CannotListen as error:
            raise ValueError(str(error)) from error
        sock.close()
        good = True
    if not good:
        raise ValueError(f"what it has for {key} is another kind of socket")


def _names(rendezvous: str) -> Iterator[str]:
    """The abstract sockets that workers of it listen on."""
    wanted = re.compile(rf"@({re.escape(rendezvous)}/\d{{1,4}})$")
    try:
        with open(_LIST, encoding="utf-8", errors="replace") as lines:
            found = {match[1] for line in lines if (match := wanted.search(line.rstrip()))}
    except OSError:
        return
    yield from sorted(found)
