"""Every reference of a spec is found, wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from voltgw.config.compound import ListOf, MapOf, refs
from voltgw.config.kinds import KINDS
from voltgw.config.names import Reference
from voltgw.config.references import uses
from voltgw.config.schema import Nested, Plan, field, message, plan_of
from voltgw.config.types import Text, Type
from voltgw.config.values import FrozenMap, Ref


@message
class Inner:
    """Refers to a cluster."""

    cluster: Ref | None = field(Reference("cluster"), "One.")


@message
class Outer:
    """Refers to others in every way there is."""

    one: Ref | None = field(Reference("route"), "Directly.")
    several: tuple[Ref, ...] = field(refs("endpoint"), "In a list.")
    named: FrozenMap[str, Ref] = field(MapOf(Text(), Reference("site")), "In a map.")
    nested: Inner | None = field(Nested(Inner), "In a message.")
    listed: tuple[Inner, ...] = field(ListOf(Nested(Inner)), "In messages of a list.")
    mapped: FrozenMap[str, Inner] = field(MapOf(Text(), Nested(Inner)), "In messages of a map.")
    deeper: FrozenMap[str, tuple[Inner, ...]] = field(MapOf(Text(), ListOf(Nested(Inner))), "In lists of messages in a map.")


class UsesTests(SynchronousTestCase):
    def test_every_way(self) -> None:
        """Fields, lists, maps and messages, one in the other."""
        def inner(name: str) -> Inner:
            return Inner(cluster=Ref(None, name))

        spec = Outer(
            one=Ref(None, "a"), several=(Ref(None, "b"), Ref(None, "c")), named=FrozenMap({"x": Ref(None, "d")}), nested=inner("e"),
            listed=(inner("f"), Inner()), mapped=FrozenMap({"x": inner("g")}), deeper=FrozenMap({"x": (inner("h"), inner("i"))}))
        self.assertEqual([(use.ref.name, *use.kinds, use.field) for use in uses(spec)], [
            ("a", "route", "one"), ("b", "endpoint", "several"), ("c", "endpoint", "several"), ("d", "site", "named"),
            *((name, "cluster", "cluster") for name in "efghi")])

    def test_every_field_of_the_model(self) -> None:
        """A reference in each field that may hold one is found; none is hidden in a type that is not looked into."""
        plans = [plan for kind in KINDS.values() if (plan := kind.plan()) is not None]
        paths = [path for plan in plans for path in references(plan, ())]
        self.assertGreater(len(paths), 100)
        for path in paths:
            self.assertEqual([use.ref.name for use in uses(holding(path))], ["found"], [step[1] for step in path])


#: A message class and the field of it that comes next.
Step = tuple[type[Any], str]


def references(plan: Plan, way: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """The ways to every field with references; a class is gone through once on each way."""
    for decl in plan.decls:
        here = (*way, (plan.cls, decl.attribute))
        inner = innermost(decl.type)
        if isinstance(inner, Reference):
            yield here
        elif isinstance(inner, Nested) and inner.cls not in {cls for cls, _ in here} and len(here) < 5:
            yield from references(plan_of(inner.cls), here)


def innermost(type_: Type[Any, Any]) -> Type[Any, Any]:
    """What lists and maps are of."""
    while isinstance(type_, (ListOf, MapOf)):
        type_ = type_.item if isinstance(type_, ListOf) else type_.value
    return type_


def holding(path: tuple[Step, ...]) -> Any:
    """A message with one reference at the end of a way, and nothing else; what it must have besides is left out."""
    value: Any = Ref(None, "found")
    for cls, attribute in reversed(path):
        value = wrapped(plan_of(cls).by_attribute[attribute].type, value)
        decls = plan_of(cls).decls
        value = cls(**{**{decl.attribute: None for decl in decls if decl.required}, attribute: value})
    return value


def wrapped(type_: Type[Any, Any], value: Any) -> Any:
    """A value in the lists and maps around it."""
    if isinstance(type_, ListOf):
        return (wrapped(type_.item, value),)
    if isinstance(type_, MapOf):
        return FrozenMap({"x": wrapped(type_.value, value)})
    return value
