"""Zones: what is there, what is not, what falls to wildcards and delegations, and which of several addresses is given."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network
from random import Random

import dns.message
import dns.rdata
import dns.rdatatype
from twisted.trial.unittest import SynchronousTestCase

from voltgw.routing.zone import Host, Order, RRset, Target, Zone, Zones, client_of, is_below
from voltgw.wire.dnsmsg import (
    AA,
    CNAME,
    HTTPS,
    MAX_TCP_BYTES,
    NS,
    SOA,
    TXT,
    A,
    Malformed,
    https_rdata,
    name_of,
    read_query,
    write_answer,
)

APEX = "apps.example"
SOA_RDATA = name_of("ns1.apps.example") + name_of("dns.example") + b"".join(n.to_bytes(4, "big") for n in (7, 3600, 600, 86400, 20))


def zone(records: dict[str, list[tuple[int, list[bytes]]]] | None = None, apex: str = APEX, ttl: int = 30) -> Zone:
    """A zone with static records by name, relative to its apex."""
    made = {name_of(f"{name}.{apex}" if name else apex): [RRset(kind, ttl, tuple(rdatas)) for kind, rdatas in rrsets]
            for name, rrsets in {"": [(NS, [name_of(f"ns1.{apex}")])], "ns1": [(A, [bytes((192, 0, 2, 1))])],
                                 **(records or {})}.items()}
    return Zone(name_of(apex), RRset(SOA, 300, (SOA_RDATA,)), made, ttl, Random(1).random)


def host(name: str, *targets: Target | str, order: Order = Order.ROUND_ROBIN, serve_down: bool = True,
         https: bytes | None = None) -> Host:
    """A virtual host's name."""
    return Host(name_of(f"{name}.{APEX}"), tuple(Target(ip_address(each)) if isinstance(each, str) else each for each in targets),
                order, https, serve_down)


def ask(zones: Zones | Zone, name: str, kind: str = "A", peer: str = "198.51.100.7", subnet: str = "") -> dns.message.Message:
    """The answer as a client reads it; REFUSED where no zone has the name."""
    options = [dns.edns.ECSOption.from_text(subnet)] if subnet else None
    query = read_query(dns.message.make_query(name, kind, use_edns=0 if subnet else -1, options=options).to_wire())
    found = (zones if isinstance(zones, Zones) else Zones([zones])).answer(query, peer)
    if found is None:
        raise LookupError(name)
    return dns.message.from_wire(write_answer(query, found[0], MAX_TCP_BYTES))


def words(answer: dns.message.Message) -> tuple[str, list[str], list[str], list[str]]:
    """RCODE, and type and data of each record by section."""
    answers, authority, additional = ([
        f"{rrset.name.to_text(omit_final_dot=True)} {dns.rdatatype.to_text(rrset.rdtype)} {rdata.to_text()}"
        for rrset in section for rdata in rrset] for section in (answer.answer, answer.authority, answer.additional))
    return dns.rcode.to_text(answer.rcode()), answers, authority, additional


def addresses(answer: dns.message.Message) -> list[str]:
    """The addresses in an answer, in their order."""
    return [rdata.to_text() for rrset in answer.answer for rdata in rrset if rrset.rdtype in (1, 28)]


SOA_WORDS = ["apps.example SOA ns1.apps.example. dns.example. 7 3600 600 86400 20"]


class AnswerTests(SynchronousTestCase):
    """What is there and what is not (RFC 1034 4.3.2, 2308, 4592, 8020, 8482)."""

    def setUp(self) -> None:
        """A zone with one of everything."""
        self.zone = zone({
            "txt": [(TXT, [b"\x01x"])], "deep.er": [(TXT, [b"\x01y"])], "*.wild": [(TXT, [b"\x01w"])],
            "there.wild": [(A, [bytes(4)])], "www": [(CNAME, [name_of(f"shop.{APEX}")])],
            "out": [(CNAME, [name_of("elsewhere.example")])], "loop": [(CNAME, [name_of(f"loop.{APEX}")])],
            "hang": [(CNAME, [name_of(f"nobody.{APEX}")])], "chain": [(CNAME, [name_of(f"www.{APEX}")])],
            "towild": [(CNAME, [name_of(f"a.wild.{APEX}")])],
            "sub": [(NS, [name_of(f"ns.sub.{APEX}"), name_of("ns.elsewhere.example")])], "ns.sub": [(A, [bytes((192, 0, 2, 9))])],
        })
        self.zone.set_host(host("shop", "10.0.0.1", "2001:db8::1"))
        self.zone.set_host(host("*.any", "10.0.0.9"))

    def test_positive(self) -> None:
        """AA and the records; names of any case."""
        answer = ask(self.zone, "SHOP.apps.EXAMPLE")
        self.assertEqual(words(answer), ("NOERROR", ["SHOP.apps.EXAMPLE A 10.0.0.1"], [], []))
        self.assertTrue(int(answer.flags) & AA)
        self.assertEqual(addresses(ask(self.zone, "shop.apps.example", "AAAA")), ["2001:db8::1"])

    def test_negative(self) -> None:
        """No such name, no such type, and names that only have something below them; the SOA's TTL is MINIMUM."""
        for name, kind, rcode in (("no.apps.example", "A", "NXDOMAIN"), ("txt.apps.example", "A", "NOERROR"),
                                  ("er.apps.example", "A", "NOERROR"), ("any.apps.example", "A", "NOERROR"),
                                  ("x.er.apps.example", "A", "NXDOMAIN"), ("shop.apps.example", "MX", "NOERROR"),
                                  ("apps.example", "A", "NOERROR"), ("x.shop.apps.example", "A", "NXDOMAIN")):
            answer = ask(self.zone, name, kind)
            self.assertEqual(words(answer), (rcode, [], SOA_WORDS, []), name)
            self.assertEqual(answer.authority[0].ttl, 20)

    def test_wildcards(self) -> None:
        """For what is not there, at any depth, but not for what is there, nor beside it."""
        for name, kind, rcode, count in (
            ("a.wild", "TXT", "NOERROR", 1), ("a.b.wild", "TXT", "NOERROR", 1), ("a.wild", "A", "NOERROR", 0),
            ("there.wild", "TXT", "NOERROR", 0), ("x.there.wild", "TXT", "NXDOMAIN", 0), ("wild", "TXT", "NOERROR", 0),
            ("*.wild", "TXT", "NOERROR", 1), ("x.any", "A", "NOERROR", 1),
        ):
            answer = words(ask(self.zone, f"{name}.{APEX}", kind))
            self.assertEqual((answer[0], len(answer[1])), (rcode, count), name)
        self.assertEqual(words(ask(self.zone, f"a.wild.{APEX}", "TXT"))[1], ['a.wild.apps.example TXT "w"'])

    def test_aliases(self) -> None:
        """Followed within the zone, to wildcards too; what is missing at the end is said of the end (RFC 6604)."""
        self.assertEqual(words(ask(self.zone, f"chain.{APEX}")), ("NOERROR", [
            "chain.apps.example CNAME www.apps.example.", "www.apps.example CNAME shop.apps.example.",
            "shop.apps.example A 10.0.0.1"], [], []))
        self.assertEqual(words(ask(self.zone, f"out.{APEX}"))[:2], ("NOERROR", ["out.apps.example CNAME elsewhere.example."]))
        self.assertEqual(words(ask(self.zone, f"hang.{APEX}")), (
            "NXDOMAIN", ["hang.apps.example CNAME nobody.apps.example."], SOA_WORDS, []))
        self.assertEqual(words(ask(self.zone, f"www.{APEX}", "TXT")), (
            "NOERROR", ["www.apps.example CNAME shop.apps.example."], SOA_WORDS, []))
        self.assertEqual(words(ask(self.zone, f"www.{APEX}", "CNAME"))[1], ["www.apps.example CNAME shop.apps.example."])
        self.assertEqual(words(ask(self.zone, f"towild.{APEX}", "TXT"))[1], [
            "towild.apps.example CNAME a.wild.apps.example.", 'a.wild.apps.example TXT "w"'])
        self.assertEqual(len(ask(self.zone, f"loop.{APEX}").answer), 1)

    def test_delegations(self) -> None:
        """Below one: its servers with glue, not authoritative; the parent keeps the DS record."""
        for name in ("sub", "x.sub", "a.b.sub", "ns.sub"):
            answer = ask(self.zone, f"{name}.{APEX}")
            self.assertEqual(words(answer)[:2], ("NOERROR", []))
            self.assertEqual(words(answer)[3], ["ns.sub.apps.example A 192.0.2.9"])
            self.assertEqual(sorted(words(answer)[2]), [
                "sub.apps.example NS ns.elsewhere.example.", "sub.apps.example NS ns.sub.apps.example."])
            self.assertFalse(int(answer.flags) & AA)
        self.assertEqual(words(ask(self.zone, f"sub.{APEX}", "DS")), ("NOERROR", [], SOA_WORDS, []))
        self.zone.set_host(host("late.sub", "10.0.0.3"))
        self.assertEqual(ask(self.zone, f"late.sub.{APEX}").answer, [])

    def test_the_apex(self) -> None:
        """SOA, NS with glue."""
        self.assertEqual(words(ask(self.zone, APEX, "SOA"))[1], SOA_WORDS)
        self.assertEqual(words(ask(self.zone, APEX, "NS"))[1::2], (
            ["apps.example NS ns1.apps.example."], ["ns1.apps.example A 192.0.2.1"]))

    def test_any(self) -> None:
        """One record that says why (RFC 8482)."""
        self.assertEqual(words(ask(self.zone, f"shop.{APEX}", "ANY"))[1], ['shop.apps.example HINFO "RFC8482" ""'])
        self.assertEqual(words(ask(self.zone, f"er.{APEX}", "ANY")), ("NOERROR", [], SOA_WORDS, []))

    def test_names_that_are_none(self) -> None:
        """A question that is no name is malformed, not "no such name"."""
        query = read_query(b"\0\7\0\0\0\1\0\0\0\0\0\0\x01a\xc0\x0c\0\0\1\0\1")
        self.assertRaises(Malformed, Zones([self.zone]).answer, query, "10.0.0.1")

    def test_several_zones(self) -> None:
        """The deeper one has what is below its apex; what is in none is nobody's."""
        deeper = zone({"x": [(TXT, [b"\x01d"])]}, f"deep.er.{APEX}")
        zones = Zones([deeper, self.zone])
        self.assertEqual(words(ask(zones, f"x.deep.er.{APEX}", "TXT"))[1], ['x.deep.er.apps.example TXT "d"'])
        self.assertEqual(ask(zones, f"deep.er.{APEX}", "TXT").answer, [])
        self.assertEqual(ask(zones, f"txt.{APEX}", "TXT").answer[0].name.to_text(), "txt.apps.example.")
        self.assertRaises(LookupError, ask, zones, "example")
        self.assertRaises(LookupError, ask, zones, "xapps.example")

    def test_records_that_cannot_be(self) -> None:
        """Two sets of one type, a CNAME beside something, names outside, hosts where there are addresses."""
        for records in ({"a": [(TXT, [b"\x01x"]), (TXT, [b"\x01y"])]}, {"a": [(TXT, [b"\x01x"]), (CNAME, [name_of("b")])]},
                        {"a": [(CNAME, [name_of("b")]), (A, [bytes(4)])]}):
            self.assertRaises(ValueError, zone, records)
        self.assertRaises(ValueError, Zone, name_of(APEX), RRset(SOA, 1, (SOA_RDATA,)), {name_of("a.example"): [
            RRset(A, 1, (bytes(4),))]}, 30, Random(1).random)
        for name in ("ns1", "www"):
            self.assertRaises(ValueError, self.zone.set_host, host(name, "10.0.0.1"))

    def test_below(self) -> None:
        """Label by label, not letter by letter."""
        for name, parent, below in (("a.b", "b", True), ("a.b", "a.b", False), ("ab", "b", False), ("x.ab", "b", False),
                                    ("a.b.c", "c", True), ("a", ".", True)):
            self.assertEqual(is_below(name_of(name), name_of(parent)), below, name)


class ChangeTests(SynchronousTestCase):
    """A zone follows the health of services."""

    def test_a_service_comes_and_goes(self) -> None:
        """Its address is left out, or all are given when none is up, or none, as the zone says."""
        made = zone()
        one, two = Target(ip_address("10.0.0.1")), Target(ip_address("10.0.0.2"))
        down = [Target(each.address, up=False) for each in (one, two)]
        self.assertTrue(made.set_host(host("shop", one, two)))
        self.assertFalse(made.set_host(host("shop", one, two)))
        self.assertTrue(made.set_host(host("shop", down[0], two)))
        self.assertEqual(addresses(ask(made, f"shop.{APEX}")), ["10.0.0.2"])
        self.assertTrue(made.set_host(host("shop", *down)))
        self.assertFalse(made.set_host(host("shop", one, two)))     # other health, the same answers
        self.assertFalse(made.set_host(host("shop", *down)))
        self.assertEqual(len(addresses(ask(made, f"shop.{APEX}"))), 2)
        self.assertTrue(made.set_host(host("shop", *down, serve_down=False)))
        self.assertEqual(words(ask(made, f"shop.{APEX}"))[:2], ("NOERROR", []))
        self.assertTrue(made.set_host(host("shop", one, two, serve_down=False)))
        self.assertEqual(len(addresses(ask(made, f"shop.{APEX}"))), 2)

    def test_serial(self) -> None:
        """It grows with each change, and wraps (RFC 1982)."""
        made = zone()
        made.changed()
        self.assertEqual(made.serial, 8)
        self.assertEqual(words(ask(made, APEX, "SOA"))[1], [SOA_WORDS[0].replace(" 7 ", " 8 ")])
        made.soa = RRset(SOA, 300, (SOA_RDATA[:-20] + b"\xff" * 4 + SOA_RDATA[-16:],))
        made.changed()
        self.assertEqual(made.serial, 0)

    def test_a_name_server_that_is_a_virtual_host(self) -> None:
        """Its glue follows."""
        made = Zone(name_of(APEX), RRset(SOA, 1, (SOA_RDATA,)), {name_of(APEX): [RRset(NS, 1, (name_of(f"ns.{APEX}"),))]}, 30,
                    Random(1).random)
        made.set_host(host("ns", "10.0.0.1"))
        made.set_host(host("ns", "10.0.0.2"))
        self.assertEqual(words(ask(made, APEX, "NS"))[3], ["ns.apps.example A 10.0.0.2"])

    def test_https(self) -> None:
        """Its record goes with the addresses."""
        made = zone()
        secure = https_rdata([b"h2"], None, [])
        made.set_host(host("shop", "10.0.0.1", https=secure))
        self.assertEqual(len(ask(made, f"shop.{APEX}", "HTTPS").answer), 1)
        made.set_host(host("shop", Target(ip_address("10.0.0.1"), up=False), serve_down=False, https=secure))
        self.assertEqual(ask(made, f"shop.{APEX}", "HTTPS").answer, [])
        self.assertNotIn(HTTPS, made.nodes[name_of(f"shop.{APEX}")].rrsets)

    def test_a_static_https_record(self) -> None:
        """It stays, whatever becomes of the addresses."""
        static, ours = https_rdata([b"h3"], None, []), https_rdata([b"h2"], None, [])
        made = zone({"shop": [(HTTPS, [static])]})
        made.set_host(host("shop", "10.0.0.1", https=ours))
        for address in ("10.0.0.2", "10.0.0.3"):
            made.set_host(host("shop", address, https=ours))
            self.assertEqual(made.nodes[name_of(f"shop.{APEX}")].rrsets[HTTPS].rdatas, (static,))


def target(number: int, weight: int = 1, priority: int = 0, clients: tuple[str, ...] = (), up: bool = True) -> Target:
    """An address by its last number."""
    return Target(ip_address(f"10.0.0.{number}"), weight, priority, tuple(map(ip_network, clients)), up)


class OrderTests(SynchronousTestCase):
    """Which of several addresses are given: a table of cases for each order."""

    def counted(self, order: Order, targets: list[Target], peer: str = "198.51.100.7", subnet: str = "", *, serve_down: bool = True,
                times: int = 600) -> tuple[Counter[str], list[list[str]]]:
        """How often each address came first, and all answers."""
        made = zone()
        made.set_host(host("shop", *targets, order=order, serve_down=serve_down))
        answers = [addresses(ask(made, f"shop.{APEX}", "A", peer, subnet)) for _ in range(times)]
        return Counter(each[0] for each in answers if each), answers

    def test_round_robin(self) -> None:
        """All that are up, each first in turn; weight 0 only when nothing else is left."""
        for targets, given in (
            ([target(1)], "1"), ([target(1), target(2)], "12"), ([target(1), target(2), target(3)], "123"),
            ([target(1), target(2, up=False)], "1"), ([target(1, up=False), target(2, up=False)], "12"),
            ([target(1, 0), target(2)], "2"), ([target(1, 0), target(2, 0)], "12"), ([target(1, 0), target(2, up=False)], "1"),
            ([target(1, 9), target(2, 1)], "12"), ([target(1, priority=3), target(2)], "12"),
        ):
            first, answers = self.counted(Order.ROUND_ROBIN, targets, times=12)
            self.assertEqual(first, Counter({f"10.0.0.{number}": 12 // len(given) for number in given}))
            for answer in answers:
                self.assertEqual(sorted(answer), [f"10.0.0.{number}" for number in given])

    def test_many(self) -> None:
        """Of forty addresses sixteen are given, and all of them in time."""
        first, answers = self.counted(Order.ROUND_ROBIN, [target(number) for number in range(40)], times=40)
        self.assertEqual((len(first), {len(answer) for answer in answers}), (40, {16}))

    def test_weighted(self) -> None:
        """One, by its share: within three standard deviations of 600 draws."""
        for targets, shares in (
            ([target(1), target(2)], (.5, .5)), ([target(1, 3), target(2)], (.75, .25)), ([target(1, 0), target(2)], (0, 1)),
            ([target(1, 5), target(2, 5, up=False)], (1, 0)), ([target(1, 9), target(2, 1)], (.9, .1)),
            ([target(1, 0), target(2, 0)], (.5, .5)), ([target(1, 65535), target(2, 65535)], (.5, .5)),
            ([target(1, up=False), target(2, 3, up=False)], (.25, .75)), ([target(1, 0, up=True), target(2, 7, up=False)], (1, 0)),
        ):
            first, answers = self.counted(Order.WEIGHTED, targets)
            self.assertEqual({len(answer) for answer in answers}, {1})
            for number, share in enumerate(shares, 1):
                self.assertLessEqual(abs(first[f"10.0.0.{number}"] - 600 * share), 3 * (600 * share * (1 - share)) ** .5)

    def test_priority(self) -> None:
        """The best that is up, and its equals in turn."""
        for targets, given in (
            ([target(1), target(2, priority=1)], "1"), ([target(1, up=False), target(2, priority=1)], "2"),
            ([target(1, priority=2), target(2, priority=1)], "2"), ([target(1), target(2), target(3, priority=1)], "12"),
            ([target(1, up=False), target(2, priority=1, up=False), target(3, priority=2)], "3"),
            ([target(1, up=False), target(2, priority=1, up=False)], "1"), ([target(1, 0), target(2, priority=1)], "2"),
            ([target(1, priority=255)], "1"),
        ):
            first, answers = self.counted(Order.PRIORITY, targets, times=12)
            self.assertEqual(set(first), {f"10.0.0.{number}" for number in given})
            self.assertEqual({len(answer) for answer in answers}, {len(given)})

    def test_priority_when_all_are_down_and_none_is_wanted(self) -> None:
        """No address."""
        _, answers = self.counted(Order.PRIORITY, [target(1, up=False)], times=1, serve_down=False)
        self.assertEqual(answers, [[]])

    def test_client_subnet(self) -> None:
        """Those for the client, by the longest prefix; else those for everybody; else all."""
        near, far, any_ = target(1, clients=("10.0.0.0/8",)), target(2, clients=("10.1.0.0/16", "2001:db8::/32")), target(3)
        for targets, peer, subnet, given in (
            ([near, far, any_], "10.2.0.1", "", "1"), ([near, far, any_], "10.1.0.1", "", "2"),
            ([near, far, any_], "192.0.2.1", "", "3"), ([near, far], "192.0.2.1", "", "12"),
            ([near, far, any_], "192.0.2.1", "10.1.2.0/24", "2"), ([near, far, any_], "192.0.2.1", "10.0.0.0/8", "1"),
            ([near, far, any_], "192.0.2.1", "8.0.0.0/6", "3"), ([near, far, any_], "10.1.0.1", "192.0.2.0/24", "3"),
            ([near, far, any_], "2001:db8::7", "", "2"), ([near, far, any_], "::ffff:10.1.0.1", "", "2"),
            ([near, far, any_], "192.0.2.1", "2001:db8:1::/48", "2"), ([near, far, any_], "10.1.0.1", "0.0.0.0/0", "2"),
            ([target(1, clients=("10.0.0.0/8",), up=False), any_], "10.0.0.1", "", "3"),
            ([near, target(4, clients=("10.0.0.0/8",))], "10.0.0.1", "", "14"),
        ):
            first, _ = self.counted(Order.CLIENT_SUBNET, targets, peer, subnet, times=8)
            self.assertEqual(set(first), {f"10.0.0.{number}" for number in given}, (peer, subnet))

    def test_scope(self) -> None:
        """How many bits of the client's subnet an answer depends on: as few as tell it from others (RFC 7871 7.2.1)."""
        targets = [target(1, clients=("10.0.0.0/8",)), target(2, clients=("10.1.0.0/16", "2001:db8::/32")), target(3)]
        for order, subnet, scope in (
            (Order.ROUND_ROBIN, "10.0.0.0/24", 0), (Order.WEIGHTED, "10.0.0.0/24", 0), (Order.PRIORITY, "10.0.0.0/24", 0),
            (Order.CLIENT_SUBNET, "10.1.2.0/24", 16), (Order.CLIENT_SUBNET, "10.128.2.0/24", 9),
            (Order.CLIENT_SUBNET, "10.0.2.0/24", 16), (Order.CLIENT_SUBNET, "192.0.2.0/24", 1),
            (Order.CLIENT_SUBNET, "11.0.2.0/24", 8), (Order.CLIENT_SUBNET, "2001:db8:1::/48", 32),
            (Order.CLIENT_SUBNET, "2002::/48", 15), (Order.CLIENT_SUBNET, "10.0.0.0/12", 16),
        ):
            made = zone()
            made.set_host(host("shop", *targets, order=order))
            options = [dns.edns.ECSOption.from_text(subnet)]
            query = read_query(dns.message.make_query(f"shop.{APEX}", "A", use_edns=0, options=options).to_wire())
            found = Zones([made]).answer(query, "198.51.100.1")
            assert found is not None
            self.assertEqual(found[1], scope, subnet)
        query = read_query(dns.message.make_query(f"shop.{APEX}", "A").to_wire())
        self.assertEqual(client_of(query, "2001:db8::1"), (ip_address("2001:db8::1"), 128))
