"""`voltgw.app.overload`: what clients of a running gateway meet when memory or descriptors run short."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hpack import Decoder
from twisted.internet.threads import deferToThread

from tests.app.making import balancer
from tests.app.running import GET, OK, GatewayCase
from tests.app.test_forward import config as forward_config
from tests.cli.running import run
from tests.support import Peer
from voltgw.app import budgets, overload
from voltgw.app.budgets import files_budget, memory_budget
from voltgw.config.overload import Overload as OverloadConfig
from voltgw.config.overload import OverloadFiles, OverloadMemory
from voltgw.security.overload import Action

BUDGETS = "overload: {memory: {budget: 100MB, keep_alive: 0.8, refuse: 0.85, accept: 0.9, reset: 0.95}, open_files: {budget: 1000}}"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"


class FakeUsage:
    """Says what the test wants."""

    def __init__(self) -> None:
        self.memory = 10_000_000
        self.fds = 50
        self.trimmed = 0
        self.freed = 0                      # what a trim gives back

    def memory_bytes(self) -> int:
        """In use."""
        return self.memory

    def files(self) -> int:
        """In use."""
        return self.fds

    def trim(self) -> None:
        """Give back."""
        self.trimmed += 1
        self.memory -= self.freed

    def close(self) -> None:
        """The end."""


class OverloadCase(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        self.usage = FakeUsage()
        self.served = self.ok_origin()

    async def begin(self, *more: str, gateway: str = BUDGETS) -> None:
        """A gateway whose usage the test says."""
        self.patch(overload, "Usage", lambda: self.usage)
        self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.served.port}", *more), gateway=gateway)
        await self.warm()

    def use(self, memory: int = 10_000_000, fds: int = 50) -> None:
        """So much is in use, and is looked at."""
        self.usage.memory, self.usage.fds = memory, fds
        self.advance(0.5)

    def relieve(self) -> None:
        """Hardly anything is in use, for long enough."""
        self.use()
        self.advance(6.0)
        self.assertEqual(self.gateway.overload.actions, {})

    async def head(self, client: Peer, request: bytes = GET) -> bytes:
        """The head of what a client gets, in lower case."""
        client.send(request)
        return (await client.heard(b"\r\n\r\n")).lower()


class KeepAliveTests(OverloadCase):
    async def test_answers_end_their_connections(self) -> None:
        """At its share answers say ``Connection: close`` and connections end behind them; afterwards they go on again."""
        await self.begin()
        first = await self.client(self.port)
        self.assertNotIn(b"connection: close", await self.head(first))
        self.use(memory=81_000_000)
        second = await self.client(self.port)
        self.assertIn(b"connection: close", await self.head(second))
        await second.ended()
        self.relieve()
        third = await self.client(self.port)
        self.assertEqual(await self.ask(peer=third), b"HTTP/1.1 200 OK")
        self.assertEqual(await self.ask(peer=third), b"HTTP/1.1 200 OK")

    async def test_idle_connections_are_closed(self) -> None:
        """A connection that was served and waits is closed; one that has just come may still ask."""
        await self.begin()
        idle, fresh = await self.client(self.port), await self.client(self.port)
        await self.ask(peer=idle)
        await self.until(lambda: self.gateway.loop.accepted == 2)
        self.use(fds=910)
        await idle.ended()
        self.advance(1.0)
        self.assertIn(b"200 ok", await self.head(fresh))
        self.assertEqual(self.gateway.overload.view()["eased"] > 0, True)

    async def test_idle_connections_to_endpoints(self) -> None:
        """The older half of them is closed at each look; requests make new ones."""
        await self.begin()
        clients = [await self.client(self.port) for _ in range(4)]
        self.served.answer = None
        for client in clients:
            client.send(GET)
        await self.until(lambda: sum(bool(peer.received) for peer in self.served.peers) == 4)
        for peer in self.served.peers:
            peer.send(OK)
        [cluster] = self.gateway.runtime.clusters.values()
        [endpoint] = cluster.endpoints
        await self.until(lambda: len(endpoint.pool) == 4)
        self.use(fds=910)
        self.assertEqual((len(endpoint.pool), self.gateway.overload.counters.unpooled), (2, 2))
        self.use(fds=910)
        await self.until(lambda: cluster.connections == 1)
        [last] = [peer for peer in self.served.peers if peer.lost is None]
        last.received = b""
        client = await self.client(self.port)
        client.send(GET)
        await self.until(lambda: last.received)
        last.send(OK)
        self.assertIn(b"200 OK", await client.heard(b"\r\n\r\n"))

    async def test_at_the_limit_of_connections(self) -> None:
        """Clients that wait because others are idle need not wait for long: idle connections make room."""
        await self.begin(gateway=BUDGETS + ", max_connections: 2")
        first, second = await self.client(self.port), await self.client(self.port)
        await self.ask(peer=first)
        await self.ask(peer=second)
        third = await self.client(self.port)
        third.send(GET)
        await self.until(lambda: self.gateway.loop.waiting_listeners)
        self.assertEqual((first.lost, second.lost, third.received), (None, None, b""))
        self.advance(1.5)
        self.assertIn(b"200 OK", await third.heard(b"\r\n\r\n"))
        self.assertTrue(self.gateway.overload.counters.eased >= 1)

    async def test_http_2(self) -> None:
        """Clients of HTTP/2 get GOAWAY after their first request."""
        await self.begin(gateway=BUDGETS)
        factory = self.gateway.listeners()[0].factory       # type: ignore[attr-defined]
        factory.prior_knowledge = True
        for host in self.gateway.runtime.hosts.values():
            host.prior_knowledge = True
        client = await self.client(self.port)
        client.send(PREFACE + _headers(1))
        await self.until(lambda: 1 in _kinds(client.received) and 0 in _kinds(client.received))
        self.assertNotIn(7, _kinds(client.received))
        self.use(memory=81_000_000)
        await self.until(lambda: 7 in _kinds(client.received))


class RefuseTests(OverloadCase):
    async def test_new_requests_are_refused(self) -> None:
        """503 with Retry-After and the flag ``OM`` in the access log; the endpoint hears nothing, other names are 404 still."""
        await self.begin(gateway=BUDGETS.replace("overload: {", "access_log: log.json, overload: {retry_after: 7s, "))
        client = await self.client(self.port)
        await self.ask(peer=client)
        [cluster] = self.gateway.runtime.clusters.values()
        self.use(memory=86_000_000)
        client = await self.client(self.port)
        head = await self.head(client)
        self.assertIn(b"http/1.1 503", head)
        self.assertIn(b"retry-after: 7\r\n", head)
        self.assertEqual(cluster.counters.requests, 1)
        self.relieve()
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")
        self.advance(1.0)
        await self.until(lambda: (self.folder / "log.json").read_text("utf-8").count("\n") == 3)
        lines = [json.loads(line) for line in (self.folder / "log.json").read_text("utf-8").splitlines()]
        self.assertEqual([(line["rsp_code"], line["response_flags"]) for line in lines],
                         [("200", ""), ("503", "OM"), ("200", "")])
        self.assertEqual(self.gateway.plane.unrouted.local_replies, {"OM": 1})

    async def test_a_reload_does_not_end_it(self) -> None:
        """The hosts of another configuration are refused as well, and served when it is over."""
        await self.begin()
        self.use(memory=86_000_000)
        self.write(balancer("other", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.served.port}"), gateway=BUDGETS)
        result = await self.gateway.reload()
        self.assertTrue(result["ok"] and result["changes"], result)
        self.assertIn(b" 503 ", await self.head(await self.client(self.port)))
        self.relieve()
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")

    async def test_a_body_that_is_under_way(self) -> None:
        """The client may send all of its body and reads the 503 then, whatever it does first."""
        await self.begin()
        self.use(memory=86_000_000)
        client = await self.client(self.port)
        head = await self.head(client, b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50000)
        self.assertIn(b" 503 ", head)
        client.send(b"x" * 50000)
        await client.ended()

    async def test_grpc(self) -> None:
        """A client of gRPC is told UNAVAILABLE (14), in its own way, and when to come again."""
        await self.begin()
        factory = self.gateway.listeners()[0].factory       # type: ignore[attr-defined]
        factory.prior_knowledge = True
        for host in self.gateway.runtime.hosts.values():
            host.prior_knowledge = True
        self.use(memory=86_000_000)
        client = await self.client(self.port)
        client.send(PREFACE + _headers(1, (b"content-type", b"application/grpc"), (b"te", b"trailers"), method=b"POST"))
        await self.until(lambda: 1 in _kinds(client.received))
        fields = dict(_fields(client.received))
        self.assertEqual((fields[":status"], fields["grpc-status"], fields["retry-after"], fields["grpc-retry-pushback-ms"]),
                         ("200", "14", "2", "2000"))

    async def test_a_forward_proxy(self) -> None:
        """CONNECT and plain requests are refused in the same way."""
        self.patch(overload, "Usage", lambda: self.usage)
        text = forward_config(ours=f"explicit_proxy: {{port: {self.port}}}").replace(
            "gateway: {site: paris}", f"gateway: {{site: paris, admin: {{port: 0}}, {BUDGETS}}}")
        self.file.write_text(text, encoding="utf-8")
        made = self.make()
        made.privilegedStartService()
        made.startService()
        await self.warm()
        self.use(memory=86_000_000)
        for request in (b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n",
                        b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"):
            head = await self.head(await self.client(self.port), request)
            self.assertIn(b"503 service unavailable", head, request)
            self.assertIn(b"retry-after: 2\r\n", head, request)
        self.assertEqual(made.plane.unrouted.local_replies, {"OM": 2})

    async def test_it_is_explained(self) -> None:
        """``voltgw explain --live`` says that such a request would be refused now, and why; afterwards it would not."""
        await self.begin()
        self.use(memory=92_000_000)
        url = f"http://shop.example:{self.port}/"
        explained = self.gateway.explain("GET", url)
        self.assertEqual(explained["outcome"], "refused")
        self.assertEqual([(each["outcome"], each["why"]) for each in explained["decisions"] if each["about"] == "overload"], [
            ("refused 503", "new requests are refused for want of memory: memory 92%, open_files 5%"),
            ("waits", "new connections wait for want of memory: memory 92%, open_files 5%")])
        self.relieve()
        explained = self.gateway.explain("GET", url)
        self.assertEqual(explained["outcome"], "forwarded")
        self.assertNotIn("overload", [each["about"] for each in explained["decisions"]])

    async def test_what_is_under_way_goes_on(self) -> None:
        """A request that was taken before gets its answer."""
        self.served = self.origin(None)
        await self.begin()
        client = await self.client(self.port)
        client.send(GET)
        await self.until(lambda: self.served.peers and self.served.peers[0].received)
        self.use(memory=94_000_000)
        self.served.peers[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertIn(b"200 OK", await client.heard(b"\r\n\r\n"))


class AcceptTests(OverloadCase):
    async def test_clients_wait(self) -> None:
        """New connections stand in the backlog, unharmed, until there is room; the pause is counted."""
        await self.begin()
        await self.ask()
        self.use(fds=985)
        client = await self.client(self.port)
        client.send(GET)
        counters = self.gateway.listeners()[0].counters
        await self.until(lambda: counters.paused_overload == 1)
        self.assertEqual((client.received, counters.accepted, counters.paused_limit), (b"", 1, 0))
        self.relieve()
        self.assertIn(b"200 OK", await client.heard(b"\r\n\r\n"))

    async def test_a_limit_that_is_raised_meanwhile(self) -> None:
        """A reload with another ``max_connections`` does not begin to accept."""
        await self.begin()
        self.use(fds=985)
        self.write(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.served.port}"),
                   gateway=BUDGETS + ", max_connections: 77")
        self.assertTrue((await self.gateway.reload())["ok"])
        self.assertEqual((self.gateway.loop.open_limit, self.gateway.process()["open_limit"]), (0, 77))
        self.relieve()
        self.assertEqual(self.gateway.loop.open_limit, 77)

    async def test_the_admin_interface_answers(self) -> None:
        """Whatever is short, the operator may ask."""
        await self.begin()
        self.use(memory=99_000_000, fds=999)
        port = int(self.gateway.admin.addresses[0].rpartition(":")[2])
        admin = await self.client(port)
        admin.send(b"GET /ready HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        await admin.ended()
        self.assertIn(b"200 OK", admin.received)
        self.assertIn(b"new connections wait, for want of memory, open_files", admin.received)


    async def test_the_operator_is_told(self) -> None:
        """``voltgw status`` says what is done, and is ready all the same."""
        await self.begin()
        self.use(fds=985)
        done = await deferToThread(run, ["status", "--admin", self.gateway.admin.addresses[0]])
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertIn("  overload: new connections wait, for want of open_files (memory 10%, open_files 98%)\n", done.out)


class ResetTests(OverloadCase):
    async def test_the_largest_are_cut(self) -> None:
        """The client that holds most is reset, and the log says why; one that holds little is not."""
        self.served = self.origin(b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 8_000_000)
        await self.begin(gateway=BUDGETS.replace("overload", "access_log: log.json, overload"))
        hog = await self.client(self.port)
        hog.pause()
        hog.send(GET)
        small = await self.client(self.port)
        connections = lambda: self.gateway.listeners()[0].factory.connections  # type: ignore[attr-defined]  # noqa: E731
        await self.until(lambda: len(connections()) == 2 and max(each.held_bytes for each in connections()) >= 64 * 1024)
        self.use(memory=97_000_000)
        await self.until(lambda: self.gateway.overload.counters.resets)
        await self.until(lambda: len(connections()) == 1)
        self.assertEqual(self.gateway.overload.counters.resets, 1)
        self.relieve()
        self.assertEqual(small.received, b"")
        hog.resume()
        await hog.ended()
        self.advance(1.0)
        await self.until(lambda: (self.folder / "log.json").read_text("utf-8").count("\n") == 1)
        line: dict[str, Any] = json.loads((self.folder / "log.json").read_text("utf-8"))
        self.assertEqual((line["response_flags"], line["rsp_code_details"]), ("OM", "overload_reset"))


class LookTests(OverloadCase):
    async def test_freed_memory_is_given_back_first(self) -> None:
        """What the C library holds on to is no reason to refuse anybody; it is asked for it at most every five seconds."""
        await self.begin()
        self.usage.freed = 50_000_000
        self.use(memory=90_000_000)
        self.assertEqual((self.gateway.overload.actions, self.usage.trimmed), ({}, 1))
        self.use(memory=90_000_000)
        self.assertIn(Action.REFUSE, self.gateway.overload.actions)
        self.assertEqual(self.usage.trimmed, 1)
        self.advance(5.0)
        self.assertEqual(self.usage.trimmed, 2)

    async def test_nothing_can_be_read(self) -> None:
        """A look that finds nothing changes nothing, and the next one comes."""
        await self.begin()
        self.use(memory=86_000_000)

        def broken() -> int:
            raise OSError(5, "Input/output error")

        self.patch(self.usage, "memory_bytes", broken)
        self.advance(2.0)
        self.assertIn(Action.REFUSE, self.gateway.overload.actions)
        self.assertTrue(self.gateway.overload.failures >= 4)

    async def test_stopping_ends_it(self) -> None:
        """A gateway that stops while it is short of something leaves nothing running."""
        await self.begin()
        self.use(memory=99_000_000, fds=999)
        await self.stop()
        self.assertEqual(self.gateway.overload.actions, {})

    async def test_what_operators_are_told(self) -> None:
        """Events say when an action begins and ends and for want of what; the view has both budgets."""
        await self.begin()
        self.use(memory=81_000_000)
        self.relieve()
        said = [(event.kind, event.fields["action"]) for event in self.gateway.events.since(kinds=["overload"])]
        self.assertEqual(said, [("overload.begins", "keep_alive"), ("overload.ends", "keep_alive")])
        view = self.gateway.overload.view()
        self.assertEqual(view["now"], [])
        self.assertEqual(view["resources"]["memory"]["actions"]["keep_alive"], {"from": 0.8, "now": False, "begun": 1})
        self.assertEqual(view["resources"]["open_files"]["budget"], 1000)


class SumTests(OverloadCase):
    async def test_what_workers_have(self) -> None:
        """Sums of other processes stand beside our own, and an action that only they take is told as theirs."""
        await self.begin()
        own = self.gateway.overload
        for counts, key, more in ((own.counters.used, "memory", 150_000_000), (own.counters.budget, "memory", 200_000_000),
                                  (own.counters.now, "memory refuse", 2), (own.counters.begun, "memory refuse", 3)):
            counts[key] = counts.get(key, 0) + more
        self.use(memory=20_000_000)
        view = own.view()
        memory = view["resources"]["memory"]
        self.assertEqual((memory["used"], memory["budget"]), (170_000_000, 300_000_000))
        self.assertEqual(memory["actions"]["refuse"], {"from": 0.85, "now": 2, "begun": 3})
        self.assertEqual(view["now"], ["new requests are refused, for want of memory, in 2 workers"])
        explained = self.gateway.explain("GET", f"http://shop.example:{self.port}/")
        self.assertEqual(explained["outcome"], "forwarded")
        self.assertIn("refused 503, perhaps", [each["outcome"] for each in explained["decisions"]])
        self.use(memory=86_000_000)
        self.assertEqual(own.view()["resources"]["memory"]["actions"]["refuse"], {"from": 0.85, "now": 3, "begun": 4})
        self.relieve()
        self.assertEqual(own.view()["resources"]["memory"]["actions"]["refuse"], {"from": 0.85, "now": 2, "begun": 4})


class BudgetTests(GatewayCase):
    def test_descriptors_are_looked_after_by_default(self) -> None:
        """By the limit of open files; an operator may say less, and leave actions out."""
        budget = files_budget(None, 1000)
        self.assertEqual((budget.amount, budget.shares),
                         (1000, {Action.KEEP_ALIVE: 0.9, Action.ACCEPT: 0.98, Action.REFUSE: 0.99}))
        budget = files_budget(OverloadConfig(open_files=OverloadFiles(budget=500, refuse=0.0, reset=1.0)), 1000)
        self.assertEqual((budget.amount, budget.shares),
                         (500, {Action.KEEP_ALIVE: 0.9, Action.ACCEPT: 0.98, Action.RESET: 1.0}))
        self.assertEqual(files_budget(OverloadConfig(open_files=OverloadFiles(budget=5000)), 1000).amount, 1000)

    def test_a_control_group_without_room(self) -> None:
        """Where the process alone takes most of a limit that nobody has named here, nobody is refused for it; a wish counts."""
        self.patch(overload, "Usage", FakeUsage)
        self.patch(budgets, "group_memory_bytes", lambda: 15_000_000)
        self.start()
        self.assertEqual(list(self.gateway.overload.pressures), ["open_files"])
        for said, looked_after in ((None, False), (OverloadMemory(budget=15_000_000), True), (OverloadMemory(share=1.0), True),
                                   (OverloadMemory(refuse=0.5), False), (None, False)):
            config = replace(self.gateway.runtime.config.gateway, overload=OverloadConfig(memory=said))
            self.gateway.overload.follow(config, 1000)
            self.assertEqual("memory" in self.gateway.overload.pressures, looked_after, said)

    def test_memory_by_the_control_group(self) -> None:
        """With a limit of the group that is the budget; without one there is none, unless a share of the host is asked for."""
        self.patch(budgets, "host_memory_bytes", lambda: 8000)
        self.patch(budgets, "group_memory_bytes", lambda: None)
        self.assertIs(memory_budget(None, 1), None)
        self.assertEqual(_amount(OverloadMemory(share=0.5)), 4000)
        self.assertEqual(_amount(OverloadMemory(budget=3000)), 3000)
        self.patch(budgets, "group_memory_bytes", lambda: 6000)
        self.assertEqual(_amount(None), 6000)
        self.assertEqual(_amount(OverloadMemory(share=0.5)), 3000)
        self.assertEqual(_amount(None, processes=3), 2000)


def _amount(memory: OverloadMemory | None, processes: int = 1) -> int:
    budget = memory_budget(OverloadConfig(memory=memory), processes)
    assert budget is not None
    return budget.amount


def _headers(stream: int, *more: tuple[bytes, bytes], method: bytes = b"GET") -> bytes:
    """HEADERS that end the request; fields without indexing."""
    block = b""
    for name, value in ((b":method", method), (b":scheme", b"http"), (b":authority", b"shop.example"), (b":path", b"/"), *more):
        block += b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value
    return len(block).to_bytes(3, "big") + b"\x01\x05" + stream.to_bytes(4, "big") + block


def _frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while len(data) >= 9:
        size = int.from_bytes(data[:3], "big")
        found.append((data[3], data[9:9 + size]))
        data = data[9 + size:]
    return found


def _kinds(data: bytes) -> list[int]:
    return [kind for kind, _ in _frames(data)]


def _fields(data: bytes) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in Decoder().decode(next(each for kind, each in _frames(data) if kind == 1))]
