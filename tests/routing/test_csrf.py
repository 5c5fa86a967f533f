"""CSRF: requests that change state must come from pages of ours (objects.md 3.9)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import build, exchange
from tests.routing.test_table import rule, to
from voltgw.config.objects.policies import CsrfPolicy, DomainNameList
from voltgw.config.objects.virtual_host import VirtualHostSpec
from voltgw.routing.filters.csrf import csrf
from voltgw.values.head import Field
from voltgw.values.reply import Reply

OURS = CsrfPolicy(all_load_balancer_domains=True)
LISTED = CsrfPolicy(custom_domain_list=DomainNameList(domains=("pay.example", "*.partner.example", "dev.example:3000")))
DOMAINS = ("shop.example", "*.shop.example", "*-eu.example", "*")


def status(policy: CsrfPolicy, *fields: Field, method: bytes = b"POST", host: bytes = b"shop.example",
           port: int | None = None) -> int | None:
    """What the request is answered; None = it goes on."""
    refuse = csrf(policy, None, DOMAINS)
    assert refuse is not None
    reply = refuse(exchange(fields, method=method, host=host, port=port))
    if reply is None:
        return None
    assert isinstance(reply, Reply)
    return reply.status


def origin(text: bytes) -> Field:
    return (b"origin", text)


class MethodTests(SynchronousTestCase):
    """Which requests it looks at."""

    def test_methods_that_change_state(self) -> None:
        """POST, PUT, PATCH and DELETE from elsewhere are refused; what changes nothing is not looked at."""
        for method in (b"POST", b"PUT", b"PATCH", b"DELETE"):
            self.assertEqual(status(LISTED, origin(b"https://evil.example"), method=method), 403)
        for method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE"):
            self.assertIsNone(status(LISTED, origin(b"https://evil.example"), method=method))

    def test_how_it_is_refused(self) -> None:
        """With a flag of its own, in the form that the client asked for."""
        refuse = csrf(LISTED, None)
        assert refuse is not None
        reply = refuse(exchange(method=b"POST"))
        assert isinstance(reply, Reply)
        self.assertEqual((reply.status, reply.flag, reply.detail, reply.negotiate), (403, "CSRF", "csrf_origin_mismatch", True))


class SourceTests(SynchronousTestCase):
    """Where a request comes from."""

    def test_the_target_itself(self) -> None:
        """Host and port of the source are those of the request; TLS may end in front of the gateway."""
        for source, host, port, wanted in (
            (b"https://shop.example", b"shop.example", None, None), (b"http://shop.example", b"shop.example", None, None),
            (b"https://SHOP.example", b"shop.example", None, None), (b"https://shop.example:443", b"shop.example", None, None),
            (b"https://shop.example", b"shop.example", 443, None), (b"http://shop.example", b"shop.example", 80, None),
            (b"http://shop.example:8080", b"shop.example", 8080, None), (b"http://[2001:db8::1]:81", b"[2001:db8::1]", 81, None),
            (b"http://shop.example:8080", b"shop.example", None, 403), (b"http://shop.example", b"shop.example", 8080, 403),
            (b"http://shop.example:8081", b"shop.example", 8080, 403), (b"https://shop.example.evil", b"shop.example", None, 403),
            (b"https://evil.example", b"shop.example", None, 403), (b"http://shop.example:443", b"shop.example", None, 403),
        ):
            self.assertEqual(status(LISTED, origin(source), host=host, port=port), wanted, (source, host, port))

    def test_referer_where_there_is_no_origin(self) -> None:
        """Its host counts; Origin, where it is there, counts alone."""
        self.assertIsNone(status(LISTED, (b"referer", b"https://shop.example/a?b=//evil.example")))
        self.assertEqual(status(LISTED, (b"referer", b"https://evil.example/shop.example")), 403)
        self.assertEqual(status(LISTED, (b"referer", b"https://shop.example/"), origin(b"https://evil.example")), 403)

    def test_nothing_that_could_be_trusted(self) -> None:
        """Neither field, ``null``, and what only looks like ours."""
        self.assertEqual(status(LISTED), 403)
        for text in (b"null", b"", b"shop.example", b"//shop.example", b"https://", b"ftp://shop.example", b"https://shop.example@evil.example",
                     b"https://shop.example\\@evil.example", b"https://evil.example/https://shop.example", b"https://shop.example:x",
                     b"https://shop.example:443:443", b" https://shop.example", b"https://[shop.example", b"https://shop.example:999999"):
            self.assertEqual(status(LISTED, origin(text)), 403, text)


class DomainTests(SynchronousTestCase):
    """Who else may."""

    def test_a_list(self) -> None:
        """Names, wildcards and ports as in `domains`; without a port any port."""
        for text, wanted in ((b"https://pay.example", None), (b"https://pay.example:8443", None), (b"https://a.b.partner.example", None),
                             (b"http://dev.example:3000", None), (b"https://partner.example", 403), (b"http://dev.example:3001", 403),
                             (b"http://dev.example", 403), (b"https://xpay.example", 403), (b"https://pay.example.evil", 403),
                             (b"https://evilpartner.example", 403)):
            self.assertEqual(status(LISTED, origin(text)), wanted, text)

    def test_a_port_that_is_the_scheme_s_own(self) -> None:
        """A domain with port 443 is the origin that does not name it."""
        policy = CsrfPolicy(custom_domain_list=DomainNameList(domains=("pay.example:443",)))
        self.assertIsNone(status(policy, origin(b"https://pay.example")))
        self.assertEqual(status(policy, origin(b"http://pay.example")), 403)

    def test_all_domains_of_the_host(self) -> None:
        """Its names and wildcards; the lone ``*`` is no domain that a page could be of."""
        for text, wanted in ((b"https://shop.example", None), (b"https://www.shop.example", None), (b"https://x-eu.example", None),
                             (b"https://evil.example", 403), (b"https://-eu.example", 403)):
            self.assertEqual(status(OURS, origin(text), host=b"other.example"), wanted, text)


class LevelTests(SynchronousTestCase):
    """Routes and hosts."""

    def test_the_route_wins(self) -> None:
        """A route's policy stands in the place of its host's, and may switch it off."""
        off = CsrfPolicy(disabled=True)
        for own, host, wanted in ((None, LISTED, 1), (off, LISTED, 0), (OURS, off, 1), (None, off, 0), (None, None, 0)):
            spec = VirtualHostSpec(domains=DOMAINS, csrf_policy=host)
            route = build(rule(to_=to("c", csrf_policy=own)), spec=spec).routes[0]
            self.assertEqual((len(route.request_filters), route.response_filters), (wanted, ()))

    def test_an_empty_policy(self) -> None:
        """Only pages of the target itself may."""
        self.assertEqual(status(CsrfPolicy(), origin(b"https://www.shop.example")), 403)
        self.assertIsNone(status(CsrfPolicy(), origin(b"https://shop.example")))
