"""The objects that run, for programs that know the published API: ``GET /api/config/namespaces/{ns}/{kind}s[/{name}]``.

Reading is all that is offered: a configuration stands in files. So other methods are refused before anything is looked up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol
from urllib.parse import unquote

from voltgw.observe.answers import Answer, json_answer, json_list

CONFIG: Final = b"/api/config/namespaces/"
NAMESPACES: Final = b"/api/web/namespaces"
_HOW_TO_ASK: Final = "ask /api/config/namespaces/default/virtual_hosts, or …/virtual_hosts/shop for one of them"


class PublishedLike(Protocol):
    """What is asked of the configuration (`voltgw.app.published.Published`)."""

    def namespaces(self) -> list[str]:
        """Those that have objects."""

    def listed(self, namespace: str, plural: str, *, specs: bool) -> Iterator[dict[str, Any]] | None:
        """The objects of a kind; None = there is no such kind."""

    def one(self, namespace: str, plural: str, name: str) -> dict[str, Any] | None:
        """One object; None = there is none."""


def namespaces(published: PublishedLike) -> Answer:
    """All namespaces."""
    return json_list("items", ({"name": name} for name in published.namespaces()))


def objects(published: PublishedLike, path: bytes, *, specs: bool) -> Answer | str:
    """A list, or one object; why there is neither (404)."""
    parts = [unquote(part) for part in path.removeprefix(CONFIG).decode("latin-1").split("/")]
    if not 2 <= len(parts) <= 3 or not all(parts):
        return _HOW_TO_ASK
    namespace, plural = parts[:2]
    if len(parts) == 2:
        found = published.listed(namespace, plural, specs=specs)
        return f"there are no {plural}: no object is of this kind" if found is None else json_list("items", found)
    one = published.one(namespace, plural, parts[2])
    return f"there is no {plural}/{parts[2]} in the namespace {namespace}" if one is None else json_answer(one)
