"""Route 53: what is said to it, and what its answers come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.control.publish.making import wanted
from tests.control.publish.scripted import error_of, result, says, scripted
from voltgw.control.publish.api import Reply
from voltgw.control.publish.aws_keys import InstanceKeys, StaticKeys
from voltgw.control.publish.names import FREE, Act, Change, Refused, decide
from voltgw.control.publish.registrar import RegistryError
from voltgw.control.publish.route53 import PACE_S, Route53Registrar
from voltgw.control.publish.sigv4 import Keys

WALL = 1_700_000_000.0
HEAD = '<?xml version="1.0"?><{0} xmlns="https://route53.amazonaws.com/doc/2013-04-01/">{1}</{0}>'


def page(*sets: str, more: str = "") -> Reply:
    """A page of record sets."""
    truncated = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}<MaxItems>300</MaxItems>"
    return says(200, HEAD.format("ListResourceRecordSetsResponse", f"<ResourceRecordSets>{''.join(sets)}</ResourceRecordSets>"
                                 + truncated).encode())


def record(name: str, kind: str, *values: str, more: str = "", ttl: int = 30) -> str:
    """A record set."""
    rows = "".join(f"<ResourceRecord><Value>{value}</Value></ResourceRecord>" for value in values)
    return (f"<ResourceRecordSet><Name>{name}.</Name><Type>{kind}</Type>{more}"
            + (f"<TTL>{ttl}</TTL><ResourceRecords>{rows}</ResourceRecords>" if values else "") + "</ResourceRecordSet>")


def problem(status: int, code: str, words: str = "no", **fields: str) -> Reply:
    """An answer that says what is wrong."""
    return says(status, HEAD.format("ErrorResponse", f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{words}</Message>"
                                    "</Error><RequestId>x</RequestId>").encode(), **fields)


class Route53Tests(SynchronousTestCase):
    """`Route53Registrar`."""

    def setUp(self) -> None:
        self.clock = Clock()

    def registrar(self, script: Callable[[str, str, bytes], Reply | Exception], keys: Any = None) -> Route53Registrar:
        """One whose API does what `script` says."""
        self.api = scripted(script)
        return Route53Registrar(self.api, self.clock, keys or StaticKeys(Keys("AK", "s", "token")), lambda: WALL, "example", "Z1",
                                30, "me")

    def test_what_stands_there(self) -> None:
        """Names with their marks, escaped wildcards, and record sets that only the provider can make."""
        registrar = self.registrar(lambda *_: page(
            record("example", "SOA", "x"), record("shop.example", "A", "192.0.2.2", "192.0.2.1"),
            record("_voltgw.shop.example", "TXT", '"heritage=voltgw owner=me"'),
            record(r"\052.w.example", "A", "192.0.2.3"), record("_voltgw._wildcard.w.example", "TXT", '"heritage=voltgw owner=me"'),
            record("alias.example", "A", more="<AliasTarget><DNSName>lb.</DNSName></AliasTarget>"),
            record("weighted.example", "A", "192.0.2.9", more="<SetIdentifier>one</SetIdentifier><Weight>1</Weight>")))
        found = result(registrar.observe(["shop.example", "*.w.example", "alias.example", "weighted.example"])).held
        self.assertEqual(found["shop.example"].content, registrar.content(wanted("shop.example", "192.0.2.1", "192.0.2.2")))
        self.assertEqual((found["*.w.example"].owner, found["*.w.example"].shown), ("me", ("192.0.2.3",)))
        self.assertEqual([found[name].occupied for name in ("alias.example", "weighted.example")],
                         ["its A is a record set with AliasTarget", "192.0.2.9"])

    def test_pages(self) -> None:
        """The next page begins where the last one says; the requests keep their distance."""
        times = []

        def script(method: str, url: str, body: bytes) -> Reply:
            times.append(self.clock.seconds())
            if "name=" in url:
                return page(record("b.example", "A", "192.0.2.1"))
            return page(record("a.example", "A", "192.0.2.1"), more="<NextRecordName>b.example.</NextRecordName><NextRecordType>A"
                        "</NextRecordType><NextRecordIdentifier>x y</NextRecordIdentifier>")

        found = result(self.registrar(script).observe(["a.example", "b.example"]), self.clock).held
        self.assertEqual({name for name, held in found.items() if held.occupied}, {"a.example", "b.example"})
        self.assertEqual(parse_qs(urlsplit(self.api.asked[1][1]).query), {
            "maxitems": ["300"], "name": ["b.example."], "type": ["A"], "identifier": ["x y"]})
        self.assertGreaterEqual(times[1] - times[0], PACE_S)

    def test_what_is_sent(self) -> None:
        """What was found is deleted as it was found, mark and all; what the provider made is not touched."""
        registrar = self.registrar(lambda *_: page(
            record("shop.example", "A", "192.0.2.2", ttl=77), record("_voltgw.shop.example", "TXT", '"heritage=voltgw owner=me"'),
            *(part for name in ("odd.example", "gone.example") for part in (
                record(name, "A", more="<AliasTarget/>"), record(f"_voltgw.{name}", "TXT", '"heritage=voltgw owner=me"')))))
        held = result(registrar.observe(["shop.example", "odd.example", "gone.example"])).held
        self.api.script = lambda *_: says(200, HEAD.format("ChangeResourceRecordSetsResponse", "").encode())
        odd = wanted("odd.example", "192.0.2.1")
        refused = decide("odd.example", odd, registrar.content(odd), held["odd.example"], "me")
        assert isinstance(refused, Refused)
        self.assertIn("not all of it: its A is a record set with AliasTarget", refused.why)
        outcomes = result(registrar.apply([
            Change(Act.REPLACE, "shop.example", wanted("shop.example", "192.0.2.1"), held["shop.example"]),
            Change(Act.REMOVE, "gone.example", None, held["gone.example"])]), self.clock)
        self.assertEqual(outcomes, [None, None])
        _, url, headers, body = self.api.asked[-1]
        self.assertEqual(url, "https://route53.amazonaws.com/2013-04-01/hostedzone/Z1/rrset/")
        self.assertEqual((headers["x-amz-security-token"], headers["content-type"]), ("token", "application/xml"))
        text = body.decode()
        self.assertEqual(text.count("<Action>DELETE</Action>"), 3)
        self.assertIn("<Action>DELETE</Action><ResourceRecordSet><Name>shop.example.</Name><Type>A</Type><TTL>77</TTL>", text)
        self.assertNotIn("<Name>gone.example.</Name>", text)

    def test_it_wants_fewer_requests(self) -> None:
        """The pause that it asks for is kept, or one of our own."""
        for reply, pause in ((problem(400, "Throttling"), 5.0), (problem(400, "PriorRequestNotComplete"), 5.0),
                             (says(503, b"busy", retry_after="17"), 17.0), (problem(429, "Whatever"), 5.0)):
            error = error_of(self.registrar(lambda *_, reply=reply: reply).observe([]))
            self.assertEqual((error.retry_after_s, error.credentials), (pause, False))

    def test_credentials(self) -> None:
        """What is wrong with them is said."""
        for code, words in (("ExpiredToken", "the credentials have expired"), ("InvalidClientTokenId", "does not know the access key"),
                            ("SignatureDoesNotMatch", "the secret access key is another one"), ("RequestExpired", "our clock"),
                            ("AccessDenied", "the credentials do not allow that")):
            error = error_of(self.registrar(lambda *_, code=code: problem(403, code)).observe([]))
            self.assertTrue(error.credentials)
            self.assertIn(words, str(error))

    def test_odd_answers(self) -> None:
        """What is no XML, has a document type, or never ends is an error, and not believed."""
        endless = page(more="<NextRecordName>a.</NextRecordName>")
        for reply, words in ((says(200, b"<a>"), "is no XML"), (says(200, b"<!DOCTYPE a><a/>"), "document type"),
                             (endless, "has more than"), (says(500, b"oh"), "it answers 500")):
            self.assertIn(words, str(error_of(self.registrar(lambda *_, reply=reply: reply).observe([]), self.clock)))


class KeyTests(SynchronousTestCase):
    """`InstanceKeys`."""

    def setUp(self) -> None:
        self.wall = WALL
        self.asked: list[str] = []
        self.status = 200
        self.role = b"gateway\n"
        self.expires = "2023-11-15T00:00:00Z"        # 6,400 s after WALL

    def script(self, method: str, url: str, body: bytes) -> Reply | Exception:
        """The metadata service."""
        path = urlsplit(url).path
        self.asked.append(f"{method} {path}")
        if method == "PUT":
            return says(self.status, b"the-token")
        if path.endswith("/gateway"):
            return says(200, {"AccessKeyId": f"AK{len(self.asked)}", "SecretAccessKey": "s", "Token": "t", "Expiration": self.expires})
        return says(200, self.role)

    def keys(self) -> InstanceKeys:
        """Those of it."""
        self.api = scripted(self.script)
        return InstanceKeys(self.api, lambda: self.wall)

    def test_until_they_expire(self) -> None:
        """They are fetched once, with a token, and again shortly before they expire, or when they are not taken."""
        keys = self.keys()
        first = result(keys.get())
        self.assertEqual((first.identity, first.secret, first.token), ("AK3", "s", "t"))
        self.assertEqual(self.asked, ["PUT /latest/api/token", "GET /latest/meta-data/iam/security-credentials/",
                                      "GET /latest/meta-data/iam/security-credentials/gateway"])
        self.assertEqual(self.api.asked[-1][2], {"x-aws-ec2-metadata-token": "the-token"})
        self.wall += 6000.0
        self.assertIs(result(keys.get()), first)
        self.wall += 200.0
        second = result(keys.get())
        self.assertEqual(second.identity, "AK6")
        keys.forget()
        self.assertEqual(result(keys.get()).identity, "AK9")

    def test_none(self) -> None:
        """No service, no role, and nonsense are said as what they are."""
        self.status = 403
        self.assertIn("the instance's metadata service answers 403", str(error_of(self.keys().get())))
        self.status, self.role = 200, b""
        self.assertIn("this instance has no role", str(error_of(self.keys().get())))
        self.role, self.expires = b"gateway", "tomorrow"
        self.assertIn("no credentials that can be read", str(error_of(self.keys().get())))
        keys = InstanceKeys(scripted(lambda *_: RegistryError("it does not answer")), lambda: WALL)
        self.assertIn("metadata service: it does not answer", str(error_of(keys.get())))

    def test_a_change_that_was_not_asked_for(self) -> None:
        """The registrar asks for other credentials when those it has are not taken."""
        keys = self.keys()
        clock = Clock()
        registrar = Route53Registrar(scripted(lambda *_: problem(403, "ExpiredToken")), clock, keys, lambda: WALL, "example",
                                     "Z1", 30, "me")
        error_of(registrar.apply([Change(Act.CREATE, "a.example", wanted("a.example"), FREE)]), clock)
        error_of(registrar.apply([Change(Act.CREATE, "a.example", wanted("a.example"), FREE)]), clock)
        self.assertEqual(len(self.asked), 6)
