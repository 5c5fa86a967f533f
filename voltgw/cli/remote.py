"""Asking a running gateway: ``voltgw status``, ``voltgw clusters``, ``voltgw reload``, by its admin interface."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import ssl
import sys
from typing import Any, Final

from voltgw.observe.guard import host_of
from voltgw.values.address import is_loopback
from voltgw.values.defaults import ADMIN_ADDRESS, ADMIN_PORT

#: The admin interface answers from memory; a gateway that takes longer is in trouble.
TIMEOUT_S: Final = 10.0
#: Exit status when we may not ask, or got an answer that is no gateway's…
REFUSED_STATUS: Final = 1
#: …and when no gateway answers.
UNREACHABLE_STATUS: Final = 3
#: When a configuration was refused.
CONFIG_STATUS: Final = 2
#: A change waits for the first probes of new clusters, and for other changes before it.
CHANGE_TIMEOUT_S: Final = 300.0
#: Longest token that is read.
MOST_TOKEN_BYTES: Final = 4096


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Gateway(str):
    """Where an admin interface is, as ``--admin`` says it, and what is shown there: files of a token and of a certificate."""

    token_file: str | None = None
    cacert: str | None = None
    cert: str | None = None
    key: str | None = None

    def token(self) -> str | None:
        """The token. Raises OSError and ValueError."""
        if not self.token_file:
            return None
        with open(self.token_file, encoding="ascii") as file:
            text = file.read(MOST_TOKEN_BYTES).strip()
        if not text or not text.isprintable():
            raise ValueError(f"{self.token_file} has no token")
        return text


class Parser(argparse.ArgumentParser):
    """Takes ``--admin`` and what is shown there, also from the environment: `options.admin` is a `Gateway`."""

    def add_admin(self, of: str = "") -> None:
        """Those options; `of` is the one that they belong to."""
        at = f"of {of}: " if of else ""
        self.add_argument("--admin", metavar="WHERE", default=os.environ.get("VOLTGW_ADMIN") or f"{ADMIN_ADDRESS}:{ADMIN_PORT}",
                          help=f"{at}address:port, a port, https://name:port, or the path of the unix socket (default: "
                          "$VOLTGW_ADMIN, or %(default)s)")
        self.add_argument("--token-file", metavar="FILE", default=os.environ.get("VOLTGW_TOKEN_FILE"),
                          help=f"{at}has the token to show (default: $VOLTGW_TOKEN_FILE)")
        self.add_argument("--cacert", metavar="FILE", help=f"{at}CAs that are believed (default: the system's)")
        self.add_argument("--cert", metavar="FILE", help=f"{at}certificate to show, with its key or beside --key")
        self.add_argument("--key", metavar="FILE", help=f"{at}key of that certificate")

    def parse_args(self, *given: Any, **named: Any) -> Any:
        """As argparse does."""
        options = super().parse_args(*given, **named)
        gateway = Gateway(options.admin)
        for name in ("token_file", "cacert", "cert", "key"):
            setattr(gateway, name, getattr(options, name))
        options.admin = gateway
        return options


def parser(command: str, doc: str) -> Parser:
    """What all these commands take."""
    made = Parser(prog=f"voltgw {command}", description=doc)
    made.add_admin()
    made.add_argument("--json", action="store_true", help="print the answer as it came")
    return made


def ask(where: str, method: str, path: str, timeout_s: float = TIMEOUT_S) -> tuple[int, Any]:
    """Status and JSON of an answer.

    `where` is ``address:port``, a port of this machine, ``https://name:port``, or the path of a unix socket; a `Gateway` says
    what is shown there. Raises OSError or HTTPException when nobody answers there, and ValueError when the answer is not JSON,
    or there is nothing to show.
    """
    status, body = fetch(where, method, path, timeout_s)
    return status, json.loads(body)


def fetch(where: str, method: str, path: str, timeout_s: float = TIMEOUT_S) -> tuple[int, bytes]:
    """Status and body of an answer, whatever it is; otherwise as `ask`."""
    gateway = where if isinstance(where, Gateway) else Gateway(where)
    headers = {"Accept": "application/json"}
    token = gateway.token()
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection = _connection(gateway, timeout_s)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _connection(gateway: Gateway, timeout_s: float) -> http.client.HTTPConnection:
    where = f"{ADMIN_ADDRESS}:{gateway}" if gateway.isdigit() else str(gateway)
    if where.startswith("https://"):
        context = ssl.create_default_context(cafile=gateway.cacert)
        if gateway.cert:
            context.load_cert_chain(gateway.cert, gateway.key)
        return http.client.HTTPSConnection(where.removeprefix("https://").rstrip("/"), timeout=timeout_s, context=context)
    where = where.removeprefix("http://").rstrip("/") if where.startswith("http://") else where
    if "/" in where or os.path.exists(where):
        return _UnixConnection(where, timeout_s)
    if gateway.token_file and not is_loopback(host_of(where)):
        raise OSError(f"a token is not sent to another host in plain text; say https://{where}")
    return http.client.HTTPConnection(where, timeout=timeout_s)


def answer(where: str, method: str, path: str, timeout_s: float = TIMEOUT_S) -> tuple[int, Any] | None:
    """`ask`, or None after saying that no gateway answers there."""
    try:
        return ask(where, method, path, timeout_s)
    except TimeoutError:
        print(f"voltgw: the gateway at {where} gave no answer within {timeout_s:g} s", file=sys.stderr)
    except http.client.InvalidURL as error:
        print(f"voltgw: no gateway answers at {where}: {error}", file=sys.stderr)
    except (http.client.HTTPException, ValueError):     # their words quote what came, whatever that is
        print(f"voltgw: no gateway answers at {where}: what answers there is no admin interface", file=sys.stderr)
    except OSError as error:
        print(f"voltgw: no gateway answers at {where}: {error}", file=sys.stderr)
    return None


def question(where: str, path: str, *keys: str) -> tuple[int, dict[str, Any]]:
    """An exit status for failures (0 = none), and the JSON object that `path` answers; it has `keys`."""
    got = answer(where, "GET", path)
    if got is None:
        return UNREACHABLE_STATUS, {}
    status, facts = got
    if status != 200 or not isinstance(facts, dict) or not all(key in facts for key in keys):
        why = facts.get("error") if isinstance(facts, dict) else None
        print(f"voltgw: {where} is not the admin interface of a gateway: {why or f'it answers {status}'}", file=sys.stderr)
        return REFUSED_STATUS, {}
    return 0, facts


def chosen(options: argparse.Namespace, path: str, kind: str) -> tuple[int, list[dict[str, Any]]]:
    """An exit status for failures (0 = none), and of the objects that `path` answers as ``{kind}s`` those of `options.name`,
    which is namespace/name or the name alone; None = all of them.
    """
    failed, facts = question(options.admin, path, f"{kind}s")
    if failed:
        return failed, []
    found = [each for each in facts[f"{kind}s"]
             if options.name is None or options.name in (each[kind], each[kind].partition("/")[2])]
    if not found and options.name is not None:
        print(f"voltgw: there is no {kind} {options.name!r}", file=sys.stderr)
        return REFUSED_STATUS, []
    return 0, found


def changed(command: str, options: argparse.Namespace, path: str, key: str) -> tuple[int, dict[str, Any] | None]:
    """Have the gateway serve another configuration: the exit status, and the answer if it is to be put in words; it has `key`.

    All else has been said.
    """
    got = answer(options.admin, "POST", path, CHANGE_TIMEOUT_S)
    if got is None:
        return UNREACHABLE_STATUS, None
    status, result = got
    if not isinstance(result, dict):
        result = {}
    done = status == 200 and key in result
    if options.json:
        print(json.dumps(result, indent=2))
    elif done:
        return 0, result
    else:
        for problem in result.get("problems", [result.get("error", f"status {status}")]):
            print(f"voltgw {command}: {problem}", file=sys.stderr)
    return 0 if done else CONFIG_STATUS if status == 422 else REFUSED_STATUS, None
