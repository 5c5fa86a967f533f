"""The table of the fields by which credentials are asked for: docs/authentication-fields.csv says by which tests they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.docs.http_fields import Row, joined, table, written
from voltgw.config.objects.credentials import AuthenticationType
from voltgw.config.objects.jwt import JwtValidation
from voltgw.config.reader import State
from voltgw.config.schema import Decl, Plan, plan_inside, plan_of

FILE: Final = Path(__file__).resolve().parents[2] / "docs" / "authentication-fields.csv"
#: Where the fields stand, and whose they are.
_TOP: Final = (("jwt_validation", JwtValidation), ("authentication", AuthenticationType))
#: Whose parts have rows of their own.
_MODULES: Final = (".jwt", ".credentials")


def declared() -> dict[str, Decl]:
    """The fields by their full names; tokens under ``authentication`` are those of ``jwt_validation``."""
    return {name: decl for path, cls in _TOP for name, decl in _declared(plan_of(cls), path)}


def _declared(plan: Plan, path: str) -> Iterator[tuple[str, Decl]]:
    for decl in plan.decls:
        name = f"{path}.{decl.name}"
        yield name, decl
        inner = plan_inside(decl.type)
        if (inner is not None and inner.cls.__module__.endswith(_MODULES) and decl.state is State.ACTS
                and inner.cls is not JwtValidation):
            yield from _declared(inner, name)


def rows() -> list[Row]:
    """All of it."""
    return joined(declared(), written(FILE))


def render() -> str:
    """The table, as reStructuredText."""
    return table(rows())
