"""How lists and maps are read, and values that nobody looks into yet."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from voltgw.config.names import Reference
from voltgw.config.origin import COLLECTION, MAX_DEPTH, PLAIN, QUOTED, describe, is_null, too_deep
from voltgw.config.reader import MISSING, Missing, Reader
from voltgw.config.types import Schema, Type, tagged
from voltgw.config.values import FrozenMap, Ref

V = TypeVar("V")
K = TypeVar("K")


class ListOf(Type[tuple[V, ...], tuple[V, ...]], Generic[V]):
    """A list of `least` to `most` values of one type; with `unique` no two may be equal.

    `single` also takes one value without the list around it (references, where the model wants a list of one).
    """

    default: tuple[V, ...] = ()

    def __init__(self, item: Type[V, Any], *, least: int = 0, most: int | None = None, unique: bool = False,
                 single: bool = False) -> None:
        self.item = item
        self.least = least
        self.most = most
        self.unique = unique
        self.single = single
        self.words = f"a list ({item.words})"

    def read(self, node: Node, reader: Reader) -> tuple[V, ...] | Missing:
        return self.merged(node, reader, None)

    def merged(self, node: Node, reader: Reader, under: object) -> tuple[V, ...] | Missing:
        """Read the list; `under` are the defaults of each item."""
        if isinstance(node, SequenceNode):
            if node.tag != COLLECTION:
                return tagged(node, reader)
            items: list[Node] = node.value
        elif self.single:
            items = [node]
        else:
            if node.tag not in (PLAIN, QUOTED, COLLECTION):
                return tagged(node, reader)
            return reader.wrong(node, "VG0102", f"expected a list, found {describe(node)}",
                                "write it as a list of one: [...]")
        values: list[V] = []
        bad = False
        seen: dict[V, Node] = {}
        for item in items:
            if is_null(item):
                bad = True
                reader.wrong(item, "VG0102", "an item of a list may not be empty")
                continue
            value = self.item.merged(item, reader, under)
            if value is MISSING:
                bad = True
                continue
            if self.unique:
                if value in seen:
                    bad = True
                    reader.wrong(item, "VG0113", "this item stands in the list twice",
                                 related=(("the first one", reader.place(seen[value])),))
                seen.setdefault(value, item)
            values.append(value)
        if len(items) < self.least:
            return reader.wrong(node, "VG0103", f"{len(items)} items are fewer than the {self.least} that must be there"
                                if items else "this list may not be empty")
        if self.most is not None and len(items) > self.most:
            where = items[self.most]
            return reader.wrong(where, "VG0103", f"{len(items)} items are more than the {self.most} that are allowed")
        return MISSING if bad else tuple(values)

    def absent(self, value: tuple[V, ...]) -> bool:
        return not value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        item = self.item.schema(definitions)
        result: Schema = {"type": "array", "items": item}
        if self.least:
            result["minItems"] = self.least
        if self.most is not None:
            result["maxItems"] = self.most
        if self.unique:
            result["uniqueItems"] = True
        return {"anyOf": [result, item]} if self.single else result

    def plain(self, value: tuple[V, ...]) -> object:
        return [self.item.plain(item) for item in value]

    def limits(self) -> str:
        parts = [f"at least {self.least} item{'s' * (self.least > 1)}"] if self.least else []
        if self.most is not None:
            parts.append(f"at most {self.most} item{'s' * (self.most != 1)}")
        if self.unique:
            parts.append("no item twice")
        if item := self.item.limits():
            parts.append(f"each: {item}")
        return ", ".join(parts)


def refs(*kinds: str, most: int | None = None, least: int = 0) -> ListOf[Ref]:
    """A list of references, in all the spellings that files have."""
    return ListOf(Reference(*kinds), least=least, most=most, single=True)


class MapOf(Type[FrozenMap[K, V], FrozenMap[K, V]], Generic[K, V]):
    """A map from keys of one type to values of another."""

    default: FrozenMap[K, V] = FrozenMap()

    def __init__(self, key: Type[K, Any], value: Type[V, Any], *, most: int | None = None) -> None:
        self.key = key
        self.value = value
        self.most = most
        self.words = "a mapping"

    def read(self, node: Node, reader: Reader) -> FrozenMap[K, V] | Missing:
        if not isinstance(node, MappingNode):
            if node.tag not in (PLAIN, QUOTED, COLLECTION):
                return tagged(node, reader)
            return reader.wrong(node, "VG0102", f"expected a mapping, found {describe(node)}")
        if node.tag != COLLECTION:
            return tagged(node, reader)
        result: dict[K, V] = {}
        places: dict[K, Node] = {}
        bad = False
        for key_node, value_node in node.value:
            key = self.key.read(key_node, reader)
            if key is MISSING:
                bad = True
                continue
            if key in places:
                bad = True
                reader.wrong(key_node, "VG0005", f'"{key}" stands here twice',
                             related=(("the first one", reader.place(places[key])),))
                continue
            places[key] = key_node
            if is_null(value_node):
                continue
            value = self.value.read(value_node, reader)
            if value is MISSING:
                bad = True
                continue
            result[key] = value
        if self.most is not None and len(node.value) > self.most:
            return reader.wrong(node.value[self.most][0], "VG0103",
                                f"{len(node.value)} entries are more than the {self.most} that are allowed")
        return MISSING if bad else FrozenMap(result)

    def absent(self, value: FrozenMap[K, V]) -> bool:
        return not value

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        result: Schema = {"type": "object", "additionalProperties": {
            "anyOf": [self.value.schema(definitions), {"type": "null"}]}}
        if self.most is not None:
            result["maxProperties"] = self.most
        return result

    def plain(self, value: FrozenMap[K, V]) -> object:
        return {cast("Any", self.key.plain(k)): self.value.plain(v) for k, v in value.items()}

    def limits(self) -> str:
        parts = [f"at most {self.most} entries"] if self.most is not None else []
        parts += [f"keys: {limits}"] if (limits := self.key.limits()) else []
        parts += [f"values: {limits}"] if (limits := self.value.limits()) else []
        return ", ".join(parts)


class Anything(Type[object, None]):
    """Any YAML, kept as plain immutable data: parts of the model that voltgw does not look into."""

    default = None
    words = "anything"

    def read(self, node: Node, reader: Reader) -> object | Missing:
        return self._value(node, reader, 0)

    def _value(self, node: Node, reader: Reader, depth: int) -> object | Missing:
        if depth > MAX_DEPTH:
            reader.problems.append(too_deep(reader.source, node))
            return MISSING
        if node.tag not in (PLAIN, QUOTED, COLLECTION):
            return tagged(node, reader)
        if isinstance(node, ScalarNode):
            text = reader.scalar(node)
            return MISSING if text is MISSING else guessed(text) if node.tag == PLAIN else text
        if isinstance(node, SequenceNode):
            items = [self._value(item, reader, depth + 1) for item in node.value]
            return MISSING if MISSING in items else tuple(items)
        result: dict[str, object] = {}
        bad = False
        for key, value in cast("list[tuple[Node, Node]]", node.value):
            if not isinstance(key, ScalarNode):
                return reader.wrong(key, "VG0102", f"expected the name of a field, found {describe(key)}")
            if key.value in result:
                bad = True
                reader.wrong(key, "VG0005", f'"{key.value}" stands here twice')
            read = self._value(value, reader, depth + 1)
            bad = bad or read is MISSING
            result[key.value] = read
        return MISSING if bad else FrozenMap(result)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        return {}

    def plain(self, value: object) -> object:
        if isinstance(value, dict):
            return {key: self.plain(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return [self.plain(item) for item in value]
        return value


def guessed(text: str) -> object:
    """A plain scalar after YAML 1.2's core schema: the one place where there is no field's schema to ask."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    for kind in (int, float):
        try:
            if "_" not in text and text.strip() == text and text[-1:].isdigit() and text.lower()[:4] not in ("inf", "nan"):
                return kind(text)
        except ValueError:
            continue
    return text
