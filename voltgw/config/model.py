"""What a load yields: objects, each with its places, and the `Config` that holds them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar, overload

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from voltgw.config.compound import MapOf
from voltgw.config.formats import OBJECT_NAME
from voltgw.config.gateway import Gateway
from voltgw.config.kinds import KINDS, kind_of, plan_named, spec_class
from voltgw.config.networks import present
from voltgw.config.origin import Source, Unreadable, documents, is_null
from voltgw.config.places import File, Origin
from voltgw.config.schema import (
    Message,
    Partial,
    Plan,
    camel,
    entries_of,
    field,
    message,
    plan_inside,
    plan_of,
)
from voltgw.config.types import Flag, Text
from voltgw.config.values import FrozenMap, Ref
from voltgw.errors import NOWHERE, ConfigError, Place

if TYPE_CHECKING:
    from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
    from voltgw.config.objects.cluster import ClusterSpec
    from voltgw.config.objects.endpoint import EndpointSpec
    from voltgw.config.objects.healthcheck import HealthcheckSpec
    from voltgw.config.objects.route import RouteSpec
    from voltgw.config.objects.site import SiteSpec
    from voltgw.config.objects.virtual_host import VirtualHostSpec

S_co = TypeVar("S_co", covariant=True)
S = TypeVar("S")
#: Namespace and name.
Key = tuple[str, str]
#: Fields and list positions that lead to a part of a spec.
Path: TypeAlias = tuple["str | int", ...]
#: The namespace of objects whose file names none.
DEFAULT_NAMESPACE: Final = "default"


@message
class Metadata:
    """What every object has beside its spec (objects.md 1.2)."""

    READ_ONLY: ClassVar = ("tenant", "uid", "creation_timestamp", "modification_timestamp", "object_index", "owner_view")

    name: str = field(Text(OBJECT_NAME, least=1), "Name, unique per kind and namespace.", required=True)
    namespace: str | None = field(Text(OBJECT_NAME), "Namespace.", absent=DEFAULT_NAMESPACE)
    labels: FrozenMap[str, str] = field(MapOf(Text(), Text()), "Labels, by which selectors choose.")
    annotations: FrozenMap[str, str] = field(
        MapOf(Text(), Text(least=1, most=1024)), "Free text by key; never used for choosing.")
    description: str | None = field(Text(most=1200), "Free text.")
    disable: bool = field(Flag(), "Out of service: kept and shown, but not built.")


class Made(NamedTuple):
    """The origin of an object that stands in no file: a short or friendly form was lowered to it.

    `places` has the places of the parts that the form spelled out, by path; `built_in` are the parts that have what is
    usual because the form says nothing, which `defaults:` may replace; `laid` is where the defaults that did stand.
    """

    place: Place
    places: Mapping[Path, Place]
    form: str                               # 'load_balancer "shop"', for messages
    built_in: frozenset[Path] = frozenset()
    laid: Mapping[Path, Place] = FrozenMap()

    def unsaid(self, path: Path) -> bool:
        """Whether the part at `path` has a value that nobody said."""
        return path in self.built_in

    def with_laid(self, laid: Mapping[Path, Place]) -> Made:
        """The same for an object under which defaults were laid."""
        return self._replace(laid=laid)


class Lowered:
    """The origin of an object that a view stands for (objects.md 18): it was made from `owner`.

    `ways` lead from parts of the object to the fields of the view that said them; the empty path is the object as a whole.
    Places are looked up when they are asked for, so they move with the view. `same` are the parts that are as if nobody said
    anything, by what the view says at these paths, if it does; `built_in` and `laid` are those of `Made`.
    """

    __slots__ = ("built_in", "laid", "owner", "same", "ways")

    def __init__(
        self, owner: Object[Any], ways: Mapping[Path, Path], same: Mapping[Path, Path] = FrozenMap(),
        built_in: frozenset[Path] = frozenset(), laid: Mapping[Path, Place] = FrozenMap(),
    ) -> None:
        self.owner = owner
        self.ways = ways
        self.same = same
        self.built_in = built_in
        self.laid = laid

    def unsaid(self, path: Path) -> bool:
        """Whether the part at `path` has a value that nobody said."""
        return path in self.built_in

    def with_laid(self, laid: Mapping[Path, Place]) -> Lowered:
        """The same for an object under which defaults were laid."""
        return Lowered(self.owner, self.ways, self.same, self.built_in, laid)

    def way(self, path: Path) -> Path:
        """The path in the view to what said the part at `path`, or the nearest part around it."""
        if path and path[0] == "metadata":
            return path
        plain = plain_path(path)
        for length in range(len(plain), 0, -1):
            found = self.ways.get(plain[:length])
            if found is not None:
                return (*found, *path[length:])
        return self.ways[()]


class Way:
    """Stands for the origin of a reference to a made object: the place of a field of the view, looked up when asked for."""

    __slots__ = ("owner", "path")

    def __init__(self, owner: Object[Any], path: tuple[str | int, ...]) -> None:
        self.owner = owner
        self.path = path

    def inside(self, at: int) -> Place:
        """The field's place; there is nothing inside it to count from."""
        return self.owner.place(*self.path)


def field_name(step: str) -> str:
    """The name of a field without its unit, by which `Lowered.ways` knows it (``timeout`` for ``timeout_s``)."""
    return step.removesuffix("_s").removesuffix("_bytes")


def plain_path(path: Path) -> Path:
    """`path` with fields as `field_name` calls them."""
    return tuple(step if isinstance(step, int) else field_name(step) for step in path)


class Said(Enum):
    """Who said a value."""

    FILE = "file"
    DEFAULTS = "defaults"
    FORM = "form"
    NOBODY = "built-in"


class Whence(NamedTuple):
    """Who said a value, and where; for what nobody said, the place of the nearest part around it."""

    said: Said
    place: Place


class Object(Generic[S_co]):
    """One object: its kind, metadata and spec. Equality is of those three; places do not take part."""

    __slots__ = ("kind", "metadata", "origin", "spec")

    def __init__(self, kind: str, metadata: Metadata, spec: S_co, origin: Origin | Made | Lowered) -> None:
        self.kind = kind
        self.metadata = metadata
        self.spec = spec
        self.origin = origin

    @property
    def name(self) -> str:
        """Its name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.metadata.namespace or DEFAULT_NAMESPACE

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return (self.namespace, self.name)

    @property
    def full_name(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def title(self) -> str:
        """How messages call it: ``route "api"``; the namespace is said where it is not the usual one."""
        name = self.name if self.namespace == DEFAULT_NAMESPACE else self.full_name
        return f'{self.kind} "{name}"'

    @property
    def form(self) -> str:
        """What it was made from (``http_loadbalancer "shop"``); "" when it stands in a file itself."""
        if isinstance(self.origin, Lowered):
            return self.origin.owner.title
        return self.origin.form if isinstance(self.origin, Made) else ""

    @property
    def owner(self) -> Object[Any] | None:
        """The view that it was made from; None when there is none."""
        return self.origin.owner if isinstance(self.origin, Lowered) else None

    @property
    def lowered(self) -> bool:
        """Whether it is a view from which the objects that act were made."""
        kind = KINDS.get(self.kind)
        return kind is not None and kind.lowers

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Object):
            return NotImplemented
        return self is other or (self.kind == other.kind and self.metadata == other.metadata
                                 and (self.spec is other.spec or self.spec == other.spec))

    def __hash__(self) -> int:
        return hash((self.kind, self.metadata.name, self.metadata.namespace))

    def __repr__(self) -> str:
        return f"<{self.title}>"

    def place(self, *path: str | int) -> Place:
        """Where a part of it stands: fields and list positions below the spec, or below "metadata".

        The place of what is absent is that of the nearest part around it. Objects, messages and references know their
        places; for the rest the object's text is read once more, which takes some tenths of a millisecond.
        """
        origin = self.origin
        if not isinstance(origin, Origin) and origin.laid:
            laid = _laid(origin.laid, path)
            if laid is not None:
                return laid
        if isinstance(origin, Lowered):
            return origin.owner.place(*origin.way(path))
        if isinstance(origin, Made):
            for length in range(len(path), 0, -1):
                if path[:length] in origin.places:
                    return origin.places[path[:length]]
            return origin.place
        if not path:
            return origin.place
        if path[0] != "metadata":
            known = _known_place(self.spec, path, origin)
            if known is not None:
                return known
        return _found_place(origin, self.kind, path).place

    def whence(self, *path: str | int) -> Whence:
        """Where the value at `path` came from: its file, `defaults:`, the form that the object was made from, or nowhere."""
        origin = self.origin
        if not isinstance(origin, Origin) and origin.laid:
            laid = _laid(origin.laid, path)
            if laid is not None:
                return Whence(Said.DEFAULTS, laid)
        if isinstance(origin, Lowered):
            whence = origin.owner.whence(*origin.way(path))
            return whence._replace(said=Said.FORM) if whence.said is Said.NOBODY else whence
        if isinstance(origin, Made):
            return Whence(Said.FORM, self.place(*path))
        return _found_place(origin, self.kind, path) if path else Whence(Said.FILE, origin.place)


def _laid(laid: Mapping[Path, Place], path: Path) -> Place | None:
    """Where the default stands that is the value at `path`, or around it; None when it is none."""
    plain = plain_path(path)
    return next((laid[plain[:length]] for length in range(len(plain), 0, -1) if plain[:length] in laid), None)


def _known_place(spec: object, path: tuple[str | int, ...], origin: Origin) -> Place | None:
    """The place of a message or reference, which it remembers; None for everything else."""
    value = spec
    for step in path:
        if isinstance(step, int):
            if not isinstance(value, tuple) or not -len(value) <= step < len(value):
                return None
            value = value[step]
        elif isinstance(value, Message):
            decl = plan_of(type(value)).decl(step)
            if decl is None:
                return None
            value = getattr(value, decl.attribute)
        else:
            return None
    if isinstance(value, Ref):
        return value.place
    at: int = getattr(value, "at", 0) if isinstance(value, Message) else 0
    return origin.inside(at) if at else None


def _found_place(origin: Origin, kind: str, path: tuple[str | int, ...]) -> Whence:
    """Where a part of an object stands, by reading its text again."""
    node = _node(origin.file, origin.start, origin.end, origin.column)
    if node is None:
        return Whence(Said.NOBODY, origin.place)
    if path[0] == "metadata":
        outer = _entry(node, None, "metadata")
        best, complete = (node, False) if outer is None else _descend(outer, plan_of(Metadata), path[1:])
    else:
        outer = _entry(node, None, "spec") or _entry(node, None, "get_spec")
        outer = (outer and _entry(outer, None, "gc_spec")) or outer or _entry(node, None, "gc_spec")
        best, complete = (node, False) if outer is None else _descend(outer, plan_named(kind), path)
        if not complete and origin.defaults is not None:
            at = _in_defaults(origin.defaults.partial, path)
            if at:
                return Whence(Said.DEFAULTS, origin.inside(-at))
    mark = best.start_mark
    return Whence(Said.FILE if complete else Said.NOBODY, Place(origin.file.name, origin.line + mark.line, mark.column + 1))


def _in_defaults(partial: Partial, path: tuple[str | int, ...]) -> int:
    """Where defaults say the value at `path`, 0 if they do not."""
    current: object = partial
    at = 0
    for step in path:
        if isinstance(step, int):
            continue                                # defaults of a list's items are the same for each of them
        if not isinstance(current, Partial):
            return 0
        name = next((name for name, field_name in current.names.items() if step in (name, field_name)), None)
        if name is None:
            return 0
        at = current.places.get(name, current.at)
        current = current[name]
    return at


def _descend(node: Node, plan: Plan | None, steps: Iterable[str | int]) -> tuple[Node, bool]:
    """The node at the end of `steps`, or the deepest one on the way to it, and whether it is the end."""
    best = node
    for step in steps:
        if isinstance(step, int):
            if isinstance(best, SequenceNode):
                if not -len(best.value) <= step < len(best.value):
                    return best, False
                best = best.value[step]
            # otherwise a single value stands where a list of one is meant
            continue
        if isinstance(best, SequenceNode) and len(best.value) == 1:
            best = best.value[0]
        found = _entry(best, plan, step)
        if found is None or is_null(found):
            return best, False
        best = found
        decl = plan.decl(step) if plan is not None else None
        plan = plan_inside(decl.type) if decl is not None else None
    return best, True


def _entry(node: Node, plan: Plan | None, step: str) -> Node | None:
    """The value of a mapping's key in any of its spellings; `step` is a field's or an attribute's name."""
    if not isinstance(node, MappingNode):
        return None
    decl = plan.decl(step) if plan is not None else None
    names = {step, camel(step)} if decl is None else {
        spelling for name in (decl.name, *decl.aliases) for spelling in (name, camel(name))}
    for key, value in entries_of(plan, node.value):
        if isinstance(key, ScalarNode) and key.value in names:
            return value
    return None


@lru_cache(maxsize=16)
def _node(file: File, start: int, end: int, column: int) -> Node | None:
    """The node of an object, made again from its part of the text (the last few are kept, see `_read_again`)."""
    source = file.source()
    if source is None:
        return None
    # Spaces in front give the first line its columns; the lines are counted from the object's own.
    part = Source(source.name, " " * (column - 1) + source.text[start:end], "")
    try:
        return next(iter(documents(part)), None)
    except Unreadable:
        return None                                 # an alias points out of the object


@dataclass(frozen=True)
class Config:
    """Everything that was said, immutable.

    `objects` has all objects by kind and key, in the order of files; `of` and `find` leave out those that are disabled.
    `digest` changes with anything that was read: files, files they refer to, variables. `unenforced` names the fields in
    use that `gateway.allow_unenforced` lets us ignore. `files` maps the names that places show to their files. `keep_last`
    are the places of include entries that say ``on_error: keep_last``.
    """

    gateway: Gateway
    objects: Mapping[str, Mapping[Key, Object[Any]]]
    digest: str
    warnings: tuple[ConfigError, ...] = ()
    unenforced: tuple[str, ...] = ()
    files: Mapping[str, File] = FrozenMap()
    gateway_place: Place = NOWHERE
    keep_last: tuple[Place, ...] = ()

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def vips(self) -> dict[str, Mapping[tuple[str, bool], str]]:
        """What `voltgw.config.allocation` has given out, by site; filled as it is asked for."""
        return {}

    @cached_property
    def _in_service(self) -> dict[str, Mapping[Key, Object[Any]]]:
        """The objects of a kind that are not disabled, by kind; filled as kinds are asked for."""
        return {}

    @overload
    def of(self, kind: Literal["virtual_host"]) -> Mapping[Key, Object[VirtualHostSpec]]: ...
    @overload
    def of(self, kind: Literal["route"]) -> Mapping[Key, Object[RouteSpec]]: ...
    @overload
    def of(self, kind: Literal["cluster"]) -> Mapping[Key, Object[ClusterSpec]]: ...
    @overload
    def of(self, kind: Literal["endpoint"]) -> Mapping[Key, Object[EndpointSpec]]: ...
    @overload
    def of(self, kind: Literal["advertise_policy"]) -> Mapping[Key, Object[AdvertisePolicySpec]]: ...
    @overload
    def of(self, kind: Literal["healthcheck"]) -> Mapping[Key, Object[HealthcheckSpec]]: ...
    @overload
    def of(self, kind: Literal["site"]) -> Mapping[Key, Object[SiteSpec]]: ...
    @overload
    def of(self, kind: type[S]) -> Mapping[Key, Object[S]]: ...
    @overload
    def of(self, kind: str) -> Mapping[Key, Object[Any]]: ...
    def of(self, kind: Any) -> Any:
        """The objects of a kind (its name, or the class of its spec) that are in service, in the order of files."""
        name = _named(kind)
        found = self._in_service.get(name)
        if found is None:
            found = self.objects.get(name, {})
            if any(one.metadata.disable for one in found.values()):
                found = {key: one for key, one in found.items() if not one.metadata.disable}
            self._in_service[name] = found
        return found

    @overload
    def find(self, kind: Literal["route"], ref: Ref, namespace: str) -> Object[RouteSpec] | None: ...
    @overload
    def find(self, kind: Literal["cluster"], ref: Ref, namespace: str) -> Object[ClusterSpec] | None: ...
    @overload
    def find(self, kind: Literal["endpoint"], ref: Ref, namespace: str) -> Object[EndpointSpec] | None: ...
    @overload
    def find(self, kind: Literal["advertise_policy"], ref: Ref, namespace: str) -> Object[AdvertisePolicySpec] | None: ...
    @overload
    def find(self, kind: Literal["healthcheck"], ref: Ref, namespace: str) -> Object[HealthcheckSpec] | None: ...
    @overload
    def find(self, kind: Literal["site"], ref: Ref, namespace: str) -> Object[SiteSpec] | None: ...
    @overload
    def find(self, kind: Literal["virtual_host"], ref: Ref, namespace: str) -> Object[VirtualHostSpec] | None: ...
    @overload
    def find(self, kind: type[S], ref: Ref, namespace: str) -> Object[S] | None: ...
    @overload
    def find(self, kind: str, ref: Ref, namespace: str) -> Object[Any] | None: ...
    def find(self, kind: Any, ref: Ref, namespace: str) -> Any:
        """The object in service that `ref`, standing in an object of `namespace`, means; None if there is none.

        A reference without a namespace means the referrer's, then the one or two where objects of that kind live.
        """
        name = _named(kind)
        return next((one for one in self.candidates(name, ref, namespace) if not one.metadata.disable), None)

    def candidates(self, kind: str, ref: Ref, namespace: str) -> Iterator[Object[Any]]:
        """Every object that `ref` might mean, the one it does mean first; disabled ones too."""
        objects = self.objects.get(kind, {})
        for key in self.keys(kind, ref, namespace):
            found = objects.get(key)
            if found is not None:
                yield found

    def keys(self, kind: str, ref: Ref, namespace: str) -> tuple[Key, ...]:
        """Where to look for what `ref` means, in this order."""
        if ref.namespace is not None:
            return ((ref.namespace, ref.name),)
        homes = KINDS[kind].homes if kind in KINDS else ()
        if not homes:
            return ((namespace, ref.name),)
        return ((namespace, ref.name), *((home, ref.name) for home in homes if home != namespace))

    @property
    def site(self) -> Object[SiteSpec] | None:
        """The site object that this gateway embodies; None when the site is made up."""
        return self.find("site", Ref(None, self.gateway.site_name), DEFAULT_NAMESPACE)

    def here(self, where: Any, namespace: str) -> bool:
        """Whether a ``where`` of an object of `namespace` names this gateway's site (`voltgw.config.networks.present`)."""
        return present(self, where, namespace)

    def line(self, place: Place) -> str:
        """The line of the file at `place`, "" if the file cannot be read any more."""
        file = self.files.get(place.file)
        source = file.source() if file is not None else None
        return source.line(place.line) if source is not None else ""


def _named(kind: Any) -> str:
    """The name of a kind, given that or the class of its spec."""
    if isinstance(kind, str):
        known = kind_of(kind)
        return known.name if known is not None else kind
    return next(name for name in KINDS if spec_class(name) is kind)
