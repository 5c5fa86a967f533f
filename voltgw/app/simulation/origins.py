"""The endpoints of a simulation: what each does now, and its side of connections."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.simulation.scenario import Probing, Standing, span_of
from voltgw.app.simulation.wires import Wire
from voltgw.errors import ConnectFailed, ConnectTimeout
from voltgw.values.address import where

if TYPE_CHECKING:
    from random import Random

    from voltgw.app.simulation.scenario import Manner, Which
    from voltgw.app.simulation.world import World

#: The standard normal distribution's value that 99 % are below.
_Z99: Final = 2.3263478740408408
_FAILS: Final = b"HTTP/1.1 500 Error\r\ncontent-length: 0\r\n\r\n"
_OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass(slots=True)
class Now:
    """How an endpoint behaves at a moment; times in seconds."""

    standing: Standing = Standing.UP
    latency_s: float = 0.010
    p99_s: float = 0.0
    slower: float = 1.0
    connect_s: float = 0.001
    errors: float = 0.0                     # a share, 0 to 1
    status: int = 503
    workers: int = 0
    probes: Probing = Probing.AS_REQUESTS

    def take(self, manner: Manner) -> None:
        """What is said takes the place of what was; `slower` is on top of it."""
        if manner.standing is not None:
            self.standing = manner.standing
        if manner.latency_s is not None:
            self.latency_s = manner.latency_s
            if manner.p99_s is None:
                self.p99_s = 0.0
        if manner.p99_s is not None:
            self.p99_s = manner.p99_s
        if manner.slower is not None:
            self.slower *= manner.slower
        if manner.connect_s is not None:
            self.connect_s = manner.connect_s
        if manner.errors is not None:
            self.errors = manner.errors / 100
        if manner.status is not None:
            self.status = manner.status
        if manner.workers is not None:
            self.workers = manner.workers
        if manner.probes is not None:
            self.probes = manner.probes

    def draw_s(self, random: Random) -> float:
        """How long an answer takes."""
        latency_s = self.latency_s
        if self.p99_s > latency_s > 0.0:
            latency_s *= (self.p99_s / latency_s) ** (random.gauss(0.0, 1.0) / _Z99)
        return latency_s * self.slower


class Origin:
    """One endpoint. Requests are read as far as their end must be found, and answered in order."""

    def __init__(
        self, world: World, random: Random, cluster: str, address: str, port: int, labels: Mapping[str, str], zone: str,
    ) -> None:
        self.cluster = cluster
        self.address = address
        self.port = port
        self.labels = labels
        self.zone = zone
        self.now = Now()
        self.served = 0                     # requests that came
        self.wires: dict[Wire, None] = {}
        self._world = world
        self._random = random
        self._busy = 0
        self._queue: deque[Wire] = deque()

    @property
    def name(self) -> str:
        """As the gateway calls it."""
        return where(self.address, self.port)

    def behave(self, now: Now) -> None:
        """It is another one from this moment on; one that refuses resets what is open."""
        before, self.now = self.now, now
        if now.standing is Standing.REFUSES and before.standing is not Standing.REFUSES:
            self._queue.clear()
            for wire in list(self.wires):
                wire.reset()
        if now.standing is Standing.UP:
            self._next()

    def dial(
        self, protocol: Any, timeout_s: float, failed: Callable[[ConnectFailed], None], probe: bool = False,
    ) -> Dial:
        """A connection to it, or none; `probe` tells that it is a health check's."""
        dial = Dial()
        world, now = self._world, self.now
        if (now.standing is Standing.SILENT and not self._told(probe)) or now.connect_s > timeout_s:
            error: ConnectFailed = ConnectTimeout(f"{self.name} did not answer within {timeout_s:g} s")
            world.at(world.now + timeout_s, self._refuse, dial, failed, error)
        else:
            world.at(world.now + now.connect_s, self._accept, dial, protocol, failed, probe)
        return dial

    def _refuse(self, dial: Dial, failed: Callable[[ConnectFailed], None], error: ConnectFailed) -> None:
        if not dial.cancelled:
            failed(error)

    def _told(self, probe: bool) -> bool:
        """Whether the scenario says what a probe finds, whatever requests find."""
        return probe and self.now.probes is not Probing.AS_REQUESTS

    def _accept(self, dial: Dial, protocol: Any, failed: Callable[[ConnectFailed], None], probe: bool) -> None:
        if dial.cancelled:
            return
        if self.now.standing is Standing.REFUSES and not self._told(probe):
            error = ConnectFailed(f"{self.name}: {os.strerror(errno.ECONNREFUSED)}")
            error.errno = errno.ECONNREFUSED
            failed(error)
            return
        reader = _Reader(self, probe)
        wire = reader.wire = Wire(self._world, protocol, reader.take, reader.ended)
        self.wires[wire] = None
        protocol.makeConnection(wire)

    def asked(self, wire: Wire, probe: bool) -> None:
        """A request is complete."""
        now = self.now
        if probe and now.probes is not Probing.AS_REQUESTS:
            wire.send(_OK if now.probes is Probing.PASSES else _FAILS)
            return
        self.served += not probe
        if now.standing is not Standing.UP:
            return                          # nobody answers; the gateway's deadlines say for how long that is waited for
        if now.workers and self._busy >= now.workers:
            self._queue.append(wire)
            return
        self._serve(wire)

    def _serve(self, wire: Wire) -> None:
        now = self.now
        self._busy += 1
        answer = _OK
        if now.errors and self._random.random() < now.errors:
            answer = b"HTTP/1.1 %d Error\r\ncontent-length: 0\r\n\r\n" % now.status
        self._world.at(self._world.now + now.draw_s(self._random), self._answer, wire, answer)

    def _answer(self, wire: Wire, answer: bytes) -> None:
        self._busy -= 1
        if not wire.gone and self.now.standing is Standing.UP:
            wire.send(answer)
        self._next()

    def _next(self) -> None:
        while self._queue and self.now.standing is Standing.UP and not (self.now.workers and self._busy >= self.now.workers):
            wire = self._queue.popleft()
            if not wire.gone:
                self._serve(wire)

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker."""
        return len(self._queue)


class Dial:
    """A connection that is being made."""

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self.cancelled = True


class _Reader:
    """Finds where requests end on one connection."""

    __slots__ = ("_held", "_left", "_origin", "_probe", "wire")

    wire: Wire

    def __init__(self, origin: Origin, probe: bool) -> None:
        self._origin = origin
        self._probe = probe
        self._held = b""
        self._left = 0                      # bytes of a body to come, -1: until the last chunk

    def take(self, data: bytes) -> None:
        """Bytes of the gateway."""
        if not self._held and not self._left and data.endswith(b"\r\n\r\n"):
            text = data.lower()
            if b"\ncontent-length:" not in text and b"\ntransfer-encoding:" not in text:
                self._origin.asked(self.wire, self._probe)      # by far the most: one request, no body
                return
        self._held += data
        while self._held:
            if self._left > 0:
                taken = min(self._left, len(self._held))
                self._held, self._left = self._held[taken:], self._left - taken
                if self._left:
                    return
            elif self._left < 0:
                end = self._held.find(b"0\r\n\r\n")
                if end < 0:
                    return
                self._held, self._left = self._held[end + 5:], 0
            else:
                head, end_of_head, rest = self._held.partition(b"\r\n\r\n")
                if not end_of_head:
                    return
                self._held, self._left = rest, _length(head)
                if self._left:
                    continue
            self._origin.asked(self.wire, self._probe)

    def ended(self) -> None:
        """The connection is over."""
        self._origin.wires.pop(self.wire, None)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return -1
    return 0


def meant(which: Which | None, origins: Iterable[Origin], random: Random) -> list[Origin]:
    """The endpoints that `which` means, in order."""
    if which is None:
        return list(origins)
    spans = [span_of(text) for text in which.addresses]
    found = [origin for origin in origins if _is_meant(which, spans, origin)]
    if which.share is not None:
        count = round(len(found) * which.share / 100)
        drawn = set(random.sample(range(len(found)), count))
        found = [origin for index, origin in enumerate(found) if index in drawn]
    return found


def _is_meant(which: Which, spans: list[Any], origin: Origin) -> bool:
    if which.cluster is not None and which.cluster not in (origin.cluster, origin.cluster.partition("/")[2]):
        return False
    if which.port not in (None, origin.port) or which.zone not in (None, origin.zone):
        return False
    if any(origin.labels.get(name) != value for name, value in which.labels.items()):
        return False
    if not spans:
        return True
    address = ip_address(origin.address)
    return any(first.version == address.version and first <= address <= last for first, last in spans)

