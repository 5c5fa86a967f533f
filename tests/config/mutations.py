"""Random single mistakes in valid files: where one can be made is found by the declarations, not by looking for words.

A mistake is a typo in a key, an enum or a reference, a value of the wrong type, or a line with another indent. Used by a test
for some hundreds, and by ``benchmarks/mutations.py`` for as many as one likes.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tests.config.test_mutations import typo
from voltgw.app.dry import dry_build
from voltgw.config.compound import ListOf, MapOf
from voltgw.config.document import own
from voltgw.config.gateway import Gateway
from voltgw.config.kinds import kind_of
from voltgw.config.load import Cache, checked, load
from voltgw.config.model import Config, Metadata
from voltgw.config.names import Reference
from voltgw.config.origin import Source, documents, is_null
from voltgw.config.quantities import Duration, Size
from voltgw.config.schema import Nested, Plan, entries_of, plan_of
from voltgw.config.short_form import ShortLoadBalancer
from voltgw.config.types import Choice, Decimal, Flag, Number, Presence, Text, Type
from voltgw.errors import ConfigError, ConfigErrors, Severity

#: What can be done wrong; each is as likely as the others.
SORTS: Final = ("key", "enum", "reference", "type", "indent")


class Spot(NamedTuple):
    """A place for a mistake: characters `start` to `end` of a file, and what stands there instead ("" = a typo of it)."""

    sort: str
    start: int
    end: int
    instead: str = ""


class Mistake(NamedTuple):
    """One mistake in one file of an estate: the line that it is on, and the text with it."""

    sort: str
    file: Path
    line: int
    text: str

    @property
    def shown(self) -> str:
        """For messages."""
        return f"{self.sort} at {self.file.name}:{self.line}: {self.text.splitlines()[self.line - 1].strip()}"


class Estate:
    """A folder of files that are one configuration, without an error, copied to where it may be changed.

    What stands in `beside` (certificates, passwords) is copied along.
    """

    def __init__(self, folder: Path, main: str, work: Path, beside: Path | None = None) -> None:
        shutil.copytree(folder, work)
        if beside is not None:
            shutil.copytree(beside, work, dirs_exist_ok=True)
        self.main = work / main
        self.cache = Cache()
        found, good = self.judge()
        assert good is not None, f"{folder}: {found}"
        self.good = good
        self.spots = {path: spots(path) for path in self.files(work)}

    def files(self, work: Path) -> list[Path]:
        """Those that the configuration is made of."""
        return [path for path in sorted(work.rglob("*")) if str(path) in self.good.files and path.suffix in (".yaml", ".json")]

    def judge(self) -> tuple[tuple[ConfigError, ...], Config | None]:
        """Everything that reading, checking and building finds, and the configuration where there is no error."""
        try:
            config = checked(load(self.main, environ={}, cache=self.cache))
            dry_build(config)
        except ConfigErrors as errors:
            return errors.problems, None
        return config.warnings, config

    def mistake(self, sort: str, chance: random.Random) -> Mistake | None:
        """One of that sort; None where there is no place for it, or it changes nothing."""
        places = [(path, spot) for path, found in self.spots.items() for spot in found if spot.sort == sort]
        if not places:
            return None
        path, spot = chance.choice(places)
        text = path.read_text(encoding="utf-8")
        old = text[spot.start:spot.end]
        if sort == "indent":
            new = f"{old} " if chance.random() < 0.5 else old[:-1]
        else:
            new = spot.instead or typo(old, chance)
        if new == old:
            return None
        return Mistake(sort, path, text.count("\n", 0, spot.start) + 1, text[:spot.start] + new + text[spot.end:])

    def told(self, mistake: Mistake) -> bool | None:
        """Whether an error is told where the mistake is; None when it is none, since the configuration means the same."""
        text = mistake.file.read_text(encoding="utf-8")
        mistake.file.write_text(mistake.text, encoding="utf-8")
        try:
            found, config = self.judge()
        finally:
            mistake.file.write_text(text, encoding="utf-8")
        if config is not None:
            if (config.objects, config.gateway) == (self.good.objects, self.good.gateway):
                return None
            return any(one.code == "VG0107" and (one.place.file, one.place.line) == (str(mistake.file), mistake.line)
                       for one in found)        # of a kind that nothing acts on: a warning
        slack = 1 if mistake.sort == "indent" else 0    # a broken structure may be noticed where it stops making sense
        places = [place for one in found if one.severity is Severity.ERROR
                  for place in (one.place, *(place for _, place in one.related))]
        return any(place.file == str(mistake.file) and abs(place.line - mistake.line) <= slack for place in places)


def mistakes(estates: list[Estate], seed: int, count: int) -> Iterator[tuple[Estate, Mistake]]:
    """`count` mistakes, the same ones for the same `seed`."""
    chance = random.Random(seed)
    made = 0
    while made < count:
        estate = chance.choice(estates)
        mistake = estate.mistake(chance.choice(SORTS), chance)
        if mistake is not None:
            made += 1
            yield estate, mistake


def spots(path: Path) -> list[Spot]:
    """Every place of a file at which a mistake can be made."""
    text = path.read_text(encoding="utf-8")
    found: list[Spot] = []
    for root in documents(Source(path.name, text, "")):
        _Finder(text, found, json=path.suffix == ".json").document(root, kind_of(path.parent.name))
    if path.suffix != ".json":
        at = 0
        for line in text.splitlines(keepends=True):
            indent = len(line) - len(line.lstrip(" "))
            if indent and line[indent].isalpha():
                found.append(Spot("indent", at, at + indent))
            at += len(line)
    return found


class _Finder:
    """Goes over one document."""

    def __init__(self, text: str, found: list[Spot], *, json: bool) -> None:
        self.text = text
        self.found = found
        self.json = json

    def document(self, root: Node, hint: Any) -> None:
        """A document of our own form, or one object, or a list answer."""
        if not isinstance(root, MappingNode):
            return
        if not own(root):
            self.object(root, hint)
            return
        for key, value in root.value:
            if key.value == "gateway":
                self.message(value, plan_of(Gateway))
            elif key.value in ("objects", "load_balancers") and isinstance(value, SequenceNode):
                for item in value.value:
                    if key.value == "objects":
                        self.object(item, None)
                    else:
                        self.message(item, plan_of(ShortLoadBalancer))

    def object(self, node: Node, hint: Any) -> None:
        """An object: its parts, its metadata, its spec."""
        parts = {key.value: value for key, value in node.value} if isinstance(node, MappingNode) else {}
        for item in parts["items"].value if "items" in parts else ():
            self.object(item, hint)
        kind = kind_of(parts["kind"].value) if "kind" in parts else hint
        spec = next((parts[name] for name in ("spec", "get_spec", "gc_spec", "gcSpec") if name in parts), None)
        while isinstance(spec, MappingNode) and len(spec.value) == 1 and spec.value[0][0].value in ("gc_spec", "gcSpec"):
            spec = spec.value[0][1]
        for key, _ in node.value if "items" not in parts else ():
            if key.value in ("kind", "metadata", "spec"):
                self.spot("key", key)
        if "metadata" in parts:
            self.message(parts["metadata"], plan_of(Metadata))
        if kind is not None and spec is not None and (plan := kind.plan()) is not None:
            self.message(spec, plan)

    def message(self, node: Node, plan: Plan) -> None:
        """The fields of a message."""
        if not isinstance(node, MappingNode):
            return
        for key, value in entries_of(plan, node.value):
            decl = plan.by_key.get(key.value)
            if decl is not None:
                self.spot("key", key)
                if not is_null(value):
                    self.value(value, decl.type)

    def value(self, node: Node, type_: Type[Any, Any]) -> None:
        """The value of a field."""
        if isinstance(type_, ListOf):
            for item in node.value if isinstance(node, SequenceNode) else (node,):
                self.value(item, type_.item)
            if isinstance(node, SequenceNode) and node.value:
                self.spot("type", node, '{"a": "b"}')
        elif isinstance(type_, Nested):
            self.message(node, plan_of(type_.cls))
            if isinstance(node, MappingNode) and node.value:
                self.spot("type", node, "5")
        elif isinstance(type_, Reference):
            self.reference(node)
        elif isinstance(type_, MapOf):
            self.spot("type", node, "5")
        elif isinstance(node, ScalarNode):
            if isinstance(type_, Choice):
                self.spot("enum", node)
            elif isinstance(type_, (Number, Decimal, Duration, Size, Flag, Presence)):
                self.spot("type", node, '"many"')
            elif isinstance(type_, Text):
                self.spot("type", node, '["a", "b"]')

    def reference(self, node: Node) -> None:
        """The name in a reference; one that leads to what is built in may be called anything."""
        if isinstance(node, SequenceNode) and len(node.value) == 1:
            node = node.value[0]
        parts = {key.value: value for key, value in node.value} if isinstance(node, MappingNode) else {"name": node}
        if "name" in parts and ("tenant" not in parts or parts["tenant"].value != "ves-io"):
            self.spot("reference", parts["name"])
            for key, _ in node.value if isinstance(node, MappingNode) else ():
                self.spot("key", key)

    def spot(self, sort: str, node: Node, instead: str = "") -> None:
        """Note a place, if it is on one line and can be written over."""
        start, end = node.start_mark.index, node.end_mark.index
        text = self.text[start:end]
        if not text or "\n" in text:
            return
        quoted = text[0] in "\"'"
        if instead:
            # In a block, a flow collection begins where its bracket stands, and a plain scalar may have no quotes of its own.
            self.found.append(Spot(sort, start, end, instead))
        elif (len(text) > 2 + 2 * quoted) and text[quoted:len(text) - quoted].isascii():
            self.found.append(Spot(sort, start + quoted, end - quoted))
