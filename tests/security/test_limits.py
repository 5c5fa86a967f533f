"""Rate limits of virtual hosts and of routes: who is counted together, who is not counted, what clients are told."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config
from tests.security.making import REST, asks, host, host_of, service_policy, serving
from voltgw.app.build import Runtime
from voltgw.config.objects.user_identification import UserIdentificationRule
from voltgw.errors import ConfigErrors
from voltgw.security.limiting import Limits
from voltgw.security.users import network_of, shown, user_of
from voltgw.values.exchange import Exchange
from voltgw.values.reply import Reply
from voltgw.values.tls import Handshake

LIMITED: dict[str, Any] = {"rate_limiter": ["two"]}


def limiter(name: str = "two", total: int = 2, unit: str = "MINUTE", **more: Any) -> str:
    """A rate_limiter; what is in `more` and no part of a limit is one of its spec."""
    outside: dict[str, Any] = {key: more.pop(key) for key in ("voltgw", "user_identification") if key in more}
    return service_policy(name, {"limits": [{"unit": unit, "total_number": total, **more}], **outside}, "rate_limiter")


def users(*rules: dict[str, Any]) -> str:
    """The user_identification ``who``."""
    return service_policy("who", {"rules": list(rules)}, "user_identification")


def route(*rules: dict[str, Any], **spec: Any) -> str:
    """The route object ``own``."""
    return service_policy("own", {"routes": [
        {"route_direct_response": {"response_code": 200}, **rule} for rule in rules], **spec}, "route")


def answer(made: Runtime, exchange: Exchange, now: float = 1000.0) -> Reply | None:
    """What the filters of the route say of a request at a time, 200s apart."""
    exchange.t_start = now
    chosen = host_of(made).choose(exchange.request, 8080)
    assert chosen is not None
    for each in chosen.request_filters:
        reply: Any = each(exchange)
        if reply is not None:
            assert isinstance(reply, Reply)
            return reply
    return None


def statuses(made: Runtime, *exchanges: Exchange, now: float = 1000.0) -> list[int]:
    """0 where a request may pass."""
    return [0 if (reply := answer(made, each, now)) is None else reply.status for each in exchanges]


class RefusalTests(SynchronousTestCase):
    def test_one_too_many(self) -> None:
        """429, when to come again, and what the limit is; half a minute later one more may come."""
        made = serving(host(**LIMITED), limiter())
        self.assertEqual(statuses(made, asks(), asks()), [0, 0])
        reply = answer(made, asks())
        assert reply is not None
        self.assertEqual((reply.status, reply.flag, reply.detail), (429, "RL", "rate_limit: default/two"))
        self.assertEqual(dict(reply.fields), {
            b"retry-after": b"30", b"ratelimit-policy": b'"two";q=2;w=60', b"ratelimit": b'"two";r=0;t=30'})
        self.assertEqual(statuses(made, asks(), asks(), now=1030.0), [0, 429])

    def test_fields_of_every_answer(self) -> None:
        """ALWAYS: what may pass is told, too, in the older form if that is wanted; NEVER: only Retry-After."""
        made = serving(host(**LIMITED, routes=["own"]), limiter(voltgw={"fields": "ALWAYS", "x_fields": True}), route({}))
        exchange = asks()
        self.assertIsNone(answer(made, exchange))
        self.assertEqual(dict(exchange.quota), {
            b"ratelimit-policy": b'"two";q=2;w=60', b"ratelimit": b'"two";r=1;t=0', b"x-ratelimit-limit": b"2",
            b"x-ratelimit-remaining": b"1", b"x-ratelimit-reset": b"0"})
        self.assertEqual(len(host_of(made).routes[0].response_filters), 1)
        made = serving(host(**LIMITED), limiter(voltgw={"fields": "NEVER"}))
        replies = [answer(made, asks()) for _ in range(3)]
        assert replies[2] is not None
        self.assertEqual([name for name, _ in replies[2].fields], [b"retry-after"])

    def test_report_only(self) -> None:
        """Nothing is refused; it is counted, logged, and told by explain."""
        made = serving(host(**LIMITED), limiter(voltgw={"report_only": True}))
        exchanges = [asks(), asks(), asks()]
        self.assertEqual(statuses(made, *exchanges), [0, 0, 0])
        self.assertEqual(exchanges[2].limit, "default/two (report only: refused) 192.0.2.1")
        self.assertEqual(exchanges[1].limit, "")
        (gate,) = host_of(made).gates
        self.assertEqual(list(gate.verdicts()), [("default/two", "allowed", 2), ("default/two", "reported", 1)])
        reply, reason = gate.rehearse(exchanges[2])
        self.assertIsNone(reply)
        self.assertEqual(reason.steps[0].outcome, "would refuse")

    def test_asking_counts_nothing(self) -> None:
        """Explain says what a request would get, with the place; it takes nothing from anybody."""
        made = serving(host(**LIMITED), limiter())
        (gate,) = host_of(made).gates
        for _ in range(5):
            reply, reason = gate.rehearse(asks())
            self.assertIsNone(reply)
        self.assertEqual(reason.steps[0].outcome, "allows")
        self.assertIsNotNone(reason.steps[0].place)
        self.assertEqual(statuses(made, asks(), asks(), asks()), [0, 0, 429])
        exchange = asks()
        exchange.t_start = 1000.0
        reply, reason = gate.rehearse(exchange)
        assert reply is not None
        self.assertEqual((reply.status, reason.outcome, reason.steps[0].outcome), (429, "refused", "refuses"))

    def test_refused_for_a_while(self) -> None:
        """action_block: a user who sends too much waits, and sees the page of temporary_user_blocking."""
        made = serving(
            host(**LIMITED, temporary_user_blocking={"custom_page": "string:///PGI+c3RvcDwvYj4="}),
            limiter(action_block={"minutes": {"duration": 5}}))
        self.assertEqual(statuses(made, asks(), asks(), asks()), [0, 0, 429])
        reply = answer(made, asks(), now=1200.0)
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (429, b"<b>stop</b>"))
        self.assertIn((b"retry-after", b"100"), reply.fields)
        self.assertEqual(statuses(made, asks(), asks(address="192.0.2.2"), now=1301.0), [0, 0])

    def test_bursts_and_longer_periods(self) -> None:
        """Four at once of two in two minutes."""
        made = serving(host(**LIMITED), limiter(burst_multiplier=2, period_multiplier=2))
        self.assertEqual(statuses(made, *(asks() for _ in range(5))), [0, 0, 0, 0, 429])
        self.assertEqual(statuses(made, asks(), now=1059.0), [429])
        self.assertEqual(statuses(made, asks(), now=1061.0), [0])

    def test_the_token_bucket(self) -> None:
        """It is filled at the end of each period only."""
        made = serving(host(**LIMITED), limiter(token_bucket={}))
        self.assertEqual(statuses(made, asks(), asks(), asks(), now=960.0), [0, 0, 429])
        self.assertEqual(statuses(made, asks(), now=1019.0), [429])
        self.assertEqual(statuses(made, asks(), asks(), asks(), now=1020.0), [0, 0, 429])


class WhoTests(SynchronousTestCase):
    def together(self, rule: dict[str, Any] | list[dict[str, Any]], one: Exchange, other: Exchange) -> bool:
        """Whether two requests are taken for those of one user."""
        rules = rule if isinstance(rule, list) else [rule]
        made = serving(host(**LIMITED, user_identification=["who"]), limiter(total=1), users(*rules))
        self.assertEqual(statuses(made, one), [0])
        return statuses(made, other) == [429]

    def test_by_address(self) -> None:
        """IPv6 clients by their /64; IPv4 mapped into IPv6 is IPv4."""
        rule: dict[str, Any] = {"client_ip": {}}
        for one, other, same in (
            ("192.0.2.1", "192.0.2.1", True), ("192.0.2.1", "192.0.2.2", False), ("192.0.2.1", "::ffff:192.0.2.1", True),
            ("2001:db8::1", "2001:db8::ffff:1", True), ("2001:db8:0:1::1", "2001:db8::1", False), ("fe80::1%eth0", "fe80::2%eth1", True),
        ):
            self.assertIs(self.together(rule, asks(address=one), asks(address=other)), same, (one, other))

    def test_by_what_a_request_says(self) -> None:
        """Header, cookie, query parameter; without it, the address counts."""
        for rule, one, other in (
            ({"http_header_name": "x-key"}, ("/", "GET", "x-key: a"), ("/", "GET", "x-key: b")),
            ({"cookie_name": "u"}, ("/", "GET", "cookie: z=1; u=a"), ("/", "GET", "cookie: u=b")),
            ({"query_param_key": "k"}, ("/?k=a",), ("/?k=b",)),
        ):
            self.assertTrue(self.together(rule, asks(*one), asks(*one, address="192.0.2.9")), rule)
            self.assertFalse(self.together(rule, asks(*one), asks(*other)), rule)
            self.assertTrue(self.together(rule, asks(), asks()), rule)
            self.assertFalse(self.together(rule, asks(), asks(address="192.0.2.9")), rule)
            self.assertFalse(self.together(rule, asks(), asks(*one)), rule)

    def test_both_together(self) -> None:
        """An address and a header: the same key from another address is another user."""
        rule = {"ip_and_http_header_name": "x-key"}
        self.assertTrue(self.together(rule, asks("/", "GET", "x-key: a"), asks("/", "GET", "x-key: a")))
        self.assertFalse(self.together(rule, asks("/", "GET", "x-key: a"), asks("/", "GET", "x-key: a", address="192.0.2.9")))

    def test_by_fingerprint(self) -> None:
        """JA3 and JA4; without TLS the address counts."""
        def of(ja3: str, address: str = "192.0.2.1") -> Exchange:
            exchange = asks(address=address)
            exchange.client.handshake = Handshake("TLSv1.3", "x", ja3=ja3, ja4=ja3)
            return exchange

        rule: dict[str, Any]
        for rule in ({"tls_fingerprint": {}}, {"ja4_tls_fingerprint": {}}):
            self.assertTrue(self.together(rule, of("a"), of("a", "192.0.2.9")))
            self.assertFalse(self.together(rule, of("a"), of("b")))
            self.assertTrue(self.together(rule, asks(), asks()))
        for rule in ({"ip_and_tls_fingerprint": {}}, {"ip_and_ja4_tls_fingerprint": {}}):
            self.assertFalse(self.together(rule, of("a"), of("a", "192.0.2.9")))

    def test_made_up_forwarding_headers(self) -> None:
        """Who writes another address into each request is still one user."""
        one, other = (asks("/", "GET", f"X-Forwarded-For: {address}", f"X-Real-IP: {address}", f"Forwarded: for={address}")
                      for address in ("10.0.0.1", "10.0.0.2"))
        self.assertTrue(self.together({"client_ip": {}}, one, other))
        self.assertTrue(self.together({"http_header_name": "x-forwarded-for"}, one, other))

    def test_everybody_together(self) -> None:
        """``none``: one bucket for all."""
        self.assertTrue(self.together({"none": {}}, asks(), asks("/x", address="192.0.2.9")))

    def test_the_first_that_yields_a_value(self) -> None:
        """Values of different rules never meet."""
        rules = [{"http_header_name": "x-key"}, {"cookie_name": "u"}]
        self.assertFalse(self.together(rules, asks("/", "GET", "x-key: a"), asks("/", "GET", "cookie: u=a")))
        self.assertTrue(self.together(rules, asks("/", "GET", "x-key: a", "cookie: u=b"), asks("/", "GET", "x-key: a")))
        self.assertFalse(self.together(
            [{"http_header_name": "x-key"}], asks(address="192.0.2.1"), asks("/", "GET", "x-key: 192.0.2.1")))

    def test_what_the_limiter_says_wins(self) -> None:
        """Over what the virtual host says."""
        made = serving(
            host(**LIMITED, user_identification=["other"]), limiter(total=1, user_identification=["who"]),
            users({"http_header_name": "x-key"}),
            service_policy("other", {"rules": [{"none": {}}]}, "user_identification"))
        self.assertEqual(statuses(made, asks("/", "GET", "x-key: a"), asks("/", "GET", "x-key: b")), [0, 0])

    def test_long_values(self) -> None:
        """A value of 8 KiB takes no more memory than an address, and is still told from another one."""
        read = user_of((UserIdentificationRule(http_header_name="x-key"),))
        one, other = (read(asks("/", "GET", f"x-key: {letter * 8000}")) for letter in "ab")
        self.assertNotEqual(one, other)
        self.assertLess(len(repr(one)), 120)

    def test_networks(self) -> None:
        """What is no address stays as it is."""
        self.assertEqual(network_of("unix:x"), "unix:x")
        self.assertEqual(shown(network_of("2001:db8:1:2:3::4")), "2001:db8:1:2::/64")
        self.assertEqual(shown(("all",)), "everybody")
        self.assertRegex(shown((0, b"secret")), "^#[0-9a-f]{8}$")


class ScopeTests(SynchronousTestCase):
    def test_prefixes_that_are_not_counted(self) -> None:
        """rate_limiter_allowed_prefixes; others that send the same key are not helped by it."""
        made = serving(
            host(**LIMITED, rate_limiter_allowed_prefixes=["office"]), limiter(),
            service_policy("office", {"prefix": ["10.0.0.0/8", "2001:db8::/32"]}, "ip_prefix_set"))
        self.assertEqual(statuses(made, *(asks(address=address) for address in ("10.1.2.3", "::ffff:10.9.9.9", "2001:db8::1") * 4)), [0] * 12)
        self.assertEqual(statuses(made, asks(), asks(), asks()), [0, 0, 429])
        (gate,) = host_of(made).gates
        self.assertIn(("default/two", "exempt", 12), list(gate.verdicts()))

    def test_limits_of_routes(self) -> None:
        """A rule's limit holds beside the host's, and takes the place of its route object's; `no_rate_limit` lifts all."""
        made = serving(
            host(rate_limiter=["ten"], routes=["own"]), limiter("ten", 10), limiter("one", 1), limiter("two", 2),
            route({"match": [{"path": {"path": "/login"}}], "voltgw": {"rate_limiter": ["one"]}},
                  {"match": [{"path": {"path": "/free"}}], "voltgw": {"no_rate_limit": True}},
                  {}, voltgw={"rate_limiter": ["two"]}))
        self.assertEqual(statuses(made, asks("/login"), asks("/login")), [0, 429])
        self.assertEqual(statuses(made, asks("/x"), asks("/y"), asks("/x")), [0, 0, 429])
        self.assertEqual(statuses(made, *(asks("/free") for _ in range(20))), [0] * 20)
        names = [[limiter.name for gate in each.gates if isinstance(gate, Limits) for limiter in gate.limiters]
                 for each in host_of(made).routes]
        self.assertEqual(names, [["default/ten", "default/one"], [], ["default/ten", "default/two"]])

    def test_a_refused_request_takes_nothing_from_other_limits(self) -> None:
        """Two limits: what one refuses, the other does not count."""
        made = serving(host(rate_limiter=["ten"], routes=["own"]), limiter("ten", 10), limiter("one", 1),
                       route({"voltgw": {"rate_limiter": ["one"]}}))
        self.assertEqual(statuses(made, *(asks() for _ in range(30))), [0] + [429] * 29)
        (gate,) = host_of(made).routes[0].gates
        self.assertEqual({(name, verdict): count for name, verdict, count in host_of(made).gates[0].verdicts()},
                         {("default/ten", "allowed"): 1, ("default/one", "allowed"): 1, ("default/one", "refused"): 29})

    def test_a_reload(self) -> None:
        """What users owe stays theirs; a limit that says something else begins anew."""
        before = serving(host(**LIMITED), limiter())
        self.assertEqual(statuses(before, asks(), asks()), [0, 0])
        same = serving(host(**LIMITED, add_location=False, max_requests_per_connection=7), limiter(), previous=before)
        self.assertIsNot(host_of(same), host_of(before))
        self.assertEqual(statuses(same, asks()), [429])
        other = serving(host(**LIMITED), limiter(total=3), previous=same)
        self.assertEqual(statuses(other, asks(), asks(), asks(), asks()), [0, 0, 0, 429])

    def test_what_is_not_there(self) -> None:
        """A limiter, a set or an identification that is out of service is an error: whom it refuses would be admitted."""
        for parts in (
            (host(**LIMITED),),
            (host(**LIMITED), limiter(user_identification=["who"])),
            (host(**LIMITED, rate_limiter_allowed_prefixes=["office"]), limiter()),
        ):
            with self.assertRaises(ConfigErrors) as raised:
                serving(*parts)
            self.assertTrue(any(problem.code in ("VG0107", "VG0301") for problem in raised.exception.problems))

    def test_disabled(self) -> None:
        """A limiter whose metadata say `disable` is not known to hold: an error, and nobody is admitted by it."""
        off = json.dumps({"kind": "rate_limiter", "metadata": {"name": "two", "disable": True},
                          "spec": {"limits": [{"unit": "SECOND", "total_number": 1}]}})
        with self.assertRaises(ConfigErrors):
            serving(host(**LIMITED), f"- {off}\n")

    def test_it_can_be_checked(self) -> None:
        """None of the fields is warned of any more."""
        parts = (host(**LIMITED, user_identification=["who"]), limiter(), users({"client_ip": {}}))
        self.assertEqual([str(each) for each in config("objects:\n" + "".join((*parts, *REST))).warnings], [])
