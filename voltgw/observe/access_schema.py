"""The JSON Schema of the access log's records in JSON, made from the same table as their page in the docs."""

from __future__ import annotations

from typing import Any, Final

from voltgw.observe.fields import ACCESS_FIELDS, AccessField

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_KINDS: Final[dict[str, dict[str, Any]]] = {
    "string": {"type": "string"}, "number": {"type": "number"}, "list": {"type": "array", "items": {"type": "string"}},
    "object": {"type": "object", "additionalProperties": {"type": "string"}},
}


def access_schema() -> dict[str, Any]:
    """A record is one of a request or one of a connection; keys that are not here may come with a later version."""
    return {
        "$schema": _DIALECT, "title": "A record of voltgw's access log",
        "oneOf": [{"$ref": "#/$defs/request"}, {"$ref": "#/$defs/connection"}],
        "$defs": {
            "request": _record("An HTTP request that is over.", [field for field in ACCESS_FIELDS if field.http]),
            "connection": _record("A connection that has ended.", [field for field in ACCESS_FIELDS if field.tcp]),
        },
    }


def _record(description: str, fields: list[AccessField]) -> dict[str, Any]:
    return {
        "type": "object", "description": description, "required": [field.name for field in fields if field.always],
        "properties": {field.name: {**_KINDS[field.kind], "description": field.meaning.replace("``", "")} for field in fields},
        # What tells the two apart.
        "not": {"required": ["connection_state"]} if any(field.name == "method" for field in fields) else
               {"required": ["method"]},
    }
