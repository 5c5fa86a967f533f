"""How what was built knows the objects that it was built from: a virtual host that is taken over at a reload follows them."""

from __future__ import annotations

from typing import Generic, TypeVar

from voltgw.config.model import Object
from voltgw.errors import Place

S = TypeVar("S")


class Standing(Generic[S]):
    """An object as virtual hosts and routes refer to it; satisfies `voltgw.routing.table.RouteObject`.

    Places are asked of the object that stands here. After a reload that is the object as it was read then: it says the same,
    or its virtual host would have been built anew, but may do so elsewhere in the file.
    """

    __slots__ = ("object",)

    def __init__(self, object: Object[S]) -> None:
        self.object = object

    @property
    def name(self) -> str:
        """Its name."""
        return self.object.name

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.object.namespace

    @property
    def spec(self) -> S:
        """What it says."""
        return self.object.spec

    def place(self, *path: str | int) -> Place:
        """Where a part of it stands, see `Object.place`."""
        return self.object.place(*path)
