"""``voltgw import nginx|haproxy|caddy|traefik FILE``: another proxy's configuration as one of voltgw.

Nothing is changed but the file that ``-o`` names. Exit status 0; 1 under ``--strict`` when something is not as it was there;
2 when a file cannot be read.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final, cast

from voltgw.app.importing.model import Gateway, UnreadableError
from voltgw.app.importing.writer import write

INEXACT_STATUS: Final = 1
UNREADABLE_STATUS: Final = 2
#: The reader of each language: a function of the names of files.
READERS: Final[Mapping[str, str]] = {
    "nginx": "voltgw.app.importing.nginx", "haproxy": "voltgw.app.importing.haproxy",
    "caddy": "voltgw.app.importing.caddy", "traefik": "voltgw.app.importing.traefik"}


def run(arguments: list[str]) -> int:
    """Translate what `arguments` name; returns the exit status."""
    options = _parser().parse_args(arguments)
    translate = cast("Callable[[list[str]], Gateway]", import_module(READERS[options.source]).translate)
    try:
        gateway = translate(options.files)
    except UnreadableError as error:
        print(f"voltgw import: {error}", file=sys.stderr)
        return UNREADABLE_STATUS
    text = write(gateway, options.source, options.files)
    if options.output is None:
        print(text, end="")
    else:
        try:
            _replace(options.output, text)
        except OSError as error:
            print(f"voltgw import: {options.output} cannot be written: {error.strerror}", file=sys.stderr)
            return UNREADABLE_STATUS
    for note in gateway.notes:
        print(note, file=sys.stderr)
    if gateway.notes.more:
        print(f"and {gateway.notes.more} more", file=sys.stderr)
    if options.output is not None and not options.quiet:
        print(f"{options.output}: {len(gateway.hosts)} virtual hosts, {len(gateway.pools)} clusters; "
              f"{len(gateway.notes) + gateway.notes.more} things are not as they were; next: voltgw check {options.output}",
              file=sys.stderr)
    return INEXACT_STATUS if options.strict and len(gateway.notes) else 0


def _replace(path: str, text: str) -> None:
    """Write a file whole or not at all. Raises OSError."""
    descriptor, name = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".voltgw-import-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voltgw import",
        description="Translate another proxy's configuration. What cannot be translated is named with its place, on standard "
        "error and at the head of the result; access that cannot be translated is closed (403), never opened.",
        epilog="Exit status: 0; 1 under --strict when something is not as it was; 2 when a file cannot be read.")
    parser.add_argument("source", choices=tuple(READERS), help="whose configuration it is")
    parser.add_argument("files", metavar="FILE", nargs="+", help="its main file (traefik: all files of the file provider)")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of to standard output")
    parser.add_argument("--strict", action="store_true", help="what is not as it was changes the exit status")
    parser.add_argument("-q", "--quiet", action="store_true", help="with -o, do not sum up")
    return parser
