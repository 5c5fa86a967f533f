"""What changed between two configurations, by object; places do not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from voltgw.config.model import Config, Key, Object
from voltgw.config.schema import Message, plan_of


@dataclass(frozen=True, slots=True)
class Change:
    """One object that is new, gone or different; `old` or `new` is None where there was or is none."""

    kind: str
    key: Key
    old: Object[Any] | None
    new: Object[Any] | None

    @property
    def word(self) -> str:
        """``added``, ``removed`` or ``changed``."""
        return "added" if self.old is None else "removed" if self.new is None else "changed"

    @property
    def fields(self) -> tuple[str, ...]:
        """Paths of what differs (``spec.connection_timeout``, ``metadata.labels``); () unless it is a change."""
        if self.old is None or self.new is None:
            return ()
        parts = [*_differences(self.old.metadata, self.new.metadata, "metadata"),
                 *_differences(self.old.spec, self.new.spec, "spec")]
        return tuple(parts)

    def __str__(self) -> str:
        one = self.new or self.old
        assert one is not None                  # one of the two is always there
        return f"{one.title} {self.word}" + (f": {', '.join(self.fields)}" if self.fields else "")


@dataclass(frozen=True, slots=True)
class Diff:
    """All changes, and whether the gateway's own part changed."""

    gateway: tuple[str, ...]                    # paths of what differs in `gateway`
    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.gateway or self.changes)

    def of(self, kind: str) -> tuple[Change, ...]:
        """The changes of objects of one kind."""
        return tuple(change for change in self.changes if change.kind == kind)


def diff(old: Config, new: Config) -> Diff:
    """What changed from `old` to `new`. Objects that are the same Python object (an unchanged file's) cost next to nothing."""
    changes: list[Change] = []
    for kind in dict.fromkeys((*old.objects, *new.objects)):
        before, after = old.objects.get(kind, {}), new.objects.get(kind, {})
        if before is after:
            continue
        for key, one in before.items():
            other = after.get(key)
            if one is not other and (other is None or one != other):
                changes.append(Change(kind, key, one, other))
        changes += [Change(kind, key, None, one) for key, one in after.items() if key not in before]
    return Diff(tuple(_differences(old.gateway, new.gateway, "gateway")), tuple(changes))


def _differences(old: object, new: object, path: str) -> list[str]:
    """Paths of the fields in which two messages differ; messages inside are looked into, lists are not."""
    if old == new:
        return []
    if not isinstance(old, Message) or type(old) is not type(new):
        return [path]
    found: list[str] = []
    for decl in plan_of(type(old)).decls:
        found += _differences(getattr(old, decl.attribute), getattr(new, decl.attribute), f"{path}.{decl.name}")
    return found
