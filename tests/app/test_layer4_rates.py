"""Rates of connections and bytes in a whole gateway: what peers send and get, whose rate it is, and how relays end meanwhile."""

from __future__ import annotations

import random
import socket
import ssl
import struct
import threading
import time
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

from twisted.internet.threads import deferToThread

from tests.app import test_layer4
from tests.app.making import balancer, balancers, cluster, config, endpoint, host, objects, policy, route, runtime
from tests.app.running import GET, GatewayCase
from tests.certificates import authority, server
from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.question import read_question
from voltgw.errors import ConfigErrors
from voltgw.observe.decisions import text_of


class RelayTests(GatewayCase):
    """One relay, limited both ways."""

    POLICY = test_layer4.ListenerTests.POLICY
    lay_out: Any = test_layer4.ListenerTests.lay_out

    def far(self, size: int, answer: bytes) -> tuple[int, list[bytes]]:
        """A server that hears a client to its FIN, then says `answer` and closes; its port, and the digest of what it heard."""
        listening = socket.create_server(("127.0.0.1", 0))
        heard: list[bytes] = []

        def serve() -> None:
            with listening:
                peer, _ = listening.accept()
            with peer:
                peer.settimeout(20)
                digest, left = sha256(), size
                while data := peer.recv(65536):
                    digest.update(data)
                    left -= len(data)
                heard.append(digest.digest() if not left else b"%d bytes are missing" % left)
                peer.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 5)
        port: int = listening.getsockname()[1]
        return port, heard

    def run_it(self, options: str, origin: int) -> Any:
        """The gateway of one relay, running."""
        gateway = self.lay_out(options, origin=origin)
        gateway.privilegedStartService()
        gateway.startService()
        return gateway

    def say_and_hear(self, said: bytes) -> bytes:
        """Send everything and a FIN, then hear everything until the other FIN."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as peer:
            peer.settimeout(20)
            peer.sendall(said)
            peer.shutdown(socket.SHUT_WR)
            found = bytearray()
            while data := peer.recv(65536):
                found += data
        return bytes(found)

    async def test_whole_both_ways_behind_a_half_close(self) -> None:
        """What a client sends before its FIN arrives whole although reading it was paused many times, then the FIN; the answer to
        it comes whole at another rate. Neither comes faster than its rate lets it.
        """
        chance = random.Random(2)
        up, down = chance.randbytes(1_500_000), chance.randbytes(2_500_000)
        port, heard = self.far(len(up), down)
        gateway = self.run_it("upload_bytes_per_second: 1500000, download_bytes_per_second: 2500000", port)
        records: list[Any] = []
        gateway.plane.access = SimpleNamespace(connection=records.append)
        await self.warm()
        began = time.monotonic()
        found = await deferToThread(self.say_and_hear, up)
        self.assertGreater(time.monotonic() - began, 1.5)
        self.assertEqual(heard, [sha256(up).digest()])
        self.assertEqual(sha256(found).digest(), sha256(down).digest())
        self.assertGreater(gateway.listeners()[0].counters.paced, 10)
        await self.until(lambda: records)
        self.assertTrue(1.0 < records[0].slowed_s < 6.0, records[0].slowed_s)       # a second of data each way, and what was lost

    async def test_one_way_alone(self) -> None:
        """The other way has no rate: it may go through the kernel, and both come whole."""
        chance = random.Random(3)
        up, down = chance.randbytes(400_000), chance.randbytes(30_000_000)
        port, heard = self.far(len(up), down)
        gateway = self.run_it("upload_bytes_per_second: 1000000", port)
        await self.warm()
        found = await deferToThread(self.say_and_hear, up)
        self.assertEqual(heard, [sha256(up).digest()])
        self.assertEqual(sha256(found).digest(), sha256(down).digest())
        self.assertGreater(gateway.listeners()[0].counters.paced, 0)

    async def test_a_reset_while_it_waits(self) -> None:
        """A client that resets while its rate keeps it from being read is let go when it is read next; nothing is left of it."""
        ended: list[bytes] = []
        origin = self.origin(lambda peer, data: ended.append(data))
        gateway = self.run_it("upload_bytes_per_second: 200000", origin.port)
        await self.warm()
        peer = socket.create_connection(("127.0.0.1", self.port), 5)
        peer.setblocking(False)
        peer.send(bytes(200_000))
        await self.until(lambda: gateway.listeners()[0].counters.paced)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        await self.until(lambda: not gateway.listeners()[0].counters.open)
        self.assertLess(sum(map(len, ended)), 200_000)

    async def test_a_limit_and_a_rate(self) -> None:
        """Together: nobody comes in above the limit, though it is due; who waited for the limit has the rate's time behind it."""
        origin = self.ok_origin()
        gateway = self.run_it("max_connections: 2, connections_per_second: 50, connection_burst: 1", origin.port)
        await self.warm()
        peers = [await self.client(self.port) for _ in range(3)]
        counters = gateway.listeners()[0].counters
        await self.until(lambda: counters.paused_limit)
        self.assertEqual(counters.open, 2)
        self.assertGreater(counters.paused_rate, 0)
        peers[0].close()
        self.assertEqual(await self.ask(peer=peers[2]), b"HTTP/1.1 200 OK")
        self.assertEqual(counters.open, 2)

    async def test_the_end_while_it_waits(self) -> None:
        """A listener that goes while its rate keeps clients waiting leaves no timer behind; what it has accepted goes on."""
        origin = self.ok_origin()
        gateway = self.run_it("connections_per_second: 1, connection_burst: 1", origin.port)
        await self.warm()
        peers = [await self.client(self.port) for _ in range(2)]
        counters = gateway.listeners()[0].counters
        await self.until(lambda: counters.paused_rate)
        gateway.listening.bound[next(iter(gateway.listening.bound))].stop()
        self.assertEqual(await self.ask(peer=peers[0]), b"HTTP/1.1 200 OK")
        await peers[1].ended()


class SharedTests(GatewayCase):
    """Hosts that share a port by their TLS names have a rate each."""

    origins: dict[str, int]
    shop: Any

    def write_it(self, slow: str, fast: str) -> None:
        """Three hosts on one port: two that pass TLS through, at rates of their own, and one that ends it."""
        issued = server("shop.example")
        (self.folder / "shop.crt").write_bytes(issued.certificate)
        (self.folder / "shop.key").write_bytes(issued.key)
        made: list[str] = []
        for name, options in (("slow", slow), ("fast", fast)):
            made += (
                host(name, f"[{name}]", f"[{name}]", domains=f"[{name}.example]", proxy="TCP_PROXY_WITH_SNI"),
                policy(name, f"address: 127.0.0.1, port: {self.port}, voltgw: {{{options}}}"),
                route(name, name), cluster(name, f"[{name}]"), endpoint(name, f"ip: 127.0.0.1, port: {self.origins[name]}"))
        self.file.write_text(objects(*made, gateway="admin: {port: 0}") + balancers(balancer(
            "shop", f"127.0.0.1:{self.port}", f"127.0.0.1:{self.shop.port}", more=", protocol: https, domains: [shop.example], "
            "tls: {cert: shop.crt, key: shop.key}")), encoding="utf-8")

    def send(self, name: str, size: int) -> float:
        """Seconds from when the bytes set out until their digest is back."""
        context = ssl.create_default_context(cadata=authority("lab").certificate.decode())
        body = random.Random(size).randbytes(size)
        with socket.create_connection(("127.0.0.1", self.port), 5) as raw, context.wrap_socket(
                raw, server_hostname=f"{name}.example") as tls:
            began = time.monotonic()
            tls.sendall(size.to_bytes(4, "big") + body)
            self.assertEqual(tls.recv(100), sha256(body).digest())
            return time.monotonic() - began

    def digesting(self, name: str) -> int:
        """A TLS server called `name` that says the digest of what it was told; its port."""
        issued = server(f"{name}.example")
        chain, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        chain.write_bytes(issued.certificate)
        key.write_bytes(issued.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        listening = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                try:
                    raw, _ = listening.accept()
                except OSError:
                    return
                with raw, context.wrap_socket(raw, server_side=True) as tls, tls.makefile("rb") as told:
                    tls.sendall(sha256(told.read(int.from_bytes(told.read(4), "big"))).digest())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()

        def stop() -> None:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
            thread.join(5)

        self.addCleanup(stop)
        port: int = listening.getsockname()[1]
        return port

    async def test_each_its_own(self) -> None:
        """One name that passes through is slow, another and the host that ends TLS are not; a reload changes whose rate is which."""
        self.origins = {name: self.digesting(name) for name in ("slow", "fast")}
        self.shop = self.ok_origin()
        self.write_it("upload_bytes_per_second: 400000", "")
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        counters = gateway.listeners()[0].counters
        await deferToThread(self.send, "fast", 3_000_000)
        self.assertEqual(counters.paced, 0)
        self.assertGreater(await deferToThread(self.send, "slow", 500_000), 0.9)
        paced = counters.paced
        self.assertGreater(paced, 5)
        self.assertEqual(gateway.listeners()[0].limits, {"upload_bytes_per_second of default/slow": 400000})

        def get() -> bytes:
            context = ssl.create_default_context(cadata=authority("lab").certificate.decode())
            with socket.create_connection(("127.0.0.1", self.port), 5) as raw, context.wrap_socket(
                    raw, server_hostname="shop.example") as tls:
                tls.sendall(GET)
                return tls.recv(1000)

        self.assertTrue((await deferToThread(get)).startswith(b"HTTP/1.1 200 OK"))
        self.assertEqual(counters.paced, paced)
        self.write_it("", "upload_bytes_per_second: 400000")
        await gateway.reload()
        await deferToThread(self.send, "slow", 3_000_000)
        self.assertEqual(counters.paced, paced)
        self.assertGreater(await deferToThread(self.send, "fast", 500_000), 0.9)
        self.assertGreater(counters.paced, paced)


class MistakeTests(GatewayCase):
    """What policies say against each other."""

    TWO = objects(
        host("h", "[p, q]", proxy="TCP_PROXY"), policy("p", "address: 192.0.2.10, port: 53, voltgw: {ONE}"),
        policy("q", "address: 192.0.2.10, port: 53, voltgw: {OTHER}"), route("r"), cluster(), endpoint())

    def test_two_policies_of_one_host(self) -> None:
        """For one port they have to say the same rates, else one of them would be forgotten."""
        for one, other in (("connections_per_second: 3", ""), ("", "download_bytes_per_second: 3"),
                           ("upload_bytes_per_second: 3", "upload_bytes_per_second: 4")):
            with self.assertRaises(ConfigErrors) as caught:
                runtime(self.TWO.replace("ONE", one).replace("OTHER", other))
            (problem,) = caught.exception.problems
            self.assertEqual((problem.code, len(problem.related)), ("VG0201", 1))
            self.assertIn('"q" does not say the same', problem.message)
        runtime(self.TWO.replace("ONE", "upload_bytes_per_second: 3").replace("OTHER", "upload_bytes_per_second: 3"))

    def test_the_connections_of_a_shared_port(self) -> None:
        """There is one rate of new connections for a port, since a connection has no name yet when it is accepted."""
        text = objects(
            host("a", "[p]"), host("b", "[q]", domains="[b.example]"), route("r"), cluster(), endpoint(),
            policy("p", "address: 192.0.2.10, port: 80, voltgw: {connections_per_second: 5}"),
            policy("q", "address: 192.0.2.10, port: 80, voltgw: {RATE}"))
        with self.assertRaises(ConfigErrors) as caught:
            runtime(text.replace("RATE", "connections_per_second: 6"))
        self.assertEqual([problem.code for problem in caught.exception.problems], ["VG0201"])
        (plan,) = runtime(text.replace("RATE", "connections_per_second: 5")).listeners.values()
        self.assertEqual(plan.limits, {"connections_per_second": 5, "connection_burst": 5})

    def test_a_bad_key_beside_another_host(self) -> None:
        """The first of two hosts of a port has a key that does not fit: that alone is said, whatever the second one is."""
        for name, key in (("a", "b"), ("b", "b")):
            (self.folder / f"{name}.crt").write_bytes(server(f"{name}.example").certificate)
            (self.folder / f"{name}.key").write_bytes(server(f"{key}.example").key)
        with self.assertRaises(ConfigErrors) as caught:
            runtime(balancers(*(balancer(
                name, "192.0.2.10:443", "192.0.2.1:80", more=f", protocol: https, domains: [{name}.example], tls: {{cert: "
                f"{self.folder}/{name}.crt, key: {self.folder}/{name}.key}}") for name in ("a", "b"))))
        (problem,) = caught.exception.problems
        self.assertIn("key mismatch", problem.message)


class ExplainTests(GatewayCase):
    def test_whose_rate(self) -> None:
        """A listener that hosts share tells each one's rates with its name."""
        text = objects(*(part for name, rate in (("a", 1000), ("b", 2000)) for part in (
            host(name, f"[{name}]", domains=f"[{name}.example]", proxy="TCP_PROXY_WITH_SNI"),
            policy(name, f"address: 192.0.2.10, port: 443, voltgw: {{download_bytes_per_second: {rate}}}"))),
            route("r"), cluster(), endpoint())
        found = text_of(Explainer(dry_runtime(config(text))).explain(
            read_question("-", "tls://a.example:443")).plain()["decisions"])
        for said in ("download_bytes_per_second of default/a is 1000", "download_bytes_per_second of default/b is 2000"):
            self.assertIn(said, found)
