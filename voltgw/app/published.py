"""The objects that run, in the published shape of a read: metadata, system_metadata and spec; secrets are ``***``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

from voltgw.config.show import plain_metadata, plain_spec

if TYPE_CHECKING:
    from voltgw.config.model import Config, Object

#: Ours, from which the ids of objects are made (RFC 9562 5.5): one of the same kind and name has the same id everywhere.
_IDS: Final = UUID("6c6b7f4e-3d0b-5c1e-9a5e-1f0a7b8c9d2e")


class Published:
    """Reads of one configuration. Nothing is copied: each object is put in this shape when it is asked for."""

    def __init__(self, config: Config) -> None:
        self._objects = config.objects

    def namespaces(self) -> list[str]:
        """Those that have objects, sorted."""
        return sorted({namespace for objects in self._objects.values() for namespace, _ in objects})

    def listed(self, namespace: str, plural: str, *, specs: bool) -> Iterator[dict[str, Any]] | None:
        """The objects of a kind (``virtual_hosts``) as a list has them, with their specs if wanted; None = no such kind."""
        kind = self._kind(plural)
        return None if kind is None else self._items(kind, namespace, specs=specs)

    def one(self, namespace: str, plural: str, name: str) -> dict[str, Any] | None:
        """One object; None = there is none."""
        kind = self._kind(plural)
        found = None if kind is None else self._objects[kind].get((namespace, name))
        return None if found is None else {
            "kind": found.kind, "metadata": {**plain_metadata(found.metadata), "namespace": found.namespace},
            "system_metadata": _system_metadata(found), "spec": plain_spec(found.spec)}

    def _kind(self, plural: str) -> str | None:
        return plural[:-1] if plural.endswith("s") and plural[:-1] in self._objects else None

    def _items(self, kind: str, namespace: str, *, specs: bool) -> Iterator[dict[str, Any]]:
        for found in self._objects[kind].values():
            if found.namespace == namespace:
                yield {**_item(found), **({"get_spec": plain_spec(found.spec)} if specs else {})}


def _item(found: Object[Any]) -> dict[str, Any]:
    metadata = found.metadata
    return {
        "name": found.name, "namespace": found.namespace, "uid": _uid(found), "labels": dict(metadata.labels),
        "annotations": dict(metadata.annotations), "description": metadata.description or "", "disabled": metadata.disable,
        "owner_view": _owner(found)}


def _system_metadata(found: Object[Any]) -> dict[str, Any]:
    return {"uid": _uid(found), "namespace": found.namespace, "owner_view": _owner(found)}


def _owner(found: Object[Any]) -> dict[str, str] | None:
    """The view from which it was made."""
    owner = found.owner
    return None if owner is None else {
        "kind": owner.kind, "namespace": owner.namespace, "name": owner.name, "uid": _uid(owner)}


def _uid(found: Object[Any]) -> str:
    return str(uuid5(_IDS, f"{found.kind}/{found.full_name}"))
