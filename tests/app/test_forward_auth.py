"""A gateway that asks somebody else about every request: what that one is asked, and what becomes of each of its answers."""

from __future__ import annotations

from typing import Any

from tests.app.running import OK
from tests.app.test_authenticated import AuthenticatedCase, cluster, hearing, served
from tests.security.credentials import ADA, basic, credential
from tests.support import Origin, Peer
from voltgw.security.forward_auth import MAX_ANSWER_BYTES


def fields_of(head: bytes) -> dict[str, str]:
    """The fields of a request head."""
    lines = head.decode().split("\r\n")[1:]
    return {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}


class ForwardAuthCase(AuthenticatedCase):
    async def guarded(self, guard: Origin, more: dict[str, Any] | None = None, **authentication: Any) -> list[bytes]:
        """Serve with an authorizer; the result is what the origin hears from then on."""
        heard: list[bytes] = []
        self.serve(self.origin(hearing(OK, heard)), {"forward_auth": {"cluster": [{"name": "guard"}], **(more or {})}, **authentication},
                   *cluster("guard", guard.port))
        await self.warm()
        return heard


class AskedTests(ForwardAuthCase):
    """What the authorizer is asked."""

    async def test_as_traefik_and_nginx_ask(self) -> None:
        """GET on its path; the request in X-Forwarded-*, all its headers but those of a body, and nothing that the client claims."""
        asked: list[bytes] = []
        heard = await self.guarded(self.origin(hearing(served(b""), asked)), {"path": "/verify?x=1"})
        peer = await self.client(self.port)
        peer.send(b"POST /a/../b?q=1 HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nCookie: a=b\r\n"
                  b"X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /public\r\nX-Forwarded-For: 192.0.2.66\r\n\r\nhi")
        await peer.heard(b"ok")
        self.assertTrue(asked[0].startswith(b"GET /verify?x=1 HTTP/1.1\r\nhost: shop.example\r\n"), asked[0])
        got = fields_of(asked[0])
        self.assertEqual({name: got[name] for name in got if name.startswith("x-forwarded")}, {
            "x-forwarded-method": "POST", "x-forwarded-proto": "http", "x-forwarded-host": "shop.example",
            "x-forwarded-uri": "/b?q=1", "x-forwarded-for": "127.0.0.1"})
        self.assertEqual((got["cookie"], "content-type" in got, "content-length" in got), ("a=b", False, False))
        self.assertTrue(heard[0].startswith(b"POST /b?q=1 "))
        self.assertEqual(got["x-request-id"], fields_of(heard[0])["x-request-id"])

    async def test_as_envoy_asks(self) -> None:
        """The request's method and path behind a prefix, with Authorization and Cookie, or with the headers that are named."""
        asked: list[bytes] = []
        guard = self.origin(hearing(served(b""), asked))
        await self.guarded(guard, {"path": "/authz/", "with_request_path": True, "host": "authz.internal"})
        await self.get("Authorization: Bearer x", "X-Other: y", target="/b?q=1")
        self.assertTrue(asked[0].startswith(b"GET /authz/b?q=1 HTTP/1.1\r\nhost: authz.internal\r\n"), asked[0])
        got = fields_of(asked[0])
        self.assertEqual((got["authorization"], "x-other" in got), ("Bearer x", False))

    async def test_another_request_than_the_one_that_goes_on(self) -> None:
        """Authorizers behind nginx and others look for it in fields that a client could write: these are not sent."""
        asked: list[bytes] = []
        heard = await self.guarded(self.origin(hearing(served(b""), asked)))
        names = ("X-Original-URL", "X-Original-URI", "X-Original-Method", "X-Original-Host", "X-Rewrite-URL", "X-Forwarded-Path", "X-Forwarded-Prefix",
                 "X-Forwarded-Server", "X-Forwarded-Scheme", "X-Auth-Request-Redirect", "X-HTTP-Method-Override", "X-Host", "Forwarded")
        await self.get(*(f"{name}: https://public.example/open" for name in names), "X-Other: y", target="/secret")
        self.assertNotIn(b"public.example", asked[0])
        got = fields_of(asked[0])
        self.assertEqual((got["x-forwarded-uri"], got["x-other"]), ("/secret", "y"))
        self.assertIn(b"x-original-url: https://public.example/open", heard[0].lower())     # to an endpoint it is a field like others

    async def test_headers_that_are_named(self) -> None:
        """Only these are sent."""
        asked: list[bytes] = []
        await self.guarded(self.origin(hearing(served(b""), asked)), {"request_headers": ["X-Tenant"]})
        await self.get("Authorization: Bearer x", "X-Tenant: t")
        got = fields_of(asked[0])
        self.assertEqual((got["x-tenant"], "authorization" in got), ("t", False))


class AnswerTests(ForwardAuthCase):
    """What becomes of its answers."""

    async def test_a_good_one(self) -> None:
        """2xx lets the request pass; fields that are named go to the endpoint in place of the client's, its cookie to the client."""
        guard = self.origin(hearing(served(b"", "204 No Content", "X-Auth-User: ada", "Set-Cookie: s=1", "X-Other: no"), []))
        heard = await self.guarded(guard, {"headers_to_endpoint": ["X-Auth-User"], "cookies_to_client": True, "user_from": "x-auth-user"})
        status, fields, _ = await self.get("X-Auth-User: root", "x-auth-user: admin")
        self.assertEqual((status, fields["set-cookie"]), (200, "s=1"))
        self.assertEqual([line for line in heard[0].decode().lower().split("\r\n") if "auth" in line or "other" in line], ["x-auth-user: ada"])
        (line,) = await self.lines(1)
        self.assertEqual((line["auth"], line["auth_user"]), ("forward_auth", "ada"))

    async def test_a_refusal_is_the_clients(self) -> None:
        """Status, headers and body of a redirect to a login, a 401 and a 403; the origin hears nothing."""
        answers = [served(b"login", "302 Found", "Location: https://id.example/login", "Set-Cookie: state=1", "Connection: close"),
                   served(b"no", "401 Unauthorized", 'WWW-Authenticate: Bearer realm="x"'), served(b"never", "403 Forbidden")]
        guard = self.origin(hearing(lambda head: answers[0], []))
        heard = await self.guarded(guard)
        status, fields, body = await self.get()
        self.assertEqual((status, fields["location"], fields["set-cookie"], body), (302, "https://id.example/login", "state=1", b"login"))
        answers.pop(0)
        status, fields, body = await self.get()
        self.assertEqual((status, fields["www-authenticate"], body), (401, 'Bearer realm="x"', b"no"))
        answers.pop(0)
        self.assertEqual((await self.get())[::2], (403, b"never"))
        self.assertEqual(heard, [])
        self.assertEqual((await self.lines(3))[2]["rsp_code_details"], "authentication: forward_auth refused")

    async def test_headers_of_a_refusal_that_are_named(self) -> None:
        """Only these go to the client."""
        guard = self.origin(hearing(served(b"", "403 Forbidden", "X-Why: no", "X-Secret: s"), []))
        await self.guarded(guard, {"headers_to_client": ["x-why"]})
        _, fields, _ = await self.get()
        self.assertEqual((fields["x-why"], "x-secret" in fields), ("no", False))

    async def test_errors_refuse(self) -> None:
        """A 5xx, an answer that is no HTTP, one that is too large, a cut one: nobody passes; with ``fail_open`` everybody does."""
        answers = [served(b"", "500 Internal Server Error"), b"nonsense\r\n\r\n", served(b"x" * (MAX_ANSWER_BYTES + 1), "403 Forbidden"),
                   b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"]
        said: list[bytes] = []

        def answer(peer: Peer, data: bytes) -> None:
            peer.received = b""
            peer.send(said[0])
            if said[0].endswith(b"short"):
                peer.close()

        heard = await self.guarded(self.origin(answer))
        for each in answers:
            said[:] = [each]
            self.assertEqual((await self.get())[0], 503, each[:40])
        self.assertEqual(heard, [])
        self.assertEqual(self.metrics("voltgw_auth_requests_total"),
                         {'{method="forward_auth",result="error",virtual_host="default/h"}': 4.0})
        self.assertEqual([(each.active, each.counters.requests) for each in self.gateway.runtime.clusters.values() if "guard" in each.name],
                         [(0, 4)])

    async def test_open_by_option(self) -> None:
        """With ``fail_open`` a request passes when nobody answers, and the log says so; a refusal is one still."""
        answers = [served(b"", "500 Internal Server Error")]
        guard = self.origin(hearing(lambda head: answers[0], []))
        heard = await self.guarded(guard, {"fail_open": True, "headers_to_endpoint": ["x-user"]}, user_header="x-user")
        self.assertEqual((await self.get("X-User: root"))[0], 200)
        self.assertNotIn(b"root", heard[0])
        answers[0] = served(b"", "403 Forbidden")
        self.assertEqual((await self.get())[0], 403)
        self.assertEqual((await self.lines(2))[0]["auth"], "forward_auth error (let pass)")

    async def test_an_authorizer_that_is_not_there(self) -> None:
        """Refused connections refuse requests, at once, with the status that is asked for."""
        guard = Origin()
        guard.port = self.closed_port()
        heard = await self.guarded(guard, {"status_on_error": 403})
        self.assertEqual((await self.get())[0], 403)
        self.assertEqual(heard, [])


class StallTests(ForwardAuthCase):
    """One that does not answer."""

    async def test_it_is_given_up(self) -> None:
        """After its time; the connection is cut, nothing of it is left, and questions are bounded meanwhile."""
        guard = self.origin()
        heard = await self.guarded(guard, {"timeout": "500ms", "max_pending": 2})
        waiting = [await self.client(self.port) for _ in range(2)]
        for peer in waiting:
            peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.until(lambda: len(guard.peers) == 2)
        self.assertEqual((await self.get())[0], 503)        # the third at once
        self.advance(0.6)
        for peer in waiting:
            self.assertIn(b" 503 ", await peer.heard(b"\r\n\r\n"))
        await self.until(lambda: all(peer.lost is not None for peer in guard.peers))
        self.assertEqual(heard, [])
        self.assertEqual(self.metrics("voltgw_auth_requests_total"), {
            '{method="forward_auth",result="busy",virtual_host="default/h"}': 1.0,
            '{method="forward_auth",result="error",virtual_host="default/h"}': 2.0})

    async def test_a_client_that_leaves(self) -> None:
        """The question is given up with it."""
        guard = self.origin()
        await self.guarded(guard)
        peer = await self.client(self.port)
        peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await self.until(lambda: guard.peers)
        peer.reset()
        await self.until(lambda: guard.peers[0].lost is not None)
        (gate,) = self.gateway.runtime.hosts["default/h"].gates
        self.assertEqual(gate.terms.after.pending, 0)       # type: ignore[attr-defined]

    async def test_connections_are_used_again(self) -> None:
        """One connection serves many questions; when the authorizer has closed it, another one is made for the same request."""
        asked: list[bytes] = []
        guard = self.origin(hearing(served(b""), asked))
        await self.guarded(guard)
        for _ in range(3):
            self.assertEqual((await self.get())[0], 200)
        self.assertEqual((len(guard.peers), len(asked)), (1, 3))

        def dying(peer: Peer, data: bytes) -> None:
            peer.close()

        guard.peers[0]._answer = dying      # it closes on the next question, as a server whose patience is over
        self.assertEqual((await self.get())[0], 200)
        self.assertEqual(len(guard.peers), 2)


    async def test_an_answer_behind_an_answer(self) -> None:
        """What stands behind one is nobody's verdict: the connection is closed, and the next question is asked on another one."""
        yes, no = served(b""), served(b"", "403 Forbidden")
        answers = [yes + yes, no, no, yes[:-4] + b"\r\nContent-Length: 40\r\n\r\n" + b"x" * 3, no, b"HTTP/1.1 103 Hints\r\n\r\n" + no]
        asked: list[bytes] = []
        guard = self.origin(hearing(lambda head: answers.pop(0), asked))
        heard = await self.guarded(guard)
        self.assertEqual((await self.get(target="/one"))[0], 200)
        self.assertEqual([(await self.get(target=f"/{number}"))[0] for number in range(2)], [403, 403])
        self.assertEqual((await self.get(target="/lies"))[0], 503)
        self.assertEqual([(await self.get(target=f"/{number}"))[0] for number in range(2)], [403, 403])
        self.assertEqual([head.split()[1] for head in heard], [b"/one"])
        self.assertEqual(len(asked), 6)

    async def test_fields_that_would_break_out(self) -> None:
        """Line ends, NUL and framing of its answer reach neither the endpoint nor the client."""
        answers = [b"HTTP/1.1 200 OK\r\nX-User: ada\nX-Admin: 1\r\nContent-Length: 0\r\n\r\n",
                   b"HTTP/1.1 200 OK\r\nX-User: ada\rX-Admin: 1\r\nContent-Length: 0\r\n\r\n",
                   b"HTTP/1.1 200 OK\r\nX-User: a\0da\r\nContent-Length: 0\r\n\r\n",
                   b"HTTP/1.1 200 OK\r\nX-User : ada\r\nContent-Length: 0\r\n\r\n",
                   served(b"", "302 Found", "Location: /login", "Connection: X-Secret, close", "X-Secret: 1", "Keep-Alive: timeout=1",
                          "Upgrade: h2c", "Proxy-Authenticate: Basic", "Transfer-Encoding: identity"),
                   served(b"", "302 Found", "Location: /login", "Connection: X-Secret", "X-Secret: 1", "Keep-Alive: timeout=1", "Upgrade: h2c"),
                   served(b"", "200 OK", "X-User: ada", "Connection: X-User")]
        heard = await self.guarded(self.origin(hearing(lambda head: answers.pop(0), [])), {"headers_to_endpoint": ["x-user"]})
        for _ in range(5):
            self.assertEqual((await self.get("X-User: root"))[0], 503)
        status, fields, _ = await self.get()
        self.assertEqual((status, fields["location"]), (302, "/login"))
        self.assertEqual(set(fields) & {"x-secret", "keep-alive", "upgrade", "transfer-encoding"}, set())
        self.assertEqual(heard, [])
        self.assertEqual((await self.get("X-User: root"))[0], 200)
        self.assertNotIn(b"x-user", heard[0].lower())       # it was for one hop


class TogetherTests(ForwardAuthCase):
    async def test_after_the_others(self) -> None:
        """It is asked only about requests whose own credential is good; both names are known."""
        asked: list[bytes] = []
        guard = self.origin(hearing(served(b"", "200 OK", "X-Role: admin"), asked))
        heard = await self.guarded(guard, {"headers_to_endpoint": ["x-role"]}, basic=basic(ADA), user_header="x-user")
        self.assertEqual((await self.get())[0], 401)
        self.assertEqual(asked, [])
        self.assertEqual((await self.get(credential("ada", "secret")))[0], 200)
        self.assertEqual(fields_of(asked[0])["x-user"], "ada")
        got = fields_of(heard[0])
        self.assertEqual((got["x-user"], got["x-role"]), ("ada", "admin"))
        self.assertEqual((await self.lines(2))[1]["auth"], "basic+forward_auth")

    async def test_bodies_wait(self) -> None:
        """What comes of a body while somebody is asked is held and goes on, whole, when the answer is there."""
        held: list[Peer] = []

        def answer(peer: Peer, data: bytes) -> None:
            held.append(peer)

        guard = self.origin(answer)
        got: list[bytes] = []

        def take(peer: Peer, data: bytes) -> None:
            if peer.received.endswith(b"third"):
                got.append(peer.received)
                peer.send(OK)

        self.serve(self.origin(take), {"forward_auth": {"cluster": [{"name": "guard"}]}}, *cluster("guard", guard.port))
        await self.warm()
        peer = await self.client(self.port)
        peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\n\r\nfirst")
        await self.until(lambda: held)
        peer.send(b"second")
        peer.send(b"third")
        held[0].send(served(b""))
        await peer.heard(b"ok")
        self.assertTrue(got[0].endswith(b"\r\n\r\nfirstsecondthird"), got)
