"""Names at several sites beside PowerDNS and gdnsd, and a DNS server under `dnsperf`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from random import Random

import dns.message
import dns.name
import dns.query
from twisted.trial.unittest import SynchronousTestCase

from tests.dns.gslb import CASES, Case, Step
from tests.dns.test_gslb import question, scope_of, unlike, zone_of
from tests.dnsservers import gdnsd, powerdns
from tests.integration.gateway import Gateway, free_port, until
from tests.integration.test_dns import ZONE, config
from tests.integration.test_http import origin
from tests.servers import Server, require
from voltgw.dns.cookies import Cookies
from voltgw.dns.responder import Responder
from voltgw.routing.zone import Order, Zones

APEX = "gslb.example"
HEAD = "$TTL 30\n@ SOA ns hostmaster 1 3600 600 86400 30\n@ NS ns\nns A 127.0.0.1\n"
DRAWS = 400


def first(case: Case) -> Step:
    """The first moment of a case that is about IPv4: the health of a peer's services stands while it runs.

    Its resolver is the test, and so of no network but the loopback one: who is near is told by prefix.
    """
    return _moments(case)[0]


def _moments(case: Case) -> list[Step]:
    return [step for step in case.steps if step.kind == "A" and ":" not in step.client
            and (case.order is not Order.CLIENT_SUBNET or "/" in step.client)]


def usable(case: Case) -> list[int]:
    """VIPs of IPv4 that take anything: peers know no weight 0."""
    four = [number for number, vip in enumerate(case.vips, 1) if not vip.six]
    return [number for number in four if case.vips[number - 1].weight] or four


def plain(case: Case) -> bool:
    """Whether peers can say it at all: no answer of nothing, no part of the set, no wildcard, nothing that weight 0 takes over."""
    if not _moments(case):
        return False
    step = first(case)
    return case.serve_down and step.size is None and case.owner == case.asked and {*step.given, *step.shares} <= set(usable(case))


def wider(case: Case, prefix: str, number: int, others: list[int]) -> list[int]:
    """Other VIPs that are for the clients of a prefix, too."""
    inner = ip_network(prefix)
    return [other for other in others if other != number and any(
        net.version == inner.version and net.prefixlen <= inner.prefixlen
        and inner.supernet(new_prefix=net.prefixlen) == net
        for net in map(ip_network, case.vips[other - 1].clients))]


def ours(case: Case, query: dns.message.Message, peer: str) -> dns.message.Message:
    """What our zone says."""
    zone = zone_of(case)
    zone.set_host(case.host(first(case)))
    asked = dns.message.from_wire(query.to_wire())
    asked.question[0].name = dns.name.from_text(f"{case.asked}.{case.zone}")
    return dns.message.from_wire(Responder(Zones([zone]), Cookies(bytes(16), lambda: 0.0)).respond(asked.to_wire(), peer) or b"")


class PeerTests(SynchronousTestCase):
    """The cases that each of them can say."""

    def services(self, cases: list[Case]) -> int:
        """Something listens at the VIPs that are up; the port."""
        port = free_port()
        for case in cases:
            for number in case.up(first(case)) & set(usable(case)):
                listening = socket.socket()
                self.addCleanup(listening.close)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind((str(case.address(number)), port))
                listening.listen(64)
        return port

    def compare(self, server: Server, cases: list[Case], *, scopes: bool) -> None:
        """Each gives what the table says, and with `scopes` tells the scope that we tell; its scopes do not follow health."""
        wrong = []
        for case in cases:
            step = first(case)
            query, peer = question(f"c{case.number}.{APEX}", step)

            def asked(query: dns.message.Message = query) -> dns.message.Message:
                return dns.query.udp(query, "127.0.0.1", 5.0, server.port)

            if not step.shares:             # its probes may not be over
                def known(case: Case = case, step: Step = step, asked: Callable[[], dns.message.Message] = asked) -> bool:
                    return not unlike(case, step, [asked() for _ in range(3)])

                until(f"{server.name} knows the health of {case.title!r}", known)
            answers = [asked() for _ in range(DRAWS if step.shares else 6)]
            wrong += [f"{case.number} {case.title!r}: {words}" for words in unlike(case, step, answers)]
            if scopes and case.order is Order.CLIENT_SUBNET and case.up(step) >= set(usable(case)):
                told = int(step.client.rpartition("/")[2])      # it may tell more bits than it was told; we do not
                scope, own = min(scope_of(answers[0]) or 0, told), scope_of(ours(case, query, peer))
                if scope != own:
                    wrong.append(f"{case.number} {case.title!r}: scope {scope}, not {own}")
        self.maxDiff = None
        self.assertEqual(wrong, [])

    def test_powerdns(self) -> None:
        """LUA records: all that are up by `ifportup`, shares by `pickwrandom`, networks by `view`."""
        program = require("pdns_server")
        self.assertTrue(program)
        cases = [case for case in CASES if plain(case) and (
            case.order is Order.ROUND_ROBIN or case.order is Order.WEIGHTED and case.up(first(case)) >= set(usable(case))
            or case.order is Order.CLIENT_SUBNET and case.up(first(case)) >= set(usable(case)) and any(not vip.clients for vip in case.vips))]
        self.assertGreaterEqual(len(cases), 14)
        port = self.services(cases)
        lines = []
        for case in cases:
            addresses = [f"'{case.address(number)}'" for number in usable(case)]
            if case.order is Order.ROUND_ROBIN:
                lua = f"ifportup({port}, {{{','.join(addresses)}}}, {{selector='all',backupSelector='all'}})"
            elif case.order is Order.WEIGHTED:
                shares = [f"{{{case.vips[number - 1].weight},'{case.address(number)}'}}" for number in usable(case)]
                lua = f"pickwrandom({{{','.join(shares)}}})"
            else:
                nets = sorted(((prefix, number) for number in usable(case) for prefix in case.vips[number - 1].clients or ("0.0.0.0/0",)
                               if ":" not in prefix), key=lambda each: -int(each[0].rpartition("/")[2]))
                lua = "view({" + ",".join(f"{{{{'{prefix}'}},{{'{case.address(number)}'}}}}" for prefix, number in nets) + "})"
            lines.append(f'c{case.number} IN LUA A "{lua}"\n')
        self.compare(powerdns(self, APEX, f"$ORIGIN {APEX}.\n{HEAD}{''.join(lines)}"), cases, scopes=False)

    def test_gdnsd(self) -> None:
        """All by `multifo`, shares by `weighted`, the best by `metafo`, networks by `geoip`; its scopes are ours."""
        require("gdnsd")
        cases = [case for case in CASES if plain(case) and (
            case.order is not Order.CLIENT_SUBNET or sum(not vip.clients for vip in case.vips) == 1)]
        self.assertGreaterEqual(len(cases), 20)
        port = self.services(cases)
        parts: dict[Order, list[str]] = {order: [] for order in Order}
        maps, lines = [], []
        for case in cases:
            name, numbers = f"c{case.number}", usable(case)
            if case.order is Order.ROUND_ROBIN:
                parts[case.order].append(f"{name} => {{ {', '.join(f'v{number} => {case.address(number)}' for number in numbers)} }}")
            elif case.order is Order.WEIGHTED:
                parts[case.order].append(f"{name} => {{ " + ", ".join(
                    f"v{number} => [{case.address(number)}, {case.vips[number - 1].weight}]" for number in numbers) + " }")
            elif case.order is Order.PRIORITY:
                ranks = sorted({case.vips[number - 1].priority for number in numbers})
                groups = ", ".join(f"p{rank} => {{ up_thresh => 0.01, " + ", ".join(
                    f"v{number} => {case.address(number)}" for number in numbers if case.vips[number - 1].priority == rank) + " }"
                    for rank in ranks)
                parts[case.order].append(
                    f"{name} => {{ service_types => port, datacenters => [{', '.join(f'p{rank}' for rank in ranks)}], dcmap => {{ {groups} }} }}")
            else:
                anybody = next(number for number in numbers if not case.vips[number - 1].clients)
                others = [number for number in numbers if number != anybody]
                nets = ", ".join(
                    f"{prefix} => [{', '.join(f'd{each}' for each in (number, *wider(case, prefix, number, others), anybody))}]"
                    for number in others for prefix in case.vips[number - 1].clients)
                maps.append(f"m{case.number} => {{ datacenters => [{', '.join(f'd{number}' for number in (anybody, *others))}], "
                            f"nets => {{ {nets} }} }}")
                dcmap = ", ".join(f"d{number} => [{case.address(number)}]" for number in numbers)
                parts[case.order].append(f"{name} => {{ service_types => port, map => m{case.number}, dcmap => {{ {dcmap} }} }}")
            plugin = {Order.ROUND_ROBIN: "multifo", Order.WEIGHTED: "weighted", Order.PRIORITY: "metafo"}.get(case.order, "geoip")
            lines.append(f"{name} 30 DYNA {plugin}!{name}\n")
        made = (f"service_types => {{ port => {{ plugin => tcp_connect, port => {port}, interval => 2, timeout => 1, up_thresh => 1, "
                "ok_thresh => 1, down_thresh => 1 } }\nplugins => {\n"
                f"multifo => {{ service_types => port, up_thresh => 0.01, {', '.join(parts[Order.ROUND_ROBIN])} }}\n"
                f"weighted => {{ service_types => port, up_thresh => 0.01, {', '.join(parts[Order.WEIGHTED])} }}\n"
                f"metafo => {{ resources => {{ {', '.join(parts[Order.PRIORITY])} }} }}\n"
                f"geoip => {{ maps => {{ {', '.join(maps)} }}, resources => {{ {', '.join(parts[Order.CLIENT_SUBNET])} }} }}\n}}")
        self.compare(gdnsd(self, APEX, HEAD + "".join(lines), made), cases, scopes=True)


class LoadTests(SynchronousTestCase):
    """Many questions at once."""

    def test_dnsperf(self) -> None:
        """Four thousand questions, names at random: none is lost, and each RCODE is the right one."""
        program = require("dnsperf")
        folder = Path(os.path.abspath(self.mktemp()))
        folder.mkdir(parents=True)
        shop = origin(self, "shop", str(folder))
        dns_port = free_port()
        Gateway(self, config(free_port(), dns_port, shop.port)).wait_ready()
        random = Random(11)
        asked = []
        for number in range(4000):
            label = f"x{random.getrandbits(48):x}"
            asked.append(f"{label}.{ZONE} A" if number % 4 == 0 else f"{label}.many.{ZONE} A" if number % 4 == 1
                         else f"{label}.example.org A" if number % 4 == 2 else f"shop.{ZONE} AAAA")
        (folder / "questions").write_text("\n".join(asked) + "\n")
        for mode in (["-e"], ["-m", "tcp"]):
            shown = subprocess.run([program, "-s", "127.0.0.1", "-p", str(dns_port), "-d", str(folder / "questions"), "-n", "1", "-q", "100",
                                    *mode], check=True, capture_output=True, text=True, timeout=60).stdout
            self.assertRegex(shown, r"Queries completed: +4000 \(100.00%\)")
            self.assertRegex(shown, r"Queries lost: +0 ")
            codes = dict(re.findall(r"(NOERROR|NXDOMAIN|REFUSED|SERVFAIL|FORMERR) (\d+)", shown))
            self.assertEqual(codes, {"NOERROR": "2000", "NXDOMAIN": "1000", "REFUSED": "1000"}, shown)
