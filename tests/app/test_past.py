"""By which rules a finished exchange went, seen again."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, host, objects, policy
from tests.observe.making import Client
from voltgw.app.dry import dry_runtime
from voltgw.app.past import MOST_RULES, Past
from voltgw.values.exchange import Exchange
from voltgw.wire.http1 import parse_request

HEAD = "- kind: route\n  metadata: {name: r}\n  spec:\n    routes:\n"
END = "- {kind: cluster, metadata: {name: c}, spec: {endpoints: []}}\n"
STAFF = "    - {match: [{headers: [{name: x-staff, presence: true}]}], route_destination: {destinations: [{cluster: [c]}]}}\n"
ALL = "    - {route_destination: {destinations: [{cluster: [c]}]}}\n"


class PastTests(SynchronousTestCase):
    def serve(self, *rules: str) -> None:
        """Serve one virtual host with these rules."""
        self.runtime = dry_runtime(config(objects(
            host("shop", domains="[shop.example]"), policy("p", "address: 127.0.0.1, port: 8080"), HEAD, *rules, END)))
        self.past = Past(self.runtime.listeners.values)

    def exchange(self, *fields: bytes, name: bytes = b"shop.example", routed: bool = True) -> Exchange:
        """A finished exchange as the data plane leaves it."""
        data = b"\r\n".join([b"GET / HTTP/1.1", b"Host: " + name, *fields, b"", b""])
        exchange = Exchange(Client(), parse_request(data, len(data) - 4), b"id", 1.0, 0)
        if routed:
            exchange.route = self.runtime.hosts["default/shop"].choose(exchange.request, 8080)
        return exchange

    def test_a_route(self) -> None:
        """Host and route, with the rules that were tried; not the clusters, which may be others by now."""
        self.serve(STAFF, ALL)
        of_host, of_route = self.past(self.exchange())
        self.assertEqual((of_host.outcome, of_route.outcome), ("default/shop", "r/1"))
        self.assertEqual([step.about for step in of_route.steps], ["rule r/0", "rule r/1"])

    def test_no_host_and_no_route(self) -> None:
        """The table of the listener is asked again."""
        self.serve(STAFF)
        reason, = self.past(self.exchange(name=b"other.example", routed=False))
        self.assertEqual((reason.about, reason.outcome), ("virtual host", "none"))
        of_host, of_route = self.past(self.exchange(routed=False))
        self.assertEqual((of_host.outcome, of_route.outcome), ("default/shop", "none"))

    def test_what_was_no_request(self) -> None:
        """Bytes that were never understood went by no rule."""
        self.serve(ALL)
        exchange = self.exchange(routed=False)
        exchange.request.method = b""
        self.assertEqual(self.past(exchange), [])

    def test_a_listener_that_is_gone(self) -> None:
        """Nothing is said of a table that serves no more."""
        self.serve(ALL)
        self.runtime.listeners.clear()
        self.assertEqual(self.past(self.exchange(routed=False)), [])

    def test_a_configuration_that_serves_no_more(self) -> None:
        """The route's name is all that is left."""
        self.serve(STAFF, ALL)
        exchange = self.exchange()
        self.runtime.hosts["default/shop"].install(())
        self.assertEqual((self.past(exchange)[1].outcome, self.past(exchange)[1].steps), ("r/1", ()))

    def test_a_head_that_filters_have_changed(self) -> None:
        """Where the rules would decide otherwise by now, the route that took it is named, and no rules."""
        self.serve(STAFF, ALL)
        exchange = self.exchange(b"X-Staff: 1")
        exchange.request.fields.clear()
        self.assertEqual((self.past(exchange)[1].outcome, self.past(exchange)[1].steps), ("r/0", ()))

    def test_many_rules(self) -> None:
        """They are not gone through for every error."""
        self.serve(*[STAFF] * MOST_RULES, ALL)
        of_route = self.past(self.exchange())[1]
        self.assertEqual((of_route.outcome, of_route.steps), (f"r/{MOST_RULES}", ()))
