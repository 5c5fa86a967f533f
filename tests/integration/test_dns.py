"""Delegated zones beside real servers: `dig`, BIND with the same zone, and a BIND that follows a delegation to us."""

from __future__ import annotations

import base64
import os
import random
import socket
import subprocess
from pathlib import Path
from typing import Any
from unittest import SkipTest

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.dnsservers import named, secondary_knot, secondary_named
from tests.integration.gateway import Gateway, ask, free_port, until
from tests.integration.test_http import origin
from tests.servers import require

ZONE = "apps.example"
RECORDS = [
    ("txt", "TXT", '"x y" "z"'), ("@", "MX", "10 mail.example.org."), ("@", "CAA", '0 issue "ca.example"'), ("www", "CNAME", "shop"),
    ("away", "CNAME", "elsewhere.example.net."), ("hang", "CNAME", "nobody"), ("a.b.c", "A", "192.0.2.3"), ("a.b.c", "A", "192.0.2.4"),
    ("*.wild", "TXT", '"w"'), ("there.wild", "A", "192.0.2.5"), ("sub", "NS", "ns.sub"), ("sub", "NS", "ns.example.net."),
    ("ns.sub", "A", "192.0.2.9"), ("_sip._udp", "SRV", "1 2 5060 shop"), ("six", "AAAA", "2001:db8::6"), ("chain", "CNAME", "www"),
    ("towild", "CNAME", "q.wild"),
]
SOA = "ns1.apps.example. dns.example. {serial} 3600 600 604800 30"


def config(port: int, dns_port: int, origin_port: int, *, address: str = "127.0.0.1", **more: object) -> str:
    """A gateway with the zone and one load balancer in it."""
    return yaml.safe_dump({
        "gateway": {"admin": {"port": "ADMIN"}, "dns": [{"address": address, "port": dns_port, "responses_per_second": 0}]},
        "load_balancers": [{"name": "shop", "listen": f"127.0.0.1:{port}", "domains": [f"shop.{ZONE}", f"*.many.{ZONE}"],
                            "origins": [f"127.0.0.1:{origin_port}"], "health_check": {"path": "/healthz", "interval": 1}}],
        "objects": [{"kind": "discovery", "metadata": {"name": "names", "namespace": "system"}, "spec": {
            "where": {}, "voltgw": {"dns_delegation": {
                "zone": ZONE, "ttl": 30, "hostmaster": "dns.example", "name_servers": [{"name": f"ns1.{ZONE}", "addresses": [address]}],
                "records": [{"name": name, "type": kind, "data": data} for name, kind, data in RECORDS], **more}}}}],
    }).replace("'ADMIN'", "ADMIN")


def answer(port: int, name: str, kind: str = "A", *, tcp: bool = False, edns: bool = True, address: str = "127.0.0.1") -> dns.message.Message:
    """What a server says."""
    query = dns.message.make_query(name, kind, use_edns=0 if edns else -1, payload=1232)
    query.flags &= ~dns.flags.RD
    return (dns.query.tcp if tcp else dns.query.udp)(query, address, 5.0, port)


def meaning(message: dns.message.Message) -> tuple[object, ...]:
    """What one has to agree on: RCODE, AA, TC, and the records of each section without their order."""
    def records(section: list[dns.rrset.RRset]) -> set[tuple[str, int, str]]:
        return {(rrset.name.to_text().lower(), rrset.ttl, rdata.to_text()) for rrset in section for rdata in rrset}
    return (dns.rcode.to_text(message.rcode()), bool(message.flags & dns.flags.AA), bool(message.flags & dns.flags.TC),
            records(message.answer), records(message.authority), records(message.additional))


class DnsTests(SynchronousTestCase):
    """The DNS server of a gateway in a process of its own."""

    def start(self, **more: Any) -> Gateway:
        """A gateway with the zone, and its origin."""
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        self.origin = origin(self, "shop", folder)
        self.port, self.dns_port = free_port(), free_port()
        gateway = Gateway(self, config(self.port, self.dns_port, self.origin.port, **more))
        gateway.wait_ready()
        return gateway

    def test_a_client_that_resolves_and_connects(self) -> None:
        """`dig` by UDP and TCP, with a cookie and EDNS, gets the VIP; there the shop answers."""
        self.start()
        for arguments in ([], ["+tcp"], ["+noedns"], ["+norec", "+subnet=192.0.2.0/24"]):
            shown = subprocess.run([require("dig"), "@127.0.0.1", "-p", str(self.dns_port), f"shop.{ZONE}", *arguments], check=True,
                                   capture_output=True, text=True, timeout=20).stdout
            self.assertIn("status: NOERROR", shown)
            self.assertRegex(shown, r"flags: qr aa( rd)?;")
            self.assertIn(f"shop.{ZONE}.\t30\tIN\tA\t127.0.0.1\n", shown)
            self.assertEqual("(good)" in shown, "+noedns" not in arguments)
        self.assertEqual(ask(self.port, headers={"Host": f"shop.{ZONE}"}).body, b"shop GET /\n")

    def test_bind_with_the_same_zone(self) -> None:
        """It says the same to two hundred questions: records, RCODEs, flags, referrals, glue, aliases and wildcards."""
        gateway = self.start()
        serial = gateway.admin("/names").json["zones"][0]["serial"]
        text = [f"$ORIGIN {ZONE}.", "$TTL 30", f"@ 30 SOA {SOA.format(serial=serial)}", "@ NS ns1", "ns1 A 127.0.0.1",
                "shop A 127.0.0.1", "*.many A 127.0.0.1", *(f"{name} {kind} {data}" for name, kind, data in RECORDS), ""]
        bind = named(self, {ZONE: "\n".join(text)}, options="recursion no; minimal-responses yes; zero-no-soa-ttl no; rrset-order {order none;};")
        owners = [name for name, _, _ in RECORDS] + ["shop", "x.many", "many", "x.y.many", "nobody", "b.c", "c", "x.a.b.c", "q.wild",
                                                     "q.r.wild", "wild", "x.there.wild", "x.sub", "y.x.sub", "ns1", "SHOP", "_udp"]
        differing = []
        for owner in dict.fromkeys(owners):
            for kind in ("A", "AAAA", "TXT", "NS", "SOA", "CNAME", "MX", "SRV", "DS"):
                name = ZONE if owner == "@" else f"{owner}.{ZONE}"
                ours, theirs = answer(self.dns_port, name, kind), answer(bind.port, name, kind)
                if _said(ours, kind) != _said(theirs, kind):
                    differing.append((name, kind, _said(ours, kind), _said(theirs, kind)))
        self.maxDiff = None
        self.assertEqual(differing[:3], [])

    def test_outside_the_zone(self) -> None:
        """REFUSED, as BIND says."""
        self.start()
        for name in ("example", "apps.example.org", "xapps.example"):
            self.assertEqual(dns.rcode.to_text(answer(self.dns_port, name).rcode()), "REFUSED")

    def test_health(self) -> None:
        """A name whose service is down is withdrawn; it comes back by itself; the serial number tells."""
        self.follow("nodata", 0)

    def test_health_that_is_not_believed(self) -> None:
        """By default all addresses are answered when none is up."""
        self.follow("serve_all", 1)

    def follow(self, when_down: str, left: int) -> None:
        """Stop the shop and start it again; `left` are the addresses that are answered meanwhile."""
        gateway = self.start(when_down=when_down)

        def facts() -> dict[str, Any]:
            shown: dict[str, Any] = gateway.admin("/names").json
            return shown

        def up() -> bool:
            return bool(facts()["names"][0]["advertised"][0]["up"])

        def answered() -> int:
            return len(answer(self.dns_port, f"shop.{ZONE}").answer)

        self.assertEqual((up(), answered()), (True, 1))
        serial = facts()["zones"][0]["serial"]
        port = self.origin.port
        self.origin.stop()
        until("the service is down", lambda: not up())
        until("the zone knows", lambda: "no endpoint of its service is up" in facts()["names"][0]["why"])
        self.assertEqual(answered(), left)
        self.assertEqual(facts()["zones"][0]["serial"] > serial, not left)
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        self.origin = origin(self, "shop", folder, port)
        until("it is back", up)
        until("the zone knows", lambda: facts()["names"][0]["why"] == "every service behind it is up")
        self.assertEqual(answered(), 1)

    def test_a_reload(self) -> None:
        """Names come and go with virtual hosts, zones and addresses with the configuration; a zone that cannot be is refused."""
        gateway = self.start()
        text = config(self.port, self.dns_port, self.origin.port)
        gateway.write(text.replace(f"shop.{ZONE}", f"store.{ZONE}"))
        gateway.reload()
        self.assertEqual(answer(self.dns_port, f"shop.{ZONE}").rcode(), dns.rcode.NXDOMAIN)
        self.assertEqual(len(answer(self.dns_port, f"store.{ZONE}").answer), 1)
        gateway.write(config(self.port, self.dns_port, self.origin.port, records=[{"name": "a", "type": "A", "data": "nowhere"}]))
        rejected = gateway.admin("/").json["reloads_rejected"]
        gateway.process.send_signal(1)
        until("it is refused", lambda: gateway.admin("/").json["reloads_rejected"] > rejected)
        self.assertIn("'nowhere' is no A record", gateway.admin("/").json["last_reload_error"])
        self.assertEqual(len(answer(self.dns_port, f"store.{ZONE}").answer), 1)
        other = free_port()
        gateway.write(config(self.port, other, self.origin.port))
        gateway.reload()
        self.assertEqual(len(answer(other, f"shop.{ZONE}").answer), 1)
        self.assertRaises((OSError, dns.exception.Timeout), answer, self.dns_port, f"shop.{ZONE}", tcp=True)

    def test_a_resolver_that_follows_the_delegation(self) -> None:
        """BIND has the parent zone; its own resolver goes from its NS records to us, and gets the VIP."""
        address = ".".join(["127", *(str(random.randrange(1, 255)) for _ in range(3))])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, 53))
            except PermissionError:
                raise SkipTest("port 53, where resolvers ask, is root's") from None
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        shop = origin(self, "shop", folder)
        port = free_port()
        Gateway(self, config(port, 53, shop.port, address=address)).wait_ready()
        parent = (f"$ORIGIN example.\n$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
                  f"apps NS ns1.apps\nns1.apps A {address}\n")
        bind = named(self, {"example": parent}, options="recursion yes; allow-recursion { any; }; qname-minimization strict;")
        for name, kind, said in ((f"shop.{ZONE}", "A", "127.0.0.1"), (f"www.{ZONE}", "A", "127.0.0.1"), (f"txt.{ZONE}", "TXT", '"x y" "z"')):
            query = dns.message.make_query(name, kind, use_edns=0)
            got = dns.query.udp(query, "127.0.0.1", 10.0, bind.port)
            self.assertEqual((dns.rcode.to_text(got.rcode()), [rdata.to_text() for rdata in got.answer[-1]]), ("NOERROR", [said]))
        nobody = dns.query.udp(dns.message.make_query(f"nobody.{ZONE}", "A"), "127.0.0.1", 10.0, bind.port)
        self.assertEqual(dns.rcode.to_text(nobody.rcode()), "NXDOMAIN")

    def test_secondaries(self) -> None:
        """BIND and Knot fetch the zone with a key, are told of a change, and say the same as we do then; `dig` gets it with the
        key, and nothing without it."""
        secret = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
        ports = [free_port(), free_port()]
        gateway = self.start(secondaries=[
            {"address": "127.0.0.1", "port": port, "tsig": {"name": f"backup{number}", "secret": f"string:///{secret}"}}
            for number, port in enumerate(ports)])
        secondary_named(self, ZONE, self.dns_port, "backup0", secret, ports[0])
        secondary_knot(self, ZONE, self.dns_port, "backup1", secret, ports[1])

        def serials() -> list[int]:
            return [answer(port, ZONE, "SOA").answer[0][0].serial for port in (self.dns_port, *ports)
                    if answer(port, ZONE, "SOA").answer]

        def same() -> bool:
            return len(serials()) == 3 and len(set(serials())) == 1

        until("both have it", same)
        for kind in ("A", "TXT", "SRV", "MX", "CNAME"):
            for owner, _, _ in RECORDS:
                name = ZONE if owner == "@" else f"{owner}.{ZONE}"
                for port in ports:
                    self.assertEqual(meaning(answer(port, name, kind))[3], meaning(answer(self.dns_port, name, kind))[3])
        before = serials()[0]
        gateway.write(gateway.file.read_text().replace(f"shop.{ZONE}", f"store.{ZONE}"))
        gateway.reload()
        until("they have heard of the change", lambda: same() and serials()[0] > before)
        for port in ports:
            self.assertEqual(len(answer(port, f"store.{ZONE}").answer), 1)
            self.assertEqual(answer(port, f"shop.{ZONE}").rcode(), dns.rcode.NXDOMAIN)
        until("it is known", lambda: {each["why"] for each in gateway.admin("/names").json["zones"][0]["secondaries"]} == {
            "it has the zone as it is"})
        dig = [require("dig"), "@127.0.0.1", "-p", str(self.dns_port), ZONE, "AXFR", "+onesoa"]
        shown = subprocess.run([*dig, "-y", f"hmac-sha256:backup0:{secret}"], check=True, capture_output=True, text=True, timeout=20).stdout
        self.assertRegex(shown, rf"store.{ZONE}.\t+30\tIN\tA\t127.0.0.1\n")
        self.assertNotIn("Couldn't verify", shown)
        refused = subprocess.run(dig, check=False, capture_output=True, text=True, timeout=20).stdout
        self.assertIn("Transfer failed", refused)
        metrics = gateway.admin("/metrics").body.decode()
        self.assertRegex(metrics, r'voltgw_dns_transfers_total\{result="full"\} [5-9]')
        self.assertIn('voltgw_dns_transfers_total{result="refused"} 1', metrics)
        self.assertRegex(metrics, r'voltgw_dns_notifies_total\{result="answered"\} [1-9]')

    def test_signed(self) -> None:
        """`delv`, and a BIND that trusts the zone's key alone, find every answer valid: what is there, by wildcards and aliases,
        and what is not; a server with another key is not believed."""
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        keys = [subprocess.run([require("openssl"), "ecparam", "-name", "prime256v1", "-genkey", "-noout"], check=True,
                               capture_output=True, text=True).stdout for _ in range(2)]
        gateway = self.start(dnssec={"private_key": keys[0]})
        shown = gateway.admin("/names").json["zones"][0]["ds"]
        owner, tag, algorithm, digest, value = shown.replace(" DS", "").split()
        anchors = os.path.join(folder, "anchors")
        Path(anchors).write_text(f'trust-anchors {{ {owner} static-ds {tag} {algorithm} {digest} "{value}"; }};')
        asked = (("shop", "A"), ("x.many", "A"), ("www", "A"), ("txt", "TXT"), ("towild", "TXT"), ("_sip._udp", "SRV"))
        for name, kind in asked:
            told = subprocess.run([require("delv"), "@127.0.0.1", "-p", str(self.dns_port), "-a", anchors, f"+root={ZONE}",
                                   f"{name}.{ZONE}", kind], check=True, capture_output=True, text=True, timeout=20).stdout
            self.assertIn("; fully validated\n", told, (name, kind))
        bind = named(self, {}, options="recursion yes; allow-recursion { any; };", more=(
            f'zone "{ZONE}" {{ type forward; forward only; forwarders port {self.dns_port} {{ 127.0.0.1; }}; }};\n'
            + Path(anchors).read_text()), validate=True)

        def resolved(name: str, kind: str) -> tuple[str, bool, int]:
            query = dns.message.make_query(f"{name}.{ZONE}", kind, want_dnssec=True)
            got = dns.query.udp(query, "127.0.0.1", 10.0, bind.port)
            return dns.rcode.to_text(got.rcode()), bool(got.flags & dns.flags.AD), len(got.answer)

        for name, kind in asked:
            rcode, valid, answers = resolved(name, kind)
            self.assertEqual((rcode, valid, answers > 1), ("NOERROR", True, True), (name, kind))
        for name, kind in (("shop", "TXT"), ("nobody", "A"), ("x.nobody", "A"), ("b.c", "A"), ("q.wild", "A"), ("hang", "TXT")):
            rcode, valid, _ = resolved(name, kind)
            self.assertEqual((rcode, valid), ("NOERROR", True), (name, kind))
        gateway.write(config(self.port, self.dns_port, self.origin.port, dnssec={"private_key": keys[1]}))
        gateway.reload()
        self.assertEqual(resolved("six", "AAAA")[0], "SERVFAIL")


def _said(message: dns.message.Message, kind: str) -> tuple[object, ...]:
    """Its meaning. Addresses that one may add for convenience, where they are no glue, are not part of it (RFC 1034 3.7)."""
    rcode, aa, tc, answers, authority, additional = meaning(message)
    return rcode, aa, tc, answers, authority, additional if not aa else ()
