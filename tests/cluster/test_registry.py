"""Tests for `voltgw.registry`."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from voltgw.cluster.schedulers import round_robin
from voltgw.interfaces import IFactory
from voltgw.registry import BUILT_IN, SCHEDULERS, Registry, RegistryError

HERE = __name__


@implementer(IFactory)
class Sticky:
    """A factory of somebody else's."""

    name = "sticky"

    def options(self, raw: object, place: object) -> object:
        """Nothing to set."""
        return None


STICKY = Sticky()


class Nameless:
    """Not a factory at all."""


@implementer(IFactory)
class Halfway:                      # type: ignore[misc]  # the very point of it
    """Says that it is one, but lacks `options`."""

    name = "halfway"


class Outer:
    """Holds a factory."""

    inner = STICKY


def declaring(*entries: tuple[str, str]) -> Registry:
    """A registry in which these (name, value) are declared as schedulers."""
    def declared(group: str) -> Iterable[EntryPoint]:
        return [EntryPoint(name, value, group) for name, value in entries] if group == SCHEDULERS else []

    return Registry(declared=declared)


class RegistryTests(SynchronousTestCase):
    def assert_refused(self, registry: Registry, name: str, *words: str) -> None:
        """Asking for `name` fails, and the message has these words."""
        error = self.assertRaises(RegistryError, registry.find, SCHEDULERS, name)
        for word in (SCHEDULERS, *words):
            self.assertIn(word, str(error))

    def test_every_built_in(self) -> None:
        """Everything that is listed can be imported, is a factory, and has the name under which it is listed."""
        registry = Registry()
        for group, names in BUILT_IN.items():
            for name in names:
                factory: Any = registry.find(group, name)
                self.assertTrue(IFactory.providedBy(factory))
                self.assertEqual(factory.name, name)
            self.assertTrue(set(names) <= set(registry.names(group)))

    def test_found_once(self) -> None:
        """A factory is the same object every time."""
        registry = Registry()
        self.assertIs(registry.find(SCHEDULERS, "round_robin"), round_robin.FACTORY)
        self.assertIs(registry.find(SCHEDULERS, "round_robin"), registry.find(SCHEDULERS, "round_robin"))

    def test_one_of_another_package(self) -> None:
        """An entry point may name an object, a class, or something inside one."""
        for value in (f"{HERE}:STICKY", f"{HERE}:Sticky", f"{HERE}:Outer.inner"):
            registry = declaring(("sticky", value))
            self.assertIsInstance(registry.find(SCHEDULERS, "sticky"), Sticky)
            self.assertEqual(registry.names(SCHEDULERS), [*BUILT_IN[SCHEDULERS], "sticky"])

    def test_a_name_that_nobody_has(self) -> None:
        """The message offers what was probably meant, or all there is."""
        self.assert_refused(Registry(), "round_robbin", "'round_robbin'", "did you mean 'round_robin'?")
        self.assert_refused(Registry(), "xyz", "rendezvous, ring_hash, round_robin")
        error = self.assertRaises(RegistryError, Registry().find, "voltgw.nothing", "x")
        self.assertIn("there are: none", str(error))

    def test_a_name_that_two_claim(self) -> None:
        """A second owner of a name is refused, of a built-in one and of another package's."""
        taken = declaring(("round_robin", f"{HERE}:Sticky"))
        self.assert_refused(taken, "round_robin", "round_robin:FACTORY of voltgw", f"claimed by {HERE}:Sticky")
        self.assertRaises(RegistryError, taken.names, SCHEDULERS)
        self.assert_refused(declaring(("sticky", f"{HERE}:Sticky"), ("sticky", f"{HERE}:STICKY")), "sticky", "claimed by")

    def test_declared_twice_the_same(self) -> None:
        """The same value seen twice (a package that is found on two paths) is one owner."""
        registry = declaring(("sticky", f"{HERE}:Sticky"), ("sticky", f"{HERE}:Sticky"))
        self.assertIsInstance(registry.find(SCHEDULERS, "sticky"), Sticky)

    def test_what_cannot_be_loaded(self) -> None:
        """A missing module or attribute is named with its owner."""
        self.assert_refused(declaring(("sticky", "no.such.module:X")), "sticky", "cannot be loaded", "no.such.module")
        self.assert_refused(declaring(("sticky", f"{HERE}:Absent")), "sticky", "cannot be loaded", "Absent")

    def test_what_is_no_factory(self) -> None:
        """Something without the interface, without its methods, or with another name is refused."""
        self.assert_refused(declaring(("sticky", f"{HERE}:Nameless")), "sticky", "is not a factory")
        self.assert_refused(declaring(("halfway", f"{HERE}:Halfway")), "halfway", "is not a factory")
        self.assert_refused(declaring(("gluey", f"{HERE}:Sticky")), "gluey", "stands for 'sticky'")
