"""Faults on purpose (`voltgw: {fault: …}`)."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import build, exchange
from tests.routing.test_table import rule
from voltgw.config.objects.conditions import HeaderMatcherType
from voltgw.config.objects.extensions import FaultAbort, FaultDelay, FaultType, HostExtension, RouteExtension
from voltgw.config.objects.route import RouteSpec
from voltgw.config.objects.virtual_host import VirtualHostSpec
from voltgw.interfaces import RequestFilter
from voltgw.routing.filters.fault import fault
from voltgw.routing.problems import BuildErrors
from voltgw.values.reply import Delay, Reply

ABORT = FaultType(abort=FaultAbort(status=503))


def hits(request_filter: RequestFilter, count: int = 4000) -> int:
    """How many of so many requests it hits."""
    return sum(request_filter(exchange(id_=b"prefix%012x" % number)) is not None for number in range(count))


class FaultTests(SynchronousTestCase):
    def test_abort(self) -> None:
        """An answer of our own with the status that is asked for."""
        (refuse,) = fault(FaultType(abort=FaultAbort(status=418)))
        reply = refuse(exchange())
        assert isinstance(reply, Reply)
        self.assertEqual((reply.status, reply.flag, reply.negotiate), (418, "FI", True))

    def test_delay(self) -> None:
        """A pause, after which the request goes on; the log has its flag."""
        (hold,) = fault(FaultType(delay=FaultDelay(duration_s=0.25)))
        exchanged = exchange()
        pause = hold(exchanged)
        assert isinstance(pause, Delay)
        self.assertEqual((pause.seconds, exchanged.flag), (0.25, "DI"))

    def test_both(self) -> None:
        """Two filters, so that the data plane waits before it refuses."""
        hold, refuse = fault(FaultType(delay=FaultDelay(duration_s=0.25), abort=FaultAbort(status=503)))
        self.assertIsInstance(hold(exchange()), Delay)
        self.assertIsInstance(refuse(exchange()), Reply)

    def test_shares(self) -> None:
        """Within four standard deviations of the percentage; 0 hits nobody and 100 everybody."""
        for percent in (0, 0.5, 10, 50, 100):
            share = percent / 100
            for spec in (FaultType(abort=FaultAbort(status=503, percent=percent)),
                         FaultType(delay=FaultDelay(duration_s=1.0, percent=percent))):
                (request_filter,) = fault(spec)
                self.assertLessEqual(
                    abs(hits(request_filter) - 4000 * share), 4 * math.sqrt(4000 * share * (1 - share)), percent)

    def test_shares_are_independent(self) -> None:
        """Of half that are held back and half that are refused, a quarter is both."""
        hold, refuse = fault(FaultType(delay=FaultDelay(duration_s=1.0, percent=50.0), abort=FaultAbort(status=503, percent=50.0)))
        both = sum(hold(exchange(id_=b"%012x" % number)) is not None and refuse(exchange(id_=b"%012x" % number)) is not None
                   for number in range(4000))
        self.assertLess(abs(both - 1000), 4 * math.sqrt(750))

    def test_a_request_is_always_hit_the_same_way(self) -> None:
        """Its id decides, so what happened can be told again."""
        (refuse,) = fault(FaultType(abort=FaultAbort(status=503, percent=50.0)))
        for number in range(50):
            first, second = (refuse(exchange(id_=b"%d" % number)) is None for _ in range(2))
            self.assertEqual(first, second)

    def test_a_header(self) -> None:
        """Only requests that have it are hit; the flag stays away from the others."""
        spec = FaultType(delay=FaultDelay(duration_s=1.0), abort=FaultAbort(status=503),
                         header=HeaderMatcherType(name="X-Fault", exact="please"))
        for fields, wanted in (([(b"x-fault", b"please")], True), ([(b"x-fault", b"no")], False), ([], False)):
            for request_filter in fault(spec):
                exchanged = exchange(fields)
                self.assertEqual(request_filter(exchanged) is not None, wanted)
                if not wanted:
                    self.assertEqual(exchanged.flag, "")

    def test_nothing(self) -> None:
        """No fault, a pause of no length and one that is switched off cost no filter."""
        for levels in ((), (None, None), (FaultType(disabled=True), ABORT), (FaultType(delay=FaultDelay(duration_s=0.0)),)):
            self.assertEqual(fault(*levels), ())


class LevelTests(SynchronousTestCase):
    """Rule, route object, virtual host: the first that says something."""

    def status(self, of_rule: FaultType | None, of_object: FaultType | None, of_host: FaultType | None) -> int | None:
        spec = VirtualHostSpec(domains=("*",), voltgw=HostExtension(fault=of_host))
        routes = RouteSpec(routes=(rule(voltgw=RouteExtension(fault=of_rule)),), voltgw=RouteExtension(fault=of_object))
        filters = build(object_=routes, spec=spec).routes[0].request_filters
        if not filters:
            return None
        reply = filters[0](exchange())
        assert isinstance(reply, Reply)
        return reply.status

    def test_the_nearest_wins(self) -> None:
        """One that is switched off is something, too."""
        one, two, three = (FaultType(abort=FaultAbort(status=status)) for status in (501, 502, 503))
        off = FaultType(disabled=True)
        for levels, wanted in (((one, two, three), 501), ((None, two, three), 502), ((None, None, three), 503),
                               ((off, two, three), None), ((None, off, three), None), ((one, off, off), 501)):
            self.assertEqual(self.status(*levels), wanted)

    def test_mistakes(self) -> None:
        """Each at its place, the host's and the object's once."""
        bad = FaultType(abort=FaultAbort(status=503), header=HeaderMatcherType(name="a", regex="(?=x)"))
        error = self.assertRaises(BuildErrors, build, rule(voltgw=RouteExtension(fault=bad)))
        self.assertEqual([problem.place.file for problem in error.problems], ["r.yaml:routes.0.voltgw.fault.header.regex"])
        twice = RouteSpec(routes=(rule(), rule()), voltgw=RouteExtension(fault=bad))
        error = self.assertRaises(BuildErrors, build, object_=twice, spec=VirtualHostSpec(
            domains=("*",), voltgw=HostExtension(fault=bad)))
        self.assertEqual([problem.place.file for problem in error.problems], ["<made up>", "r.yaml:voltgw.fault.header.regex"])
