"""The demo's origins and its configuration."""

from __future__ import annotations

import json

from twisted.internet import reactor

from tests.support import LoopCase
from voltgw.app.demo import COLOURS, DemoOrigins, demo_configuration
from voltgw.app.load import TextLoader, at_once


class OriginTests(LoopCase):
    def setUp(self) -> None:
        super().setUp()
        self.origins = DemoOrigins(reactor)
        self.ports = self.origins.bind()
        self.addCleanup(self.origins.stopService)

    async def ask(self, port: int, path: str) -> tuple[int, str]:
        """Status and body."""
        client = await self.client(port)
        client.send(f"GET {path} HTTP/1.0\r\nHost: demo\r\nX-Request-Id: 7\r\n\r\n".encode())
        await client.ended()
        head, _, body = client.received.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    async def test_each_says_who_it_is(self) -> None:
        """The three give different answers, with what they saw of the request."""
        for colour, port in zip(COLOURS, self.ports, strict=True):
            status, body = await self.ask(port, "/x?y=1")
            answer = json.loads(body)
            self.assertEqual((status, answer["origin"], answer["served"]), (200, colour, 1))
            self.assertEqual((answer["method"], answer["path"], answer["host"], answer["x-request-id"]),
                             ("GET", "/x?y=1", "demo", "7"))

    async def test_ill_and_well(self) -> None:
        """One can be made to fail its health check, and well again; the others are not touched."""
        first, second, _ = self.ports
        self.assertEqual(await self.ask(first, "/healthz"), (200, "well\n"))
        self.assertEqual((await self.ask(first, "/ill"))[0], 200)
        self.assertEqual(await self.ask(first, "/healthz"), (503, "ill\n"))
        self.assertEqual(await self.ask(second, "/healthz"), (200, "well\n"))
        self.assertEqual((await self.ask(first, "/x"))[0], 200)
        await self.ask(first, "/well")
        self.assertEqual(await self.ask(first, "/healthz"), (200, "well\n"))

    async def test_stop(self) -> None:
        """They listen no longer."""
        await self.origins.stopService()
        self.origins = DemoOrigins(reactor)
        self.assertEqual(self.origins.ports, [])


class ConfigurationTests(LoopCase):
    def test_it_has_no_mistakes(self) -> None:
        """Not even a warning."""
        config = at_once(TextLoader(demo_configuration([1, 2, 3], 8080, 9901), "<demo>"))
        self.assertEqual(config.warnings, ())
        self.assertEqual([endpoint.spec.port for endpoint in config.of("endpoint").values()], [1, 2, 3])
