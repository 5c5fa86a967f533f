"""One document of one file: our own form (``gateway:``, ``objects:`` …), or objects as ``vesctl`` takes and gives them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from voltgw.config.compound import Anything
from voltgw.config.formats import OBJECT_NAME
from voltgw.config.gateway import Gateway
from voltgw.config.kinds import KINDS, Kind, kind_of
from voltgw.config.model import DEFAULT_NAMESPACE, Metadata, Object
from voltgw.config.objects.route import RouteType
from voltgw.config.origin import COLLECTION, PLAIN, describe, is_null
from voltgw.config.places import Defaults, File, Origin
from voltgw.config.reader import MISSING, Missing, Reader, State
from voltgw.config.schema import Each, Nested, Partial, Rule, field, message, plan_of, read_message
from voltgw.config.short_form import ShortLoadBalancer
from voltgw.config.suggest import did_you_mean, nearest
from voltgw.config.types import Choice, Text, tagged
from voltgw.config.underlay import laid_under
from voltgw.config.values import FrozenMap
from voltgw.config.views import Places, lower
from voltgw.errors import Place

#: The parts of our own form.
OWN: Final = ("gateway", "defaults", "include", "objects", "load_balancers")
#: The parts of an object; what a read returns beside them is taken and forgotten (objects.md 1.1).
OBJECT: Final = ("kind", "metadata", "spec", "get_spec", "gc_spec", "gcSpec")
_FORGOTTEN: Final = frozenset((
    "system_metadata", "systemMetadata", "status", "status_set", "create_form", "createForm", "replace_form", "replaceForm",
    "referring_objects", "referringObjects", "deleted_referred_objects", "deletedReferredObjects",
    "disabled_referred_objects", "disabledReferredObjects", "resource_version", "resourceVersion", "object", "get_object",
))
#: What stands directly in an item of a list answer instead of in metadata.
_LISTED: Final = frozenset(("name", "namespace", "labels", "annotations", "description", "disabled", "uid", "tenant",
                            "owner_view"))


class OnError(Enum):
    """What an include with errors does to the whole."""

    REFUSE = "refuse"
    KEEP_LAST = "keep_last"


@message
class IncludeEntry:
    """Files whose objects are read too."""

    path: str = field(Text(least=1), "Path or pattern, relative to this file; a folder means every file below it.",
                      since="voltgw", required=True, example="objects/*.yaml")
    kind: str | None = field(Text(), "Kind of objects that do not say theirs.", since="voltgw",
                             absent="the name of the folder that the file is in")
    namespace: str | None = field(
        Text(OBJECT_NAME), "Namespace of objects that do not say theirs; ``from-folder`` = the folder's name.", since="voltgw",
        absent=DEFAULT_NAMESPACE)
    on_error: OnError = field(
        Choice(OnError, numbers=False), "``keep_last``: with errors in these files their last good objects stay.",
        since="voltgw")

    def rules(self) -> Iterator[Rule]:
        """The kind must be one."""
        if self.kind is not None and kind_of(self.kind) is None:
            yield Rule("kind", "VG0108", f'unknown kind "{self.kind}"', did_you_mean(self.kind, KINDS))


class Include(NamedTuple):
    """An include entry and where it stands."""

    entry: IncludeEntry
    place: Place


@dataclasses.dataclass(slots=True)
class Head:
    """What a main file says beside its objects."""

    gateway: Gateway | None = None
    gateway_place: Place | None = None
    defaults: dict[str, Defaults] = dataclasses.field(default_factory=dict)
    includes: list[Include] = dataclasses.field(default_factory=list)


def own(root: Node) -> bool:
    """Whether a document is in our own form (where ``${VAR}`` acts)."""
    if not isinstance(root, MappingNode):
        return False
    keys = {key.value for key, _ in root.value if isinstance(key, ScalarNode)}
    return bool(keys & set(OWN)) or not keys & {*OBJECT, *_FORGOTTEN, "items"}


def read_head(root: Node, reader: Reader, file: File, head: Head, *, main: bool) -> None:
    """Read all but the objects of a document in our own form into `head`."""
    reader.substitute = True
    seen: dict[str, Node] = {}
    for key, value in root.value:
        name = key.value if isinstance(key, ScalarNode) else ""
        if name in seen:
            reader.wrong(key, "VG0005", f'"{name}" stands here twice',
                         related=(("the first one", reader.place(seen[name])),))
            continue
        seen[name] = key
        if name not in OWN:
            reader.wrong(key, "VG0101", f"unknown field {describe(key)}",
                         did_you_mean(name, OWN) or f"the parts of this file are {', '.join(OWN)}")
        elif is_null(value) or name in ("objects", "load_balancers"):
            continue
        elif name == "include":
            _includes(value, reader, head)
        elif not main:
            reader.wrong(key, "VG0101", f'"{name}" may stand in the main file only, not in one that is included')
        elif name == "gateway":
            if head.gateway_place is not None:
                reader.wrong(key, "VG0109", "`gateway:` stands in two places", related=(("the first one", head.gateway_place),))
            head.gateway_place = reader.place(key)
            with reader.below("gateway"):
                gateway = Nested(Gateway).read(value, reader)
            head.gateway = gateway if gateway is not MISSING else None
        else:
            _defaults(value, reader, file, head)


def read_body(root: Node, reader: Reader, file: File, defaults: Mapping[str, Defaults], kind: Kind | None,
              namespace: str | None) -> Iterator[Object[Any]]:
    """Read the objects of a document; `kind` and `namespace` are those of objects that do not say theirs."""
    if root.tag != COLLECTION:
        if isinstance(root, ScalarNode):
            reader.wrong(root, "VG0102", f"expected a mapping, found {describe(root)}", "is this a configuration file?")
        else:
            tagged(root, reader)
        return
    if isinstance(root, SequenceNode):
        reader.substitute = False
        for node in root.value:
            yield from read_object(node, reader, file, defaults, kind, namespace)
        return
    reader.substitute = own(root)
    if not reader.substitute:
        yield from read_object(root, reader, file, defaults, kind, namespace)
        return
    for key, value in root.value:
        name = key.value if isinstance(key, ScalarNode) else ""
        if name not in ("objects", "load_balancers") or is_null(value):
            continue
        if not isinstance(value, SequenceNode):
            reader.wrong(value, "VG0102", f"expected a list, found {describe(value)}", "begin each item with a dash")
            continue
        for node in value.value:
            if name == "objects":
                yield from read_object(node, reader, file, defaults, kind, namespace)
            else:
                for one in _load_balancer(node, reader):
                    yield laid_under(one, defaults.get(one.kind), reader.problems)


def _includes(node: Node, reader: Reader, head: Head) -> None:
    entry_type = Nested(IncludeEntry, scalar="path")
    if isinstance(node, SequenceNode) and node.tag != COLLECTION:
        tagged(node, reader)
        return
    items = node.value if isinstance(node, SequenceNode) else [node]
    for item in items:
        with reader.below("include"):
            entry = entry_type.read(item, reader)
        if entry is not MISSING:
            head.includes.append(Include(entry, reader.place(item)))


def _defaults(node: Node, reader: Reader, file: File, head: Head) -> None:
    if not isinstance(node, MappingNode):
        reader.wrong(node, "VG0102", f"expected a mapping from kinds to defaults, found {describe(node)}")
        return
    for key, value in node.value:
        kind = kind_of(key.value) if isinstance(key, ScalarNode) else None
        if kind is None:
            reader.wrong(key, "VG0108", f"unknown kind {describe(key)}", did_you_mean(key.value, KINDS)
                         if isinstance(key, ScalarNode) else "")
            continue
        if kind.name in head.defaults:
            reader.wrong(key, "VG0005", f'the defaults of "{kind.name}" stand in two places')
            continue
        plan = kind.plan()
        if is_null(value):
            continue
        if plan is None:
            reader.wrong(key, "VG0117", f'kind "{kind.name}" is not acted on yet, so defaults for it have no effect')
            continue
        # A route object is a list of rules, so its defaults are those of a rule.
        per_rule = kind.name == "route"
        with reader.below(kind.name):
            partial = read_message(plan_of(RouteType) if per_rule else plan, value, reader, partial=True)
        if partial is MISSING:
            continue
        if per_rule:
            each = Each(partial, partial.at, partial.places, partial.names)
            partial = Partial({"routes": each}, partial.at, {}, {"routes": "routes"})
        head.defaults[kind.name] = Defaults(file, partial)


def read_object(node: Node, reader: Reader, file: File, defaults: Mapping[str, Defaults], hint: Kind | None,
                namespace: str | None) -> Iterator[Object[Any]]:
    """Read one object, or the objects of a list answer ``{items: [...]}``."""
    if not isinstance(node, MappingNode) or node.tag != COLLECTION:
        reader.wrong(node, "VG0102", f"expected an object (kind, metadata, spec), found {describe(node)}")
        return
    parts: dict[str, tuple[Node, Node]] = {}
    listed: list[tuple[Node, Node]] = []
    bad = False
    for key, value in node.value:
        name = key.value if isinstance(key, ScalarNode) else ""
        if name in parts:
            bad = True
            reader.wrong(key, "VG0005", f'"{name}" stands here twice',
                         related=(("the first one", reader.place(parts[name][0])),))
        elif name in OBJECT or name == "items":
            parts[name] = (key, value)
        elif name in _LISTED:
            listed.append((key, value))
        elif name not in _FORGOTTEN:
            bad = True
            meant = nearest(name, OBJECT[:3])
            reader.wrong(key, "VG0101", f"unknown field {describe(key)} in an object",
                         f'did you mean "{meant}"?' if meant is not None else "an object has kind, metadata and spec")
            if meant is not None:
                parts.setdefault(meant, (key, value))   # so that it is not said to be missing, and is looked into
    if "items" in parts and not bad:
        items = parts["items"][1]
        for item in items.value if isinstance(items, SequenceNode) else ():
            yield from read_object(item, reader, file, defaults, hint, namespace)
        return
    kind = _kind(parts, node, reader, hint)
    under = defaults.get(kind.name) if kind is not MISSING else None
    mark = node.start_mark
    origin = Origin(file, mark.index + reader.first_index, node.end_mark.index + reader.first_index,
                    mark.line + reader.first_line + 1, mark.column + 1, under)
    reader.origin, reader.start = origin, mark.line
    try:
        metadata = _metadata(parts, listed, node, reader, namespace)
        spec = MISSING if kind is MISSING else _spec(kind, parts, node, reader, under)
    finally:
        reader.origin = None
    if kind is MISSING or metadata is MISSING or spec is MISSING or bad:
        return
    made: Object[Any] = Object(kind.name, metadata, spec, origin)
    yield made
    lower = kind.lowering()
    for one in () if lower is None else lower(made, reader.problems.append):
        yield laid_under(one, defaults.get(one.kind), reader.problems)


def _kind(parts: Mapping[str, tuple[Node, Node]], node: Node, reader: Reader, hint: Kind | None) -> Kind | Missing:
    if "kind" not in parts or is_null(parts["kind"][1]):
        if hint is not None:
            return hint
        return reader.wrong(node, "VG0105", "this object does not say its kind",
                            "write `kind:`, give the include entry one, or put the file into a folder named like its kind")
    word = Text().read(parts["kind"][1], reader)
    if word is MISSING:
        return MISSING
    kind = kind_of(word)
    if kind is None:
        return reader.wrong(parts["kind"][1], "VG0108", f'unknown kind "{word}"', did_you_mean(word, KINDS))
    return kind


def _metadata(parts: Mapping[str, tuple[Node, Node]], listed: list[tuple[Node, Node]], node: Node, reader: Reader,
              namespace: str | None) -> Metadata | Missing:
    if "metadata" in parts:
        source = parts["metadata"][1]
    elif listed:
        # An item of a list answer has these beside its spec; "disabled" is metadata's "disable" there.
        entries = [(ScalarNode(PLAIN, "disable", k.start_mark, k.end_mark) if k.value == "disabled" else k, v)
                   for k, v in listed]
        source = MappingNode(COLLECTION, entries, node.start_mark, node.end_mark)
    else:
        return reader.wrong(node, "VG0105", '"metadata" is missing here: an object needs at least a name')
    metadata = Nested(Metadata).read(source, reader)
    if metadata is MISSING:
        return MISSING
    return dataclasses.replace(metadata, namespace=metadata.namespace or namespace or DEFAULT_NAMESPACE)


def _spec(kind: Kind, parts: Mapping[str, tuple[Node, Node]], node: Node, reader: Reader, defaults: Defaults | None) -> Any:
    found = next((parts[name] for name in ("spec", "get_spec", "gc_spec", "gcSpec") if name in parts), None)
    if found is None or is_null(found[1]):
        empty: list[tuple[Node, Node]] = []
        value: Node = MappingNode(COLLECTION, empty, node.start_mark, node.end_mark)
    else:
        value = found[1]
    if isinstance(value, MappingNode):
        # The storage form nests the spec once more (objects.md 1.4).
        inner = [v for k, v in value.value if isinstance(k, ScalarNode) and k.value in ("gc_spec", "gcSpec")]
        value = inner[0] if inner else value
    plan = kind.plan()
    reader.path.append(kind.name)
    try:
        if kind.state is not State.ACTS:
            reader.note(kind.state, node)
        if plan is not None:
            return read_message(plan, value, reader, defaults.partial if defaults is not None else None)
        if not isinstance(value, MappingNode):
            return reader.wrong(value, "VG0102", f"expected a mapping, found {describe(value)}")
        plain = Anything().read(value, reader)
        return plain if plain is MISSING or isinstance(plain, FrozenMap) else MISSING
    finally:
        reader.path.pop()


def _load_balancer(node: Node, reader: Reader) -> Iterator[Object[Any]]:
    with reader.below("load_balancer"):
        form = Nested(ShortLoadBalancer).read(node, reader)
    if form is MISSING:
        return
    if any(note.state is State.UNSUPPORTED and note.place.line > node.start_mark.line for note in reader.notes):
        return                                      # it could only be lowered to something that is not meant
    parts: dict[tuple[str | int, ...], Place] = {}
    for key, value in node.value:
        parts[(key.value,)] = reader.place(value if key.value == "name" else key)
        if isinstance(value, SequenceNode):
            for index, item in enumerate(value.value):
                parts[(key.value, index)] = reader.place(item)
    yield from lower(form, Places(reader.place(node), parts))
