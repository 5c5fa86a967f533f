"""What a second load costs: unchanged files and unchanged objects come back as the same Python objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import text, write
from tests.fuzz.settings import examples
from voltgw.config import load as load_module
from voltgw.config import origin, pieces
from voltgw.config.document import read_object
from voltgw.config.load import Cache, load, load_text, loading
from voltgw.config.model import Config, Object
from voltgw.config.pieces import cut
from voltgw.errors import ConfigError, ConfigErrors, Place


def endpoint(number: int, port: int = 80) -> str:
    """An object as an item of ``objects:``, three lines long."""
    return f"- kind: endpoint\n  metadata: {{name: e{number}}}\n  spec: {{ip: 192.0.2.1, port: {port}}}\n"


def cluster(number: int) -> str:
    """An object with references, two lines long."""
    return f"- kind: cluster\n  metadata: {{name: c{number}}}\n  spec: {{endpoints: [e{number}], dns_lookup_family: V4_ONLY}}\n"


class CacheCase(SynchronousTestCase):
    """Loads files again and again with one cache."""

    def setUp(self) -> None:
        """A folder and a cache."""
        self.folder = Path(self.mktemp())
        self.cache = Cache()

    def files(self, **contents: str) -> None:
        """Write files; two underscores stand for the dot."""
        write(str(self.folder), {name.replace("__", "."): content for name, content in contents.items()})

    def load(self, environ: dict[str, str] | None = None) -> Config:
        """The configuration."""
        return load(self.folder / "main.yaml", environ=environ or {}, cache=self.cache)

    def same(self, one: Config, other: Config, kind: str = "endpoint") -> dict[str, bool]:
        """Which objects are the very same ones in both configurations, by name."""
        return {key[1]: other.objects[kind].get(key) is found for key, found in one.objects[kind].items()}


class FileTests(CacheCase):
    def test_unchanged_files_give_the_same_objects(self) -> None:
        """Only the changed file is read."""
        self.files(main__yaml="include: ['*.yaml']", a__yaml="objects:\n" + endpoint(1), b__yaml="objects:\n" + endpoint(2))
        first = self.load()
        self.assertEqual(self.same(first, self.load()), {"e1": True, "e2": True})
        self.files(a__yaml="objects:\n" + endpoint(1, 81))
        second = self.load()
        self.assertEqual(self.same(first, second), {"e1": False, "e2": True})
        self.assertEqual(second.of("endpoint")["default", "e1"].spec.port, 81)

    def test_a_file_that_is_gone(self) -> None:
        """Its objects go with it, also from the cache."""
        self.files(main__yaml="include: ['*.yaml']", a__yaml="objects:\n" + endpoint(1), b__yaml="objects:\n" + endpoint(2))
        self.load()
        (self.folder / "a.yaml").unlink()
        self.assertEqual([name for _, name in self.load().of("endpoint")], ["e2"])
        self.assertNotIn(str(self.folder.resolve() / "a.yaml"), self.cache.entries)

    def test_defaults_are_part_of_it(self) -> None:
        """Other defaults make other objects, the same ones do not."""
        self.files(main__yaml="defaults: {cluster: {connection_timeout: 1s}}\ninclude: [a.yaml]", a__yaml="objects:\n" + cluster(1))
        first = self.load()
        self.files(main__yaml="# moved\ndefaults: {cluster: {connection_timeout: 1000}}\ninclude: [a.yaml]")
        self.assertEqual(self.same(first, self.load(), "cluster"), {"c1": True})
        self.files(main__yaml="defaults: {cluster: {connection_timeout: 2s}}\ninclude: [a.yaml]")
        self.assertEqual(self.load().of("cluster")["default", "c1"].spec.connection_timeout_s, 2.0)

    def test_variables_and_referred_files_are_part_of_it(self) -> None:
        """A rotated certificate is a change."""
        self.files(main__yaml="include: [a.yaml]", page="one", a__yaml=(
            "objects:\n- kind: endpoint\n  metadata: {name: e}\n  spec: {dns_name: '${HOST}', port: 80}\n"
            "- kind: route\n  metadata: {name: r}\n  spec: {routes: [{route_direct_response: {response_body_encoded: 'file:page'}}]}\n"))
        first = self.load({"HOST": "a", "X": "1"})
        self.assertEqual(self.same(first, self.load({"HOST": "a", "X": "2"})), {"e": True})
        self.assertEqual(self.same(first, self.load({"HOST": "b"})), {"e": False})
        second = self.load({"HOST": "a"})
        self.files(page="two")
        self.assertEqual(self.same(second, self.load({"HOST": "a"}), "route"), {"r": False})

    def test_problems_are_told_again(self) -> None:
        """An unchanged file with an error has it still."""
        self.files(main__yaml="objects:\n" + endpoint(1).replace("port: 80", "port: x"))
        for _ in range(2):
            with self.assertRaises(ConfigErrors) as caught:
                self.load()
            self.assertEqual(caught.exception.problems[0].source.strip(), "spec: {ip: 192.0.2.1, port: x}")

    def test_warnings_are_told_again_and_obey_the_gateway_of_today(self) -> None:
        """Whether a field may be ignored is said in the main file, not in the one that uses it."""
        self.files(main__yaml="include: [a.yaml]",
                   a__yaml="objects:\n- kind: virtual_host\n  metadata: {name: c}\n  spec: {domains: [a.example], js_challenge: {}}\n")
        self.assertRaises(ConfigErrors, self.load)
        self.files(main__yaml="gateway: {allow_unenforced: [virtual_host.js_challenge]}\ninclude: [a.yaml]")
        config = self.load()
        self.assertEqual(config.unenforced, ("virtual_host.js_challenge",))

    def test_steps(self) -> None:
        """At least one for each file, so that a reactor may do something else in between."""
        self.files(main__yaml="include: ['*.yaml']", **{f"f{n}__yaml": "objects:\n" + endpoint(n) for n in range(5)})
        steps = loading(self.folder / "main.yaml", environ={}, cache=self.cache)
        count = 0
        while True:
            try:
                next(steps)
                count += 1
            except StopIteration as done:
                config: Config = done.value
                break
        self.assertEqual(len(config.of("endpoint")), 5)
        self.assertGreaterEqual(count, 6)


class PieceCase(CacheCase):
    """With pieces for small files, too."""

    def setUp(self) -> None:
        """Every file is a large one, and three objects are parsed together."""
        super().setUp()
        self.patch(pieces, "SMALL", 0)
        self.patch(pieces, "BATCH", 3)


class LargeFileTests(PieceCase):
    def test_one_changed_object_costs_one_object(self) -> None:
        """All others are the same Python objects, also those below it."""
        self.files(main__yaml="gateway: {site: x}\nobjects:\n" + "".join(map(endpoint, range(10))))
        first = self.load()
        self.files(main__yaml="gateway: {site: x}\nobjects:\n# new\n\n" + "".join(
            endpoint(n, 81 if n == 4 else 80) for n in range(10)) + "include: []\n")
        second = self.load()
        self.assertEqual([name for name, same in self.same(first, second).items() if not same], ["e4"])

    def test_places_follow_when_the_text_above_changes(self) -> None:
        """Of the object, of messages, references and scalars in it, and of its warnings."""
        self.files(main__yaml="objects:\n" + cluster(1) + endpoint(1))
        first = self.load()
        one = first.of("cluster")["default", "c1"]
        name = str(self.folder / "main.yaml")
        self.assertEqual((one.place(), one.spec.endpoints[0].place), (Place(name, 2, 3), Place(name, 4, 22)))
        self.files(main__yaml="# a\n# b\nobjects:\n" + endpoint(2) + cluster(1) + endpoint(1))
        second = self.load()
        self.assertIs(second.of("cluster")["default", "c1"], one)
        self.assertEqual((one.place(), one.spec.endpoints[0].place), (Place(name, 7, 3), Place(name, 9, 22)))
        self.assertEqual(one.place("dns_lookup_family"), Place(name, 9, 46))
        self.assertEqual([warning.place for warning in second.warnings], [Place(name, 9, 46)])

    def test_the_same_text_twice_is_the_same_object_twice(self) -> None:
        """The cache must not make one of two."""
        for _ in range(2):
            self.files(main__yaml="objects:\n" + endpoint(1) + endpoint(2) + endpoint(1))
            with self.assertRaises(ConfigErrors) as caught:
                self.load()
            self.assertEqual([(p.code, p.place.line) for p in caught.exception.problems], [("VG0109", 9)])

    def test_streams_are_cut_at_their_markers(self) -> None:
        """Each document is a piece."""
        def document(number: int, port: int = 80) -> str:
            return f"kind: endpoint\nmetadata: {{name: e{number}}}\nspec: {{ip: 192.0.2.1, port: {port}}}\n"

        self.files(main__yaml="include: [a.yaml]", a__yaml="---\n".join(map(document, range(5))))
        first = self.load()
        self.files(a__yaml="---  # first\n" + "---\n".join(document(n, 81 if n == 2 else 80) for n in range(5)))
        self.assertEqual([name for name, same in self.same(first, self.load()).items() if not same], ["e2"])

    def test_a_mistake_in_one_piece(self) -> None:
        """The message is the one that reading the whole file gives."""
        good = "objects:\n" + "".join(map(endpoint, range(6)))
        for bad in (good.replace("port: 80}", "port: x}", 4), good + "- {kind: [}\n", good + "- 5\n", good + "  oops\n",
                    good.replace("{name: e3}", "{name: e2}"), good + "gatewy: {}\n", good + "objects: []\n"):
            self.files(main__yaml=bad)
            with self.assertRaises(ConfigErrors) as pieced:
                self.load()
            with self.assertRaises(ConfigErrors) as whole:
                self.patch(pieces, "SMALL", 1 << 30)
                load(self.folder / "main.yaml", environ={})
            self.patch(pieces, "SMALL", 0)
            self.assertEqual(pieced.exception.problems, whole.exception.problems)

    def test_a_mistake_costs_no_more_than_itself(self) -> None:
        """Where it is in one object, no other is read again for it, neither when it is made nor when it is mended."""
        good = "objects:\n" + "".join(map(endpoint, range(60)))
        self.files(main__yaml=good)
        first = self.load()
        read: list[str] = []

        def note(node: Any, *rest: Any) -> Iterator[Object[Any]]:
            for one in read_object(node, *rest):
                read.append(one.name)
                yield one

        self.patch(load_module, "read_object", note)
        for bad, code in ((good.replace(endpoint(30), endpoint(30).replace("port", "prot")), "VG0101"), (good.replace("name: e30", "name: e29"), "VG0109")):
            self.files(main__yaml=bad)
            with self.assertRaises(ConfigErrors) as caught:
                self.load()
            self.assertIn(code, [problem.code for problem in caught.exception.problems])
            self.files(main__yaml=good)
            second = self.load()
        self.assertEqual(read, ["e30", "e29", "e30"])       # the misspelt one gave no object
        self.assertEqual([name for name, same in self.same(first, second).items() if not same], ["e30"])

    def test_what_is_no_yaml_is_found_in_steps(self) -> None:
        """To say where, the whole file has to be gone over: a little at a time."""
        self.patch(origin, "_EVENTS", 10)
        self.files(main__yaml="objects:\n" + "".join(map(endpoint, range(40))) + "- {kind: [}\n")
        steps = loading(self.folder / "main.yaml", environ={}, cache=self.cache)
        count = 0
        with self.assertRaises(ConfigErrors) as caught:
            for _ in steps:
                count += 1
        self.assertEqual([(problem.code, problem.place.line) for problem in caught.exception.problems], [("VG0001", 122)])
        self.assertGreater(count, 50)

    def test_files_that_stay_cost_few_steps_of_putting_together(self) -> None:
        """Objects that stand where others stood replace them; the rest is not put together again. The order is the file's."""
        self.files(main__yaml="include: [a.yaml, b.yaml]", a__yaml="objects:\n" + endpoint(1) + endpoint(2), b__yaml="objects:\n" + endpoint(3))
        first = self.load()
        assembled: list[int] = []
        real = load_module._assembled

        def count(entries: Any) -> Any:
            assembled.append(1)
            return real(entries)

        self.patch(load_module, "_assembled", count)
        self.files(a__yaml="objects:\n" + endpoint(1, 81) + endpoint(2))
        second = self.load()
        self.assertEqual((assembled, [key[1] for key in second.of("endpoint")]), ([], ["e1", "e2", "e3"]))
        self.assertEqual(second.of("endpoint")["default", "e1"].spec.port, 81)
        self.assertEqual(first.of("endpoint")["default", "e1"].spec.port, 80)
        self.files(a__yaml="objects:\n" + endpoint(2) + endpoint(1, 81))
        self.assertEqual([key[1] for key in self.load().of("endpoint")], ["e2", "e1", "e3"])
        self.assertEqual(assembled, [1])

    def test_all_parts_of_our_own_form_are_read(self) -> None:
        """Before and behind the list."""
        config = load_text(text("""
            gateway: {site: x}
            objects:   # many
              # first
              - kind: endpoint
                metadata: {name: a}
                spec: {ip: 192.0.2.1, port: "${PORT:-80}"}

              - kind: endpoint
                metadata: {name: b}
                spec: {ip: 192.0.2.1, port: 81}
            load_balancers:
            - {name: shop, listen: 8080, origins: ["127.0.0.1:9001"]}
        """))
        self.assertEqual(config.gateway.site, "x")
        self.assertEqual({key[1]: one.spec.port for key, one in config.of("endpoint").items()}, {"a": 80, "b": 81, "shop-1": 9001})
        self.assertEqual(config.of("virtual_host")["default", "shop"].place().line, 12)


def described(config: Config) -> list[tuple[Any, ...]]:
    """Everything of a configuration that cutting must not change, places included."""
    def whole(one: Object[Any]) -> tuple[Any, ...]:
        return (one.kind, one.key, one.metadata, repr(one.spec), one.place(), one.place("spec_of_nothing"))

    return [whole(one) for objects in config.objects.values() for one in objects.values()]


_ITEM = st.sampled_from([
    "- {kind: endpoint, metadata: {name: %d}, spec: {ip: 192.0.2.1, port: 1}}\n",
    "- kind: endpoint\n  metadata: {name: %d}\n  spec:\n    ip: 192.0.2.1\n    port: 1\n",
    "-\n  kind: endpoint\n  metadata: {name: %d}\n  spec: {ip: 192.0.2.1, port: 1}\n",
    "- # comment\n  kind: cluster\n  metadata:\n    name: %d\n    description: |\n      - kind: text\n      objects:\n\n      --- no\n",
    "- kind: cluster\n  metadata: {name: %d, description: 'a\n\n    - b'}\n# - kind: none\n\n",
    "- kind: cluster\n  metadata: {name: %d, labels: {a: \"- kind\"}}\n  spec: {endpoints: [x,\n   y]}\n",
    "- kind: cluster\n  metadata: {name: %d, description: \"a\n- kind: b\"}\n",
    "- &x\n  kind: cluster\n  metadata: {name: %d}\n  spec: {}\n", "- 5\n", "  - deeper\n", "- kind: nope\n", "-kind: x\n",
    "---\n", "---\nobjects:\n", "gateway: {}\n", "- !tag {kind: cluster}\n", "- kind: tunnel\n  metadata: {name: %d}\n  spec: *x\n",
    "- kind: cluster\n  metadata: {name: %d, description: 'open\n",
])


class CutTests(SynchronousTestCase):
    @given(st.lists(_ITEM, min_size=1, max_size=8), st.sampled_from(["objects:\n", "# c\nobjects: # d\n", "gateway: {}\nobjects:\n", ""]),
           st.integers(1, 3))
    @examples(250)
    def test_cutting_changes_nothing(self, items: list[str], head: str, batch: int) -> None:
        """Whatever the text, the configuration (or the list of errors) is that of the file as a whole."""
        source = head + "".join(item.replace("%d", f"n{number}") for number, item in enumerate(items))
        results: list[tuple[list[tuple[Any, ...]], tuple[ConfigError, ...]]] = []
        small, batches = pieces.SMALL, pieces.BATCH
        for limit in (1 << 30, 0):
            pieces.SMALL, pieces.BATCH = limit, batch      # type: ignore[misc]  # Final, except for this comparison
            try:
                results.append((described(load_text(source)), ()))
            except ConfigErrors as errors:
                results.append(([], errors.problems))
            finally:
                pieces.SMALL, pieces.BATCH = small, batches     # type: ignore[misc]  # as above
        self.assertEqual(results[0], results[1])

    def test_small_files_are_not_cut(self) -> None:
        """It would cost more than it saves."""
        self.assertIsNone(cut("objects:\n" + endpoint(1) + endpoint(2)))

    def test_pieces_begin_where_items_do(self) -> None:
        """And what is left keeps its lines."""
        self.patch(pieces, "SMALL", 0)
        source = "gateway: {}\nobjects:\n" + endpoint(1) + endpoint(2) + "include: []\n"
        found = cut(source)
        assert found is not None
        self.assertEqual([(piece.line, piece.item) for piece in found.pieces], [(2, True), (5, True)])
        self.assertEqual([source[piece.start:piece.end] for piece in found.pieces], [endpoint(1), endpoint(2)])
        self.assertEqual(found.rests, ("gateway: {}\nobjects:\n" + "\n" * 6 + "include: []\n",))
