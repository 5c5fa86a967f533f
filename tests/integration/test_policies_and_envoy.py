"""Service policies and rate limits held against Envoy's: equivalent configurations, the same requests, the same verdicts.

A policy with DENY_OVERRIDES is what two RBAC filters of Envoy are, one that denies and one that allows. Both proxies run in
processes of their own before one origin; requests come from several addresses of the loopback network.
"""

from __future__ import annotations

import http.client
import json
import socket
from random import Random
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.envoy import PREFIX, start_envoy
from tests.integration.gateway import PATIENCE_S, Gateway, free_port, until
from tests.integration.threaded import ThreadedServer

Spec = dict[str, Any]

HOSTS: Final = 12
REQUESTS: Final = 100           # to each
PATHS: Final = ("/", "/a", "/a/b", "/admin", "/admin/x", "/x.js", "/x/../admin", "/%61dmin/y", "/b/./a", "/A", "/adm")
METHODS: Final = ("GET", "POST", "DELETE")
SOURCES: Final = ("127.0.0.1", "127.0.0.2", "127.0.1.7", "127.9.9.9")
PREFIXES: Final = (("127.0.0.0", 24), ("127.0.0.2", 32), ("127.0.0.0", 16), ("127.9.0.0", 16))
VALUES: Final = ("one", "two", "three")


def rule(random: Random) -> tuple[Spec, list[Spec], list[Spec]]:
    """The conditions of one rule: as service policies say them, and as Envoy's permissions and principals (all must hold)."""
    ours: Spec = {}
    permissions: list[Spec] = []
    principals: list[Spec] = []

    def turned(spec: Spec, theirs: Spec, kind: str, key: str = "invert_matcher") -> tuple[Spec, Spec]:
        if random.random() < 0.25:
            return {**spec, key: True}, {f"not_{kind}": theirs}
        return spec, theirs

    if random.random() < 0.7:
        how, text = random.choice((
            ("exact", "/admin"), ("exact", "/a"), ("prefix", "/a"), ("prefix", "/admin/"), ("suffix", ".js"), ("suffix", "b"),
            ("regex", "/a(/.*)?"), ("regex", ".*min.*")))
        match: Spec = {"safe_regex": {"regex": text}} if how == "regex" else {how: text}
        ours["path"], theirs = turned({f"{how}_values": [text]}, {"url_path": {"path": match}}, "rule")
        permissions.append(theirs)
    if random.random() < 0.4:
        methods = random.sample(METHODS, random.randint(1, 2))
        either = {"or_rules": {"rules": [{"header": {"name": ":method", "string_match": {"exact": one}}} for one in methods]}}
        ours["http_method"], theirs = turned({"methods": methods}, either, "rule")
        permissions.append(theirs)
    if random.random() < 0.3:
        value = random.choice(VALUES)
        ours["headers"] = [{"name": "x-team", "item": {"exact_values": [value]}}]
        permissions.append({"header": {"name": "x-team", "string_match": {"exact": value}}})
    if random.random() < 0.4 or not ours:
        address, length = random.choice(PREFIXES)
        ours["ip_prefix_list"], theirs = turned(
            {"ip_prefixes": [f"{address}/{length}"]}, {"direct_remote_ip": {"address_prefix": address, "prefix_len": length}}, "id",
            "invert_match")
        principals.append(theirs)
    return ours, permissions, principals


class Origin(ThreadedServer):
    """Says 200 to everything."""

    def serve(self, sock: socket.socket) -> None:
        """Requests without bodies, one after the other."""
        with sock, sock.makefile("rb") as lines:
            while line := lines.readline():
                while line not in (b"\r\n", b""):
                    line = lines.readline()
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


class EnvoyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.origin = Origin()
        self.addCleanup(self.origin.stop)
        self.port, self.theirs = free_port(), free_port()

    def statuses(self, port: int, source: str, requests: list[tuple[str, str, dict[str, str]]]) -> list[int]:
        """What a client at `source` gets."""
        found = []
        for method, path, headers in requests:
            connection = http.client.HTTPConnection("127.0.0.1", port, PATIENCE_S, (source, 0))
            try:
                connection.request(method, path, headers=headers)
                response = connection.getresponse()
                response.read()
                found.append(response.status)
            finally:
                connection.close()
        return found

    def serve(self, objects: list[Spec], filters: list[Spec]) -> None:
        """Both proxies, when they answer."""
        parts = [
            *objects,
            {"kind": "route", "metadata": {"name": "r"}, "spec": {"routes": [
                {"route_destination": {"destinations": [{"cluster": ["c"]}]}}]}},
            {"kind": "cluster", "metadata": {"name": "c"}, "spec": {"endpoints": ["e"]}},
            {"kind": "endpoint", "metadata": {"name": "e"}, "spec": {"ip": "127.0.0.1", "port": self.origin.port}},
            {"kind": "advertise_policy", "metadata": {"name": "p"}, "spec": {"address": "127.0.0.1", "port": self.port}}]
        gateway = Gateway(self, f"gateway: {{admin: {{port: ADMIN}}}}\nobjects: {json.dumps(parts)}\n")
        router = {"name": "router", "typed_config": {"@type": f"{PREFIX}.filters.http.router.v3.Router"}}
        start_envoy(self, self.theirs, self.origin.port, {"http_filters": [*filters, router], "normalize_path": True})
        gateway.wait_ready()

        def answers() -> bool:
            try:
                self.statuses(self.theirs, "127.0.0.1", [("GET", "/", {"Host": "nobody"})])
            except OSError:
                return False
            return True

        until("Envoy answers", answers)

    def test_policies(self) -> None:
        """1,200 requests to twelve random policies."""
        random = Random(11)
        objects: list[Spec] = []
        rules: dict[str, Spec] = {"DENY": {}, "ALLOW": {}}
        for number in range(HOSTS):
            made = []
            for index in range(random.randint(2, 6)):
                action = random.choice(("DENY", "ALLOW", "ALLOW"))
                ours, permissions, principals = rule(random)
                made.append({"metadata": {"name": f"rule-{index}"}, "spec": {"action": action, **ours}})
                named = {"header": {"name": ":authority", "string_match": {"exact": f"h{number}"}}}
                rules[action][f"{number}-{index}"] = {
                    "permissions": [{"and_rules": {"rules": [named, *permissions]}}],
                    "principals": [{"and_ids": {"ids": principals}} if principals else {"any": True}]}
            objects += [
                {"kind": "service_policy", "metadata": {"name": f"p{number}"}, "spec": {
                    "algo": "DENY_OVERRIDES", "rule_list": {"rules": made}}},
                {"kind": "virtual_host", "metadata": {"name": f"h{number}"}, "spec": {
                    "domains": [f"h{number}"], "routes": ["r"], "advertise_policies": ["p"],
                    "active_service_policies": {"policies": [f"p{number}"]}}}]
        self.serve(objects, [
            {"name": action, "typed_config": {"@type": f"{PREFIX}.filters.http.rbac.v3.RBAC",
                                              "rules": {"action": action, "policies": policies}}}
            for action, policies in rules.items()])
        seen = {200: 0, 403: 0}
        for number in range(HOSTS):
            for source in SOURCES:
                asked = [(random.choice(METHODS), random.choice(PATHS), {
                    "Host": f"h{number}", **({"X-Team": random.choice(VALUES)} if random.random() < 0.5 else {})})
                    for _ in range(REQUESTS // len(SOURCES))]
                here, there = self.statuses(self.port, source, asked), self.statuses(self.theirs, source, asked)
                for request, status, other in zip(asked, here, there, strict=True):
                    self.assertEqual(status, other, (source, request))
                    seen[status] += 1
        self.assertGreater(min(seen.values()), HOSTS * REQUESTS // 5, seen)

    def test_a_rate_limit(self) -> None:
        """Five an hour for all together: five pass, three are answered 429, at both."""
        enabled = {"runtime_key": "x", "default_value": {"numerator": 100, "denominator": "HUNDRED"}}
        self.serve([
            {"kind": "virtual_host", "metadata": {"name": "h"}, "spec": {
                "domains": ["h"], "routes": ["r"], "advertise_policies": ["p"], "rate_limiter": ["five"]}},
            {"kind": "rate_limiter", "metadata": {"name": "five"}, "spec": {
                "limits": [{"unit": "HOUR", "total_number": 5}], "user_identification": ["all"]}},
            {"kind": "user_identification", "metadata": {"name": "all"}, "spec": {"rules": [{"none": {}}]}}], [
            {"name": "limit", "typed_config": {
                "@type": f"{PREFIX}.filters.http.local_ratelimit.v3.LocalRateLimit", "stat_prefix": "x",
                "token_bucket": {"max_tokens": 6, "tokens_per_fill": 6, "fill_interval": "3600s"},
                "filter_enabled": enabled, "filter_enforced": enabled}}])     # the sixth: it was asked whether it answers
        asked = [("GET", "/", {"Host": "h"})] * 8
        ours, theirs = self.statuses(self.port, "127.0.0.1", asked), self.statuses(self.theirs, "127.0.0.2", asked)
        self.assertEqual((ours, theirs), ([200] * 5 + [429] * 3,) * 2)
