"""``voltgw: {affinity: endpoint_cookie}`` with real origins: which of them a client's requests reach."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, Response, ask, free_port, until
from tests.integration.test_clusters_envoy import Origin


class PinnedTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Three origins, with health checks."""
        self.origins = [Origin(number) for number in range(3)]
        self.running = set(self.origins)
        for origin in self.origins:
            self.addCleanup(self.end, origin)
        self.port = free_port()
        self.gateway = Gateway(self, f"""
gateway: {{admin: {{port: ADMIN}}}}
objects:
- {{kind: virtual_host, metadata: {{name: shop}}, spec: {{domains: ["*"], proxy: HTTP_PROXY, routes: [shop], advertise_policies: [here]}}}}
- {{kind: advertise_policy, metadata: {{name: here}}, spec: {{address: 127.0.0.1, protocol: TCP, port: {self.port}}}}}
- kind: route
  metadata: {{name: shop}}
  spec: {{routes: [{{match: [{{path: {{prefix: /}}}}], route_destination: {{destinations: [{{cluster: [shop]}}]}}}}]}}
- kind: cluster
  metadata: {{name: shop}}
  spec:
    endpoints: [o0, o1, o2]
    voltgw: {{affinity: endpoint_cookie, affinity_cookie: {{name: node, key: {{clear_secret_info: {{url: "string:///a2V5LW9mLWFsbC1nYXRld2F5cw=="}}}}, max_age: 1h}}}}
""" + "".join(f"- {{kind: endpoint, metadata: {{name: o{each.number}}}, spec: {{ip: 127.0.0.1, port: {each.port}}}}}\n"
              for each in self.origins))
        self.gateway.wait_ready()

    def end(self, origin: Origin) -> None:
        """Stop it, once."""
        if origin in self.running:
            self.running.remove(origin)
            origin.stop()

    def ask(self, cookie: str = "") -> Response:
        """One request, which brings this cookie."""
        return ask(self.port, headers={"Cookie": cookie} if cookie else None)

    def test_a_client_stays(self) -> None:
        """The first answer sets the cookie, the following go to the same origin and set none; a forged one is replaced."""
        first = self.ask()
        line = first.headers["Set-Cookie"]
        self.assertRegex(line, r"^node=[0-9a-f]{32}; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax$")
        cookie = line.partition(";")[0]
        for _ in range(6):
            again = self.ask(cookie)
            self.assertEqual((again.body, again.headers["Set-Cookie"]), (first.body, None))
        self.assertEqual({self.ask().body for _ in range(6)}, {b"0", b"1", b"2"})
        for forged in ("node=" + "0" * 32, "node=x", "node="):
            self.assertIsNotNone(self.ask(forged).headers["Set-Cookie"])

    def test_its_origin_dies(self) -> None:
        """The request is answered by another origin, whose cookie the client gets with that answer."""
        first = self.ask()
        cookie = first.headers["Set-Cookie"].partition(";")[0]
        self.end(self.origins[int(first.body)])
        other = self.ask(cookie)
        self.assertEqual(other.status, 200)
        self.assertNotEqual(other.body, first.body)
        moved = other.headers["Set-Cookie"].partition(";")[0]
        self.assertNotEqual(moved, cookie)
        until("it stays there", lambda: self.ask(moved).body == other.body)
