"""The values that configuration is made of: references, read-only maps, number ranges, secrets.

All of them are immutable, hashable and compare by content; places never take part in a comparison.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol, TypeVar

from voltgw.errors import NOWHERE, Place

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Inside(Protocol):
    """What places inside an object are counted from: `voltgw.config.places.Origin`, or a field of a view."""

    def inside(self, at: int) -> Place:
        """The place at `at`, which is packed."""


class Ref:
    """A reference to another object as it was written; `namespace` None = the look-up rule of `Config.find` applies.

    `tenant` is kept because ``ves-io`` names objects that are built in and stand in no file. `place` does not take part in
    comparisons; it is computed from the origin of the object that the reference stands in.
    """

    __slots__ = ("_at", "_origin", "name", "namespace", "tenant")

    def __init__(self, namespace: str | None, name: str, place: Place = NOWHERE, tenant: str | None = None) -> None:
        self.namespace = namespace
        self.name = name
        self.tenant = tenant
        self._origin: Place | Inside = place
        self._at = 0

    @classmethod
    def inside(cls, origin: Inside, at: int, namespace: str | None, name: str, tenant: str | None) -> Ref:
        """A reference in the object of `origin`; `at` as `Origin.inside` wants it."""
        made = cls(namespace, name, tenant=tenant)
        made._origin = origin
        made._at = at
        return made

    def renamed(self, name: str) -> Ref:
        """The same with another name; it stands where this one stands."""
        made = Ref(self.namespace, name, tenant=self.tenant)
        made._origin, made._at = self._origin, self._at
        return made

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self._origin if isinstance(self._origin, Place) else self._origin.inside(self._at)

    @property
    def moves(self) -> bool:
        """Whether its place is counted from an object's; False for one that stands in ``defaults:`` or was made by hand."""
        return not isinstance(self._origin, Place)

    @property
    def built_in(self) -> bool:
        """Whether it names an object that the vendor's system brings along (``ves-io/shared/*``)."""
        return self.tenant == "ves-io" or (self.namespace == "shared" and self.name.startswith("ves-io-"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ref):
            return NotImplemented
        return self.name == other.name and self.namespace == other.namespace and self.tenant == other.tenant

    def __hash__(self) -> int:
        return hash((self.namespace, self.name))

    def __str__(self) -> str:
        return self.name if self.namespace is None else f"{self.namespace}/{self.name}"

    def __repr__(self) -> str:
        return f"Ref({self})"


class FrozenMap(dict[K, V]):
    """A dict that cannot change after it was made, and can therefore be hashed. Order is the file's."""

    __slots__ = ("_hash",)
    _hash: int

    def __hash__(self) -> int:  # type: ignore[override]
        try:
            return self._hash
        except AttributeError:
            self._hash = hash(frozenset(self.items()))
            return self._hash

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this map is read-only")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[FrozenMap[K, V]], tuple[dict[K, V]]]:
        return FrozenMap, (dict(self),)         # the default way would fill an empty one item by item

    def __or__(self, other: Mapping[K, V]) -> FrozenMap[K, V]:  # type: ignore[override]
        return FrozenMap({**self, **other})


#: The map that an absent map field has; shared, since it cannot change.
EMPTY: Final[FrozenMap[str, str]] = FrozenMap()


@dataclass(frozen=True, slots=True)
class Range:
    """Whole numbers from `first` to `last`, both included (ports, status codes)."""

    first: int
    last: int

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.last + 1))

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Secret:
    """The bytes of a private key, password or token; neither `repr` nor `str` ever shows them.

    They are part of the value, so that a rotated file behind a ``file:`` URL makes a different configuration.
    """

    data: bytes

    def __repr__(self) -> str:
        return "***"
