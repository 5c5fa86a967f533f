"""``gateway.max_requests_per_source``: how many requests a client may have under way."""

from __future__ import annotations

import json
from typing import Any

from tests.app.making import balancer
from tests.app.running import GET, GatewayCase
from tests.support import Origin, Peer

TWO = 'max_requests_per_source: 2, trusted_sources: ["192.0.2.0/24"], access_log: log.json'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class AtOnceTests(GatewayCase):
    """The origin answers when the test says so."""

    async def begin(self, gateway: str = TWO) -> Origin:
        origin = self.slow = self.origin(None)
        self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}"), gateway=gateway)
        await self.warm()
        return origin

    async def ask_for(self, count: int) -> list[Peer]:
        """So many clients have asked, one after another, and each request was taken or refused."""
        clients = []
        for _ in range(count):
            client = await self.client(self.port)
            client.send(GET)
            clients.append(client)
            arrived = sum(peer.received.count(GET[:14]) for peer in self.slow.peers)
            await self.until(lambda client=client, arrived=arrived: client.received or (   # type: ignore[misc]
                sum(peer.received.count(GET[:14]) for peer in self.slow.peers) > arrived))
        return clients

    async def test_one_too_many(self) -> None:
        """It is answered 429 at once; when another one is over, the next is served."""
        origin = await self.begin()
        first, second, third = await self.ask_for(3)
        self.assertIn(b"429 Too Many Requests", third.received)
        self.assertIn(b"retry-after: 1", third.received)
        self.assertEqual((first.received, second.received, len(origin.peers)), (b"", b"", 2))
        origin.peers[0].send(ANSWER)
        await self.until(lambda: first.received or second.received)
        [fourth] = await self.ask_for(1)
        self.assertEqual(fourth.received, b"")
        for peer in origin.peers:
            peer.send(ANSWER)
        await fourth.heard(b"\r\n\r\n")
        self.assertEqual(self.gateway.in_flight.held, {})
        log = self.folder / "log.json"
        self.advance(1.0)
        await self.until(lambda: log.exists() and log.read_text("utf-8").count("\n") == 4)
        refused = [line for line in map(json.loads, log.read_text("utf-8").splitlines()) if line["rsp_code"] == "429"]
        self.assertEqual([(line["response_flags"], line["rsp_code_details"]) for line in refused], [("RL", "too_many_at_once")])
        [gate] = [gate for host in self.gateway.runtime.hosts.values() for gate in host.gates]
        self.assertEqual(list(gate.verdicts()), [("gateway.max_requests_per_source", "refused", 1)])

    async def test_requests_that_end_otherwise(self) -> None:
        """A client that leaves, and an endpoint that does, give back what they held."""
        origin = await self.begin()
        first, second = await self.ask_for(2)
        first.reset()
        origin.peers[1].reset()
        await second.heard(b"\r\n\r\n")
        await self.until(lambda: not self.gateway.in_flight.held)

    async def test_those_who_are_trusted(self) -> None:
        """A load balancer may have any number."""
        await self.begin(TWO.replace("192.0.2.0/24", "127.0.0.0/8"))
        clients = await self.ask_for(4)
        self.assertEqual([client.received for client in clients], [b""] * 4)

    async def test_a_reload(self) -> None:
        """It begins with the reload that asks for it, follows its number, and ends with the one that does not."""
        await self.begin("access_log: log.json")
        await self.ask_for(3)
        for gateway, outcomes in ((TWO, [b"", b"", b"429"]), (TWO.replace(": 2,", ": 3,"), [b"", b"429"]),
                                  ("access_log: log.json", [b"", b""])):
            self.write(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.slow.port}"), gateway=gateway)
            result: Any = await self.gateway.reload()
            self.assertTrue(result["ok"], result)
            clients = await self.ask_for(len(outcomes))
            self.assertEqual([client.received[9:12] for client in clients], outcomes, gateway)
        for peer in self.slow.peers:
            peer.send(ANSWER)
        await self.until(lambda: not self.gateway.in_flight.held)

    async def test_it_is_explained(self) -> None:
        """``voltgw explain --live`` says how many the client has."""
        await self.begin()
        await self.ask_for(2)
        url = f"http://shop.example:{self.port}/"
        explained = self.gateway.explain("GET", url, (), "127.0.0.1")
        self.assertIn("this client has 2 requests under way", json.dumps(explained))
        self.assertEqual(explained["status"], 429)
        self.assertIn("this client has 0 requests under way, of 2", json.dumps(self.gateway.explain("GET", url)))
