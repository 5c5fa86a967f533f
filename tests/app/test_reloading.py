"""Reloads of a running gateway: what they change, what they keep, and that a failed one changes nothing."""

from __future__ import annotations

import gc
import json
import os
import socket
import weakref
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred

from tests.app.making import balancer, balancers, runtime
from tests.app.running import OK, GatewayCase
from tests.support import Origin, Peer, open_descriptors, until
from voltgw.app import slices
from voltgw.app.build import Runtime
from voltgw.app.listening import Bound
from voltgw.app.service import GatewayService
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.endpoint import Endpoint
from voltgw.config.model import Config
from voltgw.control.membership import Membership
from voltgw.routing.hosts import HostTable
from voltgw.routing.route import Route, VirtualHost

CHECKED = ", health_check: {path: /, interval: 10, timeout: 5, healthy_threshold: 1, unhealthy_threshold: 1}"


class ReloadCase(GatewayCase):
    """A gateway with one origin, ready."""

    origin_: Origin

    async def serve(self, gateway: str = "", more: str = "") -> None:
        """Start it."""
        self.origin_ = self.ok_origin()
        self.more = more
        self.start(self.shop(), gateway=gateway)
        await self.warm()

    def shop(self, port: int = 0) -> str:
        """The entry that is there from the beginning, perhaps with another origin."""
        return balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{port or self.origin_.port}", more=self.more)

    async def reload(self, ok: bool = True) -> dict[str, Any]:
        """Reload; what it says."""
        result = await self.gateway.reload()
        self.assertIs(result["ok"], ok, result)
        return result

    async def refused(self) -> list[str]:
        """A reload that must be refused and must leave nothing behind: why it was."""
        before = self.state()
        result = await self.reload(ok=False)
        self.assertEqual(self.state(), before)
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")
        self.assertEqual(self.gateway.last_reload_error, result["problems"][0])
        problems: list[str] = result["problems"]
        return problems

    def state(self) -> list[Any]:
        """What a refused reload may not change."""
        gateway = self.gateway
        sockets = Counter(what.partition(":")[0] for what in open_descriptors().values())
        return [gateway.generation, gateway.runtime, list(gateway.listening.bound.values()), list(gateway.memberships.values()),
                gateway.access_log, sockets, len(gateway.loop.clock.getDelayedCalls()), gateway._ahead]


class SameTests(ReloadCase):
    async def test_nothing_has_changed(self) -> None:
        """The generation stays, and so does everything else."""
        await self.serve()
        runtime = self.gateway.runtime
        self.assertEqual((await self.reload())["changes"], [])
        self.assertEqual((self.gateway.generation, self.gateway.runtime), (1, runtime))

    async def test_back_to_what_serves(self) -> None:
        """A mistake that was taken back is no longer told of."""
        await self.serve()
        good = self.file.read_text()
        self.file.write_text(good + "nonsense: 1\n")
        self.assertIn("nonsense", (await self.refused())[0])
        self.file.write_text(good)
        await self.reload()
        self.assertEqual((self.gateway.last_reload_error, self.gateway.reloads_rejected), ("", 1))

    async def test_the_access_log_was_rotated(self) -> None:
        """Every reload opens the access log anew: when nothing has changed, and when the file is wrong, too."""
        await self.serve(gateway="access_log: access.log")
        log = self.folder / "access.log"
        good = self.file.read_text()
        for round_, text in enumerate((good, good + "nonsense: 1\n", good + "# a comment\n")):
            os.rename(log, self.folder / f"access.log.{round_}")
            self.file.write_text(text)
            await self.gateway.reload()
            self.assertTrue(log.exists(), text)
            await self.ask()
            self.advance(0.5)
            self.assertEqual(len(log.read_text().splitlines()), 1)


class ChangeTests(ReloadCase):
    async def test_a_listener_comes_and_goes(self) -> None:
        """It serves as soon as the reload is over, and is closed by the next."""
        await self.serve()
        other = self.closed_port()
        self.write(self.shop(), balancer("more", f"127.0.0.1:{other}", f"127.0.0.1:{self.origin_.port}"))
        result = await self.reload()
        self.assertEqual(result["changes"], [
            f"listeners opened: 127.0.0.1:{other}", "virtual hosts added: default/more", "clusters added: default/more"])
        self.assertEqual((result["generation"], self.gateway.generation), (2, 2))
        self.assertEqual(await self.ask(other), b"HTTP/1.1 200 OK")
        membership = self.gateway.memberships["default/more"]
        self.write(self.shop())
        await self.reload()
        self.assertFalse(membership.running)
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", other)), 0)
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")

    async def test_an_equal_cluster(self) -> None:
        """It keeps its pooled connection, its health and its counts."""
        await self.serve(more=CHECKED)
        await self.ask()
        cluster, membership = self.gateway.runtime.clusters["default/shop"], self.gateway.memberships["default/shop"]
        connections = len(self.origin_.peers)
        self.write(self.shop(), balancer("more", f"127.0.0.1:{self.closed_port()}", "127.0.0.1:1"))
        await self.reload()
        self.assertIs(self.gateway.runtime.clusters["default/shop"], cluster)
        self.assertIs(self.gateway.memberships["default/shop"], membership)
        await self.ask()
        self.assertEqual((len(self.origin_.peers), cluster.counters.requests, cluster.counters.connects), (connections, 2, 1))
        self.assertEqual(next(iter(self.gateway.virtual_hosts()))["routes"][0]["requests"], 2)

    async def test_a_changed_cluster_is_warmed_up(self) -> None:
        """Until the new endpoint has been probed the old one serves; then the old one's idle connection is closed."""
        await self.serve(more=CHECKED)
        await self.ask()
        [_, pooled] = self.origin_.peers    # a probe's, and the pooled one
        other = self.origin()
        self.write(self.shop(other.port))
        done = self.gateway.reload()
        await self.until(lambda: other.peers and other.peers[0].received)
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")
        self.assertIsNone(pooled.lost)
        self.assertFalse(done.called)
        self.assertEqual(self.gateway.ready(), (True, []))
        other.peers[0].send(OK)
        self.assertTrue((await done)["ok"])
        await pooled.ended()
        other.answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
        self.assertEqual(await self.ask(), b"HTTP/1.1 202 Accepted")

    async def test_a_request_of_the_old_cluster(self) -> None:
        """A request that is with an endpoint of the old cluster at the swap is answered by it; its connection does not return."""
        await self.serve()
        self.origin_.answer = lambda peer, data: None
        client = await self.client(self.port)
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.until(lambda: self.origin_.peers)
        old = self.gateway.runtime.clusters["default/shop"]
        self.write(self.shop(self.ok_origin().port))
        await self.reload()
        self.origin_.peers[0].send(OK)
        await client.heard(b"ok")
        await self.origin_.peers[0].ended()
        self.assertEqual((old.active, old.connections), (0, 0))
        self.assertEqual(await self.ask(peer=client), b"HTTP/1.1 200 OK")

    async def test_new_endpoints_that_never_answer(self) -> None:
        """The swap waits for their probes no longer than a probe may take, and a second."""
        await self.serve(more=CHECKED)
        silent = self.origin()
        self.write(self.shop(silent.port))
        done = self.gateway.reload()
        await self.until(lambda: silent.peers and silent.peers[0].received)
        self.advance(4.5)
        self.assertFalse(done.called)
        self.advance(2)
        self.assertTrue((await done)["ok"])
        self.assertEqual(next(iter(self.gateway.clusters()))["ready"], 0)
        self.assertEqual(self.gateway.ready(), (True, []))

    async def test_another_kind_of_proxy(self) -> None:
        """An HTTP listener becomes a relay, on the same port."""
        await self.serve()
        client = await self.client(self.port)
        self.more = ", protocol: tcp"
        self.write(self.shop())
        self.assertEqual((await self.reload())["changes"], [f"listeners of another kind: 127.0.0.1:{self.port}"])
        await client.ended()                # it was idle
        self.origin_.answer = lambda peer, data: peer.send(b"echo " + data)
        client = await self.client(self.port)
        client.send(b"no http\n")
        await client.heard(b"echo no http\n")

    async def test_a_former_listener(self) -> None:
        """Its last connections are closed when the drain's time is up."""
        self.more = ", protocol: tcp"
        await self.serve(gateway="drain_timeout: 10s", more=", protocol: tcp")
        client = await self.client(self.port)
        await self.until(lambda: self.origin_.peers)
        self.write(gateway="drain_timeout: 10s")
        await self.reload()
        self.advance(9)
        self.assertEqual(self.gateway.listening.connections, 1)
        self.advance(1.5)
        await client.ended()
        self.assertEqual(self.gateway.listening.connections, 0)

    async def test_what_concerns_the_process(self) -> None:
        """Limits, the drain's time and the access log follow the file; what it no longer says goes back to the default."""
        await self.serve(gateway="max_connections: 1")
        default = self.gateway._most_connections(Config(type(self.gateway.runtime.config.gateway)(), {}, ""))
        first = await self.client(self.port)
        self.assertEqual(await self.ask(peer=first), b"HTTP/1.1 200 OK")
        second = await self.client(self.port)
        second.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.until(lambda: self.gateway.loop.waiting_listeners)
        self.write(self.shop(), gateway="drain_timeout: 7s, access_log: one.log")
        await self.reload()
        await second.heard(b"200 OK")       # the limit was raised while a client waited for room
        self.assertEqual((self.gateway.loop.open_limit, self.gateway.drain_timeout_s), (default, 7.0))
        self.write(self.shop(), gateway="access_log: {path: two.log, format: text}, site: paris")
        await self.reload()
        self.assertEqual(self.gateway.drain_timeout_s, 30.0)
        await self.ask()
        self.advance(0.5)
        self.assertIn('"GET / HTTP/1.1" 200', (self.folder / "two.log").read_text())
        [line] = (self.folder / "one.log").read_text().splitlines()
        self.assertEqual(json.loads(line)["rsp_code"], "200")
        logs = [os.path.basename(what) for what in open_descriptors().values() if what.endswith(".log")]
        self.assertEqual([name for name in logs if name in ("one.log", "two.log")], ["two.log"])
        self.write(self.shop())
        await self.reload()
        self.assertIsNone(self.gateway.access_log)
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")


class RefusedTests(ReloadCase):
    async def test_a_mistake(self) -> None:
        """Every problem is told with its place; warnings are none."""
        await self.serve()
        self.write(self.shop(), balancer("b", "127.0.0.1:1", "nowhere:port"), gateway="workers: 2")
        problems = await self.refused()
        self.assertEqual(len(problems), 1)
        self.assertIn(f"{self.file}:4:", problems[0])

    async def test_what_only_building_finds(self) -> None:
        """So are those that only building finds."""
        await self.serve()
        self.file.write_text(self.file.read_text() + "objects:\n"
            "- {kind: virtual_host, metadata: {name: t}, spec: {proxy: TCP_PROXY, domains: ['*'], advertise_policies: [p], "
            "routes: [r]}}\n- {kind: advertise_policy, metadata: {name: p}, spec: {address: 127.0.0.1, port: 1}}\n"
            "- {kind: route, metadata: {name: r, disable: true}, spec: {routes: [{route_destination: {destinations: [{cluster: "
            "[{name: shop}]}]}}]}}\n")
        self.assertIn("no route in service", (await self.refused())[0])

    async def test_the_file_is_gone(self) -> None:
        """A file that was deleted is a mistake like another."""
        await self.serve()
        self.file.unlink()
        self.assertIn("cannot be read", (await self.refused())[0])

    async def test_a_port_is_taken(self) -> None:
        """The other new listener is closed again."""
        await self.serve()
        other = self.closed_port()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            self.write(self.shop(), balancer("b", f"127.0.0.1:{other}", "127.0.0.1:1"),
                       balancer("c", f"127.0.0.1:{taken.getsockname()[1]}", "127.0.0.1:1"))
            self.assertIn(str(taken.getsockname()[1]), (await self.refused())[0])
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", other)), 0)

    async def test_an_access_log_that_cannot_be_written(self) -> None:
        """That is found before anything is changed."""
        await self.serve(gateway="access_log: access.log")
        self.write(self.shop(), balancer("b", f"127.0.0.1:{self.closed_port()}", "127.0.0.1:1"), gateway="access_log: no/such.log")
        self.assertIn("no/such.log", (await self.refused())[0])

    async def test_a_bug_in_the_middle(self) -> None:
        """An exception of ours after ports were bound and memberships started leaves none of them behind, and is logged."""
        await self.serve()
        real = self.gateway._membership
        made: list[Membership] = []

        def fails(name: str, runtime: Runtime) -> Membership:
            if made:
                raise RuntimeError("a bug")
            made.append(real(name, runtime))
            return made[0]

        self.patch(self.gateway, "_membership", fails)
        self.write(self.shop(), *(balancer(name, f"127.0.0.1:{self.closed_port()}", "127.0.0.1:1") for name in "bc"))
        self.assertEqual(await self.refused(), ["internal error: a bug"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.patch(self.gateway, "_membership", real)
        await self.reload()
        self.assertEqual(len(self.gateway.listening.bound), 3)

    async def test_a_bug_while_starting(self) -> None:
        """So it is when a membership was started already, with its timers."""
        await self.serve()
        real = Membership.startService
        started: list[Membership] = []

        def fails(membership: Membership) -> None:
            if started:
                raise RuntimeError("a bug")
            started.append(membership)
            real(membership)

        self.patch(Membership, "startService", fails)
        self.write(self.shop(), *(balancer(name, f"127.0.0.1:{self.closed_port()}", "127.0.0.1:1") for name in "bc"))
        self.assertEqual(await self.refused(), ["internal error: a bug"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertFalse(started[0].running)


class MeanwhileTests(ReloadCase):
    """What comes while a reload waits for the first probes of a new cluster."""

    async def warming(self) -> tuple[Deferred[dict[str, Any]], Peer, int]:
        """Its result, the endpoint that has not answered its probe, and the port of the listener that it brings."""
        await self.serve(more=CHECKED)
        silent = self.origin()
        other = self.closed_port()
        self.write(self.shop(), balancer("new", f"127.0.0.1:{other}", f"127.0.0.1:{silent.port}", more=CHECKED))
        before = open_descriptors()
        done = self.gateway.reload()
        await self.until(lambda: silent.peers and silent.peers[0].received)
        self.assertGreater(len(open_descriptors()), len(before))
        return done, silent.peers[0], other

    async def test_more_reloads(self) -> None:
        """They follow, once for all that wait, and read what the file says by then."""
        done, origin, _ = await self.warming()
        later = [self.gateway.reload() for _ in range(3)]
        self.write(self.shop())
        origin.send(OK)
        self.assertEqual((await done)["generation"], 2)
        self.assertEqual([(await each)["generation"] for each in later], [3, 3, 3])
        self.assertEqual((self.gateway.generation, list(self.gateway.memberships)), (3, ["default/shop"]))

    async def test_a_drain(self) -> None:
        """The reload gives up at once: nothing new is opened while we drain, and what it had opened is closed."""
        done, _, other = await self.warming()
        self.gateway.drain()
        self.assertEqual((await done)["problems"], ["the gateway drains"])
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", other)), 0)
        self.assertEqual(self.gateway.generation, 1)
        self.assertEqual((await self.gateway.reload())["problems"], ["the gateway drains"])

    async def test_a_stop(self) -> None:
        """Stopping waits for no reload, and whoever asked for one is answered."""
        done, _, _ = await self.warming()
        later = self.gateway.reload()
        await self.gateway.stopService()
        self.assertEqual([(await each)["ok"] for each in (done, later)], [False, False])

    async def test_a_stop_while_it_reads(self) -> None:
        """So it is when it has come no further than reading."""
        await self.serve()
        self.patch(slices, "LEAST_S", 0.0)
        self.patch(slices, "MOST_S", 0.0)
        self.write(self.shop(), balancer("b", f"127.0.0.1:{self.closed_port()}", "127.0.0.1:1"))
        done = self.gateway.reload()
        self.assertFalse(done.called)
        await self.gateway.stopService()
        self.assertFalse((await done)["ok"])

    async def test_in_slices(self) -> None:
        """Reading and building stop often enough for others to have their turns."""
        await self.serve()
        self.patch(slices, "LEAST_S", 0.0)
        self.patch(slices, "MOST_S", 0.0)
        self.write(self.shop(), *(balancer(f"n{number}", f"127.0.0.1:{self.closed_port()}", "127.0.0.1:1") for number in range(5)))
        turns = self.gateway.loop.turns
        await self.reload()
        self.assertGreater(self.gateway.loop.turns - turns, 15)


#: What a generation is made of; all of it is freed by the last reference to it.
COUNTED = (Runtime, Config, VirtualHost, Route, HostTable, Bound, Cluster, Endpoint, Membership)


class MemoryTests(ReloadCase):
    async def test_old_generations_are_freed(self) -> None:
        """After many reloads that change everything there is one generation."""
        await self.serve()
        gc.collect()
        self.others = Counter(type(each) for each in gc.get_objects())      # this one has one host; others are of other tests
        ports = [self.closed_port(), self.closed_port()]

        async def change(number: int) -> None:
            """Another listener, another origin, another name."""
            self.write(
                balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.origin_.port}", f"127.0.0.1:{1 + number % 2}"),
                balancer(f"n{number % 2}", f"127.0.0.1:{ports[number % 2]}", f"127.0.0.1:{self.origin_.port}"))
            await self.reload()
            self.assertEqual(await self.ask(ports[number % 2]), b"HTTP/1.1 200 OK")

        await change(0)
        await change(1)
        gc.disable()
        self.addCleanup(gc.enable)
        config = weakref.ref(self.gateway.runtime.config)
        for number in range(20):
            await change(number)
        self.advance(40)                    # deadlines of connections that have ended
        one = {Runtime: 0, Config: 0, VirtualHost: 1, Route: 1, HostTable: 1, Bound: 1,     # it has two now
               Cluster: 1, Endpoint: 2, Membership: 1}
        await until(lambda: self.counts(COUNTED) == one, 2.0, lambda: f"{self.counts(COUNTED)} != {one}")
        self.assertIsNone(config())

    async def test_freed_piece_by_piece(self) -> None:
        """A former configuration is not let go of in one turn, however much of it has changed."""
        def balancers_to(origin: int) -> str:
            return balancers(*(balancer(f"n{each}", f"127.0.0.1:{each + 1}", f"127.0.0.1:{origin}") for each in range(200)))

        old = runtime(balancers_to(1))
        after = runtime(balancers_to(2), old)
        clusters: list[weakref.ref[Any]] = []
        for cluster in old.clusters.values():       # which cannot be referred to weakly: something of theirs can
            cluster.on_connect_failed = lambda *_: None
            clusters.append(weakref.ref(cluster.on_connect_failed))
        del cluster
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        owner: Any = SimpleNamespace(_rest=None)
        steps = GatewayService._take_apart(owner, [], old, after)
        del old
        left = [len(clusters)]
        for _ in steps:
            left.append(sum(each() is not None for each in clusters))
        self.assertEqual(left[-1], 0)
        self.assertLessEqual(max(before - then for before, then in pairwise(left)), 16)

    async def test_no_cycles(self) -> None:
        """A reload that changes a host, a cluster and a limiter leaves nothing of ours that only the cycle collector would
        find: it is kept away from what reloads make.
        """
        limits = ("- {{kind: rate_limiter, metadata: {{name: few}}, spec: {{limits: [{{total_number: {0}, unit: MINUTE}}], "
                  "user_identification: [{{name: who}}]}}}}\n"
                  "- {{kind: user_identification, metadata: {{name: who}}, spec: {{rules: [{{client_ip: {{}}}}]}}}}\n")

        def change(number: int) -> None:
            """Other figures."""
            self.write(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.origin_.port}", f"127.0.0.1:{number}"))
            with self.file.open("a", encoding="utf-8") as file:
                file.write("objects:\n" + limits.format(number))
                file.write(f"- {{kind: endpoint, metadata: {{name: e}}, spec: {{ip: 127.0.0.1, port: {number}}}}}\n"
                           "- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e]}}\n"
                           "- {kind: route, metadata: {name: r}, spec: {routes: [{route_destination: {destinations: "
                           "[{cluster: [{name: c}]}]}}]}}\n"
                           "- {kind: virtual_host, metadata: {name: h}, spec: {domains: [h.example], proxy: HTTP_PROXY, "
                           "advertise_policies: [p], routes: [r], rate_limiter: [{name: few}]}}\n"
                           f"- {{kind: advertise_policy, metadata: {{name: p}}, spec: {{address: 127.0.0.1, port: {self.second}}}}}\n")

        await self.serve()
        self.second = self.closed_port()
        for number in (1, 2):               # what is imported only now is there to stay
            change(number)
            await self.reload()
        gc.collect()
        self.addCleanup(gc.set_debug, gc.get_debug())
        gc.disable()
        self.addCleanup(gc.enable)
        change(3)
        await self.reload()
        await self.until(lambda: self.gateway._rest is None)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found, gc.garbage[:] = list(gc.garbage), []
        self.assertEqual([repr(each) for each in found if _is_ours(each)], [])

    def counts(self, kinds: tuple[type, ...]) -> dict[type, int]:
        """How many there are of each, more than at first."""
        found = Counter(type(each) for each in gc.get_objects())
        return {kind: found[kind] - self.others[kind] for kind in kinds}

    async def test_told_when_it_is_over(self) -> None:
        """Whoever owns the process hears of the beginning and the end of each reload, whatever becomes of it."""
        await self.serve()
        heard: list[int] = []
        self.gateway.on_reload = lambda: heard.append(0)
        self.gateway.on_reloaded = lambda: heard.append(self.gateway.generation)
        self.write(self.shop(), balancer("b", f"127.0.0.1:{self.closed_port()}", "127.0.0.1:1"))
        await self.reload()
        await self.until(lambda: heard == [0, 2])
        await self.reload()
        await self.until(lambda: heard == [0, 2, 0, 2])
        self.file.unlink()
        await self.reload(ok=False)
        await self.until(lambda: heard == [0, 2, 0, 2, 0, 2])

    async def test_what_follows_it_fails(self) -> None:
        """Whoever waits for the reload is told all the same, and the next one is made."""
        await self.serve()

        def fails() -> None:
            raise RuntimeError("a bug")

        self.gateway.on_reloaded = fails
        for _ in range(2):
            await self.reload()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)


class WatchTests(ReloadCase):
    async def test_an_edit_and_a_bad_one(self) -> None:
        """With ``watch`` an edit serves without anybody asking; a bad one is refused once, and the old origin answers on."""
        await self.serve(gateway="watch: true")
        other = self.origin(b"HTTP/1.1 200 Other\r\nContent-Length: 2\r\n\r\nok")
        self.write(self.shop(other.port), gateway="watch: true")
        await self.until(lambda: self.gateway.generation == 2)
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 Other")
        self.file.write_text("nonsense: 1\n", encoding="utf-8")
        await self.until(lambda: self.gateway.files.refused)
        self.advance(5.0)
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 Other")
        self.assertEqual((self.gateway.reloads_rejected, self.gateway.files.taken, self.gateway.generation), (1, 2, 2))
        self.assertIn("nonsense", self.gateway.last_reload_error)
        process = self.gateway.process()
        self.assertEqual((process["file_reloads"], process["file_reloads_refused"]), (2, 1))


def _is_ours(thing: object) -> bool:
    """Whether it is a function of ours, or of a class of ours."""
    return str(getattr(thing, "__module__", None) or type(thing).__module__).startswith("voltgw")
