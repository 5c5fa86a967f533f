"""A Corefile, the configuration of CoreDNS, as text in which one server block of ours is kept between two comments.

The form is that of https://coredns.io/manual/configuration/: words between blanks, ``"quoted"`` or not, comments from ``#`` to
the end of the line, keys of a server block before a ``{`` on its own. What is not ours is read only as far as it has to be: two
server blocks of one zone would keep CoreDNS from starting, so a zone that somebody else has is none of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

#: ``forward`` takes no more.
MOST_ADDRESSES: Final = 15
_BEGIN: Final = "# BEGIN voltgw"
_OURS: Final = re.compile(
    rf"^{_BEGIN} (?P<owner>[A-Za-z0-9._-]+) (?P<zone>\S+)[^\n]*\n"
    r"(?P<body>.*?)^# END voltgw (?P=owner) (?P=zone)[^\n]*(?:\n|\Z)",
    re.MULTILINE | re.DOTALL)
_ANY_MARK: Final = re.compile(r"^# (BEGIN|END) voltgw ", re.MULTILINE)
_WORD: Final = re.compile(
    r'(?P<line>\n)|(?P<blank>[^\S\n]+)|(?P<comment>#[^\n]*)|(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<word>\S+)', re.DOTALL)
_DNS_PORT: Final = "53"


class Block(NamedTuple):
    """A server block between our marks."""

    owner: str
    zone: str
    body: str

    @property
    def shown(self) -> tuple[str, ...]:
        """To whom it forwards."""
        found = re.search(r"^[^\S\n]*forward[^\S\n]+\S+((?:[^\S\n]+[^\s{]+)*)", self.body, re.MULTILINE)
        return tuple(found[1].split()) if found is not None else ()


def rendered(zone: str, addresses: Sequence[str]) -> str:
    """The server block that forwards a zone (text, without a dot at its end) to `addresses`."""
    return f"{zone}:{_DNS_PORT} {{\n    errors\n    cache 30\n    forward . {' '.join(addresses)}\n}}\n"


def blocks(text: str) -> dict[str, Block]:
    """Ours, of whichever owner, by zone. Raises ValueError where marks stand without each other."""
    found = {each["zone"]: Block(each["owner"], each["zone"], each["body"]) for each in _OURS.finditer(text)}
    if len(_ANY_MARK.findall(text)) != 2 * len(found):
        raise ValueError("a comment of ours that begins or ends a block stands there without the other one, or twice")
    return found


def put(text: str, owner: str, zone: str, body: str) -> str:
    """With a block of ours, in the place of what it was before, or at the end."""
    whole = f"{_BEGIN} {owner} {zone}: kept by voltgw, which undoes changes\n{body}# END voltgw {owner} {zone}\n"
    found = _found(text, zone)
    if found is not None:
        return text[:found.start()] + whole + text[found.end():]
    return text + ("" if not text or text.endswith("\n") else "\n") + whole


def without(text: str, zone: str) -> str:
    """Without our block of a zone; every other byte stays."""
    found = _found(text, zone)
    return text if found is None else text[:found.start()] + text[found.end():]


def _found(text: str, zone: str) -> re.Match[str] | None:
    return next((each for each in _OURS.finditer(text) if each["zone"] == zone), None)


def foreign_zones(text: str) -> set[str]:
    """The zones of server blocks for plain DNS on port 53 that are not ours. Raises ValueError for what is no Corefile.

    What ``import`` brings in is not seen.
    """
    zones = set()
    for keys in _server_keys(_OURS.sub("", text)):
        for key in keys:
            scheme, there, rest = key.partition("://")
            if not there:
                scheme, rest = "dns", key
            zone, colon, port = rest.rpartition(":")
            if not colon or not port.isdigit():
                zone, port = rest, _DNS_PORT
            if scheme == "dns" and port == _DNS_PORT:
                zones.add(zone.lower().removesuffix("."))
    return zones


def _server_keys(text: str) -> Iterator[list[str]]:
    """The keys of each server block."""
    depth, keys, line = 0, list[str](), list[str]()
    for found in _WORD.finditer(text):
        kind, word = found.lastgroup, found[0]
        if kind == "word" and word.startswith('"'):
            raise ValueError("a quotation does not end")
        if kind == "line":
            if depth == 0:
                if line[:1] != ["import"]:
                    keys += line
                line = []
        elif kind == "word" and word == "{":
            if depth == 0:
                yield [part for key in (*keys, *line) for part in key.split(",") if part and not part.startswith("(")]
                keys, line = [], []
            depth += 1
        elif kind == "word" and word == "}":
            depth -= 1
            if depth < 0:
                raise ValueError("a `}` ends nothing")
        elif kind in ("word", "quoted") and depth == 0:
            line.append(word.strip('"'))
    if depth:
        raise ValueError("a `{` is not ended")
    if keys or line and line[:1] != ["import"]:
        raise ValueError("words stand outside of every server block")
