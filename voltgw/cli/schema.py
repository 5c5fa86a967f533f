"""``voltgw schema [KIND]``: JSON Schema of a whole file, of one kind of object, or of the access log's records."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Final

from voltgw.config.kinds import KINDS, kind_of
from voltgw.config.schema_export import schema_of, whole_schema
from voltgw.config.suggest import did_you_mean
from voltgw.observe.access_schema import access_schema

#: Which schema is no object's.
ACCESS_LOG: Final = "access-log"


def run(arguments: list[str]) -> int:
    """Print the schema that `arguments` ask for; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="voltgw schema",
        description="Print the JSON Schema of a whole file, of one kind of object, or of the access log's records in JSON.",
        epilog="An editor uses it with a first line such as: # yaml-language-server: $schema=voltgw.schema.json")
    names = ", ".join(kind.name for kind in KINDS.values() if kind.spec)
    parser.add_argument("kind", metavar="KIND", nargs="?", help=f"{ACCESS_LOG}, or one of {names}")
    options = parser.parse_args(arguments)
    if options.kind is None:
        schema = whole_schema()
    elif options.kind == ACCESS_LOG:
        schema = access_schema()
    else:
        kind = kind_of(options.kind)
        if kind is None:
            hint = did_you_mean(options.kind, (*KINDS, ACCESS_LOG))
            print(f"voltgw schema: unknown kind {options.kind!r}" + (f"; {hint}" if hint else ""), file=sys.stderr)
            return 2
        schema = schema_of(kind)
    print(json.dumps(schema, indent=1, ensure_ascii=False))
    return 0
