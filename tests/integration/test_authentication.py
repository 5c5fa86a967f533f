"""Tokens against Envoy's ``jwt_authn`` with the same terms, and the how-to page's example as a new user tries it with curl."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run
from tests.integration.envoy import PREFIX, start_envoy
from tests.integration.gateway import PATIENCE_S, Gateway, ask, free_port, until
from tests.integration.test_https import CLIENT_CA, HttpsCase, upstream
from tests.integration.test_https import host as tls_host
from tests.integration.test_https import policy as tls_policy
from tests.security.credentials import inline
from tests.security.tokens import SECRET, ec, jwks, okp, part, raw, rsa, signed
from tests.servers import nginx

_EXAMPLE: Final = Path(__file__).resolve().parents[2] / "etc" / "examples" / "authentication.yaml"
#: What is held of the example.
_CASES: Final = """\
cases:
- request: GET http://shop.example.com:PORT/
  expect: {status: 401, refused_by: jwt missing}
- name: a token that somebody made up
  request: GET http://shop.example.com:PORT/
  headers: {authorization: "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0."}
  expect: {status: 401, refused_by: jwt algorithm}
- request: GET http://shop.example.com:PORT/office
  headers: {authorization: "Basic YWRhOmd1ZXNz"}
  expect: {status: 401, refused_by: basic wrong_password}
- request: GET http://shop.example.com:PORT/machines
  expect: {status: 401, refused_by: api_key missing}
- request: GET http://shop.example.com:PORT/health
  expect: {status: 200, refused_by: nobody}
"""
ISSUER: Final = "https://id.example"
#: Tokens of the generated table; the same ones in every run but for their times.
COUNT: Final = 400


def objects(port: int, origin: int, spec: dict[str, Any]) -> str:
    """A file with one virtual host that sends everything to one origin."""
    forward = {"route_destination": {"destinations": [{"cluster": ["o"]}]}}
    listed = [
        {"kind": "virtual_host", "metadata": {"name": "h"}, "spec": {"domains": ["*"], "advertise_policies": ["p"], "routes": ["r"], **spec}},
        {"kind": "advertise_policy", "metadata": {"name": "p"}, "spec": {"address": "127.0.0.1", "port": port}},
        {"kind": "route", "metadata": {"name": "r"}, "spec": {"routes": [forward]}},
        {"kind": "cluster", "metadata": {"name": "o"}, "spec": {"endpoints": ["o"]}},
        {"kind": "endpoint", "metadata": {"name": "o"}, "spec": {"ip": "127.0.0.1", "port": origin}}]
    return json.dumps({"gateway": {"admin": {"port": "ADMIN"}}, "objects": listed}).replace('"ADMIN"', "ADMIN")


def made_up(chance: random.Random, now: int) -> tuple[str, str]:
    """A token, and what is odd about it, in words."""
    key, alg = chance.choice([(rsa(), "RS256"), (rsa(), "RS512"), (rsa(), "PS256"), (ec(), "ES256"), (okp(), "EdDSA"), (ec("e3", "P-384"), "ES384")])
    claims: dict[str, Any] = {"iss": ISSUER, "aud": "shop", "sub": "ada", "exp": now + 600}
    odd: list[str] = []

    def oddly(what: str, share: float = 0.12) -> bool:
        if chance.random() < share:
            odd.append(what)
            return True
        return False

    if oddly("expired"):
        claims["exp"] = now - chance.choice([70, 3600, 10 ** 9])
    elif oddly("within the leeway"):
        claims["exp"] = now - chance.choice([1, 30, 45])
    elif oddly("no end"):
        del claims["exp"]
    if oddly("not yet"):
        claims["nbf"] = now + chance.choice([90, 3600, 10 ** 8])
    elif oddly("soon"):
        claims["nbf"] = now + chance.choice([0, 10, 40])
    if oddly("issuer"):
        claims["iss"] = chance.choice(["https://evil.example", "", "https://id.example/", "HTTPS://ID.EXAMPLE"])
    if oddly("audience"):
        claims["aud"] = chance.choice(["other", ["a", "b"], [], "", "Shop"])
    elif oddly("audiences"):
        claims["aud"] = ["other", "shop"]
    elif oddly("no audience"):
        del claims["aud"]
    header: dict[str, Any] = {}
    if oddly("no key id"):
        header["kid"] = None
    elif oddly("unknown key id"):
        header["kid"] = chance.choice(["x", "", "R"]) or "y"
    elif oddly("the id of another key", 0.05):
        header["kid"] = "e" if key is not ec() else "r"
    if oddly("another key", 0.06):
        key = {"ES256": ec, "EdDSA": okp}.get(alg, rsa)("stranger") if alg != "ES384" else ec("stranger", "P-384")
        header.setdefault("kid", "r")
    if oddly("a key of its own", 0.05):
        header["jwk"] = rsa("stranger").as_dict(private=False)
    token = signed(claims, key, alg, **header)
    first, second, third = token.split(".")
    if oddly("unsigned", 0.05):
        token = chance.choice([f"{part({'alg': 'none'})}.{second}.", f"{part({'alg': 'none'})}.{second}.{third}", f"{first}.{second}."])
    elif oddly("a signature changed", 0.06):
        at = chance.randrange(8, len(third) - 8)
        token = f"{first}.{second}.{third[:at]}{'A' if third[at] != 'A' else 'B'}{third[at + 1:]}"
    elif oddly("claims changed", 0.06):
        token = f"{first}.{part({**claims, 'sub': 'root'})}.{third}"
    elif oddly("a part is missing", 0.03):
        token = f"{first}.{second}"
    elif oddly("a public key as secret", 0.04):
        token = raw(json.dumps({"alg": "HS256", "kid": "r"}), json.dumps(claims).encode(), SECRET, "HS256")
    return token, ", ".join(odd) or "nothing"


class EnvoyTests(SynchronousTestCase):
    def test_the_same_verdicts(self) -> None:
        """Of 400 tokens, each with its own oddities, both let the same ones pass; and nearly as many as not are good."""
        keys = jwks(rsa(), ec(), ec("e3", "P-384"), okp())
        origin = nginx(self, 'location / { return 200 "origin"; }')
        ours, theirs = free_port(), free_port()
        gateway = Gateway(self, objects(ours, origin.port, {"jwt_validation": {
            "jwks_config": {"cleartext": inline(keys)}, "reserved_claims": {"issuer": ISSUER, "audience": {"audiences": ["shop", "api"]}}}}))
        start_envoy(self, theirs, origin.port, {"http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": {
                "@type": f"{PREFIX}.filters.http.jwt_authn.v3.JwtAuthentication",
                "providers": {"p": {"issuer": ISSUER, "audiences": ["shop", "api"], "local_jwks": {"inline_string": keys.decode()}}},
                "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}]}},
            {"name": "router", "typed_config": {"@type": f"{PREFIX}.filters.http.router.v3.Router"}}]})
        gateway.wait_ready()

        def answers() -> bool:
            try:
                return ask(theirs).status == 401
            except OSError:
                return False

        until("Envoy answers", answers)
        chance = random.Random(8)
        connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S) for port in (ours, theirs)]
        for connection in connections:
            self.addCleanup(connection.close)
        differ: list[str] = []
        passed = 0
        for _ in range(COUNT):
            token, odd = made_up(chance, int(time.time()))
            statuses = []
            for connection in connections:
                connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)
            passed += statuses[0] == 200
            if [status == 200 for status in statuses] != [statuses[0] == 200] * 2:
                differ.append(f"{odd}: {statuses} {token[:400]}")
        self.assertEqual(differ, [])
        self.assertGreater(passed, COUNT // 8)
        self.assertGreater(COUNT - passed, COUNT // 8)


class HowToTests(SynchronousTestCase):
    """etc/examples/authentication.yaml, with the files that its page makes."""

    def setUp(self) -> None:
        self.port = free_port()
        self.log = Path(self.mktemp()).resolve()
        origin = nginx(self, f'''access_log {self.log} combined; location / {{
            return 200 "user=$http_x_user scope=$http_x_scope auth=$http_authorization key=$http_x_api_key"; }}''')
        guard = nginx(self, """location / {
            if ($http_cookie = "session=good") { add_header X-User partner; return 200; }
            return 302 https://id.example/login; }""")
        text = "gateway: {admin: {port: ADMIN}}\n" + _EXAMPLE.read_text(encoding="utf-8")
        for theirs, mine in (("port: 8080", f"port: {self.port}"), ("port: 9001", f"port: {origin.port}"), ("port: 9002", f"port: {guard.port}")):
            text = text.replace(theirs, mine)
        self.key = "0123456789abcdef0123456789abcdef"
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        hashed = subprocess.run(["openssl", "passwd", "-6", "secret"], check=True, capture_output=True, text=True).stdout
        (folder / "users.htpasswd").write_text(f"ada:{hashed}", encoding="utf-8")
        (folder / "api-keys").write_text(f"robot:{sha256(self.key.encode()).hexdigest()}\n", encoding="utf-8")
        (folder / "keys.json").write_bytes(jwks(ec("2026-11")))
        self.gateway = Gateway(self, text.replace("file:authentication/", f"file:{folder}/"))
        self.gateway.wait_ready()

    def curl(self, target: str, *options: str) -> tuple[int, str]:
        """Status and head."""
        done = subprocess.run(["curl", "-sS", "-i", "--path-as-is", *options, f"http://127.0.0.1:{self.port}{target}"],
                              capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        return int(done.stdout.split()[1]), done.stdout

    def heard(self, what: str, target: str, *options: str) -> None:
        """The request passes, and this is what the origin hears."""
        status, answer = self.curl(target, *options)
        self.assertEqual((status, answer.rpartition("\n")[2]), (200, what))

    def test_each_line_of_the_page(self) -> None:
        """Token, scope, password, key and somebody else's word; the origin hears who it is, never what has proven it."""
        token = signed({"iss": ISSUER, "aud": "shop", "sub": "ada", "scope": "shop:read", "exp": int(time.time()) + 600},
                       ec("2026-11"), "ES256")
        writer = signed({"iss": ISSUER, "aud": "shop", "sub": "bob", "scope": "a shop:write", "exp": int(time.time()) + 600},
                        ec("2026-11"), "ES256")
        status, head = self.curl("/")
        self.assertEqual(status, 401)
        self.assertIn('www-authenticate: Bearer realm="shop"', head)
        bearer = "-H", f"Authorization: Bearer {token}"
        self.heard("user=ada scope=shop:read auth= key=", "/", *bearer, "-H", "X-User: root", "-H", "X-Scope: all")
        self.assertEqual(self.curl("/", "-X", "POST", *bearer)[0], 403)
        self.heard("user=bob scope=a shop:write auth= key=", "/", "-X", "POST", "-H", f"Authorization: Bearer {writer}")
        self.heard("user=ada scope= auth= key=", "/office", "-u", "ada:secret", "-H", "X-Scope: all")
        self.assertEqual(self.curl("/office", "-u", "ada:Secret")[0], 401)
        self.assertEqual(self.curl("/office", *bearer)[0], 401)
        self.assertEqual(self.curl("/officex", "-u", "ada:secret")[0], 401)
        self.heard("user=robot scope= auth= key=", "/machines", "-H", f"X-API-Key: {self.key}", "-H", "X-User: root")
        status, head = self.curl("/partners")
        self.assertEqual(status, 302)
        self.assertIn("location: https://id.example/login", head.lower())
        self.heard("user=partner scope= auth= key=", "/partners", "-b", "session=good", "-H", "X-User: root")
        self.assertEqual(self.curl("/health", "-H", "X-User: root")[0], 200)
        seen = [line.split('"')[1] for line in self.log.read_text(encoding="utf-8").splitlines()]
        self.assertEqual(seen, ["GET / HTTP/1.1", "POST / HTTP/1.1", "GET /office HTTP/1.1", "GET /machines HTTP/1.1",
                                "GET /partners HTTP/1.1"])


    def test_it_is_held(self) -> None:
        """``voltgw test`` keeps what the page says, without a gateway."""
        cases = Path(self.mktemp())
        cases.write_text(_CASES.replace("PORT", str(self.port)), encoding="utf-8")
        result = run(["test", str(self.gateway.file), str(cases)])
        self.assertEqual((result.status, result.out, result.err), (0, "5 cases: all as expected\n", ""))


class GrpcTests(SynchronousTestCase):
    def test_a_call_without_a_token(self) -> None:
        """Over HTTP/2 it is told in the way of gRPC: 200 with grpc-status 16, UNAUTHENTICATED; any other request gets 401."""
        port = free_port()
        gateway = Gateway(self, objects(port, free_port(), {
            "jwt_validation": {"jwks_config": {"cleartext": inline(jwks(rsa()))}},
            "http_protocol_options": {"http_protocol_enable_v1_v2": {}}}))
        gateway.wait_ready()

        def curl(*options: str) -> str:
            return subprocess.run(["curl", "-sS", "-i", "--http2-prior-knowledge", *options, f"http://127.0.0.1:{port}/test.Echo/Unary"],
                                  capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout.lower()

        call = curl("-X", "POST", "-H", "Content-Type: application/grpc", "-d", "x")
        self.assertTrue(call.startswith("http/2 200"), call)
        self.assertIn("grpc-status: 16", call)
        plain = curl()
        self.assertTrue(plain.startswith("http/2 401"), plain)
        self.assertIn("www-authenticate: bearer", plain)


class ForwardAuthTests(SynchronousTestCase):
    def test_a_client_of_http2(self) -> None:
        """A stream waits for the authorizer as a connection does, its body held; the refusal reaches it, too."""
        origin = nginx(self, 'location / { return 200 "user=$http_x_user length=$http_content_length"; }')
        guard = nginx(self, """location / {
            if ($http_cookie = "session=good") { add_header X-User partner; return 200; }
            return 403 "go away"; }""")
        port = free_port()
        text = json.loads(objects(port, origin.port, {
            "voltgw": {"authentication": {"forward_auth": {"cluster": ["guard"], "headers_to_endpoint": ["x-user"]}}},
            "http_protocol_options": {"http_protocol_enable_v1_v2": {}}}).replace("ADMIN", '"ADMIN"'))
        text["objects"] += [
            {"kind": "cluster", "metadata": {"name": "guard"}, "spec": {"endpoints": ["guard"]}},
            {"kind": "endpoint", "metadata": {"name": "guard"}, "spec": {"ip": "127.0.0.1", "port": guard.port}}]
        Gateway(self, json.dumps(text).replace('"ADMIN"', "ADMIN")).wait_ready()

        def curl(*options: str) -> str:
            return subprocess.run(["curl", "-sS", "--http2-prior-knowledge", "-w", " %{http_code} %{http_version}", *options,
                                   f"http://127.0.0.1:{port}/"], capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout

        self.assertEqual(curl("-b", "session=good", "-H", "X-User: root", "-d", "x" * 50_000), "user=partner length=50000 200 2")
        self.assertEqual(curl("-d", "x" * 50_000), "go away 403 2")


class CertificateTests(HttpsCase):
    def test_a_host_that_asks_for_an_identity(self) -> None:
        """With an optional certificate, a SPIFFE id of the trust domain lets in and is told to the origin; others get 403."""
        self.server("a.example")
        self.client("alice", "spiffe://lab.example/alice")
        self.client("mallory", "spiffe://evil.example/alice")
        asked = ("voltgw: {authentication: {client_certificate: {spiffe_trust_domains: [lab.example]}, user_header: x-user}}")
        gateway = self.gateway(tls_policy(), tls_host("h", "a.example", "a.example", trust=CLIENT_CA,
                                                      tls=", client_certificate_optional: {}", more=asked), upstream(self.origin()))
        code = "-o", "/dev/null", "-w", "%{http_code}"
        self.assertEqual(self.curl("a.example", *code).stdout, "403")
        self.assertEqual(self.curl("a.example", *self.mine("mallory"), *code).stdout, "403")
        for version in ("--http1.1", "--http2"):
            heard = self.curl("a.example", version, *self.mine("alice"), "-H", "X-User: root").stdout.lower()
            self.assertEqual([line for line in heard.splitlines() if line.startswith("x-user")], ["x-user: spiffe://lab.example/alice"])
        records = until("the log is there", lambda: self.logged(gateway, 4))
        self.assertEqual([(one["auth"], one["auth_user"]) for one in records], [
            ("client_certificate missing", ""), ("client_certificate name", ""),
            *[("client_certificate", "spiffe://lab.example/alice")] * 2])

    def logged(self, gateway: Gateway, count: int) -> list[dict[str, Any]] | None:
        """The records of requests, once there are so many."""
        file = gateway.folder / "access.log"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        found = [one for one in map(json.loads, lines) if "rsp_code" in one]
        return found if len(found) >= count else None
