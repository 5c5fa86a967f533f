"""Zones of clouds as objects describe them: whom the gateway asks, as whom, and what for."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import runtime
from tests.app.test_publishing import ONE, ROUTE, host
from tests.clouds import RSA
from tests.control.publish.scripted import ScriptedApi, result, says
from voltgw.app.build import Runtime
from voltgw.control.publish import api
from voltgw.control.publish.api import Reply
from voltgw.errors import ConfigErrors

WALL = 1_700_000_000.0
PAGE = (b'<R xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ResourceRecordSets/><IsTruncated>false</IsTruncated></R>')
KEY = json.dumps({"client_email": "v@x", "private_key": RSA.as_pem(private=True).decode(), "token_uri": "https://tokens.example/t"})


def secret(text: str) -> str:
    """As a configuration has it."""
    return "string:///" + base64.b64encode(text.encode()).decode()


class CloudTests(SynchronousTestCase):
    """`voltgw.app.clouds`."""

    def setUp(self) -> None:
        self.apis: list[tuple[bytes | None, bool, ScriptedApi]] = []

        def made(reactor: Any, clock: Any, roots: bytes | None = None, *, plain: bool = False) -> Any:
            scripted = ScriptedApi(self.answer)
            self.apis.append((roots, plain, scripted))
            return scripted

        self.patch(api, "Api", made)

    def answer(self, method: str, url: str, body: bytes) -> Reply:
        """Of all three, and of the places where they have tokens from."""
        self.last = url
        path = urlsplit(url).path
        if "latest/api/token" in path:
            return says(200, b"t")
        if path.endswith("security-credentials/"):
            return says(200, b"gateway")
        if path.endswith("/gateway"):
            return says(200, {"AccessKeyId": "ROLE", "SecretAccessKey": "s", "Token": "t", "Expiration": "2033-01-01T00:00:00Z"})
        if "token" in url or path == "/t":
            return says(200, {"access_token": "abc", "expires_in": 3600})
        return says(200, PAGE) if "2013-04-01" in path else says(200, {"rrsets": [], "value": []})

    def build(self, kind: str, text: str) -> Runtime:
        """A configuration with it."""
        return runtime(ROUTE + ONE + host("a") + "- {kind: discovery, metadata: {name: names, namespace: system}, spec: {where: {}, "
                       f"voltgw: {{publish: {{owner: edge-1}}, {kind}: {{{text}}}}}}}}}\n")

    def asked(self, kind: str, text: str) -> list[tuple[str, str, dict[str, str], bytes]]:
        """All requests of a look, those for tokens first; of each, method, URL, header fields and body."""
        made = self.build(kind, text)
        self.apis.clear()
        (publication,) = made.publications
        self.assertEqual([name.text for name in publication.names.values()], ["a.apps.example"])
        self.registrar = publication.registry.registrar(None, Clock(), lambda: WALL)
        self.interval_s = publication.registry.interval_s
        result(self.registrar.observe([]))
        asked = [each for _, _, scripted in self.apis for each in scripted.asked]
        asked.sort(key=lambda each: each[1] == self.last)
        return [(method, url, dict(fields), body) for method, url, fields, body in asked]

    def test_route_53(self) -> None:
        """With a key that expires, another region, another endpoint, and other authorities; and by the instance's role."""
        ((method, url, fields, _),) = self.asked(
            "route53", "zone: apps.example, hosted_zone_id: Z1, region: cn-north-1, endpoint: 'http://127.0.0.1:1/', ttl: 77, credentials: "
            f"{{access_key_id: AK, secret_access_key: '{secret('s')}', session_token: '{secret('tok')}'}}")
        self.assertEqual((method, url), ("GET", "http://127.0.0.1:1/2013-04-01/hostedzone/Z1/rrset?maxitems=300"))
        self.assertEqual(fields["x-amz-security-token"], "tok")
        self.assertIn("Credential=AK/20231114/cn-north-1/route53/aws4_request", fields["authorization"])
        self.assertEqual((self.interval_s, self.apis[-1][1]), (300.0, True))
        made: Any = self.registrar
        self.assertEqual(made._ttl, 77)
        *_, (method, url, fields, _) = self.asked("route53", "zone: apps.example, hosted_zone_id: Z1")
        self.assertEqual(url, "https://route53.amazonaws.com/2013-04-01/hostedzone/Z1/rrset?maxitems=300")
        self.assertIn("Credential=ROLE/20231114/us-east-1/", fields["authorization"])
        self.assertEqual([plain for _, plain, _ in self.apis], [True, False])       # the metadata service speaks HTTP

    def test_google(self) -> None:
        """With a service account's key, and as that of the instance."""
        token, (method, url, fields, _) = self.asked(
            "google_dns", f"zone: apps.example, project: shop, managed_zone: apps, service_account_key: '{secret(KEY)}', ttl: 77")
        self.assertEqual((method, url), ("GET", "https://dns.googleapis.com/dns/v1/projects/shop/managedZones/apps/rrsets?maxResults=1000"))
        self.assertEqual(fields["authorization"], "Bearer abc")
        self.assertEqual(token[:2], ("POST", "https://tokens.example/t"))
        claims = jwt.decode(parse_qs(token[3].decode())["assertion"][0], RSA).claims
        self.assertEqual((claims["aud"], claims["iat"], claims["scope"]),
                         ("https://tokens.example/t", WALL, "https://www.googleapis.com/auth/ndev.clouddns.readwrite"))
        made: Any = self.registrar
        self.assertEqual(made._ttl, 77)
        token, asked = self.asked("google_dns", "zone: apps.example, project: shop, managed_zone: apps, endpoint: 'https://stand.in/'")
        self.assertEqual(token[0], "GET")
        self.assertTrue(token[1].startswith("http://metadata.google.internal/"))
        self.assertEqual(token[2], {"metadata-flavor": "Google"})
        self.assertTrue(asked[1].startswith("https://stand.in/dns/v1/"))
        token, _ = self.asked("google_dns", f"zone: apps.example, project: shop, managed_zone: apps, service_account_key: '{secret(KEY)}', "
                              "token_endpoint: 'https://other.example/t'")
        self.assertEqual(token[1], "https://other.example/t")

    def test_azure(self) -> None:
        """With an application's secret, at another cloud, and as the managed identity of the instance."""
        base = "zone: apps.example, subscription_id: sub, resource_group: dns"
        token, (method, url, fields, _) = self.asked(
            "azure_dns", f"{base}, ttl: 77, credentials: {{tenant: t.example, client_id: app, client_secret: '{secret('s+')}'}}")
        path = "subscriptions/sub/resourceGroups/dns/providers/Microsoft.Network/dnsZones/apps.example/all"
        self.assertEqual((method, url), ("GET", f"https://management.azure.com/{path}?api-version=2018-05-01&$top=500"))
        self.assertEqual(fields["authorization"], "Bearer abc")
        self.assertEqual(token[:2], ("POST", "https://login.microsoftonline.com/t.example/oauth2/v2.0/token"))
        self.assertEqual(parse_qs(token[3].decode()), {
            "grant_type": ["client_credentials"], "client_id": ["app"], "client_secret": ["s+"],
            "scope": ["https://management.azure.com/.default"]})
        made: Any = self.registrar
        self.assertEqual(made._ttl, 77)
        token, asked = self.asked("azure_dns", f"{base}, endpoint: 'https://management.chinacloudapi.cn', token_endpoint: "
                                  f"'https://login.chinacloudapi.cn', credentials: {{tenant: t, client_id: app, client_secret: '{secret('s')}'}}")
        self.assertEqual(token[1], "https://login.chinacloudapi.cn/t/oauth2/v2.0/token")
        self.assertTrue(asked[1].startswith("https://management.chinacloudapi.cn/subscriptions/"))
        token, _ = self.asked("azure_dns", base)
        self.assertTrue(token[1].startswith("http://169.254.169.254/metadata/identity/oauth2/token?"))
        self.assertEqual(token[2], {"metadata": "true"})

    def test_authorities(self) -> None:
        """Where they are named, they vouch for the API, and not for the metadata service, which has no certificate."""
        pem = secret("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
        for kind, text in (("route53", "hosted_zone_id: Z1"), ("google_dns", "project: shop, managed_zone: apps"),
                           ("azure_dns", "subscription_id: sub, resource_group: dns")):
            self.asked(kind, f"zone: apps.example, {text}, trusted_ca: '{pem}'")
            self.assertEqual(sorted((roots is not None, plain) for roots, plain, _ in self.apis), [(False, True), (True, False)], kind)

    def test_what_cannot_be(self) -> None:
        """Keys that are none, ids that are none, and secrets that are no text."""
        self.patch(api, "Api", lambda *_, **__: None)
        for kind, text, words in (
            ("google_dns", f"zone: apps.example, project: p, managed_zone: z, service_account_key: '{secret('{}')}'", "not the JSON file"),
            ("route53", "zone: apps.example, hosted_zone_id: Z1, credentials: {access_key_id: AK, secret_access_key: 'string:////w=='}",
             "is no text in ASCII"),
            ("route53", "zone: apps.example, hosted_zone_id: /hostedzone/Z1", "only letters and digits"),
        ):
            with self.assertRaises(ConfigErrors) as raised:
                self.build(kind, text)
            self.assertIn(words, raised.exception.problems[0].message)
            self.assertNotIn("private_key", str(raised.exception))
