"""What a result was made from, so that it need not be made again while all of that is the same.

A load gives the very same Python object for what has not changed, so two configurations are compared by a look *at* each
object, not into it: `touched` says which objects of an earlier configuration are not the same ones in a later one.
`Watching` is a configuration that remembers what it was asked for; what was made with it is still right as long as
`Watch.holds`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from typing import Any, Final, NamedTuple

from voltgw.config.allocation import own_vips
from voltgw.config.model import Config, Key, Object
from voltgw.config.networks import KINDS
from voltgw.config.values import Ref

#: Objects that are looked at in one step, which is some 0.1 ms.
STEP: Final = 512
#: A kind and what an object of it is called.
Name = tuple[str, Key]


class Touched(NamedTuple):
    """What is other in a configuration than in an earlier one.

    `pairs` has each object as it was and as it is; None = it was not there, it is gone. `gone` has the `id`\\ s of the earlier
    objects of `pairs` (which that configuration keeps alive, so that no new object can have one of them), `names` what is new.
    """

    pairs: tuple[tuple[Object[Any] | None, Object[Any] | None], ...]
    gone: frozenset[int]
    names: frozenset[Name]

    def kinds(self) -> set[str]:
        """The kinds of these objects."""
        return {one.kind for pair in self.pairs for one in pair if one is not None}


class Watch(NamedTuple):
    """What something was made from: the `id`\\ s of objects, and the names under which there was none."""

    ids: tuple[int, ...]
    missing: tuple[Name, ...] = ()

    def holds(self, touched: Touched) -> bool:
        """Whether all of it is the same still."""
        return touched.gone.isdisjoint(self.ids) and (not self.missing or touched.names.isdisjoint(self.missing))


def touched(before: Config, after: Config) -> Generator[None, None, Touched | None]:
    """What is other in `after`, in steps; None where it has to be taken for all.

    That is so when the gateway's own part is another, or the sites, or their networks, or when another policy has a VIP that
    was given to it: everything may depend on those.
    """
    if before.gateway != after.gateway or any(before.objects.get(kind) != after.objects.get(kind) for kind in KINDS):
        return None
    if own_vips(before) != own_vips(after):
        return None
    pairs: list[tuple[Object[Any] | None, Object[Any] | None]] = []
    names: list[Name] = []
    for kind in dict.fromkeys((*before.objects, *after.objects)):
        old, new = before.objects.get(kind, {}), after.objects.get(kind, {})
        if old is new:
            continue
        staying = len(new)
        for count, (key, one) in enumerate(new.items()):
            if count % STEP == STEP - 1:
                yield
            other = old.get(key)
            if other is not one:
                pairs.append((other, one))
                if other is None:
                    names.append((kind, key))
                    staying -= 1
        yield
        if staying < len(old):
            pairs += [(old[key], None) for key in old.keys() - new.keys()]
            yield
    return Touched(tuple(pairs), frozenset(id(one) for one, _ in pairs if one is not None), frozenset(names))


@dataclasses.dataclass(frozen=True, eq=False)
class Watching(Config):
    """The same configuration; whatever is asked for through `find` and `candidates` is remembered until `watch`."""

    _ids: list[int] = dataclasses.field(default_factory=list)
    _missing: list[Name] = dataclasses.field(default_factory=list)

    @classmethod
    def over(cls, config: Config) -> Watching:
        """A watching form of `config`; both share everything."""
        made = cls(**{field.name: getattr(config, field.name) for field in dataclasses.fields(Config)})
        made.__dict__.update(_in_service=config._in_service, vips=config.vips)
        return made

    def candidates(self, kind: str, ref: Ref, namespace: str) -> Iterator[Object[Any]]:
        """As `Config.candidates`."""
        objects = self.objects.get(kind, {})
        for key in self.keys(kind, ref, namespace):
            found = objects.get(key)
            if found is None:
                self._missing.append((kind, key))
            else:
                self._ids.append(id(found))
                yield found

    def watch(self, *others: object) -> Watch:
        """What was asked for since the last call, and `others`."""
        made = Watch((*map(id, others), *self._ids), tuple(self._missing))
        self._ids.clear()
        self._missing.clear()
        return made
