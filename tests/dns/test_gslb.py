"""A zone answers the forty cases of `tests.dns.gslb`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

import dns.edns
import dns.message
from twisted.trial.unittest import SynchronousTestCase

from tests.dns.gslb import CASES, DRAWS, RESOLVER, Case, Step
from voltgw.dns.cookies import Cookies
from voltgw.dns.responder import Responder
from voltgw.routing.zone import RRset, Zone, Zones
from voltgw.wire.dnsmsg import NS, SOA, name_of

_SOA = name_of("ns.example") * 2 + b"".join(number.to_bytes(4, "big") for number in (7, 3600, 600, 86400, 20))


def zone_of(case: Case) -> Zone:
    """The zone of a case, without its name."""
    return Zone(name_of(case.zone), RRset(SOA, 300, (_SOA,)), {name_of(case.zone): [RRset(NS, 300, (name_of("ns.example"),))]}, 30,
                Random(case.number).random)


def question(name: str, step: Step) -> tuple[dns.message.Message, str]:
    """What is asked, and from which address."""
    prefix = "/" in step.client
    options = [dns.edns.ECSOption.from_text(step.client)] if prefix else None
    return dns.message.make_query(name, step.kind, use_edns=0, options=options, payload=1232), RESOLVER if prefix else step.client


def scope_of(answer: dns.message.Message) -> int | None:
    """The scope of the client's subnet that is given back."""
    return next((option.scopelen for option in answer.options if isinstance(option, dns.edns.ECSOption)), None)


def unlike(case: Case, step: Step, answers: Iterable[dns.message.Message]) -> list[str]:
    """What is not as the table says in the answers to one question, in words."""
    answers = list(answers)
    number_of = {str(case.address(number)): number for number in range(1, len(case.vips) + 1)}
    sets = [[number_of[rdata.to_text()] for rrset in answer.answer for rdata in rrset] for answer in answers]
    wrong = []
    if step.shares:
        drawn = Counter(numbers[0] for numbers in sets if numbers)
        if {len(numbers) for numbers in sets} != {1} or not set(drawn) <= set(step.shares):
            wrong.append(f"not one of {sorted(step.shares)}: {drawn}")
        for number, share in step.shares.items():
            wanted, deviation = len(sets) * share, (len(sets) * share * (1 - share)) ** .5
            if abs(drawn[number] - wanted) > 4 * deviation:
                wrong.append(f"VIP {number} is given {drawn[number]} times, not about {wanted:g}")
    else:
        size = len(step.given) if step.size is None else step.size
        if {len(numbers) for numbers in sets} != {size} or {number for numbers in sets for number in numbers} != set(step.given):
            wrong.append(f"{sorted(map(tuple, map(sorted, sets)))[0]}, not {size} of {step.given}")
    if any(answer.rcode() for answer in answers):
        wrong.append("an RCODE that is not 0")
    return wrong


class GslbTests(SynchronousTestCase):
    """By `Responder`, in wire form."""

    def test_the_table(self) -> None:
        """Forty cases, each with a title of its own, an order, and every order several times."""
        self.assertEqual(len(CASES), 40)
        self.assertEqual(len({case.title for case in CASES}), 40)
        self.assertGreaterEqual(min(Counter(case.order for case in CASES).values()), 7)

    def test_cases(self) -> None:
        """What is given, how often, in turn, and with which scope."""
        zones = {case: zone_of(case) for case in CASES}
        wrong = []
        for case, zone in zones.items():
            for index, step in enumerate(case.steps):
                zone.set_host(case.host(step))
                responder = Responder(Zones([zone]), Cookies(bytes(16), lambda: 0.0))
                query, peer = question(f"{case.asked}.{case.zone}", step)
                times = DRAWS if step.shares else 2 * max(1, len(step.given))
                answers = [dns.message.from_wire(responder.respond(query.to_wire(), peer) or b"") for _ in range(times)]
                found = unlike(case, step, answers)
                first = Counter(answer.answer[0][0].to_text() for answer in answers if answer.answer)
                if not step.shares and set(first.values()) - {2}:
                    found.append(f"not each is first equally often: {first}")
                if {scope_of(answer) for answer in answers} != {step.scope if "/" in step.client else None}:
                    found.append(f"scope {scope_of(answers[0])}, not {step.scope}")
                wrong += [f"{case.number} {case.title!r}, step {index}: {words}" for words in found]
        self.maxDiff = None
        self.assertEqual(wrong, [])

    def test_flapping_leaves_no_favourite(self) -> None:
        """A name that is put in anew before every question gives each address first about equally often."""
        case = next(case for case in CASES if case.title == "three sites")
        zone = zone_of(case)
        first: Counter[str] = Counter()
        query, peer = question(f"shop.{case.zone}", case.steps[0])
        for _ in range(300):
            for step in (Step((1, 2), up=(1, 2)), Step((1, 2, 3))):
                zone.set_host(case.host(step))
            answer = Responder(Zones([zone]), Cookies(bytes(16), lambda: 0.0)).respond(query.to_wire(), peer)
            first[dns.message.from_wire(answer or b"").answer[0][0].to_text()] += 1
        self.assertEqual(len(first), 3)
        self.assertTrue(all(65 < count < 135 for count in first.values()), first)      # four standard deviations

    def test_a_scope_holds_for_everybody_in_it(self) -> None:
        """Whoever is within the scope of an answer gets the same one: a resolver may give it to them (RFC 7871 7.3.1)."""
        random = Random(3)
        for case in (case for case in CASES if case.order.value == "client_subnet"):
            zone = zone_of(case)
            zone.set_host(case.host(Step()))
            responder = Responder(Zones([zone]), Cookies(bytes(16), lambda: 0.0))

            def given(client: str, case: Case = case, responder: Responder = responder) -> tuple[frozenset[str], int]:
                query, peer = question(f"shop.{case.zone}", Step(client=client))
                answer = dns.message.from_wire(responder.respond(query.to_wire(), peer) or b"")
                return frozenset(rdata.to_text() for rdata in answer.answer[0]), scope_of(answer) or 0

            for _ in range(60):
                start = random.choice((0x0A000000, 0x0A010000, 0x0A010000, random.getrandbits(32)))
                client = start ^ random.getrandbits(32) >> random.randrange(4, 32)
                answer, scope = given(f"{_dotted(client)}/32")
                self.assertGreater(scope, 0)
                for _ in range(5):
                    other = client ^ random.getrandbits(32) >> scope
                    self.assertEqual(given(f"{_dotted(other)}/32")[0], answer, (case.title, _dotted(client), scope, _dotted(other)))


def _dotted(number: int) -> str:
    return ".".join(str(byte) for byte in number.to_bytes(4, "big"))
