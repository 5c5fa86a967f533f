"""Asking a running gateway: ``voltgw status``, ``voltgw clusters``, ``voltgw reload``, by its admin interface."""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sys
from typing import Any, Final

from voltgw.values.defaults import ADMIN_ADDRESS, ADMIN_PORT

#: The admin interface answers from memory; a gateway that takes longer is in trouble.
TIMEOUT_S: Final = 10.0
#: Exit status when no gateway answers.
UNREACHABLE_STATUS: Final = 3


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


def parser(command: str, doc: str) -> argparse.ArgumentParser:
    """What all these commands take."""
    made = argparse.ArgumentParser(prog=f"voltgw {command}", description=doc)
    made.add_argument("--admin", metavar="WHERE", default=f"{ADMIN_ADDRESS}:{ADMIN_PORT}",
                      help="address:port, or the path of the unix socket (default: %(default)s)")
    made.add_argument("--json", action="store_true", help="print the answer as it came")
    return made


def ask(where: str, method: str, path: str) -> tuple[int, Any]:
    """Status and JSON of an answer. Raises OSError when nobody answers there."""
    connection: http.client.HTTPConnection
    if "/" in where:
        connection = _UnixConnection(where)
    else:
        connection = http.client.HTTPConnection(where, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def answer(where: str, method: str, path: str) -> tuple[int, Any] | None:
    """`ask`, or None after saying that no gateway answers there."""
    try:
        return ask(where, method, path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"voltgw: no gateway answers at {where}: {error}", file=sys.stderr)
        return None
