"""The running gateway: start, ready, drain, stop."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

from tests.app.making import balancer
from tests.app.running import OK, GatewayCase
from tests.integration.gateway import free_port
from tests.support import Peer, open_descriptors
from voltgw.app.settings import StartError
from voltgw.cluster.cluster import Cluster
from voltgw.cluster.snapshot import EndpointSet
from voltgw.control.membership import Membership

CHECKED = ", health_check: {path: /, interval: 10, timeout: 5, healthy_threshold: 1, unhealthy_threshold: 1}"


class StartTests(GatewayCase):
    async def test_it_serves(self) -> None:
        """A request goes to the origin and back; what the admin interface shows agrees."""
        origin = self.ok_origin()
        gateway = self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}"))
        await self.warm()
        self.assertEqual(await self.ask(), b"HTTP/1.1 200 OK")
        [listener] = gateway.listeners()
        self.assertEqual((listener.name, listener.kind, listener.bound, listener.hosts),
                         (f"127.0.0.1:{self.port}", "HTTP_PROXY", True, ["default/shop"]))
        [cluster] = gateway.clusters()
        self.assertEqual((cluster["cluster"], cluster["ready"], cluster["counters"]["requests"]), ("default/shop", 1, 1))
        [host] = gateway.virtual_hosts()
        self.assertEqual((host["name"], host["listeners"], host["routes"][0]["requests"]),
                         ("shop", [f"127.0.0.1:{self.port}"], 1))
        self.assertEqual(gateway.process()["failures"], 0)

    async def test_a_client_that_was_there_before(self) -> None:
        """Who connects as soon as the port is bound waits, and finds the clusters as they are configured, not empty."""
        origin = self.ok_origin()
        self.write(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}", more=", protocol: tcp"))
        gateway = self.make()
        gateway.privilegedStartService()
        client = await self.client(self.port)
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        gateway.startService()
        self.assertIn(b" 200 OK\r\n", await client.heard(b"\r\n\r\n"))

    async def test_stopped_before_it_accepts(self) -> None:
        """A gateway that is stopped in the turn in which it was started leaves nothing open."""
        self.start(balancer("shop", f"127.0.0.1:{self.port}", "127.0.0.1:1"))
        await self.gateway.stopService()

    def failed_start(self) -> str:
        """What the operator is told; nothing may be left open, before the gateway is stopped."""
        gateway = self.make()
        before = open_descriptors()
        error = self.assertRaises(StartError, gateway.privilegedStartService)
        self.assertEqual({fd: what for fd, what in open_descriptors().items() if before.get(fd) != what}, {})
        return str(error)

    def test_a_port_is_taken(self) -> None:
        """The message names it, and nothing stays open: neither the other port nor the access log."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.write(balancer("a", f"127.0.0.1:{self.port}", "127.0.0.1:1"), balancer("b", f"127.0.0.1:{port}", "127.0.0.1:1"),
                       gateway="access_log: access.log")
            self.assertIn(f"127.0.0.1:{port}", self.failed_start())

    def test_the_admin_port_is_taken(self) -> None:
        """So it is when the admin interface cannot be where it should."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.write(balancer("a", f"127.0.0.1:{self.port}", "127.0.0.1:1"))
            self.file.write_text(self.file.read_text().replace("port: 0", f"port: {port}"))
            self.assertIn(f"gateway.admin: 127.0.0.1:{port}", self.failed_start())

    def test_the_access_log_cannot_be_written(self) -> None:
        """So it is when the access log's folder does not exist."""
        self.write(balancer("a", f"127.0.0.1:{self.port}", "127.0.0.1:1"), gateway="access_log: no/such/access.log")
        self.assertIn("gateway.access_log", self.failed_start())

    async def test_paths_are_beside_the_file(self) -> None:
        """A relative path is meant from the folder of the file in which it stands, wherever the process runs."""
        self.start(gateway="access_log: access.log")
        self.assertTrue((self.folder / "access.log").exists())
        await self.gateway.stopService()
        short = Path(tempfile.mkdtemp())    # a socket's name may have 107 bytes, and trial's folders are deep
        self.addCleanup(shutil.rmtree, short)
        self.file = short / "voltgw.yaml"
        self.file.write_text("gateway: {admin: {unix: admin.sock}}\n")
        self.make().privilegedStartService()
        self.assertEqual(self.gateway.admin.addresses, [str(short / "admin.sock")])

    async def test_bound_but_never_started(self) -> None:
        """A gateway that was only bound (giving up privileges failed) can be stopped."""
        self.write(balancer("a", f"127.0.0.1:{self.port}", "127.0.0.1:1"), gateway="access_log: access.log")
        self.make().privilegedStartService()
        await self.gateway.stopService()

    def test_the_admin_interface_is_no_endpoint(self) -> None:
        """Not by any spelling of its address."""
        self.start()
        port = int(self.gateway.admin.addresses[0].rpartition(":")[2])
        for address in ("127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::"):
            self.assertIn("admin", self.gateway._refused_endpoint(address, port), address)
        for address, other in (("127.0.0.1", port + 1), ("127.0.0.2", port), ("192.0.2.1", port)):
            self.assertEqual(self.gateway._refused_endpoint(address, other), "", address)


    def test_nor_are_metrics_on_every_address(self) -> None:
        """All addresses of this host lead to them."""
        other = free_port()
        self.start(gateway=f"monitor: {{address: 0.0.0.0, port: {other}}}")
        for address in ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::ffff:127.0.0.1"):
            self.assertIn("admin", self.gateway._refused_endpoint(address, other), address)
        self.assertEqual(self.gateway._refused_endpoint("192.0.2.1", other), "")

    def test_nor_by_its_name(self) -> None:
        """``localhost`` is an address like any other."""
        self.file.write_text("gateway: {admin: {address: localhost, port: 0}}\n", encoding="utf-8")
        self.make().privilegedStartService()
        port = int(self.gateway.admin.addresses[0].rpartition(":")[2])
        self.assertIn("admin", self.gateway._refused_endpoint("127.0.0.1", port))


class ReadyTests(GatewayCase):
    async def test_until_the_first_probes(self) -> None:
        """It is not ready, and says for what it waits, until the health-checked cluster has had its first probe."""
        silent = self.origin()
        warm: list[int] = []
        self.write(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{silent.port}", more=CHECKED))
        gateway = self.make()
        gateway.on_warm = lambda: warm.append(1)
        gateway.startService()              # binds what was not bound
        await self.until(lambda: silent.peers and silent.peers[0].received)
        self.assertEqual(gateway.ready(), (False, ["cluster default/shop: 1 first probe under way"]))
        self.assertEqual(warm, [])
        silent.peers[0].send(OK)
        await self.warm()
        self.assertEqual(warm, [1])

    async def test_an_origin_that_never_answers(self) -> None:
        """After the probe's timeout it is ready all the same."""
        silent = self.origin()
        gateway = self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{silent.port}", more=CHECKED))
        await self.until(lambda: silent.peers and silent.peers[0].received)
        self.advance(6.5)
        await self.warm()
        self.assertEqual(next(iter(gateway.clusters()))["ready"], 0)

    async def test_while_it_drains(self) -> None:
        """It is not ready from the moment that a drain begins, and does not say that it is when probes end meanwhile."""
        silent = self.origin()
        gateway = self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{silent.port}", more=CHECKED))
        warm: list[int] = []
        gateway.on_warm = lambda: warm.append(1)
        await self.until(lambda: silent.peers and silent.peers[0].received)
        gateway.drain()
        silent.peers[0].send(OK)
        await self.until(lambda: gateway.memberships["default/shop"].warm)
        self.assertEqual(gateway.ready(), (False, ["it drains"]))
        self.assertEqual(warm, [])


class StopTests(GatewayCase):
    async def test_nobody_is_connected(self) -> None:
        """It stops at once; a second stop changes nothing."""
        self.start(balancer("shop", f"127.0.0.1:{self.port}", "127.0.0.1:1"), gateway="access_log: access.log")
        await self.gateway.stopService()
        await self.gateway.stopService()

    async def slow(self) -> tuple[Peer, Peer]:
        """A client whose request is with an origin that has not answered yet."""
        silent = self.origin()
        self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{silent.port}"), gateway="access_log: access.log")
        await self.warm()
        client = await self.client(self.port)
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.until(lambda: silent.peers and silent.peers[0].received)
        return client, silent.peers[0]

    async def test_a_request_under_way(self) -> None:
        """It is answered before the gateway ends, and its line is in the access log."""
        client, origin = await self.slow()
        stopped = self.gateway.stopService()
        self.assertFalse(stopped.called)
        origin.send(OK)
        self.assertIn(b"connection: close\r\n", await client.heard(b"\r\n\r\n"))
        client.close()
        await stopped
        [line] = (self.folder / "access.log").read_text().splitlines()
        self.assertEqual(json.loads(line)["rsp_code"], "200")

    async def test_a_request_that_does_not_end(self) -> None:
        """After `drain_timeout` its connection is cut."""
        client, _ = await self.slow()
        stopped = self.gateway.stopService()
        self.advance(29)
        self.assertIsNone(client.lost)
        self.assertFalse(stopped.called)
        self.advance(1.5)
        await stopped
        await client.ended()

    async def test_abandon(self) -> None:
        """A second signal waits for nobody."""
        client, _ = await self.slow()
        stopped = self.gateway.stopService()
        self.gateway.abandon()
        await stopped
        await client.ended()

    async def test_drain_timeout(self) -> None:
        """The configuration says how long that may take."""
        self.start(gateway="drain_timeout: 250ms")
        self.assertEqual(self.gateway.drain_timeout_s, 0.25)

    async def test_draining_first(self) -> None:
        """A drain that was asked for keeps the process: new clients are refused, /live lives on, and it can be stopped."""
        self.start(balancer("shop", f"127.0.0.1:{self.port}", "127.0.0.1:1"))
        await self.warm()
        self.gateway.drain()
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", self.port)), 0)
        self.assertTrue(self.gateway.running)
        await self.gateway.stopService()


class LimitTests(GatewayCase):
    async def test_most_connections(self) -> None:
        """``max_connections`` counts clients alone: each of two has a connection to the endpoint beside its own."""
        origin = self.ok_origin()
        gateway = self.start(balancer("shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{origin.port}"), gateway="max_connections: 2")
        await self.warm()
        first, second = await self.client(self.port), await self.client(self.port)
        for client in (first, second, first, second):
            self.assertEqual(await self.ask(peer=client), b"HTTP/1.1 200 OK")
        third = await self.client(self.port)
        third.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.until(lambda: gateway.loop.waiting_listeners)
        self.assertEqual(third.received, b"")
        first.close()
        self.assertIn(b"200 OK", await third.heard(b"\r\n\r\n"))
        self.assertEqual(gateway.listeners()[0].counters.accepted, 3)

    async def test_the_default(self) -> None:
        """Without it, half of the descriptors that are not reserved."""
        self.start()
        with open("/proc/self/limits", encoding="ascii") as limits:
            [line] = [line for line in limits if line.startswith("Max open files")]
        allowed = int(line.split()[3])
        self.assertEqual(self.gateway.loop.open_limit, (allowed - 512) // 2)


class OneOfManyTests(GatewayCase):
    """What a changed endpoint costs, counted in clusters that are looked at: time says little on a busy machine."""

    async def test_a_changed_endpoint(self) -> None:
        """Its own cluster gets one new set of endpoints; the others are not even looked at, however many there are."""
        gateway = self.start(*(balancer(
            f"n{number}", f"127.0.0.1:{self.port}", *(f"127.0.0.1:{10 * number + each}" for each in range(1, 4)),
            more=f", domains: [n{number}.example]") for number in range(1, 31)))
        await self.warm()
        passes: list[str] = []
        installed: list[str] = []
        passing, install = Membership._passing, Cluster.install

        def passes_(membership: Membership) -> Any:
            passes.append(membership.cluster.name)
            return passing(membership)

        def installs(cluster: Cluster, endpoints: EndpointSet) -> None:
            installed.append(cluster.name)
            install(cluster, endpoints)

        self.patch(Membership, "_passing", passes_)
        self.patch(Cluster, "install", installs)
        before = {name: cluster.version for name, cluster in gateway.runtime.clusters.items()}
        for act, ready in (("drain", [False, True, True]), ("undrain", [True, True, True])):
            gateway.order(act, "127.0.0.1:71", "", "")
            self.assertEqual(gateway.runtime.clusters["default/n7"].endpoints[0].ready, False)     # at once, or in the pass
            await self.until(lambda: not gateway.memberships["default/n7"]._pending)
            self.assertEqual([each.ready for each in gateway.runtime.clusters["default/n7"].endpoints], ready)
        self.assertEqual((passes, installed), (["default/n7"] * 2, ["default/n7"] * 2))
        after = {name: cluster.version for name, cluster in gateway.runtime.clusters.items()}
        self.assertEqual({name for name in after if after[name] != before[name]}, {"default/n7"})


class ProcessTests(GatewayCase):
    async def test_the_process_is_left_as_it_is(self) -> None:
        """Signals and the garbage collector belong to whoever owns the process, not to the service."""
        import gc
        import signal

        def state() -> list[Any]:
            return [gc.get_threshold(), os.umask(os.umask(0o022)),
                    *(signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT))]

        before, frozen = state(), gc.get_freeze_count()
        self.start(balancer("shop", f"127.0.0.1:{self.port}", "127.0.0.1:1"))
        await self.warm()
        self.assertEqual(state(), before)
        self.assertLessEqual(gc.get_freeze_count(), frozen)     # what others have frozen may go meanwhile
