"""Where everything stands: objects, messages, references, single values, defaults."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import GOOD, loaded, text, write
from voltgw.config.load import load
from voltgw.config.model import Said
from voltgw.errors import Place


def short(place: Place) -> str:
    """Line and column."""
    return f"{place.line}:{place.column}"


class ObjectPlaceTests(SynchronousTestCase):
    def test_every_part_of_an_object(self) -> None:
        """Whether the value remembers its place or the text must be read again."""
        host = loaded(GOOD).of("virtual_host")["default", "shop"]
        for path, expected in (
            ((), "4:3"), (("domains",), "7:14"), (("domains", 1), "7:33"), (("proxy",), "8:12"), (("routes", 0), "10:21"),
            (("metadata",), "5:13"), (("metadata", "labels"), "5:34"), (("metadata", "name"), "5:20"),
            (("idle_timeout",), "7:5"), (("metadata", "description"), "5:13"), (("domains", 9), "7:14"),
        ):
            self.assertEqual(short(host.place(*path)), expected, path)

    def test_deep_inside(self) -> None:
        """By the fields' names or by the attributes', also where one value stands for a list of one."""
        route = loaded(GOOD).of("route")["default", "shop"]
        for path, expected in (
            (("routes", 0), "18:7"), (("routes", 0, "match", 0, "path"), "19:15"), (("routes", 0, "match", 0, "path", "prefix"), "19:24"),
            (("routes", 0, "route_destination", "timeout"), "27:18"), (("routes", 0, "route_destination", "timeout_s"), "27:18"),
            (("routes", 0, "route_destination", "destinations", 1, "cluster", 0), "25:28"), (("routes", 2), "30:7"),
            (("routes", 1, "route_redirect", "response_code"), "29:60"),
        ):
            self.assertEqual(short(route.place(*path)), expected, path)

    def test_other_spellings_are_found(self) -> None:
        """Camel case, older names, blocks around groups, nested storage forms, single values for lists."""
        config = loaded("""
            - kind: endpoint
              metadata: {name: a}
              spec: {gc_spec: {dnsNameAdvance: {name: a.b, refreshInterval: 10}, port: 80}}
            - kind: endpoint
              metadata: {name: b}
              spec: {endpoint_address: {ip: 192.0.2.1}, port: 80}
            - kind: cluster
              metadata: {name: c}
              spec: {endpoints: a}
        """)
        a, b = (config.of("endpoint")["default", name] for name in "ab")
        self.assertEqual(short(a.place("dns_name_advanced", "refresh_interval")), "3:65")
        self.assertEqual(short(a.place("dns_name_advanced")), "3:36")
        self.assertEqual(short(b.place("ip")), "6:33")
        self.assertEqual(short(config.of("cluster")["default", "c"].place("endpoints", 0)), "9:21")

    def test_a_value_behind_an_alias(self) -> None:
        """The text of the object alone does not have it; the object's own place is the next best."""
        config = loaded("objects:\n- {kind: endpoint, metadata: {name: a}, spec: &s {ip: 192.0.2.1, port: 80}}\n"
                        "- {kind: endpoint, metadata: {name: b}, spec: *s}\n")
        self.assertEqual(short(config.of("endpoint")["default", "b"].place("port")), "3:3")

    def test_when_the_file_has_changed_since(self) -> None:
        """Places that are remembered stay; others become the object's."""
        folder = write(self.mktemp(), {"main.yaml": GOOD})
        host = load(folder / "main.yaml", environ={}).of("virtual_host")["default", "shop"]
        (folder / "main.yaml").write_text("# changed\n" + GOOD)
        self.assertEqual(short(host.place("domains", 1)), "4:3")
        self.assertEqual(short(host.place("routes", 0)), "10:21")
        (folder / "main.yaml").unlink()
        self.assertEqual(short(host.place("domains", 1)), "4:3")

    def test_lines_of_places(self) -> None:
        """For carets and for `explain`."""
        config = loaded(GOOD)
        self.assertEqual(config.line(config.of("virtual_host")["default", "shop"].place("proxy")), "    proxy: HTTP_PROXY")
        self.assertEqual(config.line(Place("elsewhere", 1, 1)), "")


class WhenceTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Defaults in one file, objects in another."""
        self.folder: Path = write(self.mktemp(), {
            "main.yaml": text("""
                defaults:
                  cluster:
                    connection_timeout: 1s
                    circuit_breaker: {retries: 5}
                  route: {route_destination: {timeout: 7s}}
                include: [a.yaml]
            """),
            "a.yaml": text("""
                - kind: cluster
                  metadata: {name: a}
                  spec: {http_idle_timeout: 5s}
                - kind: route
                  metadata: {name: r}
                  spec: {routes: [{route_destination: {destinations: [{cluster: a}]}}]}
            """)})
        self.config = load(self.folder / "main.yaml", environ={})

    def test_who_said_a_value(self) -> None:
        """The object's file, the defaults' file, or nobody."""
        cluster = self.config.of("cluster")["default", "a"]
        for path, said, name, place in (
            (("http_idle_timeout",), Said.FILE, "a.yaml", "3:29"), (("connection_timeout",), Said.DEFAULTS, "main.yaml", "3:25"),
            (("circuit_breaker", "retries"), Said.DEFAULTS, "main.yaml", "4:32"),
            (("outlier_detection",), Said.NOBODY, "a.yaml", "3:9"), ((), Said.FILE, "a.yaml", "1:3"),
        ):
            whence = cluster.whence(*path)
            self.assertEqual((whence.said, Path(whence.place.file).name, short(whence.place)), (said, name, place), path)

    def test_messages_of_defaults_alone_have_their_place_there(self) -> None:
        """Without reading anything again."""
        place = self.config.of("cluster")["default", "a"].place("circuit_breaker")
        self.assertEqual((Path(place.file).name, short(place)), ("main.yaml", "4:22"))

    def test_defaults_of_a_routes_rules(self) -> None:
        """Each rule has them."""
        whence = self.config.of("route")["default", "r"].whence("routes", 0, "route_destination", "timeout")
        self.assertEqual((whence.said, short(whence.place)), (Said.DEFAULTS, "5:40"))
