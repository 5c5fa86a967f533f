"""How views become primitives: parts of messages that remember from which field of the view each value came.

A function that lowers a view makes a `Maker`, builds each spec in `Part`s and hands them to `Maker.add`; the objects then
know the way back to the view, so that every message about them has a place in the user's own file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Generic, TypeAlias, TypeVar

from voltgw.config.model import Lowered, Metadata, Object, Path, Way, field_name
from voltgw.config.schema import plan_of
from voltgw.config.values import EMPTY, FrozenMap, Ref
from voltgw.errors import ConfigError

M = TypeVar("M")
S = TypeVar("S")

#: Where problems go.
Report: TypeAlias = Callable[[ConfigError], None]

#: What most objects have of `Lowered.same`; shared, since it cannot change.
NO_PATHS: Final[FrozenMap[Path, Path]] = FrozenMap()
#: Digits of the hash in generated names, as real ones have (objects.md 18).
_DIGITS: Final = 10


def generated(kind: str, name: str) -> str:
    """The name of the main objects that a view makes: ``ves-io-origin-pool-<name>``, to which real route objects refer."""
    return f"ves-io-{kind.replace('_', '-')}-{name}"


class Part(Generic[M]):
    """A message of a primitive in the making; `source` leads to the part of the view that it as a whole comes from."""

    def __init__(self, cls: type[M], source: Path) -> None:
        self.plan = plan_of(cls)
        self.values: dict[str, Any] = {}
        self.ways: dict[Path, Path] = {(): source}
        self.same: dict[Path, Path] = {}        # this and the next as in `Lowered`
        self.built_in: set[Path] = set()

    def set(self, name: str, value: object, source: Path | None = None) -> None:
        """Give a field its value, unless that is what the field is anyway; `source` None = no field of the view says it."""
        decl = self.plan.by_key[name]
        if value == decl.type.default and not decl.required:
            if source is not None and isinstance(value, Enum):
                self.same[(field_name(decl.name),)] = source
            return
        self.values[decl.attribute] = value
        self.built_in.discard((field_name(decl.name),))
        if source is not None:
            self.ways[(field_name(decl.name),)] = source

    def usual(self, name: str, value: object) -> None:
        """Give a field what is usual for views; the view may say something else later, and so may `defaults:`."""
        self.set(name, value)
        self.built_in.add((field_name(name),))

    def unset(self, name: str) -> None:
        """Something more particular was said: the field is as if nobody had set it."""
        self.values.pop(self.plan.by_key[name].attribute, None)
        self.ways.pop((field_name(name),), None)

    def without(self, name: str, said: bool, source: Path) -> None:
        """The view has a field, at `source`, that says (if `said`) that there is none of `name`."""
        if said:
            self.same[(field_name(name),)] = source

    def copy(self, message: object, source: Path, *names: str) -> None:
        """Take over fields that are the same in both, names and types; `message` may lack some, or be None."""
        if message is None:
            return
        plan = plan_of(type(message))
        for name in names:
            decl = plan.by_key.get(name)
            if decl is not None:
                self.set(name, getattr(message, decl.attribute), (*source, name))

    def put(self, name: str, part: Part[Any]) -> None:
        """Make a field of another part."""
        self.set(name, part.made())
        self._take((field_name(name),), part)

    def put_all(self, name: str, parts: Sequence[Part[Any]]) -> None:
        """Make a list of other parts."""
        self.set(name, tuple(part.made() for part in parts))
        for index, part in enumerate(parts):
            self._take((field_name(name), index), part)

    def made(self) -> M:
        """The message."""
        made: M = self.plan.cls(**self.values)
        return made

    def _take(self, path: Path, part: Part[Any]) -> None:
        for inner, source in part.ways.items():
            self.ways[(*path, *inner)] = source
        for inner, source in part.same.items():
            self.same[(*path, *inner)] = source
        self.built_in.update((*path, *inner) for inner in part.built_in)


class Maker(Generic[S]):
    """Makes the objects of one view. They live in its namespace and are out of service when it is."""

    def __init__(self, view: Object[S], report: Report) -> None:
        self.view = view
        self.spec = view.spec
        self.objects: list[Object[Any]] = []
        self._report = report
        self._reported: set[ConfigError] = set()

    def name(self, *role: object) -> str:
        """A generated name; `role` tells objects of one kind apart, the main one has none."""
        base = generated(self.view.kind, self.view.name)
        if not role:
            return base
        return f"{base}-{hashlib.blake2b(repr(role).encode(), digest_size=_DIGITS // 2).hexdigest()}"

    def wrong(self, code: str, message: str, *path: str | int, hint: str = "") -> None:
        """Record an error at a part of the view, once."""
        problem = ConfigError(code, self.view.place(*path), message, hint)
        if problem not in self._reported:
            self._reported.add(problem)
            self._report(problem)

    def add(
        self, kind: str, name: str, part: Part[Any], *, labels: Mapping[str, str] = EMPTY, serve: bool = True,
    ) -> Ref:
        """Make an object; returns a reference to it. With `serve` False it is shown, but takes no part."""
        spec = part.made()
        metadata = Metadata(name=name, namespace=self.view.namespace, labels=FrozenMap(labels) if labels else EMPTY,
                            disable=self.view.metadata.disable or not serve)
        made = Object(kind, metadata, spec, Lowered(
            self.view, part.ways, part.same or NO_PATHS, frozenset(part.built_in)))
        if part.plan.rules is not None:
            for rule in part.plan.rules(spec):
                place = made.place(rule.field) if rule.field else made.place()
                self._report(ConfigError(rule.code, place, rule.message, rule.hint, rule.severity))
        self.objects.append(made)
        return self.ref(name, part.ways[()])

    def ref(self, name: str, source: Path) -> Ref:
        """A reference to an object made from this view, in the place of the field at `source`."""
        return Ref.inside(Way(self.view, source), 0, self.view.namespace, name, None)
