"""What is other in a configuration than in an earlier one, and what a result was made from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import write
from voltgw.config import watch
from voltgw.config.load import Cache, load
from voltgw.config.model import Config
from voltgw.config.values import Ref
from voltgw.config.watch import Touched, Watching, touched


def endpoint(name: str, port: int = 80, namespace: str = "default", disable: bool = False) -> str:
    """An object without references."""
    metadata = f"{{name: {name}, namespace: {namespace}, disable: {str(disable).lower()}}}"
    return f"- {{kind: endpoint, metadata: {metadata}, spec: {{ip: 192.0.2.1, port: {port}}}}}\n"


def cluster(name: str, *endpoints: str, namespace: str = "default") -> str:
    """An object that refers to endpoints, of the kind that may live in `shared`."""
    return (f"- {{kind: cluster, metadata: {{name: {name}, namespace: {namespace}}}, "
            f"spec: {{endpoints: [{', '.join(endpoints)}]}}}}\n")


class WatchCase(SynchronousTestCase):
    """Loads files, an object in each, so that those which do not change stay the same Python objects."""

    def setUp(self) -> None:
        """A folder and a cache."""
        self.folder = Path(self.mktemp())
        self.cache = Cache()

    def load(self, gateway: str = "", **files: str) -> Config:
        """The configuration of these files and of no others."""
        for old in self.folder.glob("*.yaml"):
            old.unlink()
        write(str(self.folder), {"main.yaml": f"gateway: {{{gateway}}}\ninclude: ['?*.yaml']\n",
                                 **{f"{name}.yaml": f"objects:\n{text}" for name, text in files.items()}})
        return load(self.folder / "main.yaml", environ={}, cache=self.cache)

    def touched(self, before: Config, after: Config) -> Touched | None:
        """`touched`, at once."""
        steps = touched(before, after)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                found: Touched | None = done.value
                return found


class TouchedTests(WatchCase):
    def test_nothing(self) -> None:
        """Reading the same files again touches nothing."""
        before = self.load(a=endpoint("a"), b=endpoint("b"))
        found = self.touched(before, self.load(a=endpoint("a"), b=endpoint("b")))
        assert found is not None
        self.assertEqual(found, Touched((), frozenset(), frozenset()))

    def test_changed_new_and_gone(self) -> None:
        """Each in its way; the untouched one is not among them."""
        before = self.load(a=endpoint("a"), b=endpoint("b"), c=endpoint("c"))
        after = self.load(a=endpoint("a"), b=endpoint("b", 81), d=endpoint("d"))
        found = self.touched(before, after)
        assert found is not None
        of = {name: (before.objects["endpoint"].get(("default", name)), after.objects["endpoint"].get(("default", name)))
              for name in "abcd"}
        self.assertCountEqual(found.pairs, [of["b"], of["c"], of["d"]])
        self.assertEqual(found.gone, {id(of["b"][0]), id(of["c"][0])})
        self.assertEqual(found.names, {("endpoint", ("default", "d"))})
        self.assertEqual(found.kinds(), {"endpoint"})

    def test_a_kind_that_comes_or_goes(self) -> None:
        """There need not be objects of it on both sides."""
        without = self.load(a=endpoint("a"))
        found = self.touched(without, self.load(a=endpoint("a"), b=cluster("b", "a")))
        assert found is not None
        self.assertEqual(found.names, {("cluster", ("default", "b"))})
        with_it = self.load(a=endpoint("a"), b=cluster("b", "a"))
        found = self.touched(with_it, self.load(a=endpoint("a")))
        assert found is not None
        self.assertEqual([pair[1] for pair in found.pairs], [None])

    def test_what_everything_depends_on(self) -> None:
        """With another gateway part, or another site, everything has to be looked at."""
        before = self.load(a=endpoint("a"))
        self.assertIsNone(self.touched(before, self.load("site: paris", a=endpoint("a"))))
        site = "- {kind: site, metadata: {name: local, namespace: system}, spec: {outside_vip: 192.0.2.%d}}\n"
        before = self.load(a=endpoint("a"), s=site % 1)
        self.assertIsNone(self.touched(before, self.load(a=endpoint("a"), s=site % 2)))
        self.assertIsNotNone(self.touched(before, self.load(a=endpoint("a"), s=site % 1)))

    def test_steps(self) -> None:
        """There is one for so many objects."""
        self.patch(watch, "STEP", 10)
        before = self.load(a="".join(endpoint(f"e{number}") for number in range(100)))
        after = dataclasses.replace(before, objects={"endpoint": dict(before.objects["endpoint"])})
        self.assertGreaterEqual(sum(1 for _ in touched(before, after)), 10)


class WatchingTests(WatchCase):
    def test_it_holds(self) -> None:
        """As long as what was found is the same, and what was not is not there: whatever else changes."""
        before = self.load(a=endpoint("a"), c=cluster("c", "a"), x=endpoint("x"))
        looked = Watching.over(before)
        found = looked.find("cluster", Ref(None, "c"), "team")
        self.assertIsNone(found)                # it lives in `default`
        self.assertIs(looked.find("endpoint", Ref(None, "a"), "default"), before.of("endpoint")["default", "a"])
        made = looked.watch()
        self.assertEqual(len(made.missing), 2)  # in `team`, and in `shared`, where clusters may live, too
        for other, holds in (
                ({"x": endpoint("x", 81), "y": endpoint("y")}, True), ({"a": endpoint("a", 81)}, False), ({"a": ""}, False),
                ({"t": cluster("c", "team/b", namespace="team"), "b": endpoint("b", namespace="team")}, False),
                ({"t": cluster("c", "shared/b", namespace="shared"), "b": endpoint("b", namespace="shared")}, False)):
            after = self.load(**{"a": endpoint("a"), "c": cluster("c", "a"), "x": endpoint("x"), **other})
            changed = self.touched(before, after)
            assert changed is not None
            self.assertIs(made.holds(changed), holds, other)

    def test_disabled_ones_count(self) -> None:
        """One that was passed over because it is disabled may be switched on."""
        before = self.load(a=endpoint("a", disable=True))
        looked = Watching.over(before)
        self.assertIsNone(looked.find("endpoint", Ref(None, "a"), "default"))
        made = looked.watch()
        changed = self.touched(before, self.load(a=endpoint("a")))
        assert changed is not None
        self.assertFalse(made.holds(changed))

    def test_each_watch_begins_anew(self) -> None:
        """What one was made from is not part of the next."""
        looked = Watching.over(self.load(a=endpoint("a")))
        looked.find("endpoint", Ref(None, "a"), "default")
        self.assertEqual(len(looked.watch().ids), 1)
        self.assertEqual(looked.watch(), watch.Watch((), ()))

    def test_it_is_the_same_configuration(self) -> None:
        """In everything that it is asked."""
        config = self.load(a=endpoint("a"), b=endpoint("b", disable=True))
        looked = Watching.over(config)
        self.assertEqual((looked.of("endpoint"), looked.gateway, looked.digest), (config.of("endpoint"), config.gateway, config.digest))
