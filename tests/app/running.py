"""A gateway in trial's own reactor."""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path
from typing import Any, Final

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.integration.gateway import free_port
from tests.support import LoopCase, Origin, Peer
from voltgw.app.deps import Deps
from voltgw.app.load import Loader, at_once
from voltgw.app.service import GatewayService

#: What origins of these tests say to everything.
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET: Final = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"


class GatewayCase(LoopCase):
    """`start` runs a gateway; the end of the test stops it, and sees to it that nothing of it is left."""

    gateway: GatewayService

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.file = self.folder / "voltgw.yaml"
        self.port = free_port()
        self.ahead_s = 0.0

    def write(self, *balancers: str, gateway: str = "") -> None:
        """The gateway's file: `tests.app.making.balancer` entries, and what stands in ``gateway: {...}``."""
        text = f"gateway: {{admin: {{port: 0}}{gateway and ', '}{gateway}}}\n"
        self.file.write_text(text + ("load_balancers:\n" if balancers else "") + "".join(balancers), encoding="utf-8")

    def make(self, **options: Any) -> GatewayService:
        """A gateway of the present file, not started. Raises `ConfigErrors`."""
        core: Any = reactor
        deps = Deps(core, lambda: time.monotonic() + self.ahead_s, time.time, random.Random(0), core.nameResolver, os.environ)
        loader = Loader(str(self.file), {})
        self.gateway = GatewayService(deps, at_once(loader), loader, **options)
        self.addCleanup(self.stop)
        return self.gateway

    def start(self, *balancers: str, gateway: str = "", **options: Any) -> GatewayService:
        """Write the file and serve it."""
        self.write(*balancers, gateway=gateway)
        made = self.make(**options)
        made.privilegedStartService()
        made.startService()
        return made

    def stop(self) -> Deferred[Any]:
        """Stop it without waiting for anybody."""
        self.gateway.abandon()
        return self.gateway.stopService()

    def advance(self, seconds: float) -> None:
        """Move the gateway's clock; its timers see it at once."""
        end = self.ahead_s + seconds
        while self.ahead_s < end:
            self.ahead_s = min(end, self.ahead_s + 0.25)
            self.gateway.loop.clock.run()

    async def warm(self) -> None:
        """Until it is ready."""
        await self.until(lambda: self.gateway.ready()[0])

    async def ask(self, port: int | None = None, peer: Peer | None = None) -> bytes:
        """The status line that a GET gets, on a connection of its own if none is given."""
        peer = peer if peer is not None else await self.client(self.port if port is None else port)
        peer.send(GET)
        head = await peer.heard(b"\r\n\r\n")
        length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
        await self.until(lambda: len(peer.received) >= length)
        peer.received = peer.received[length:]
        return head.partition(b"\r\n")[0]

    def ok_origin(self) -> Origin:
        """An origin that answers everything with 200."""
        return self.origin(OK)
