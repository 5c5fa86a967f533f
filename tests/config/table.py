"""The object model's reference as a table, ``fields.csv``, and objects in which one field of it is tried."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.config.samples import Where, around, messages
from voltgw.config.load import load_text
from voltgw.config.schema import Decl
from voltgw.errors import ConfigError, ConfigErrors, Severity

#: Errors that say that a field is not acted on or not supported yet; the value itself was read.
NOT_YET: Final = frozenset(("VG0115", "VG0116"))
#: Good values of fields about which their message has a rule of its own.
SPECIAL: Final[Mapping[tuple[str, str], Any]] = {
    ("PathMatcherType", "prefix"): "/a",
    ("PathMatcherType", "path"): "/a",
    ("RouteRedirect", "response_code"): 308,
    ("RouteDirectResponse", "response_code"): 200,
    ("virtual_site", "site_type"): "CUSTOMER_EDGE",
}
_COMPANIONS: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("RetryBackOff", "max_interval"): {"base_interval": 1},
    ("endpoint", "port"): {"ip": "192.0.2.1"},
}


class Row(NamedTuple):
    """One field of the object model."""

    message: str                    # a kind, or a message inside one
    field: str
    group: str
    type: str
    limit: str
    since: str
    seed: str
    section: str

    @property
    def terms(self) -> list[str]:
        """Its limits one by one; a comma inside brackets or braces separates nothing."""
        return [term for term in re.split(r", (?![^\[{]*[\]}])", self.limit) if term]


def rows() -> list[Row]:
    """The table."""
    with (Path(__file__).parent / "fields.csv").open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        if next(lines) != list(Row._fields):
            raise ValueError("fields.csv has other columns than Row")
        return [Row(*line) for line in lines]


ROWS: Final = rows()
MESSAGES: Final = messages()


def errors_of(where: Where, fields: Mapping[str, Any], without: str = "") -> list[ConfigError]:
    """What the reader finds wrong with an object in which the message has these fields."""
    if where.kind == "metadata":
        one: dict[str, Any] = {"kind": "route", "metadata": {"name": "n", **fields}, "spec": {"routes": [
            {"route_direct_response": {"response_code": 200}}]}}
        one["metadata"].pop(without, None)
    else:
        one = {"kind": where.kind, "metadata": {"name": "n"}, "spec": around(where, fields, without=without)}
    try:
        load_text(json.dumps({"objects": [one]}))
    except ConfigErrors as errors:
        return [e for e in errors.problems if e.severity is Severity.ERROR and e.code not in NOT_YET]
    return []


def declared(row: Row) -> tuple[Where, Decl | None]:
    """The message of a row and its declaration of the row's field."""
    where = MESSAGES[row.message]
    return where, where.plan.by_key.get(row.field)


def companions(row: Row) -> dict[str, Any]:
    """Fields without which the row's field breaks a rule of its message."""
    return dict(_COMPANIONS.get((row.message, row.field), {}))
