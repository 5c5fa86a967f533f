"""TCP_PROXY: bytes both ways, half-close, reset, other endpoints, silence, back-pressure (promises 3.7; DECISIONS:
Layer 4)."""

from __future__ import annotations

from errno import EHOSTUNREACH
from typing import Any

from twisted.internet.address import IPv4Address

from tests.proxy.rig import EMPTY, GET, PEER, RelayCase, Wire
from voltgw.cluster.cluster import Limits
from voltgw.config.objects.route import HashPolicyType
from voltgw.errors import ConnectFailed, ConnectTimeout
from voltgw.net.deadlines import TICK_S
from voltgw.net.pacing import Rate
from voltgw.proxy.factory import HttpFactory
from voltgw.routing.hashing import hash_key
from voltgw.routing.hosts import HostTable
from voltgw.routing.split import Destination
from voltgw.values.counters import ListenerCounters
from voltgw.values.defaults import MAX_PIPELINED_BYTES, TUNNEL_IDLE_TIMEOUT_S

LATE = 2 * TICK_S


class TcpCase(RelayCase):
    def pair(self) -> tuple[Wire, Wire]:
        """A client and the endpoint that it was given."""
        client = self.client()
        return client, self.accept()

    def recorded(self, flag: str, detail: str, *, bytes_in: int = 0, bytes_out: int = 0) -> None:
        """There is one record, and this is what it says; nothing is under way any more."""
        self.turn()
        self.assertEqual(len(self.relayed), 1)
        record = self.relayed[0]
        self.assertEqual((record.flag, record.detail, record.bytes_in, record.bytes_out),
                         (flag, detail, bytes_in, bytes_out))
        self.assertIs(record.route, self.route)
        self.assertEqual((self.under_way(), len(self.tcp.connections)), ({}, 0))
        self.relayed.clear()


class RateTests(TcpCase):
    """Byte rates of a listener."""

    def test_a_client_that_sends_too_much(self) -> None:
        """It is read in pieces, when they are due; all of it arrives, in order; the other direction is free."""
        self.tcp.upload = Rate(1000, 1000)
        client, origin = self.pair()
        sent = bytes(range(256)) * 20
        seconds, at = 0.0, 0
        while at < len(sent):
            if client.reading:
                client.send(sent[at:at + 500])
                at += 500
            else:
                self.advance(0.25)
                seconds += 0.25
        origin.send(b"y" * 100_000)
        self.assertEqual(len(client.got()), 100_000)
        self.assertEqual(origin.got(), sent)
        self.assertTrue(3.5 <= seconds <= 5.0, seconds)
        self.assertGreater(self.tcp.counters.paced, 5)
        client.fin()
        origin.fin()
        self.recorded("", "", bytes_in=len(sent), bytes_out=100_000)

    def test_what_came_before_the_endpoint_accepted(self) -> None:
        """It counts."""
        self.tcp.upload = Rate(1000, 1)
        client = self.client()
        client.send(b"x" * 3000)
        origin = self.accept()
        client.send(b"later")
        self.assertEqual(origin.got(), b"x" * 3000)
        self.advance(2)
        self.assertEqual(origin.got(), b"")
        self.advance(1.25)
        self.assertEqual(origin.got(), b"later")
        client.reset()
        self.turn()

    def test_a_download(self) -> None:
        """The endpoint is read no faster; an end that comes meanwhile is heard when what is before it has gone."""
        self.tcp.download = Rate(1000, 100)
        client, origin = self.pair()
        origin.send(b"x" * 1000)
        origin.send(b"y")
        origin.fin()
        self.assertEqual(client.got(), b"x" * 1000)
        self.assertFalse(client.finished)
        self.advance(1)
        self.assertEqual(client.got(), b"y")
        self.assertTrue(client.finished)
        client.fin()
        self.recorded("", "", bytes_out=1001)

    def test_resets_while_it_waits(self) -> None:
        """They pass at once, and no timer is left behind."""
        self.tcp.download = Rate(10, 1)
        client, origin = self.pair()
        origin.send(b"x" * 1000)
        client.reset()
        self.turn()
        self.assertTrue(origin.aborted)
        self.advance(200)

    def test_back_pressure_beside_it(self) -> None:
        """A client that takes nothing and a rate: reading goes on when both allow it."""
        self.tcp.download = Rate(1_000_000, 1)
        client, origin = self.pair()
        client.stall()
        for _ in range(20):
            origin.send(b"x" * 10_000)
            self.advance(0.25)
        self.assertFalse(origin.reading)
        client.take()
        self.advance(1)
        self.assertEqual(len(client.got()), 200_000)
        client.reset()
        self.turn()


class BytesTests(TcpCase):
    def test_both_ways(self) -> None:
        """Whatever they are; each side gets the other's, in order."""
        client, origin = self.pair()
        everything = bytes(range(256))
        client.send(everything)
        origin.send(everything[::-1])
        client.send(b"more")
        self.assertEqual((origin.got(), client.got()), (everything + b"more", everything[::-1]))
        self.assertEqual((self.cluster.active, self.endpoint.active, self.endpoint.connections), (1, 1, 1))
        client.fin()
        origin.fin()
        self.recorded("", "", bytes_in=260, bytes_out=256)
        counters = self.route.counters
        self.assertEqual((counters.bytes_in, counters.bytes_out, self.cluster.counters.requests,
                          self.endpoint.requests), (260, 256, 1, 1))

    def test_a_server_that_speaks_first(self) -> None:
        """The endpoint is dialled before the client has said a word."""
        client, origin = self.pair()
        origin.send(b"220 ready\r\n")
        self.assertEqual(client.got(), b"220 ready\r\n")

    def test_a_client_that_speaks_before_the_endpoint_accepts(self) -> None:
        """Its bytes wait and arrive first."""
        client = self.client()
        client.send(b"one")
        client.send(b"two")
        origin = self.accept()
        client.send(b"three")
        self.assertEqual(origin.got(), b"onetwothree")

    def test_what_waits_is_bounded(self) -> None:
        """A client that talks before anybody listens is not read any further, and read again later."""
        client = self.client()
        for _ in range(20):
            client.send(b"x" * 10_000)
        self.assertFalse(client.reading)
        self.assertLessEqual(200_000 - client.unread, MAX_PIPELINED_BYTES + 10_000)
        origin = self.accept()
        self.turn()
        self.assertEqual((client.reading, len(origin.got())), (True, 200_000))

    def test_the_record(self) -> None:
        """Who, where, when."""
        client, origin = self.pair()
        self.advance(2)
        client.fin()
        origin.fin()
        self.turn()
        record = self.relayed[0]
        self.assertEqual((record.client.peer_address, record.attempts, record.t_end - record.t_start), (PEER, 1, 2.0))
        self.assertIs(record.endpoint, self.endpoint)
        self.assertGreater(record.t_upstream_connected, 0)

    def test_a_split_route(self) -> None:
        """One random number a connection decides."""
        other = self.make_cluster("default/other")
        self.route.forward_to([Destination(self.cluster, "default/shop", 1), Destination(other, "default/other", 1)])
        self.rig.number = 0.9
        _, origin = self.pair()
        self.assertEqual((other.active, self.cluster.active), (1, 0))
        origin.reset()
        self.turn()
        self.assertEqual((other.active, other.connections), (0, 0))


class HalfCloseTests(TcpCase):
    def test_the_client_says_its_last(self) -> None:
        """FIN goes on behind the data; the answer still comes; then all is over."""
        client, origin = self.pair()
        client.send(b"question")
        client.fin()
        self.assertEqual((origin.got(), origin.finished, client.finished, origin.gone),
                         (b"question", True, False, False))
        origin.send(b"answer")
        self.assertEqual(client.got(), b"answer")
        origin.fin()
        self.turn()
        self.assertEqual((client.finished or client.gone, origin.gone, client.gone, client.aborted, origin.aborted),
                         (True, True, True, False, False))
        self.recorded("", "", bytes_in=8, bytes_out=6)

    def test_the_endpoint_says_its_last(self) -> None:
        """The same the other way."""
        client, origin = self.pair()
        origin.send(b"bye")
        origin.fin()
        self.assertEqual((client.got(), client.finished, client.gone, origin.gone), (b"bye", True, False, False))
        client.send(b"still here")
        self.assertEqual(origin.got(), b"still here")
        client.fin()
        self.turn()
        self.assertEqual((client.gone, origin.gone, client.aborted, origin.aborted), (True, True, False, False))
        self.recorded("", "", bytes_in=10, bytes_out=3)

    def test_fin_waits_for_the_data_before_it(self) -> None:
        """What the endpoint has not taken yet comes first."""
        client, origin = self.pair()
        origin.stall()
        client.send(b"x" * 1000)
        client.fin()
        self.assertFalse(origin.finished)
        origin.take()
        self.turn()
        self.assertEqual((len(origin.got()), origin.finished), (1000, True))
        origin.send(b"answer")
        origin.fin()
        self.recorded("", "", bytes_in=1000, bytes_out=6)

    def test_both_at_once_with_data_that_waits(self) -> None:
        """Each gets all before its FIN."""
        client, origin = self.pair()
        client.stall()
        origin.stall()
        client.send(b"x" * 1000)
        origin.send(b"y" * 2000)
        client.fin()
        origin.fin()
        self.turn()
        self.assertEqual((client.gone, origin.gone), (False, False))
        client.take()
        origin.take()
        self.turn()
        self.assertEqual((len(client.got()), len(origin.got()), client.gone, origin.gone), (2000, 1000, True, True))
        self.recorded("", "", bytes_in=1000, bytes_out=2000)

    def test_before_the_endpoint_accepts(self) -> None:
        """The client has asked and said its last (netcat): it is no reason to give up."""
        client = self.client()
        client.send(b"question")
        client.fin()
        origin = self.accept()
        self.assertEqual((origin.got(), origin.finished), (b"question", True))
        origin.send(b"answer")
        origin.fin()
        self.turn()
        self.assertEqual((client.got(), client.gone, client.aborted), (b"answer", True, False))
        self.recorded("", "", bytes_in=8, bytes_out=6)

    def test_a_half_closed_relay_has_its_idle_time(self) -> None:
        """The other direction stays open until then."""
        client, origin = self.pair()
        client.fin()
        self.advance(TUNNEL_IDLE_TIMEOUT_S - 1)
        self.assertFalse(origin.gone)
        self.advance(1 + LATE)
        self.assertTrue(origin.gone)


class ResetTests(TcpCase):
    def test_the_endpoint_resets(self) -> None:
        """The client gets RST, too; the record names the side."""
        client, origin = self.pair()
        origin.send(b"12")
        origin.reset()
        self.assertTrue(client.aborted)
        self.recorded("UC", "upstream_reset", bytes_out=2)

    def test_the_client_resets(self) -> None:
        """And the other way."""
        client, origin = self.pair()
        client.send(b"12")
        client.reset()
        self.assertTrue(origin.aborted)
        self.recorded("DC", "downstream_reset", bytes_in=2)

    def test_a_reset_behind_a_half_close(self) -> None:
        """A reset in the open direction is passed on although the other one is closed."""
        client, origin = self.pair()
        client.fin()
        origin.reset()
        self.turn()
        self.assertTrue(client.aborted)
        self.recorded("UC", "upstream_reset")

    def test_a_failure_that_is_no_reset(self) -> None:
        """It is named otherwise (a host that is unreachable)."""
        client, origin = self.pair()
        origin.reset(EHOSTUNREACH)
        self.recorded("UC", "upstream_failed")
        self.assertTrue(client.aborted)


class ConnectTests(TcpCase):
    endpoint_count = 3

    def test_another_endpoint(self) -> None:
        """When the first refuses; the client does not notice."""
        client = self.client()
        client.send(b"hello")
        first = self.dialled
        first.fail()
        second = self.dialled
        self.assertIsNot(first.endpoint, second.endpoint)
        origin = second.accept()
        self.assertEqual((origin.got(), client.gone), (b"hello", False))
        client.fin()
        origin.fin()
        self.turn()
        record = self.relayed[0]
        self.assertEqual((record.attempts, record.flag), (2, ""))
        self.assertIs(record.endpoint, second.endpoint)
        self.assertEqual((first.endpoint.connect_failures, self.cluster.counters.retries,
                          self.cluster.counters.connects), (1, 1, 2))

    def test_both_fail(self) -> None:
        """The client is reset, which no client takes for an empty answer."""
        for error in (ConnectFailed("Connection refused"), ConnectTimeout("no answer")):
            client = self.client()
            self.dialled.fail()
            self.dialled.fail(error)
            self.turn()
            self.assertTrue(client.aborted)
            self.assertEqual(self.relayed[-1].attempts, 2)
            self.recorded("UF", error.detail)

    def test_no_endpoint_is_ready(self) -> None:
        """Reset at once; it is counted."""
        for endpoint in self.cluster.endpoints:
            endpoint.ready = False
        client = self.client()
        self.assertTrue(client.aborted)
        self.assertEqual(self.cluster.counters.no_endpoint, 1)
        self.recorded("UH", "no_healthy_upstream")

    def test_the_cluster_does_not_exist(self) -> None:
        """The same, with its own flag."""
        self.route.forward_to([Destination(None, "default/gone")])
        self.assertTrue(self.client().aborted)
        self.recorded("NC", "cluster_not_found")

    def test_the_client_leaves_before_the_endpoint_accepts(self) -> None:
        """The attempt is given up."""
        client = self.client()
        client.send(b"123")
        dial = self.dialled
        client.reset()
        self.assertTrue(dial.cancelled)
        self.recorded("DC", "downstream_remote_disconnect", bytes_in=3)

    def test_the_client_leaves_while_the_second_is_dialled(self) -> None:
        """The retry is no longer counted."""
        self.cluster.max_retries = 3
        client = self.client()
        self.dialled.fail()
        self.assertEqual(self.cluster.retries, 1)
        client.reset()
        self.recorded("DC", "downstream_remote_disconnect")


class LimitTests(TcpCase):
    limits = Limits(connections=1, pending=1)

    def test_connections_that_wait(self) -> None:
        """circuit_breaker.pending_requests."""
        self.client()
        second = self.client()
        self.assertTrue(second.aborted)
        self.turn()
        self.assertEqual((self.relayed[0].flag, self.cluster.counters.overflow, len(self.rig.dials)), ("UO", 1, 1))
        self.accept()

    def test_connections_that_stand(self) -> None:
        """circuit_breaker.connection_limit: the next client waits, and has the place of one that ends; what it said is not lost."""
        client, origin = self.pair()
        other = self.client()
        other.send(b"hello")
        other.fin()
        self.turn()
        self.assertEqual((other.gone, self.rig.dials, self.under_way()["pending"]), (False, [], 1))
        self.assertTrue(self.client().aborted)          # pending_requests
        client.fin()
        origin.fin()
        self.turn()
        server = self.accept()
        self.assertEqual((server.got(), server.finished), (b"hello", True))
        server.send(b"bye")
        server.fin()
        self.turn()
        self.assertEqual((other.got(), other.gone), (b"bye", True))
        self.assertEqual([record.flag for record in self.relayed], ["UO", "", ""])

    def test_one_that_waits_too_long(self) -> None:
        """It waits as long as an endpoint may take to accept, then it is reset."""
        self.pair()
        other = self.client()
        self.advance(self.cluster.connect_timeout_s - 0.5)
        self.assertFalse(other.gone)
        self.advance(0.5 + LATE)
        self.assertTrue(other.aborted)
        self.assertEqual((self.relayed[0].flag, self.cluster.counters.overflow, self.rig.queues), ("UO", 1, {}))

    def test_one_that_leaves_while_it_waits(self) -> None:
        """Nobody waits any more; the place goes to the next one."""
        client, _ = self.pair()
        other = self.client()
        other.reset()
        self.assertEqual((self.rig.queues, self.relayed[0].flag), ({}, "DC"))
        last = self.client()
        client.reset()
        self.turn()
        self.accept()
        last.send(b"x")
        self.assertEqual(self.rig.origins[-1].got(), b"x")

    def test_the_end_of_a_drain_while_it_waits(self) -> None:
        """It is closed like the others."""
        self.pair()
        other = self.client()
        self.tcp.close()
        self.turn()
        self.assertEqual((other.gone, self.rig.queues), (True, {}))

    def test_its_endpoint_leaves_while_it_waits(self) -> None:
        """Another one is picked when its turn comes; without any, it is reset."""
        client, _ = self.pair()
        other = self.client()
        self.cluster.mark_unready(self.endpoint.key, "a test")
        self.cluster.pick = lambda key: None
        client.reset()
        self.turn()
        self.assertEqual((other.aborted, self.relayed[-1].flag, self.rig.dials), (True, "UH", []))

    def test_connections_of_an_http_proxy(self) -> None:
        """An idle one of the same cluster makes room: it is closed, and the client's connection is made."""
        http = HttpFactory(self.rig, "http", "198.51.100.1", 8081, HostTable([(["*"], self.host)]), ListenerCounters())
        asking = http.buildProtocol(None)
        wire = Wire(self.hand, IPv4Address("TCP", "192.0.2.8", 1), asking)
        self.rig.clients.append(wire)
        asking.makeConnection(wire)
        wire.send(GET)
        idle = self.accept()
        idle.send(EMPTY)
        self.turn()
        client = self.client()
        self.turn()
        self.assertTrue(idle.gone)
        origin = self.accept()
        client.send(b"x")
        self.assertEqual(origin.got(), b"x")


class SilenceTests(TcpCase):
    def test_a_silent_relay_is_closed(self) -> None:
        """An hour without a byte either way; both sides get a proper end."""
        client, origin = self.pair()
        self.advance(TUNNEL_IDLE_TIMEOUT_S - 1)
        self.assertFalse(client.gone)
        self.advance(1 + LATE)
        self.assertEqual((client.gone, origin.gone, client.aborted, origin.aborted), (True, True, False, False))
        self.recorded("SI", "idle_timeout")

    def test_bytes_either_way_keep_it(self) -> None:
        """However few."""
        self.tcp.set_idle_timeout(10.0)
        client, origin = self.pair()
        for number in range(10):
            self.advance(9)
            (client if number % 2 else origin).send(b"x")
        self.assertFalse(client.gone)
        self.advance(20 + LATE)             # it is noticed at the second look
        self.assertTrue(client.gone)

    def test_a_peer_that_takes_nothing(self) -> None:
        """Closing a silent relay does not wait for it without end."""
        client, origin = self.pair()
        origin.stall()
        client.send(b"x" * 100_000)
        self.advance(2 * TUNNEL_IDLE_TIMEOUT_S + 10)
        self.assertEqual((client.gone, origin.gone), (True, True))
        self.recorded("SI", "idle_timeout", bytes_in=100_000)

    def test_a_peer_that_takes_nothing_when_the_other_has_left(self) -> None:
        """The endpoint is gone, its last bytes wait for a client that does not read: after the idle time it is cut."""
        client, origin = self.pair()
        client.stall()
        client.send(b"x")
        client.fin()
        origin.send(b"y" * 1000)
        origin.fin()
        self.turn()
        self.assertFalse(client.gone)
        self.advance(2 * TUNNEL_IDLE_TIMEOUT_S + 10)
        self.assertTrue(client.gone)
        self.turn()
        self.assertEqual((len(self.relayed), self.under_way()), (1, {}))

    def test_the_end_of_a_drain(self) -> None:
        """Relays have no message borders: they go on until the drain's time is up, then both sides are closed."""
        client, origin = self.pair()
        waiting = self.client()
        self.tcp.drain()
        self.turn()
        self.assertEqual((client.gone, origin.gone), (False, False))
        self.tcp.close()
        self.turn()
        self.assertEqual((client.gone, origin.gone, waiting.gone, client.aborted), (True, True, True, False))
        self.assertEqual((len(self.relayed), self.under_way(), self.rig.dials), (2, {}, []))
        self.assertEqual({record.detail for record in self.relayed}, {"drained"})


class BackPressureTests(TcpCase):
    def test_an_endpoint_that_does_not_read(self) -> None:
        """At most one buffer waits for it; the client is not read meanwhile (promise 19)."""
        client, origin = self.pair()
        origin.stall()
        for _ in range(30):
            client.send(b"x" * 10_000)
        self.assertFalse(client.reading)
        self.assertLess(origin.waiting, 80_000)
        origin.take()
        self.turn()
        self.assertEqual((len(origin.got()), client.reading), (300_000, True))

    def test_a_client_that_does_not_read(self) -> None:
        """The same the other way; the first direction is not held up by it."""
        client, origin = self.pair()
        client.stall()
        for _ in range(30):
            origin.send(b"x" * 10_000)
        self.assertFalse(origin.reading)
        client.send(b"hello")
        self.assertEqual(origin.got(), b"hello")
        client.take()
        self.turn()
        self.assertEqual((len(client.got()), origin.reading), (300_000, True))

    def test_a_paused_client_resets(self) -> None:
        """It is noticed, and passed on."""
        client, origin = self.pair()
        origin.stall()
        client.send(b"x" * 100_000)
        client.reset()
        self.assertTrue(origin.aborted)
        self.recorded("DC", "downstream_reset", bytes_in=100_000)

    def test_a_failure_of_ours(self) -> None:
        """The guard resets both sides; the record says whose fault it was."""
        client, origin = self.pair()
        client.crashed()
        self.turn()
        self.assertEqual((client.aborted, origin.aborted), (True, True))
        self.recorded("IE", "internal_error")


class AffinityTests(TcpCase):
    def keys(self) -> list[int | None]:
        """The keys by which the scheduler is asked from now on."""
        keys: list[int | None] = []
        pick = self.cluster.pick

        def noted(key: int | None) -> Any:
            keys.append(key)
            return pick(key)

        self.cluster.pick = noted
        return keys

    def test_the_source_address(self) -> None:
        """``hash_policy: source_ip`` gives the scheduler the same key for the same client, whatever its port."""
        keys = self.keys()
        self.route.hash_key = hash_key((HashPolicyType(source_ip=True),))
        self.pair()
        self.pair()
        self.assertEqual((len(keys), len(set(keys)), None in keys), (2, 1, False))

    def test_what_needs_a_request(self) -> None:
        """A header's or a cookie's part of the key is not there."""
        keys = self.keys()
        self.route.hash_key = hash_key((HashPolicyType(header_name="x-user"),))
        self.pair()
        self.assertEqual(keys, [None])
