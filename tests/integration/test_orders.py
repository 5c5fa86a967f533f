"""``voltgw drain|undrain|eject|weight`` as an operator uses them: what the origins receive."""

from __future__ import annotations

import sys
from collections import Counter
from io import StringIO
from shutil import rmtree
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import Gateway, ask, free_port
from tests.integration.test_clusters_envoy import Origin
from voltgw.cli.main import main
from voltgw.cli.remote import ask as remote


class OrdersTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Two origins behind a gateway whose admin interface is a Unix socket."""
        self.origins = [Origin(number) for number in range(2)]
        for origin in self.origins:
            self.addCleanup(origin.stop)
        folder = mkdtemp()                  # a socket's name may have 107 bytes, and trial's folders are deep
        self.addCleanup(rmtree, folder)
        self.socket = f"{folder}/admin.sock"
        self.port = free_port()
        self.gateway = Gateway(self, self.config())
        self.gateway.wait_ready()

    def config(self, timeout_ms: int = 2000, second: str = "") -> str:
        """One cluster; another `timeout_ms` makes it another cluster. `second` is what is said of the second origin."""
        return f"""
gateway: {{admin: {{unix: {self.socket}}}, monitor: {{address: 127.0.0.1, port: ADMIN}}}}
objects:
- {{kind: virtual_host, metadata: {{name: shop}}, spec: {{domains: ["*"], proxy: HTTP_PROXY, routes: [shop], advertise_policies: [here]}}}}
- {{kind: advertise_policy, metadata: {{name: here}}, spec: {{address: 127.0.0.1, protocol: TCP, port: {self.port}}}}}
- kind: route
  metadata: {{name: shop}}
  spec: {{routes: [{{match: [{{path: {{prefix: /}}}}], route_destination: {{destinations: [{{cluster: [shop]}}]}}}}]}}
- {{kind: cluster, metadata: {{name: shop}}, spec: {{endpoints: [o0, o1], connection_timeout: {timeout_ms}}}}}
""" + "".join(f"- {{kind: endpoint, metadata: {{name: o{each.number}}}, spec: {{ip: 127.0.0.1, port: {each.port}"
              f"{', ' + second if second and each.number else ''}}}}}\n" for each in self.origins)

    def command(self, act: str, *arguments: str) -> tuple[int, str]:
        """Exit status and everything that it printed."""
        out = StringIO()
        saved = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = out
        try:
            status = main([act, "--admin", self.socket, *arguments])
        finally:
            sys.stdout, sys.stderr = saved
        return status, out.getvalue()

    def received(self, count: int = 24) -> dict[bytes, int]:
        """Which origin answered how many of so many requests."""
        return dict(Counter(ask(self.port).body for _ in range(count)))

    def test_what_the_origins_receive(self) -> None:
        """Drained it gets nothing, over a reload that changes the cluster too; then by another weight; and all as before."""
        first = f"127.0.0.1:{self.origins[0].port}"
        self.assertEqual(self.received(), {b"0": 12, b"1": 12})
        self.assertEqual(self.command("drain", first), (0, f"drain {first} of default/shop: done\n"))
        self.assertEqual(self.received(), {b"1": 24})
        self.assertIn("an operator drains it", self.command("clusters")[1])
        _, facts = remote(self.socket, "GET", "/explain?url=http://shop.example/")
        self.assertIn("receives no traffic: an operator drains it", str(facts))
        said = self.command("clusters", "-v")[1]
        self.assertIn("weight 1, slow start 1, 0 % of the picks, priority 0", said)
        self.assertIn("weight 1, slow start 1, 100 % of the picks, priority 0", said)

        self.gateway.write(self.config(timeout_ms=1500))
        self.assertEqual(self.command("reload")[0], 0)
        self.assertEqual(self.received(), {b"1": 24})

        self.assertEqual(self.command("undrain", first)[0], 0)
        self.assertEqual(self.command("weight", first, "3", "--cluster", "shop")[0], 0)
        self.assertEqual(self.received(), {b"0": 18, b"1": 6})
        self.assertEqual(self.command("weight", first, "reset")[0], 0)
        self.assertEqual(self.command("eject", first, "5m")[0], 0)
        self.assertEqual(self.received(), {b"1": 24})
        self.assertEqual(self.command("undrain", first)[0], 0)
        self.assertEqual(self.received(), {b"0": 12, b"1": 12})

    def test_what_is_refused(self) -> None:
        """With the reason and status 1; nothing changes."""
        first = f"127.0.0.1:{self.origins[0].port}"
        for arguments, reason in (
            (("drain", "127.0.0.1:1"), "no cluster has an endpoint '127.0.0.1:1'"), (("weight", first, "NaN"), "no whole number"),
            (("eject", first, "2d"), "at most 86400 s"), (("drain", first, "--cluster", "none"), "there is no cluster 'none'"),
        ):
            status, said = self.command(*arguments)
            self.assertEqual(status, 1, arguments)
            self.assertIn(reason, said)
        self.assertEqual(self.received(), {b"0": 12, b"1": 12})

    def test_a_stand_by(self) -> None:
        """An endpoint of lower priority receives nothing until the first one is out, and nothing once that is back."""
        first = f"127.0.0.1:{self.origins[0].port}"
        self.gateway.write(self.config(second="voltgw: {priority: 1}"))
        self.assertEqual(self.command("reload")[0], 0)
        self.assertEqual(self.received(), {b"0": 24})
        self.assertIn("those of a higher priority than its 1 take everything", self.command("clusters")[1])
        self.assertEqual(self.command("drain", first)[0], 0)
        self.assertEqual(self.received(), {b"1": 24})
        self.assertEqual(self.command("undrain", first)[0], 0)
        self.assertEqual(self.received(), {b"0": 24})
