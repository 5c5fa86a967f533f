"""``defaults:`` under objects that stand in no file: those that views and short forms were made into.

Objects of files get their defaults while they are read (`voltgw.config.schema`). One that was made is there already when
its defaults are laid under it: they fill what is absent, lose against another member of their oneof group and against what
the view says in so many words, and are remembered with their places, so that each value still knows who said it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from voltgw.config.model import Lowered, Made, Object, Path, Said, field_name
from voltgw.config.places import Defaults, unpack
from voltgw.config.schema import Decl, Each, Message, Nested, Partial, Rule, made_message, plan_of
from voltgw.errors import ConfigError, Place


def laid_under(one: Object[Any], defaults: Defaults | None, problems: list[ConfigError]) -> Object[Any]:
    """`one`, made from a view or a short form, with the defaults of its kind under it; wrong ones go to `problems`."""
    if defaults is None or not isinstance(one.spec, Message) or not isinstance(one.origin, (Lowered, Made)):
        return one
    laying = _Laying(one, one.origin, defaults)
    spec = laying.under(one.spec, defaults.partial, ())
    problems += laying.problems
    if spec is one.spec:
        return one
    made: Object[Any] = Object(one.kind, one.metadata, spec, one.origin.with_laid(laying.laid))
    for path, rule in laying.rules:
        place = made.place(*path, rule.field) if rule.field else made.place(*path)
        problems.append(ConfigError(rule.code, place, rule.message, rule.hint, rule.severity))
    return made


class _Laying:
    """One object and its defaults."""

    def __init__(self, one: Object[Any], origin: Lowered | Made, defaults: Defaults) -> None:
        self.one = one
        self.origin = origin
        self.file = defaults.file.name
        self.laid: dict[Path, Place] = {}               # where the defaults stand that were taken
        self.rules: list[tuple[Path, Rule]] = []        # what only the defaults made wrong, by the message that has it
        self.problems: list[ConfigError] = []

    def under(self, value: Any, partial: Partial, path: Path) -> Any:
        """The message at `path` with defaults under it; the very same one when they change nothing."""
        plan = plan_of(type(value))
        values = {decl.attribute: getattr(value, decl.attribute) for decl in plan.decls}
        taken = {decl.group for decl in plan.decls if decl.group and values[decl.attribute] != decl.type.default}
        changed = False
        for decl in plan.decls:
            if decl.attribute not in partial:
                continue
            default, here = partial[decl.attribute], (*path, field_name(decl.name))
            now = values[decl.attribute]
            if isinstance(default, Each):
                new: Any = tuple(self.under(item, default, (*here, index)) for index, item in enumerate(now))
                differs = any(one is not other for one, other in zip(new, now, strict=True))
            elif self.origin.unsaid(here) or now == decl.type.default and not decl.required:
                if decl.group in taken or self._said(here):
                    continue
                new = self._whole(decl, default, here)
                differs = new is not None
                if differs:
                    self.laid[here] = self._place(partial, decl.attribute)
            elif isinstance(default, Partial) and isinstance(now, Message):
                new = self.under(now, default, here)
                differs = new is not now
            else:
                continue
            if differs:
                values[decl.attribute] = new
                changed = True
        if not changed:
            return value
        made = made_message(plan, values, getattr(value, "at", 0))
        if plan.rules is not None:
            before = list(plan.rules(value))
            self.rules += [(path, rule) for rule in plan.rules(made) if rule not in before]
        return made

    def _said(self, path: Path) -> bool:
        """Whether the view says in so many words that this shall be as it is when nobody says anything."""
        if not isinstance(self.origin, Lowered):
            return False
        source = self.origin.same.get(path)
        return source is not None and self.origin.owner.whence(*source).said is not Said.NOBODY

    def _whole(self, decl: Decl, default: Any, path: Path) -> Any:
        """The value that `default` is; None (and a problem) when it is a message that lacks what it must have."""
        if not isinstance(default, Partial):
            return default
        plan = plan_of(cast("Nested[Any]", decl.type).cls)
        values: dict[str, Any] = {}
        bad = False
        for inner in plan.decls:
            if inner.attribute in default and not isinstance(default[inner.attribute], Each):
                here = (*path, field_name(inner.name))
                value = self._whole(inner, default[inner.attribute], here)
                bad = bad or value is None
                values[inner.attribute] = value
                self.laid[here] = self._place(default, inner.attribute)
        for lacking in self._lacking(decl, plan.required, values):
            bad = True
            self.problems.append(lacking)
        if bad:
            return None
        made = made_message(plan, values, -default.at)
        if plan.rules is not None:
            self.rules += [(path, rule) for rule in plan.rules(made)]
        return made

    def _lacking(self, decl: Decl, required: tuple[Decl, ...], values: dict[str, Any]) -> Iterator[ConfigError]:
        for need in required:
            if need.attribute not in values:
                yield ConfigError(
                    "VG0105", self.one.place(),
                    f'`defaults:` gives {self.one.title} a "{decl.name}", but neither says its "{need.name}"')

    def _place(self, partial: Partial, attribute: str) -> Place:
        return Place(self.file, *unpack(partial.places.get(attribute, partial.at)))
