"""JSON Schema (draft 2020-12) of a kind and of a whole file, made from the declarations."""

from __future__ import annotations

from typing import Any, Final, cast

from voltgw.config.document import IncludeEntry
from voltgw.config.gateway import Gateway
from voltgw.config.kinds import KINDS, Kind
from voltgw.config.model import Metadata
from voltgw.config.objects.route import RouteType
from voltgw.config.schema import Nested, message_schema
from voltgw.config.short_form import ShortLoadBalancer
from voltgw.config.types import Schema

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema_of(kind: Kind) -> Schema:
    """The schema of one object of a kind, as it stands in a file of its own."""
    definitions: dict[str, Schema] = {}
    return {"$schema": DIALECT, "title": f"voltgw {kind.name}", **_object(kind, definitions), "$defs": definitions}


def whole_schema() -> Schema:
    """The schema of a main or included file: our own form, or one object of any kind."""
    definitions: dict[str, Schema] = {}
    objects: Schema = {
        "type": "object", "required": ["kind", "metadata"],
        "properties": {"kind": {"enum": list(KINDS)}},
        # One branch per kind, so that an editor speaks of the fields of that kind only.
        "allOf": [{"if": {"properties": {"kind": {"const": kind.name}}, "required": ["kind"]},
                   "then": _object(kind, definitions)} for kind in KINDS.values()],
    }
    definitions["Object"] = objects
    own: Schema = {
        "type": "object", "additionalProperties": False,
        "properties": {
            "gateway": _or_null(Nested(Gateway).schema(definitions)),
            "defaults": _or_null({"type": "object", "additionalProperties": False, "properties": {
                kind.name: _or_null(_partial(kind, definitions)) for kind in KINDS.values() if kind.spec}}),
            "include": _or_null(_one_or_list(Nested(IncludeEntry, scalar="path").schema(definitions))),
            "objects": _or_null({"type": "array", "items": {"$ref": "#/$defs/Object"}}),
            "load_balancers": _or_null({"type": "array", "items": Nested(ShortLoadBalancer).schema(definitions)}),
        },
    }
    object_keys = [{"required": [key]} for key in ("kind", "metadata", "spec")]
    return {"$schema": DIALECT, "title": "voltgw configuration", "if": {"anyOf": object_keys},
            "then": {"$ref": "#/$defs/Object"}, "else": own, "$defs": definitions}


def _object(kind: Kind, definitions: dict[str, Schema]) -> Schema:
    plan = kind.plan()
    spec: Schema = {"type": "object"} if plan is None else Nested(plan.cls).schema(definitions)
    return {
        "type": "object", "description": kind.doc, "required": ["metadata"], "additionalProperties": False,
        "properties": {
            "kind": {"const": kind.name}, "metadata": Nested(Metadata).schema(definitions), "spec": _or_null(spec),
            # What the API adds when an object is read.
            **{name: {} for name in ("system_metadata", "status", "create_form", "replace_form", "referring_objects",
                                     "deleted_referred_objects", "disabled_referred_objects", "resource_version")},
        },
    }


def _partial(kind: Kind, definitions: dict[str, Schema]) -> Schema:
    """Defaults of a kind: its fields, none of them required at any depth. (A route's are those of one rule.)"""
    plan = kind.plan()
    if plan is None:
        return {"type": "object"}
    inside: dict[str, Schema] = {}
    whole = message_schema(RouteType if kind.name == "route" else plan.cls, inside)
    for name, schema in inside.items():
        # Enums and references are the same with and without; messages require nothing here.
        definitions.setdefault(f"{name}.defaults", _renamed({k: v for k, v in schema.items() if k != "allOf"}))
    return cast(Schema, _renamed({k: v for k, v in whole.items() if k != "allOf"}))


def _renamed(schema: Any) -> Any:
    """A schema whose references are to the definitions for defaults."""
    if isinstance(schema, dict):
        return {k: f"{v}.defaults" if k == "$ref" else _renamed(v) for k, v in schema.items()}
    return [_renamed(item) for item in schema] if isinstance(schema, list) else schema


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _one_or_list(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "array", "items": schema}]}


def named(name: str) -> dict[str, Any] | None:
    """The schema of a kind by its name; None when there is no such kind."""
    kind = KINDS.get(name)
    return schema_of(kind) if kind is not None else None
