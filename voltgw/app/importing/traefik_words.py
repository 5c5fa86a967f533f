"""Files of Traefik's file provider: YAML and TOML as one tree with places, and the language of its rules."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from voltgw.app.importing.model import MAX_DEPTH, Place, UnreadableError
from voltgw.app.importing.words import Files

#: Functions and parentheses that one rule may have.
_MOST_TERMS: Final = 500
_TOKEN: Final = re.compile(r"\s*(?:(&&)|(\|\|)|(!)|([()])|([A-Za-z]+)\s*\(|$)")
_OR: Final = re.compile(r"\s*\|\|")
_AND: Final = re.compile(r"\s*&&")
_ARGUMENT: Final = re.compile(r"\s*(?:`([^`]*)`|\"((?:[^\"\\]|\\.)*)\"|'([^']*)')\s*(,|\))")


@dataclass(frozen=True, slots=True)
class Tree:
    """A value with its place: a mapping, a list, or a scalar."""

    value: dict[str, Tree] | list[Tree] | str | int | float | bool | None
    place: Place

    def get(self, *names: str) -> Tree:
        """What stands under some keys, an empty value where nothing does; keys compare without case, as Traefik does it."""
        found = self
        for name in names:
            inside = found.value if isinstance(found.value, dict) else {}
            found = next((each for key, each in inside.items() if key.lower() == name.lower()), Tree(None, found.place))
        return found

    def items(self) -> Iterator[tuple[str, Tree]]:
        """The entries of a mapping; none of anything else."""
        yield from (self.value if isinstance(self.value, dict) else {}).items()

    def list(self) -> list[Tree]:
        """The members of a list; a scalar is a list of one."""
        if isinstance(self.value, list):
            return self.value
        return [] if self.value is None or isinstance(self.value, dict) else [self]

    @property
    def there(self) -> bool:
        """Whether it was written."""
        return self.value is not None

    def text(self, default: str = "") -> str:
        """A scalar as text."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return default if self.value is None or isinstance(self.value, dict | list) else str(self.value)

    def flag(self, default: bool = False) -> bool:
        """A scalar as a boolean."""
        return default if self.value is None else self.text().lower() == "true"

    def number(self, default: int = 0) -> int:
        """A scalar as a whole number."""
        text = self.text()
        return int(text) if re.fullmatch(r"-?\d{1,12}", text) else default


def read(names: list[str]) -> tuple[list[Tree], Files]:
    """The trees of some files. Raises UnreadableError."""
    files = Files()
    trees = []
    for name in names:
        text = files.read(name)
        files.done()
        trees.append(_toml(name, text, files) if name.endswith(".toml") else _yaml(name, text, files))
    return trees, files


def _yaml(name: str, text: str, files: Files) -> Tree:
    if "{{" in text and re.search(r"\{\{\s*(?:env|range|if|\.|-)", text):
        raise UnreadableError(_line(name, text, "{{"), "Go templates are not run: write what they would give")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise UnreadableError(Place(name, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1),
                              str(getattr(error, "problem", None) or "this nests too deep")) from None
    return _plain(node, name, files, 0) if node is not None else Tree(None, Place(name, 1, 1))


def _plain(node: Any, name: str, files: Files, depth: int) -> Tree:
    place = Place(name, node.start_mark.line + 1, node.start_mark.column + 1)
    files.count(place)
    if depth > MAX_DEPTH:
        raise UnreadableError(place, f"it nests more than {MAX_DEPTH} deep")
    if isinstance(node, MappingNode):
        made = {}
        for key, value in node.value:
            inner = _plain(value, name, files, depth + 1)
            made[str(key.value)] = Tree(inner.value, Place(name, key.start_mark.line + 1, key.start_mark.column + 1))
        return Tree(made, place)
    if isinstance(node, SequenceNode):
        return Tree([_plain(each, name, files, depth + 1) for each in node.value], place)
    assert isinstance(node, ScalarNode)
    if node.tag.endswith(":null"):
        return Tree(None, place)
    return Tree(str(node.value), place)


def _toml(name: str, text: str, files: Files) -> Tree:
    try:
        facts = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"at line (\d+), column (\d+)", str(error))
        place = Place(name, int(found[1]), int(found[2])) if found else Place(name, 1, 1)
        raise UnreadableError(place, re.sub(r" \(at.*", "", str(error)) or "this nests too deep") from None
    headings: dict[str, Place] = {}
    for number, line in enumerate(text.split("\n"), 1):
        found = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]", line)
        if found is not None:
            headings.setdefault(found[1].replace('"', "").replace("'", "").replace(" ", "").lower(),
                                Place(name, number, len(line) - len(line.lstrip()) + 1))
    return _placed(facts, "", Place(name, 1, 1), headings, files, 0)


def _placed(value: Any, way: str, place: Place, headings: dict[str, Place], files: Files, depth: int) -> Tree:
    files.count(place)
    if depth > MAX_DEPTH:
        raise UnreadableError(place, f"it nests more than {MAX_DEPTH} deep")
    place = headings.get(way.lower(), place)
    if isinstance(value, dict):
        return Tree({key: _placed(each, f"{way}.{key}" if way else key, place, headings, files, depth + 1)
                     for key, each in value.items()}, place)
    if isinstance(value, list):
        return Tree([_placed(each, way, place, headings, files, depth + 1) for each in value], place)
    return Tree(value if isinstance(value, str | int | float | bool) else str(value), place)


def _line(name: str, text: str, wanted: str) -> Place:
    index = text.index(wanted)
    return Place(name, text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


# -- rules ------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class Term:
    """``NAME(`args`)``, or with the name and, or, not: what stands below it."""

    name: str
    args: tuple[str, ...] = ()
    below: tuple[Term, ...] = ()


#: Reads one part of a rule: its text, where it begins, how many parts there were; gives the part, its end and their number.
_Part = Callable[[str, int, int], "tuple[Term, int, int]"]


def rule(text: str) -> Term:
    """A rule such as ``Host(`a`) && !PathPrefix(`/x`)``. Raises ValueError."""
    term, end, _ = _either(text, 0, 0)
    if text[end:].strip():
        raise ValueError(f"{text[end:].strip()[:20]!r} is too much")
    return term


def _either(text: str, index: int, count: int) -> tuple[Term, int, int]:
    return _joined("or", _OR, _all, text, index, count)


def _all(text: str, index: int, count: int) -> tuple[Term, int, int]:
    return _joined("and", _AND, _one, text, index, count)


def _joined(name: str, mark: re.Pattern[str], part: _Part, text: str, index: int, count: int) -> tuple[Term, int, int]:
    """Parts with `mark` between them; one alone is itself."""
    terms = []
    while True:
        term, index, count = part(text, index, count)
        terms.append(term)
        found = mark.match(text, index)
        if found is None:
            return terms[0] if len(terms) == 1 else Term(name, (), tuple(terms)), index, count
        index = found.end()


def _one(text: str, index: int, count: int) -> tuple[Term, int, int]:
    if count > _MOST_TERMS:
        raise ValueError("the rule has too many parts")
    count += 1
    found = _TOKEN.match(text, index)
    if found is None or not found[0].strip():
        raise ValueError(f"something is missing at column {index + 1}")
    if found[3]:
        term, index, count = _one(text, found.end(), count)
        return Term("not", (), (term,)), index, count
    if found[4] == "(":
        if count > MAX_DEPTH * 4:
            raise ValueError("parentheses stand too deep")
        term, index, count = _either(text, found.end(), count)
        closing = re.compile(r"\s*\)").match(text, index)
        if closing is None:
            raise ValueError("a parenthesis is never closed")
        return term, closing.end(), count
    if not found[5]:
        raise ValueError(f"something is wrong at column {index + 1}")
    index = found.end()
    args = []
    while True:
        argument = _ARGUMENT.match(text, index)
        if argument is None:
            raise ValueError(f"an argument is missing at column {index + 1}")
        args.append(argument[1] or argument[2] or argument[3] or "")
        index = argument.end()
        if argument[4] == ")":
            return Term(found[5], tuple(args)), index, count
