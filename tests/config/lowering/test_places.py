"""Where the objects stand that views become: in the fields that made them, also when the file around them is edited."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.config.lowering.making import HTTP, POOL
from tests.config.making import loaded, text
from voltgw.config.effective import text_of
from voltgw.config.load import Cache, load
from voltgw.config.model import Config, Said
from voltgw.config.pieces import SMALL
from voltgw.config.show import effective

SOURCE = """
    defaults: {origin_pool: {port: 81, advanced_options: {connection_timeout: 1s}}}
    objects:
    - kind: http_loadbalancer
      metadata: {name: x}
      spec:
        domains: [a.example,
                  b.example]
        advertise_custom:
          advertise_where:
          - site: {site: local, network: SITE_NETWORK_INSIDE}
            port: 8080
        routes:
        - simple_route:
            path: {prefix: /api/}
            origin_pools:
            - pool: x
              weight: 5
            advanced_options:
              timeout: 1000
        default_route_pools:
        - pool: x
        more_option:
          idle_timeout: 5000
    - kind: origin_pool
      metadata: {name: x}
      spec:
        origin_servers:
        - public_ip: {ip: 192.0.2.7}
        - public_name:
            dns_name: app.example
        healthcheck: [h]
    - kind: healthcheck
      metadata: {name: h}
      spec: {tcp_health_check: {}, interval: 5, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 1}
"""


class PlaceTests(SynchronousTestCase):
    def place(self, config: Config, kind: str, name: str, *path: str | int) -> str:
        """Line and column of a part of an object."""
        place = config.objects[kind]["default", name].place(*path)
        return f"{place.line}:{place.column}"

    def test_every_part_stands_in_the_field_that_made_it(self) -> None:
        """Objects, messages, values; in either spelling of a field's name; what nobody said stands in the nearest part."""
        config = loaded(SOURCE)
        second = next(name for _, name in list(config.of("endpoint"))[1:])
        for kind, name, path, expected in (
            ("virtual_host", HTTP, (), "3:3"), ("virtual_host", HTTP, ("domains", 1), "7:15"),
            ("virtual_host", HTTP, ("idle_timeout",), "23:21"), ("virtual_host", HTTP, ("idle_timeout_s",), "23:21"),
            ("virtual_host", HTTP, ("compression_params",), "3:3"), ("virtual_host", HTTP, ("metadata", "name"), "4:20"),
            ("advertise_policy", HTTP, (), "10:15"), ("advertise_policy", HTTP, ("port",), "11:15"),
            ("advertise_policy", HTTP, ("where", "site", "network_type"), "10:38"),
            ("route", HTTP, (), "3:3"), ("route", HTTP, ("routes", 0), "14:9"),
            ("route", HTTP, ("routes", 0, "match", 0, "path"), "14:15"),
            ("route", HTTP, ("routes", 0, "match", 0, "path", "prefix"), "14:24"),
            ("route", HTTP, ("routes", 0, "route_destination", "timeout"), "19:20"),
            ("route", HTTP, ("routes", 0, "route_destination", "destinations", 0), "16:11"),
            ("route", HTTP, ("routes", 0, "route_destination", "destinations", 0, "weight"), "17:19"),
            ("route", HTTP, ("routes", 1), "21:7"), ("cluster", POOL, (), "24:3"), ("cluster", POOL, ("health_checks", 0), "31:19"),
            ("endpoint", second, (), "29:7"), ("endpoint", second, ("dns_name",), "30:19"),
            ("cluster", POOL, ("connection_timeout",), "1:75"), ("endpoint", second, ("port",), "1:32"),
        ):
            self.assertEqual(self.place(config, kind, name, *path), expected, f"{kind} {path}")

    def test_references_to_what_was_made(self) -> None:
        """They stand in the field that they come from."""
        config = loaded(SOURCE)
        host = config.of("virtual_host")["default", HTTP].spec
        places = [ref.place for ref in (*host.advertise_policies, *config.of("cluster")["default", POOL].spec.endpoints)]
        self.assertEqual([(place.line, place.column) for place in places], [(10, 15), (28, 7), (29, 7)])

    def test_who_said_it(self) -> None:
        """The file, `defaults:`, or the view as such."""
        cluster = loaded(SOURCE).of("cluster")["default", POOL]
        self.assertIs(cluster.whence("health_checks").said, Said.FILE)
        self.assertIs(cluster.whence("connection_timeout").said, Said.DEFAULTS)
        route = loaded(SOURCE).of("route")["default", HTTP]
        self.assertIs(route.whence("routes", 0, "route_destination", "timeout").said, Said.FILE)
        self.assertIs(route.whence("routes", 1, "route_destination", "timeout").said, Said.FORM)

    def test_what_they_were_made_from(self) -> None:
        """Messages say it."""
        config = loaded(SOURCE)
        made = config.of("cluster")["default", POOL]
        self.assertEqual(made.form, 'origin_pool "x"')
        self.assertIs(made.owner, config.objects["origin_pool"]["default", "x"])
        self.assertTrue(config.objects["origin_pool"]["default", "x"].lowered)
        self.assertEqual((config.objects["healthcheck"]["default", "h"].form, made.lowered), ("", False))


class MovingTests(SynchronousTestCase):
    def test_edits_above_a_view_in_a_large_file(self) -> None:
        """What was made from it stays the very same, and moves with it."""
        path = Path(self.mktemp())
        filler = "".join(f"- kind: endpoint\n  metadata: {{name: e{n}}}\n  spec: {{ip: 192.0.2.1, port: 80}}\n" for n in range(900))
        objects = text(SOURCE).partition("objects:\n")[2]
        path.write_text(f"objects:\n- kind: endpoint\n  metadata: {{name: f}}\n  spec: {{ip: 192.0.2.1, port: 80}}\n{objects}{filler}")
        self.assertGreater(path.stat().st_size, SMALL)
        path.write_text(path.read_text().replace("- public_ip", "- public_ip", 1).replace("    healthcheck: [h]", "    healthcheck: [h]\n    port: 81"))
        cache = Cache()
        before = load(path, environ={}, cache=cache)
        line = before.of("cluster")["default", POOL].place("health_checks", 0).line
        path.write_text("# one\n# two\n" + path.read_text())
        after = load(path, environ={}, cache=cache)
        for kind, key in (("cluster", POOL), ("virtual_host", HTTP), ("route", HTTP), ("advertise_policy", HTTP)):
            self.assertIs(after.objects[kind]["default", key], before.objects[kind]["default", key])
        self.assertEqual(after.of("cluster")["default", POOL].place("health_checks", 0).line, line + 2)
        self.assertEqual(after.of("virtual_host")["default", HTTP].spec.advertise_policies[0].place.line,
                         after.of("advertise_policy")["default", HTTP].place().line)

    def test_a_changed_view_is_made_anew_and_alone(self) -> None:
        """The others stay as they are."""
        path = Path(self.mktemp())
        views = "".join(
            f"- kind: origin_pool\n  metadata: {{name: p{n}}}\n  spec:\n    origin_servers: [{{public_ip: {{ip: 192.0.2.1}}}}]\n    port: 80\n"
            for n in range(600))
        path.write_text("objects:\n" + views)
        self.assertGreater(path.stat().st_size, SMALL)
        cache = Cache()
        before = load(path, environ={}, cache=cache)
        path.write_text(path.read_text().replace("{name: p7}\n  spec:", "{name: p7}\n  spec:\n    healthcheck: [h]"))
        after = load(path, environ={}, cache=cache)
        changed = [key[1] for key, one in after.of("cluster").items() if before.of("cluster")[key] is not one]
        self.assertEqual(changed, ["ves-io-origin-pool-p7"])


class ShownTests(SynchronousTestCase):
    def test_the_effective_configuration_has_what_acts(self) -> None:
        """The objects with their origins, and not the views; only what files say has the views alone."""
        config = loaded(SOURCE)
        shown = text_of(config, everything=True)
        self.assertRegex(shown, r'- kind: cluster +# made from origin_pool "x", voltgw.yaml:24:3')
        self.assertRegex(shown, r"connection_timeout: 1s +# defaults, voltgw.yaml:1:75")
        self.assertNotIn("kind: origin_pool", shown)
        said = text_of(config, everything=False)
        self.assertIn("kind: origin_pool", said)
        self.assertNotIn("kind: cluster", said)

    def test_it_is_a_configuration_of_its_own(self) -> None:
        """Which means the same, without any view."""
        config = loaded(SOURCE)
        again = loaded(text_of(config, everything=True))
        for kind in ("virtual_host", "route", "advertise_policy", "cluster", "endpoint", "healthcheck"):
            self.assertEqual(again.objects[kind], config.objects[kind])
        self.assertNotIn("http_loadbalancer", again.objects)

    def test_as_data(self) -> None:
        """The admin interface shows the same."""
        kinds = {one["kind"] for one in effective(loaded(SOURCE))["objects"]}
        self.assertEqual(kinds, {"virtual_host", "route", "advertise_policy", "cluster", "endpoint", "healthcheck"})
