"""Tricks against policies, limits and credentials of a running gateway, over both versions of HTTP: what reaches the origin."""

from __future__ import annotations

import hmac
import json
import re
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamEnded, StreamReset

from tests.app.running import OK
from tests.app.test_authenticated import AuthenticatedCase, cluster, hearing
from tests.security.credentials import ADA, basic, credential
from tests.support import Peer

#: Both versions on one port, without TLS.
BOTH: dict[str, Any] = {"http_protocol_options": {"http_protocol_enable_v1_v2": {}}}
POLICY: dict[str, Any] = {"kind": "service_policy", "metadata": {"name": "edge"}, "spec": {"rule_list": {"rules": [
    {"metadata": {"name": "no-admin"}, "spec": {"action": "DENY", "path": {
        "prefix_values": ["/admin"], "transformers": ["NORMALIZE_PATH", "LOWER_CASE"]}}},
    {"metadata": {"name": "no-bank"}, "spec": {"action": "DENY", "domain_matcher": {"exact_values": ["bank.example"]}}},
    {"metadata": {"name": "no-writes"}, "spec": {"action": "DENY", "http_method": {"methods": ["DELETE", "TRACE", "CONNECT"]}}},
    {"metadata": {"name": "no-robots"}, "spec": {"action": "DENY", "headers": [{"name": "x-robot", "check_present": {}}]}},
    {"metadata": {"name": "rest"}, "spec": {"action": "ALLOW"}}]}}}
JUDGED: dict[str, Any] = {"active_service_policies": {"policies": ["edge"]}, **BOTH}
_PATHS = (
    "/admin", "/admin/", "//admin", "/%61dmin", "/x/../admin", "/x/%2e%2e/admin", "/x/..%2Fadmin", "/ADMIN", "/admin;x=1", "/./admin",
    "/admin?x", "/%2Fadmin", "/x/..;/admin", "/x%5C..%5Cadmin", "///x/..//Admin", "/admin%2F..%2Fx", "/..%2fadmin")
KEY = "0123456789abcdef-a-key"
_HOSTS = ("bank.example", "BANK.example", "bank.example.", "bank.example..", "Bank.example...:80", "bank.example:80", "BaNk.ExAmPlE.:8080")


class Client2:
    """A client of HTTP/2 without manners: fields go out as they are written."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.h2 = H2Connection(H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False))
        self.h2.initiate_connection()
        self.status: dict[int, int] = {}        # of the answer; 0 = the stream was reset
        self.over: set[int] = set()

    def ask(self, *fields: tuple[str, str]) -> int:
        """Send a request; its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields], end_stream=True)
        self.peer.send(self.h2.data_to_send())
        return stream

    def read(self) -> None:
        """Take what has come."""
        data, self.peer.received = self.peer.received, b""
        for event in self.h2.receive_data(data) if data else ():
            stream: Any = getattr(event, "stream_id", None)
            if isinstance(event, ResponseReceived):
                self.status[stream] = int(dict(event.headers)[b":status"])
            elif isinstance(event, StreamReset):
                self.status[stream] = 0
                self.over.add(stream)
            elif isinstance(event, StreamEnded):
                self.over.add(stream)
        self.peer.send(self.h2.data_to_send())


class AttackCase(AuthenticatedCase):
    """`heard` has the heads that reached the origin."""

    async def begin(self, *more: dict[str, Any], **spec: Any) -> None:
        """Serve."""
        self.heard: list[bytes] = []
        self.serve(self.origin(hearing(OK, self.heard)), spec.pop("authentication", None), *more, **spec)
        await self.warm()

    async def say(self, *lines: str) -> int:
        """The status of the answer to a request that is written just like this; 0 = the connection was closed without one."""
        peer = await self.client(self.port)
        peer.send("\r\n".join((*lines, "", "")).encode("latin-1"))
        await self.until(lambda: b"\r\n\r\n" in peer.received or peer.lost is not None)
        found = re.match(rb"HTTP/1.1 (\d+) ", peer.received)
        return int(found[1]) if found else 0

    async def say2(self, *fields: tuple[str, str]) -> int:
        """Likewise in HTTP/2; 0 also for a stream or a connection that was reset."""
        client = Client2(await self.client(self.port))
        stream = client.ask(*fields)

        def over() -> bool:
            if client.peer.lost is None:
                client.read()
            return stream in client.over or client.peer.lost is not None

        await self.until(over)
        return client.status.get(stream, 0)

    def head2(self, path: str, authority: str = "shop.example", method: str = "GET") -> tuple[tuple[str, str], ...]:
        """The pseudo-fields of a request."""
        return (":method", method), (":scheme", "http"), (":authority", authority), (":path", path)


class PolicyTests(AttackCase):
    async def test_paths(self) -> None:
        """Every way to write /admin ends in 403, in both versions and as a URL; the origin hears of none."""
        await self.begin(POLICY, **JUDGED)
        for path in _PATHS:
            self.assertEqual(await self.say(f"GET {path} HTTP/1.1", "Host: shop.example"), 403, path)
            self.assertEqual(await self.say2(*self.head2(path)), 403, path)
            self.assertEqual(await self.say(f"GET http://shop.example{path} HTTP/1.1", "Host: other.example"), 403, path)
        self.assertEqual(self.heard, [])
        self.assertEqual(await self.say("GET /administrator HTTP/1.1", "Host: shop.example"), 403)       # it is a prefix
        self.assertEqual((await self.say("GET /x HTTP/1.1", "Host: shop.example"), await self.say2(*self.head2("/x"))), (200, 200))
        self.assertEqual(len(self.heard), 2)

    async def test_hosts(self) -> None:
        """Whatever the case, the dot behind it, the port, and wherever it stands: what is judged is what the origin is told."""
        await self.begin(POLICY, **JUDGED)
        for host in _HOSTS:
            self.assertEqual(await self.say("GET / HTTP/1.1", f"Host: {host}"), 403, host)
            self.assertEqual(await self.say(f"GET http://{host}/ HTTP/1.1", "Host: shop.example"), 403, host)
            self.assertEqual(await self.say2(*self.head2("/", host)), 403, host)
            self.assertIn(await self.say2(*self.head2("/"), ("host", host)), (0, 400), host)     # not the one of :authority
            self.assertIn(await self.say2((":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", host)), (0, 400, 403), host)
        for lines in (("Host: shop.example", "Host: bank.example"), ("Host: shop.example, bank.example",), ("Host: shop.example bank.example",),
                      ("Host: bank.example@shop.example",), ("Host : bank.example", "Host: shop.example"), ("Host: shop.example/bank.example",)):
            self.assertEqual(await self.say("GET / HTTP/1.1", *lines), 400, lines)
        self.assertEqual(self.heard, [])

    async def test_targets_that_are_no_paths(self) -> None:
        """``OPTIONS *``, CONNECT, targets without a slash, :path of other kinds: refused, or judged, but never an open door."""
        await self.begin(POLICY, **JUDGED)
        for line in ("CONNECT shop.example:80 HTTP/1.1", "CONNECT /admin HTTP/1.1", "GET admin HTTP/1.1", "GET * HTTP/1.1", "GET ?/admin HTTP/1.1",
                     "GET  /x HTTP/1.1", "GET /x  HTTP/1.1", "GET /x y HTTP/1.1", "GET /x%00 HTTP/1.1", "GET /x%zz HTTP/1.1", "GET /x#/admin HTTP/1.1",
                     "GET http:///admin HTTP/1.1", "GET http:/admin HTTP/1.1", "GET ftp://shop.example/x HTTP/1.1", "OPTIONS /admin HTTP/1.1"):
            self.assertIn(await self.say(line, "Host: shop.example"), (400, 403, 405, 501), line)
        for path in ("", "*", "admin", "http://shop.example/admin", "/x y", "/x#/admin", "/x%00", "?/admin", "\t/admin", "/admin\0"):
            self.assertIn(await self.say2(*self.head2(path)), (0, 400, 403), path)
        for fields in (
            ((":method", "CONNECT"), (":authority", "shop.example:80")),
            (*self.head2("/x"), (":path", "/admin")), (*self.head2("/x"), (":authority", "bank.example")),
            ((":method", "CONNECT"), (":protocol", "websocket"), *self.head2("/admin")[1:]),
            (*self.head2("/x"), ("Host", "bank.example")), (*self.head2("/x"), ("x-a", "b\r\nhost: bank.example"))):
            self.assertIn(await self.say2(*fields), (0, 400, 403, 405), fields)
        self.assertEqual(self.heard, [])
        self.assertIn(await self.say("OPTIONS * HTTP/1.1", "Host: bank.example"), (400, 403))
        self.assertEqual(self.heard, [])

    async def test_answers_to_head(self) -> None:
        """Whatever is wrong with such a request, its answer has no body, or a client of HTTP/2 would give the stream up."""
        await self.begin(POLICY, **JUDGED)
        for fields, status in (((("expect", "much"),), 417), ((("host", "bank.example"),), 0), ((), 403)):
            path = "/admin" if not fields else "/x"
            self.assertEqual(await self.say2(*self.head2(path, method="HEAD"), *fields), status, fields)
        for path in ("/x%zz", "/x%00"):
            self.assertEqual(await self.say2(*self.head2(path, method="HEAD")), 400, path)

    async def test_methods_and_fields(self) -> None:
        """Case changes nothing, and neither do names written otherwise; an upgrade and a call of gRPC are judged like others."""
        await self.begin(POLICY, **JUDGED)
        for method in ("DELETE", "delete", "Delete"):
            self.assertEqual(await self.say(f"{method} / HTTP/1.1", "Host: shop.example"), 403, method)
            self.assertEqual(await self.say2(*self.head2("/", method=method)), 403, method)
        for name in ("X-Robot", "x-robot", "X-ROBOT"):
            self.assertEqual(await self.say("GET / HTTP/1.1", "Host: shop.example", f"{name}: 1"), 403, name)
        self.assertEqual(await self.say2(*self.head2("/"), ("x-robot", "")), 403)
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
        self.assertEqual(await self.say("GET /admin/socket HTTP/1.1", "Host: shop.example", *upgrade), 403)
        grpc = (*self.head2("/admin.Service/Call", method="POST"), ("content-type", "application/grpc"), ("te", "trailers"))
        self.assertEqual(await self.say2(*grpc), 200)       # in gRPC's way: grpc-status 7 in the head
        self.assertEqual(self.heard, [])
        self.assertEqual(await self.say("GET /x HTTP/1.1", "Host: shop.example", "X_Robot: 1"), 200)
        self.assertEqual(await self.say("GET /x HTTP/1.1", "Host: shop.example", "Connection: X-Robot", "X-Robot: 1"), 200)
        self.assertNotIn(b"robot", b"".join(self.heard).lower())       # neither goes on


class CredentialTests(AttackCase):
    async def test_answers_of_our_own_are_asked_for_too(self) -> None:
        """Redirects and direct responses are behind the same gates; a preflight is answered and never passed on."""
        route = {"kind": "route", "metadata": {"name": "own"}, "spec": {"routes": [
            {"match": [{"path": {"prefix": "/old"}}], "route_redirect": {"host_redirect": "new.example"}},
            {"match": [{"path": {"prefix": "/text"}}], "route_direct_response": {"response_code": 200, "response_body": "secret"}},
            {"route_destination": {"destinations": [{"cluster": [{"name": "shop"}]}]}}]}}
        await self.begin(route, routes=["own"], authentication={"basic": basic(ADA)},
                         cors_policy={"allow_origin": ["https://shop.example"]}, **BOTH)
        good = credential("ada", "secret")
        for target, status in (("/old", 301), ("/text", 200), ("/x", 200)):
            self.assertEqual(await self.say(f"GET {target} HTTP/1.1", "Host: h"), 401, target)
            self.assertEqual(await self.say2(*self.head2(target)), 401, target)
            self.assertEqual(await self.say(f"GET {target} HTTP/1.1", "Host: h", good), status, target)
        self.assertEqual(len(self.heard), 1)
        ask = "Access-Control-Request-Method: PUT"
        for lines, status in (
            (("OPTIONS /x", "Origin: https://shop.example", ask), 204), (("OPTIONS /x", "Origin: https://evil.example", ask), 403),
            (("OPTIONS /x", "Origin: https://shop.example"), 401), (("OPTIONS /x", ask), 401), (("options /x", "Origin: a", ask), 401),
            (("GET /x", "Origin: https://shop.example", ask), 401), (("OPTIONS /x", "Origin: ", ask), 403),
            (("OPTIONS /x", "Connection: Origin", "Origin: https://shop.example", ask), 401),
            (("OPTIONS /x", "Origin: https://shop.example", "Origin: https://evil.example", ask), 403),
        ):
            first, *rest = lines
            said = await self.say(f"{first} HTTP/1.1", "Host: h", *rest)
            self.assertIn(said, (status, 204) if lines.count(ask) and "Origin: https://shop.example" in lines else (status,), lines)
        self.assertEqual(len(self.heard), 1)

    async def test_doubled_and_joined(self) -> None:
        """Several credentials of one kind are none; in HTTP/2 as well."""
        await self.begin(authentication={"basic": basic(ADA)}, **BOTH)
        good, bad = credential("ada", "secret").partition(": ")[2], credential("ada", "x").partition(": ")[2]
        for values, status in (((good,), 200), ((good, bad), 400), ((bad, good), 400), ((f"{good}, {bad}",), 400), ((good, good), 400),
                               (("Bearer x", good), 400), ((f"basic {good[6:]}",), 200), ((f"BASIC  {good[6:]}",), 200)):
            self.assertEqual(await self.say("GET / HTTP/1.1", "Host: h", *(f"Authorization: {value}" for value in values)), status, values)
            self.assertEqual(await self.say2(*self.head2("/"), *(("authorization", value) for value in values)), status, values)
        self.assertNotIn(b"authorization", b"".join(self.heard).lower())

    async def test_copies_and_second_tries(self) -> None:
        """Who is refused is mirrored nowhere; a second try has the name that was proven, and no credential, like the first one."""
        copied: list[bytes] = []
        shadow = self.origin(hearing(OK, copied))
        failing = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
        route = {"kind": "route", "metadata": {"name": "own"}, "spec": {"routes": [{"route_destination": {
            "destinations": [{"cluster": [{"name": "shop"}]}], "mirror_policy": {"cluster": [{"name": "shadow"}]},
            "retry_policy": {"retry_condition": ["5xx"], "num_retries": 1}}}]}}
        heard: list[bytes] = []
        self.serve(self.origin(hearing(lambda head: OK if len(heard) % 2 == 0 else failing, heard)),
                   {"basic": basic(ADA), "user_header": "x-user"}, route, *cluster("shadow", shadow.port), routes=["own"], **BOTH)
        await self.warm()
        self.assertEqual(await self.say("GET / HTTP/1.1", "Host: h", "X-User: root"), 401)
        self.assertEqual(await self.say("GET / HTTP/1.1", "Host: h", credential("eve", "secret")), 401)
        self.assertEqual(await self.say("GET / HTTP/1.1", "Host: h", credential("ada", "secret"), "X-User: root"), 200)
        await self.until(lambda: len(copied) == 1)
        self.assertEqual(len(heard), 2)
        for head in (*heard, *copied):
            self.assertEqual(re.findall(rb"(?i)\r\nx-user: (\w+)", head), [b"ada"])
            self.assertNotIn(b"authorization", head.lower())

    async def test_names_behind_a_body(self) -> None:
        """Trailers that say who asks are not passed on: some endpoints take them for fields of the head."""
        heard: list[bytes] = []

        def whole(peer: Peer, data: bytes) -> None:
            heard.append(data)
            if b"0\r\n" in data:
                peer.send(OK)

        self.serve(self.origin(whole),
                   {"basic": basic(ADA), "user_header": "x-user"}, **BOTH)
        await self.warm()
        client = Client2(await self.client(self.port))
        stream = client.h2.get_next_available_stream_id()
        head = (*self.head2("/", method="POST"), ("authorization", credential("ada", "secret").partition(": ")[2]), ("te", "trailers"))
        client.h2.send_headers(stream, [(name.encode(), value.encode()) for name, value in head])
        client.h2.send_data(stream, b"hello")
        client.h2.send_headers(stream, [(b"x-user", b"root"), (b"x_user", b"root"), (b"authorization", b"root"), (b"x-sum", b"7")], end_stream=True)
        client.peer.send(client.h2.data_to_send())

        def over() -> bool:
            client.read()
            return stream in client.over

        await self.until(over)
        self.assertEqual(client.status[stream], 200)
        said = b"".join(heard).lower()
        self.assertIn(b"x-user: ada\r\n", said)
        self.assertTrue(said.endswith(b"5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"), said)

    async def test_a_flood_of_fields(self) -> None:
        """As many as there may be, and one more: the same verdict, or 431, and the next client is served at once."""
        await self.begin(authentication={"basic": basic(ADA)}, **BOTH)
        many = [f"X-F{number}: {'y' * 100}" for number in range(90)]
        self.assertEqual(await self.say("GET / HTTP/1.1", "Host: h", *many), 401)
        self.assertEqual(await self.say("GET / HTTP/1.1", "Host: h", *many, *many), 431)
        cookies = "Cookie: " + "; ".join(f"a{number}=b" for number in range(4000))
        self.assertEqual(await self.say("GET / HTTP/1.1", "Host: h", cookies), 401)
        self.assertEqual(await self.say("GET / HTTP/1.1", "Host: h", credential("ada", "secret")), 200)


class LimitTests(AttackCase):
    async def test_forwarding_headers(self) -> None:
        """Whatever a client says of its address, in either version, it has one share."""
        limit = {"kind": "rate_limiter", "metadata": {"name": "two"}, "spec": {"limits": [{"unit": "MINUTE", "total_number": 2}]}}
        await self.begin(limit, rate_limiter=["two"], **BOTH)
        found = []
        for number in range(3):
            address = f"198.51.100.{number}"
            lines = [f"{name}: {address}" for name in ("X-Forwarded-For", "X-Real-IP", "Client-IP", "True-Client-IP", "CF-Connecting-IP")]
            found.append(await self.say("GET / HTTP/1.1", "Host: h", *lines, f"Forwarded: for={address}"))
            found.append(await self.say2(*self.head2("/"), ("x-forwarded-for", address), ("forwarded", f"for={address}")))
        self.assertEqual(found, [200, 200, 429, 429, 429, 429])


class SecretTests(AttackCase):
    async def test_keys_in_the_query_of_who_is_refused_before(self) -> None:
        """Whoever refuses first (a limit, a policy, a path with two readings), the log has no key, whatever its parameter is called."""
        limit = {"kind": "rate_limiter", "metadata": {"name": "one"}, "spec": {"limits": [{"unit": "MINUTE", "total_number": 1}]}}
        keys = {"keys": [{"name": "robot", "sha256": sha256(KEY.encode()).hexdigest()}], "query": "k"}
        await self.begin(limit, rate_limiter=["one"], authentication={"api_key": keys}, **BOTH)
        self.assertEqual(await self.say(f"GET /x?a=1&k={KEY}&b=2 HTTP/1.1", "Host: h"), 200)
        self.assertEqual(await self.say(f"GET /y?a=1&%6B={KEY}&b=2 HTTP/1.1", "Host: h"), 429)
        self.assertEqual(await self.say2(*self.head2(f"/z?k={KEY}")), 429)
        lines = await self.lines(3)
        self.assertNotIn(KEY, str(lines))
        self.assertIn("a=1", lines[1]["req_params"])
        self.assertNotIn(KEY.encode(), b"".join(self.heard))

    async def test_keys_in_the_query_of_what_no_route_takes(self) -> None:
        """A path that somebody has mistyped is answered 404, and logged without the key."""
        route = {"kind": "route", "metadata": {"name": "own"}, "spec": {"routes": [{
            "match": [{"path": {"path": "/only"}}], "route_destination": {"destinations": [{"cluster": [{"name": "shop"}]}]}}]}}
        keys = {"keys": [{"name": "robot", "sha256": sha256(KEY.encode()).hexdigest()}], "query": "k"}
        await self.begin(route, routes=["own"], authentication={"api_key": keys}, **BOTH)
        self.assertEqual(await self.say(f"GET /onyl?k={KEY}&b=2 HTTP/1.1", "Host: h"), 404)
        self.assertEqual(await self.say2(*self.head2(f"/onyl?k={KEY}")), 404)
        self.assertEqual(await self.say(f"GET /only?k={KEY} HTTP/1.1", "Host: h"), 200)
        lines = await self.lines(3)
        self.assertNotIn(KEY, str(lines))
        self.assertEqual([line["req_params"] for line in lines], ["b=2", "", ""])

    async def test_secrets_of_tokens(self) -> None:
        """A key set with the secret of an HMAC verifies tokens, and stands on no page, in no log and in no explanation."""
        secret = b"a secret of sixty-four octets, which nobody but we may ever see!"
        key = urlsafe_b64encode(secret).decode().rstrip("=")
        keys = json.dumps({"keys": [{"kty": "oct", "kid": "s", "alg": "HS256", "k": key}]}).encode()
        await self.begin(jwt_validation={"jwks_config": {"cleartext": "string:///" + b64encode(keys).decode()}}, **BOTH)
        head, payload = (urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (
            {"alg": "HS256", "kid": "s"}, {"sub": "ada", "exp": 4_000_000_000}))
        signature = urlsafe_b64encode(hmac.digest(secret, f"{head}.{payload}".encode(), "sha256")).decode().rstrip("=")
        token = f"Authorization: Bearer {head}.{payload}.{signature}"
        self.assertEqual([await self.say("GET / HTTP/1.1", "Host: h", line) for line in (token, token[:-3])], [200, 401])
        await self.lines(2)
        told = "\n".join((
            json.dumps(self.gateway.effective_config(), default=str), json.dumps(list(self.gateway.virtual_hosts()), default=str), self.exposed(),
            json.dumps(self.gateway.explain("GET", f"http://h:{self.port}/", [token]), default=str), (self.folder / "access.log").read_text()))
        for word in (key, b64encode(keys).decode()[:24], secret.decode()[:20], signature):
            self.assertNotIn(word, told)
        self.assertIn("***", told)
