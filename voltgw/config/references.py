"""Every reference of every object: whether what it names exists, is in service, and is the one that is meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from voltgw.config.compound import ListOf, MapOf
from voltgw.config.gateway import OnDangling
from voltgw.config.kinds import KINDS
from voltgw.config.lowering.making import generated
from voltgw.config.model import DEFAULT_NAMESPACE, Config, Lowered, Object
from voltgw.config.names import Reference
from voltgw.config.reader import State
from voltgw.config.schema import Message, Plan, plan_inside, plan_of
from voltgw.config.suggest import nearest
from voltgw.config.types import Type
from voltgw.config.values import Ref
from voltgw.errors import ConfigError, Severity

#: Suggestions for names that do not exist are looked for among so many names at most, and for so many errors.
MAX_NAMES: Final = 2000
MAX_SUGGESTIONS: Final = 20


class Use(NamedTuple):
    """One reference in use: which kinds it may name, and the field it stands in."""

    ref: Ref
    kinds: tuple[str, ...]
    field: str


class _Bearing(NamedTuple):
    """A field in which references stand, directly or further inside."""

    attribute: str
    name: str
    kinds: tuple[str, ...] | None           # None: it is a message, or a list or map of them


#: Fields with references by message class: most have none, so most are never looked at. Bounded by the number of classes.
_BEARING: Final[dict[type[Any], tuple[_Bearing, ...]]] = {}


def uses(spec: object) -> Iterator[Use]:
    """Every reference in a spec."""
    if not isinstance(spec, Message):
        return                              # a kind that is kept as plain data: nothing in it is acted on
    for bearing in _bearing(type(spec)):
        value = getattr(spec, bearing.attribute)
        if value is None or value == ():
            continue
        for item in _items(value):
            if bearing.kinds is None:
                yield from uses(item)
            else:
                yield Use(item, bearing.kinds, bearing.name)


def _items(value: Any) -> Iterator[Any]:
    """What is in a list or the values of a map, also of lists and maps of them; a single value is in itself."""
    if isinstance(value, (tuple, Mapping)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _items(item)
    else:
        yield value


def _bearing(cls: type[Any]) -> tuple[_Bearing, ...]:
    try:
        return _BEARING[cls]
    except KeyError:
        return _BEARING.setdefault(cls, tuple(_found(plan_of(cls), frozenset((cls,)))))


def _found(plan: Plan, inside: frozenset[type[Any]]) -> Iterator[_Bearing]:
    for decl in plan.decls:
        item: Type[Any, Any] = decl.type
        while isinstance(item, (ListOf, MapOf)):
            item = item.item if isinstance(item, ListOf) else item.value
        if isinstance(item, Reference):
            yield _Bearing(decl.attribute, decl.name, item.kinds)
        else:
            inner = plan_inside(item)
            if inner is not None and (inner.cls in inside or any(_found(inner, inside | {inner.cls}))):
                yield _Bearing(decl.attribute, decl.name, None)


def check_references(config: Config, one: Object[Any], names: Names) -> Iterator[ConfigError]:
    """Problems of the references of one object; `names` belongs to the whole check."""
    view = isinstance(one.origin, Lowered)
    if isinstance(one.origin, Lowered) and not one.origin.laid:
        return                                  # what a view refers to is checked where the view says it
    for use in uses(one.spec):
        if not view or not use.ref.moves:       # what `defaults:` that were laid under it refer to is said there alone
            yield from _check(config, one, use, names)


def _check(config: Config, one: Object[Any], use: Use, names: Names) -> Iterator[ConfigError]:
    ref = use.ref
    kinds = [kind for kind in use.kinds if kind in KINDS]
    if not kinds or ref.built_in:
        return
    found = [candidate for kind in kinds for candidate in config.candidates(kind, ref, one.namespace)]
    if not found:
        if "site" in kinds and ref.name == config.gateway.site_name:
            return                          # the own site is made up where no object describes it
        if "origin_pool" in kinds and any(
                config.candidates("cluster", ref.renamed(generated("origin_pool", ref.name)), one.namespace)):
            return                          # the cluster that the pool would become is there by its own
        yield _dangling(config, one, use, kinds, names)
        return
    if all(candidate.metadata.disable for candidate in found):
        yield ConfigError("VG0119", ref.place, f"{found[0].title} is disabled", "it takes no part until `disable` is removed",
                          Severity.WARNING, related=((f"referred to by {one.title}", one.place()),))
    elif len(found) > 1 and found[1].kind == found[0].kind:
        yield ConfigError(
            "VG0118", ref.place, f"{found[0].kind} {ref} means {found[0].full_name}, which hides {found[1].full_name}",
            f'write "{found[0].full_name}" or "{found[1].full_name}"', Severity.WARNING,
            related=(("the hidden one", found[1].place()),))


def _dangling(config: Config, one: Object[Any], use: Use, kinds: list[str], names: Names) -> ConfigError:
    severity, note = Severity.ERROR, ""
    served = config.gateway.on_dangling is OnDangling.SERVE_503
    if KINDS[one.kind].state is State.WARNS:
        severity = Severity.WARNING         # nothing acts on the kind, so nothing can go wrong by it yet
    elif served and _served_503(one, use, kinds):
        severity, note = Severity.WARNING, "; requests for it are answered 503"
    return ConfigError(
        "VG0107", use.ref.place, f'{kinds[0]} "{use.ref}" not found{note}', names.hint(kinds, use.ref, one.namespace), severity,
        related=((f"referred to by {one.title}", one.place()),))


def _served_503(one: Object[Any], use: Use, kinds: list[str]) -> bool:
    """Whether requests for what `use` names can be answered 503 as long as it does not exist."""
    if one.lowered:
        return use.field in ("pool", "cluster", "origin_pools")         # a mirror's field is `origin_pool`
    return kinds == ["cluster"] and one.kind == "route" and use.field == "cluster" and not _mirrored(one, use.ref)


def _mirrored(one: Object[Any], ref: Ref) -> bool:
    """Whether it is a mirror's cluster, which must exist whatever `on_dangling` says (objects.md 22.18)."""
    return any(
        rule.route_destination is not None and rule.route_destination.mirror_policy is not None
        and any(cluster is ref for cluster in rule.route_destination.mirror_policy.cluster)
        for rule in one.spec.routes)


class Names:
    """The names that a reference may have been meant to be."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.given = 0

    def hint(self, kinds: list[str], ref: Ref, namespace: str) -> str:
        """What the author may have meant, in words; "" when nothing is near."""
        self.given += 1
        if self.given > MAX_SUGGESTIONS:
            return ""
        for kind in kinds:
            objects: Mapping[tuple[str, str], Any] = self.config.objects.get(kind, {})
            elsewhere = [key for key in objects if key[1] == ref.name]
            if elsewhere:
                return f'there is one in namespace "{elsewhere[0][0]}": write "{"/".join(elsewhere[0])}"'
            wanted = ref.namespace or namespace
            same = [name for space, name in objects if space == wanted]
            if len(same) > MAX_NAMES:
                same = [name for name in same if name[:2].lower() == ref.name[:2].lower()][:MAX_NAMES]
            close = nearest(ref.name, same)
            if close is not None:
                return f'did you mean "{close if ref.namespace is None else f"{ref.namespace}/{close}"}"?'
            others = [f"{space}/{name}" if space != DEFAULT_NAMESPACE else name for space, name in objects]
            close = nearest(str(ref), others[:MAX_NAMES])
            if close is not None:
                return f'did you mean "{close}"?'
            if not objects:
                return f"there is no {kind} at all"
        return ""
