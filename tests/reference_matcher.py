"""A second opinion on routing, written from the object model's text alone (objects.md 5 and 22), slow and plain on purpose.

It reads objects as configuration files hold them and knows nothing of voltgw. Where the text leaves a question open the
comment says what is taken for the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: A part of a configuration file: what JSON and YAML hold, of which nothing is known before it is looked at.
Spec = Mapping[str, Any]

_UNRESERVED: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sends; `host` is the value of Host, `fields` are the others, each name once and in lower case."""

    method: str
    target: str
    host: str
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of it: forwarded to one of `clusters` as `target`, `host` and `fields`, or answered with `status`.

    `fields` has the values of each name in order. `location` and `body` are of own answers, None where nothing is said.
    """

    clusters: frozenset[str] = frozenset()
    target: str = ""
    host: str = ""
    fields: tuple[tuple[str, tuple[str, ...]], ...] = ()
    status: int = 0
    location: str | None = None
    body: bytes | None = None


def answer(hosts: Sequence[Spec], routes: Mapping[str, Sequence[Spec]], port: int, request: Request) -> Answer:
    """What becomes of `request` on a listener at `port` that has these virtual hosts; `routes` are the rules by name."""
    host = choose_host(hosts, request.host, port)
    if host is None:
        return Answer(status=404)                           # 22.1
    path, mark, query = request.target.partition("?")
    if "disable_path_normalize" not in host:
        path = normal_path(path)
    for name in host["routes"]:                             # 22.3: the objects in order, the rules of each in order
        for rule in routes[name]:
            for match in rule.get("match") or [{}]:         # 5.1: no entry matches everything
                if matches(match, request, path, query, port):
                    return act(host, rule, match, request, path, mark + query)
    return Answer(status=404)                               # 22.3


# -- which host (22.1) -------------------------------------------------------------------------------------------------

def choose_host(hosts: Sequence[Spec], value: str, listener_port: int) -> Spec | None:
    """The virtual host for this value of Host: exact before the longest suffix before ``*``.

    Of two entries that say the same name the one with the port is nearer. Where Host names no port, the text leaves open which
    one is meant; it is taken for the one that the listener has, which is the one that clients leave out.
    """
    best: tuple[int, int, bool] | None = None
    chosen: Spec | None = None
    for host in hosts:
        for domain in host["domains"]:
            rank = domain_rank(domain, value, listener_port)
            if rank is not None and (best is None or rank > best):
                best, chosen = rank, host
    return chosen


def domain_rank(domain: str, value: str, listener_port: int) -> tuple[int, int, bool] | None:
    """How near an entry of ``domains`` is to a value of Host, None if it is another's."""
    name, _, port = value.lower().partition(":")
    name = name.removesuffix(".")                           # DNS: the same name
    wanted, _, wanted_port = domain.lower().partition(":")
    if wanted_port and int(wanted_port) != int(port or listener_port):      # an entry without a port takes any (22.1, undecided there)
        return None
    ported = bool(wanted_port)
    if wanted == "*":
        return 0, 0, ported
    if wanted.startswith("*"):
        suffix = wanted[1:]
        if name.endswith(suffix) and len(name) > len(suffix):       # at least one character
            return 1, len(suffix), ported
        return None
    return (2, 0, ported) if wanted == name else None


# -- which rule (5.2) --------------------------------------------------------------------------------------------------

def matches(match: Spec, request: Request, path: str, query: str, port: int) -> bool:
    """Whether all parts of one entry hold."""
    return (
        path_matches(match.get("path", {}), path)
        and all(field_matches(each, request) for each in match.get("headers", ()))
        and all(parameter_matches(each, query) for each in match.get("query_params", ()))
        and match.get("http_method", "ANY") in ("ANY", request.method)
        and port_matches(match.get("incoming_port", {}), port)
    )


def path_matches(condition: Spec, path: str) -> bool:
    """``prefix`` by bytes, ``path`` exactly, ``regex`` over the whole path."""
    if "prefix" in condition:
        return path.startswith(condition["prefix"])
    if "path" in condition:
        return path == str(condition["path"])
    if "regex" in condition:
        return re.fullmatch(condition["regex"], path) is not None
    return True


def field_matches(condition: Spec, request: Request) -> bool:
    """``exact``, ``regex`` or ``presence`` of a field; Host may be asked for, too, and as a name it has no case (22.1)."""
    name = condition["name"].lower()
    value = dict((("host", request.host), *request.fields)).get(name)
    if value is None:
        found = False
    elif "exact" in condition:
        found = value == condition["exact"] or name == "host" and value.lower() == condition["exact"].lower()
    elif "regex" in condition:
        found = re.fullmatch(condition["regex"], value, re.IGNORECASE if name == "host" else 0) is not None
    else:
        found = True
    return found is not condition.get("invert_match", False)


def parameter_matches(condition: Spec, query: str) -> bool:
    """``exact`` or ``regex`` of a parameter; with neither it has to be there (the text does not say)."""
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if key != condition["key"]:
            continue
        if "exact" in condition:
            return bool(value == str(condition["exact"]))
        return "regex" not in condition or re.fullmatch(condition["regex"], value) is not None
    return False


def port_matches(condition: Spec, port: int) -> bool:
    """``port`` or ``port_ranges``."""
    if "port" in condition:
        return bool(port == condition["port"])
    if "port_ranges" in condition:
        for part in condition["port_ranges"].split(","):
            low, _, high = part.partition("-")
            if int(low) <= port <= int(high or low):
                return True
        return False
    return True


# -- what is done (5.3 to 5.6) -----------------------------------------------------------------------------------------

def act(host: Spec, rule: Spec, match: Spec, request: Request, path: str, query: str) -> Answer:
    """The action of `rule`, which `match` let this request to; `query` with its question mark."""
    if "route_direct_response" in rule:
        direct = rule["route_direct_response"]
        return Answer(status=direct["response_code"], body=direct.get("response_body", "").encode())
    if "route_redirect" in rule:
        redirect = rule["route_redirect"]
        scheme = redirect.get("proto_redirect", "incoming-proto").replace("incoming-proto", "http")
        where = redirect.get("host_redirect", request.host)
        path = redirect["path_redirect"] if "path_redirect" in redirect else rewritten(redirect, match, path)
        if escapes(redirect, match, path):
            return Answer(status=400)
        return Answer(status=redirect.get("response_code", 301),
                      location=f"{scheme}://{where}{path}{new_query(redirect, query)}")
    action = rule["route_destination"]
    several = len(action["destinations"]) > 1
    clusters = frozenset(each["cluster"][0] for each in action["destinations"] if not several or each["weight"] > 0)
    target = rewritten(action, match, path)
    if re.search(r"%(?![0-9A-Fa-f]{2})", target):
        return Answer(status=400)                           # a rewrite broke an escape: no path that may be sent
    if escapes(action, match, target):
        return Answer(status=400)                           # promises.md 3.2: rewrites that give a new ".."
    fields = {name: [value] for name, value in request.fields}
    edit(fields, rule)                                      # 22.11: the route's first
    edit(fields, host)
    return Answer(
        clusters, target + new_query(action.get("query_params", {}), query),
        action.get("host_rewrite", request.host), tuple(sorted((name, tuple(values)) for name, values in fields.items())))


def rewritten(action: Spec, match: Spec, path: str) -> str:
    """The path after ``prefix_rewrite`` or ``regex_rewrite``."""
    if "prefix_rewrite" in action:
        new: str = action["prefix_rewrite"]
        condition = match["path"]
        return new + path[len(condition["prefix"]):] if "prefix" in condition else new
    if "regex_rewrite" in action:
        return re.sub(action["regex_rewrite"]["pattern"], action["regex_rewrite"]["substitution"], path)
    return path


def escapes(action: Spec, match: Spec, path: str) -> bool:
    """Whether dot segments of a rewritten path lead out of the prefix that was put in, or above the root.

    This can only be so where paths come as they were written (``disable_path_normalize``), or where a rewrite made them. Empty
    segments are no way back: some servers drop them.
    """
    if "prefix_rewrite" not in action and "regex_rewrite" not in action:
        return False
    kept = [each for each in action.get("prefix_rewrite", "").split("/") if each] if "prefix" in match["path"] else []
    depth = 0
    for segment in re.sub("%2[Ee]", ".", path).split("/"):
        depth += 0 if segment in ("", ".") else -1 if segment == ".." else 1
        if segment == ".." and depth < len(kept):
            return True
    return False


def new_query(choice: Spec, query: str) -> str:
    """The query after ``retain_all_params``, ``remove_all_params`` or ``replace_params``."""
    if "remove_all_params" in choice:
        return ""
    return f"?{choice['replace_params']}" if "replace_params" in choice else query


def edit(fields: dict[str, list[str]], edits: Spec) -> None:
    """Header edits of one level: added (replacing, unless ``append``), then removed (22.11)."""
    for each in edits.get("request_headers_to_add", ()):
        if each.get("append", False):
            fields.setdefault(each["name"], []).append(each["value"])
        else:
            fields[each["name"]] = [each["value"]]
    for name in edits.get("request_headers_to_remove", ()):
        fields.pop(name, None)


# -- the normal form of paths (RFC 3986, 6.2.2 and 5.2.4) --------------------------------------------------------------

def normal_path(path: str) -> str:
    """Escapes of unreserved characters undone, the others in capitals, dot segments resolved; ``//`` stays."""
    path = re.sub("%([0-9A-Fa-f]{2})", _octet, path)
    done: list[str] = []
    segments = path.split("/")[1:]
    for index, segment in enumerate(segments):
        if segment not in (".", ".."):
            done.append(segment)
            continue
        if segment == ".." and done:
            done.pop()
        if index == len(segments) - 1:
            done.append("")
    return "/" + "/".join(done)


def _octet(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else f"%{found[1].upper()}"
