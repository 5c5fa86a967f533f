"""Which rules are worth asking: tables that rule the others out.

Every rule has a bit, the first one the lowest. A table knows for a value (a host, a method, a path, an address, a header, a
cookie, a parameter) the bits of the rules for which it could do, together with those that do not ask for such a thing; what is
left in all tables is asked. A regex that begins with nothing fixed is found by a piece that all its matches contain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

from voltgw.security.addresses import number_of
from voltgw.security.conditions import Condition
from voltgw.security.readings import every_way, readings

if TYPE_CHECKING:
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import Field


#: Octets of a path at which a piece is looked for in the time of one look into a table.
_FIND: Final = 4


class Ruling(Protocol):
    """As much of a rule as tables need; `asked` is what they leave to ask of it."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All of its conditions."""

    asked: tuple[Callable[[Exchange], bool], ...]


class _Paths(NamedTuple):
    """Of rules whose bits are in `strict` every reading must be found."""

    transform: Callable[[bytes], bytes] | None
    undotted: Callable[[bytes], bytes] | None
    exact: dict[bytes, int]
    prefixes: tuple[tuple[int, dict[bytes, int]], ...]
    suffixes: tuple[tuple[int, dict[bytes, int]], ...]
    pieces: tuple[tuple[int, dict[bytes, int]], ...]
    rest: int
    strict: int


class _Addresses(NamedTuple):
    by_version: dict[int, list[tuple[int, dict[int, int]]]]
    rest: int


_ByValue: TypeAlias = tuple[dict[bytes, int], int]
_ByPair: TypeAlias = "tuple[dict[Field, int], int]"
_Rows: TypeAlias = list[tuple[int, Condition]]


def narrowing(rulings: Sequence[Ruling]) -> Callable[[Exchange], int]:
    """The function that gives the bits of the rules that are worth asking; sets what is left to ask of each."""
    everything = (1 << len(rulings)) - 1
    rows: dict[str, _Rows] = {}
    rests: dict[str, int] = {}
    tables = {condition.table for ruling in rulings for condition in ruling.conditions} - {""}
    for index, ruling in enumerate(rulings):
        bit = 1 << index
        asked: list[Callable[[Exchange], bool]] = []
        decided: set[str] = set()
        for condition in ruling.conditions:
            if condition.table and condition.table not in decided:
                decided.add(condition.table)
                rows.setdefault(condition.table, []).append((bit, condition))
                if not condition.decisive:
                    asked.append(condition.test)
            else:
                asked.append(condition.test)
        for name in tables - decided:
            rests[name] = rests.get(name, 0) | bit
        ruling.asked = tuple(asked)

    hosts = _by_value(rows, rests, "host")
    methods = _by_value(rows, rests, "method")
    addresses = _addresses(rows["ip"], rests.get("ip", 0)) if "ip" in rows else None
    paths = tuple(_paths(rows[name], rests.get(name, 0)) for name in sorted(rows) if name.startswith("path"))
    headers, cookies, parameters = (_by_pair(rows, rests, name) for name in ("header", "cookie", "parameter"))

    def narrow(exchange: Exchange) -> int:
        head = exchange.request
        left = everything
        if hosts is not None:
            host = head.host
            left &= hosts[0].get(host.rstrip(b".") if host.endswith(b".") else host, hosts[1])
        if methods is not None:
            table, rest = methods
            found_method = table.get(head.method)
            left &= table.get(head.method.upper(), rest) if found_method is None else found_method
        if paths:
            judged = readings(head)
            for table_of_paths in paths:
                ways = every_way(judged, table_of_paths.transform, table_of_paths.undotted)
                found = _of_path(table_of_paths, ways[0]) if ways else ~table_of_paths.strict
                for path in ways[1:]:       # few have several
                    other = _of_path(table_of_paths, path)
                    found = found & other | (found | other) & ~table_of_paths.strict
                left &= found
        if addresses is not None:
            version, number = number_of(exchange.client_address)
            found = addresses.rest
            for shift, ranges in addresses.by_version.get(version, ()):
                found |= ranges.get(number >> shift, 0)
            left &= found
        if headers is not None:
            table_of, found = headers
            for field in head.fields:
                if field in table_of:
                    found |= table_of[field]
            left &= found
        if cookies is not None:
            table_of, found = cookies
            for name, line in head.fields:
                if name == b"cookie":
                    for part in line.split(b";"):
                        key, sign, value = part.lstrip(b" \t").partition(b"=")
                        if sign:
                            found |= table_of.get((key, value.strip(b" \t")), 0)
            left &= found
        if parameters is not None:
            table_of, found = parameters
            if head.query:
                for pair in head.query.split(b"&"):
                    key, _, value = pair.partition(b"=")
                    if b"%" in pair or b"+" in pair:
                        key = unquote_to_bytes(key.replace(b"+", b" "))
                        value = unquote_to_bytes(value.replace(b"+", b" "))
                    found |= table_of.get((key, value), 0)
            left &= found
        return left

    return narrow


def _by_value(rows: dict[str, _Rows], rests: dict[str, int], name: str) -> _ByValue | None:
    if name not in rows:
        return None
    rest = rests.get(name, 0)
    table: dict[bytes, int] = {}
    for bit, condition in rows[name]:
        for key in condition.keys:
            table[key] = table.get(key, rest) | bit
    return table, rest


def _by_pair(rows: dict[str, _Rows], rests: dict[str, int], name: str) -> _ByPair | None:
    if name not in rows:
        return None
    table: dict[Field, int] = {}
    for bit, condition in rows[name]:
        for key in condition.keys:
            table[key] = table.get(key, 0) | bit
    return table, rests.get(name, 0)


def _paths(rows: _Rows, rest: int) -> _Paths:
    exact: dict[bytes, int] = {}
    tables: tuple[dict[int, dict[bytes, int]], ...] = ({}, {}, {})
    for bit, condition in rows:
        whole, *others = condition.keys[:4]
        for path in whole:
            exact[path] = exact.get(path, rest) | bit
        for by_length, values in zip(tables, others, strict=True):
            for value in values:
                table = by_length.setdefault(len(value), {})
                table[value] = table.get(value, 0) | bit
    prefixes, suffixes, pieces = (tuple(sorted(by_length.items())) for by_length in tables)
    strict = sum({bit for bit, condition in rows if condition.strict})
    return _Paths(rows[0][1].transform, rows[0][1].undotted, exact, prefixes, suffixes, pieces, rest, strict)


def _of_path(paths: _Paths, path: bytes) -> int:
    """The bits for one reading, transformed."""
    _, _, exact, prefixes, suffixes, pieces, rest, _ = paths
    found = exact.get(path, rest)
    for length, table in prefixes:
        found |= table.get(path[:length], 0)
    for length, table in suffixes:
        found |= table.get(path[-length:], 0)
    for length, table in pieces:
        if len(table) * _FIND < len(path):  # a long path: looking for each of them is quicker than looking at each place
            for piece, bits in table.items():
                if piece in path:
                    found |= bits
            continue
        for start in range(len(path) - length + 1):
            piece = path[start:start + length]
            if piece in table:
                found |= table[piece]
    return found


def _addresses(rows: Iterable[tuple[int, Condition]], rest: int) -> _Addresses:
    tables: dict[tuple[int, int], dict[int, int]] = {}
    for bit, condition in rows:
        for version, shift, top in condition.keys:
            table = tables.setdefault((version, shift), {})
            table[top] = table.get(top, 0) | bit
    by_version: dict[int, list[tuple[int, dict[int, int]]]] = {}
    for (version, shift), table in tables.items():
        by_version.setdefault(version, []).append((shift, table))
    return _Addresses(by_version, rest)
