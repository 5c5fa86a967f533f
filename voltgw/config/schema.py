"""The declaration style: one class per message, one line per field, and everything else is made from them.

    @message
    class CircuitBreaker:
        '''Limits of one cluster.'''

        connection_limit: int | None = field(Number(most=32768), "Most connections to all endpoints together.")

From such a class come the immutable value itself (a frozen, slotted dataclass), the reading with all its errors, the JSON
Schema, the reference page, the defaults' merging and the effective output. The type checker compares the annotation with
the declared `Type`. An attribute is named like the field in the file, plus the type's suffix (``_s``, ``_bytes``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast, dataclass_transform, overload

from yaml.nodes import MappingNode, Node, ScalarNode

from voltgw.config.origin import COLLECTION, PLAIN, QUOTED, describe, is_null
from voltgw.config.reader import MISSING, Missing, Reader, State
from voltgw.config.suggest import nearest
from voltgw.config.types import Choice, Schema, Type, tagged
from voltgw.errors import Severity

V = TypeVar("V")
D = TypeVar("D")
M = TypeVar("M")
T = TypeVar("T")

class Rule(NamedTuple):
    """What a message's own `rules` finds wrong: at which field ("" = the message as a whole), and what."""

    field: str
    code: str
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, slots=True)
class Decl:
    """All that is declared of one field."""

    name: str                       # in the file
    attribute: str                  # in the value
    type: Type[Any, Any]
    doc: str
    since: str
    group: str                      # its oneof group, "" = none
    required: bool
    state: State
    aliases: tuple[str, ...]        # other spellings that old files use
    absent: str                     # what being absent means, for the reference page
    example: str
    internal: bool                  # never published, or system-made: left out of the reference's main table
    deep: bool                      # whether fields or values with a state of their own may stand inside it
    instead: str                    # what happens instead where it is not acted on, "" = nothing to say


class _Marked(NamedTuple):
    """What `field` leaves in the dataclass field's metadata."""

    type: Type[Any, Any]
    doc: str
    options: Mapping[str, Any]


@overload
def field(type: Type[V, D], doc: str, *, required: Literal[True], since: str = ..., group: str = ..., state: State = ...,
          aliases: tuple[str, ...] = ..., absent: str = ..., example: str = ..., name: str = ...,
          internal: bool = ..., instead: str = ...) -> V: ...
@overload
def field(type: Type[V, D], doc: str, *, required: Literal[False] = False, since: str = ..., group: str = ...,
          state: State = ..., aliases: tuple[str, ...] = ..., absent: str = ..., example: str = ..., name: str = ...,
          internal: bool = ..., instead: str = ...) -> V | D: ...
def field(type: Type[V, D], doc: str, *, required: bool = False, since: str | None = None, group: str = "",
          state: State = State.ACTS, aliases: tuple[str, ...] = (), absent: str = "", example: str = "", name: str = "",
          internal: bool = False, instead: str = "") -> Any:
    """Declare one field of a message.

    `since` is objects.md's column (None = what the message's ``SINCE`` says); `group` its oneof group; `state` what voltgw
    does with it; `name` is only needed where the field's name already ends like the type's suffix. A dagger in `since` marks
    what was never published.
    """
    options = {"since": since, "group": group, "required": required, "state": state, "aliases": aliases, "absent": absent,
               "example": example, "name": name, "internal": internal, "instead": instead}
    metadata = {"voltgw": _Marked(type, doc, options)}
    if required:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=type.default, metadata=metadata)


class Message:
    """What all messages have beside their fields: `at`, where the value began (not part of its comparison).

    It is as `Origin.inside` wants it: relative to the object that the message is in, negative where the whole message came
    from ``defaults:``. It is unset where the message was made by hand.
    """

    __slots__ = ("at",)
    at: int

    def __repr__(self) -> str:
        """The fields that say something; there may be eighty that do not."""
        said = (f"{decl.attribute}={value!r}" for decl in plan_of(type(self)).decls
                if (value := getattr(self, decl.attribute)) != decl.type.default)
        return f"{type(self).__name__}({', '.join(said)})"


@dataclass_transform(frozen_default=True, kw_only_default=True)
def message(cls: type[T]) -> type[T]:
    """Make a message of a class whose annotated attributes are all `field`\\ s.

    A method ``rules(self) -> Iterable[Rule]`` may check what one field alone cannot know. Of the class variables,
    ``READ_ONLY`` names fields that the API writes into what it returns (they are taken and forgotten), and ``SINCE`` says
    since when its fields are there, where they do not say it themselves: "2020" without it, "" = not recorded.
    """
    namespace = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
    made = type(cls.__name__, (Message,), namespace)
    return cast("type[T]", dataclass(frozen=True, slots=True, kw_only=True, repr=False)(made))


class Plan:
    """A message class, prepared for reading: every spelling of every field."""

    __slots__ = ("by_attribute", "by_key", "cls", "decls", "doc", "groups", "ignored", "required", "rules")

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls
        self.doc = _docstring(cls)
        since: str = getattr(cls, "SINCE", "2020")
        self.decls = tuple(_declared(f, since) for f in dataclasses.fields(cls))
        self.by_key: dict[str, Decl] = {}
        self.by_attribute = {decl.attribute: decl for decl in self.decls}
        read_only: tuple[str, ...] = getattr(cls, "READ_ONLY", ())
        self.ignored = frozenset((*read_only, *map(camel, read_only)))
        for decl in self.decls:
            for name in (decl.name, *decl.aliases):
                self.by_key[name] = decl
                self.by_key.setdefault(camel(name), decl)
        self.groups: dict[str, list[Decl]] = {}
        for decl in self.decls:
            if decl.group:
                self.groups.setdefault(decl.group, []).append(decl)
        self.required = tuple(decl for decl in self.decls if decl.required)
        self.rules: Callable[[Any], Iterable[Rule]] | None = getattr(cls, "rules", None)

    def decl(self, name: str) -> Decl | None:
        """The field called `name`, as a file or as the value's attribute spells it."""
        return self.by_attribute.get(name) or self.by_key.get(name)


#: One plan per message class that was asked for; bounded by the number of classes.
_PLANS: Final[dict[type[Any], Plan]] = {}


def plan_of(cls: type[Any]) -> Plan:
    """The plan of a message class."""
    try:
        return _PLANS[cls]
    except KeyError:
        return _PLANS.setdefault(cls, Plan(cls))


def state_of(cls: type[Any], name: str) -> State:
    """What voltgw does with the field `name` of a message: for the declaration of a view's field that becomes that one."""
    decl = plan_of(cls).decl(name)
    assert decl is not None, f"{cls.__name__} has no field {name}"
    return decl.state


def states_of(cls: type[Any], name: str) -> Mapping[Any, State]:
    """The same for the values of a field that is a choice."""
    decl = plan_of(cls).decl(name)
    assert decl is not None and isinstance(decl.type, Choice), f"{cls.__name__}.{name} is no choice"
    return decl.type.states


class Partial(dict[str, Any]):
    """Fields of a message without the rest (``defaults:``): attribute -> value or, for a nested message, another Partial.

    `at` is where it begins and `places` where its fields stand, both packed as in a message's `at`; `names` are the
    fields' names in the file, by attribute.
    """

    __slots__ = ("at", "names", "places")

    def __init__(self, values: Mapping[str, Any], at: int, places: dict[str, int], names: dict[str, str]) -> None:
        super().__init__(values)
        self.at = at
        self.places = places
        self.names = names


class Each(Partial):
    """Defaults for every item of a list of messages (the rules of a route object)."""


class Nested(Type[M, None]):
    """A message inside a message."""

    default = None

    def __init__(self, cls: type[M], *, scalar: str = "") -> None:
        self.cls = cls
        self.shorthand = scalar                     # the field that a bare scalar stands for, "" = none
        self.words = f"a mapping ({cls.__name__})"

    def read(self, node: Node, reader: Reader) -> M | Missing:
        return self.merged(node, reader, None)

    def merged(self, node: Node, reader: Reader, under: object) -> M | Missing:
        plan = plan_of(self.cls)
        if self.shorthand and isinstance(node, ScalarNode):
            decl = plan.by_key[self.shorthand]
            value = decl.type.read(node, reader)
            if value is MISSING:
                return MISSING
            made: M = made_message(plan, {decl.attribute: value}, reader.at(node))
            return made
        return cast("M | Missing", read_message(plan, node, reader, under if isinstance(under, Partial) else None))

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        name = self.cls.__name__
        if name not in definitions:
            definitions[name] = {}                  # stands there before its parts are made: messages may contain themselves
            definitions[name] = message_schema(self.cls, definitions)
        reference: Schema = {"$ref": f"#/$defs/{name}"}
        if self.shorthand:
            return {"anyOf": [reference, plan_of(self.cls).by_key[self.shorthand].type.schema(definitions)]}
        return reference

    def plain(self, value: M) -> object:
        return plain_message(value)


def read_message(plan: Plan, node: Node, reader: Reader, under: Partial | None = None, *,
                 partial: bool = False) -> Any:
    """Read one mapping as the message of `plan`; `MISSING` when anything in it was wrong (all of it is recorded).

    `under` are defaults for what is absent; with `partial` the result is a `Partial` and nothing is required.
    """
    if not isinstance(node, MappingNode):
        if node.tag not in (PLAIN, QUOTED, COLLECTION):
            return tagged(node, reader)
        return reader.wrong(node, "VG0102", f"expected a mapping, found {describe(node)}")
    if node.tag != COLLECTION:
        return tagged(node, reader)
    values: dict[str, Any] = {}
    nodes: dict[str, Node] = {}
    taken: set[str] = set()
    bad = False
    for key, value in entries_of(plan, node.value):
        name = key.value if isinstance(key, ScalarNode) else None
        decl = plan.by_key.get(name) if name is not None else None
        if decl is None:
            if name in plan.ignored:
                continue
            bad = True
            meant = _unknown(plan, key, reader)
            if meant is not None:
                nodes.setdefault(meant.attribute, key)      # so that it is not said to be missing, too
            continue
        attribute = decl.attribute
        if attribute in nodes and attribute in taken:
            bad = True
            reader.wrong(key, "VG0005", f'"{name}" stands here twice',
                         related=(("the first one", reader.place(nodes[attribute])),))
            continue
        nodes[attribute] = key
        taken.add(attribute)
        if is_null(value):
            continue
        got = _read_field(decl, value, reader, under, partial)
        if got is MISSING:
            bad = True
            continue
        if decl.type.absent(got) or not got and (isinstance(got, tuple) or isinstance(got, str) and not decl.group):
            continue                                # what a read returns has an empty list for whatever nobody set
        values[attribute] = got
        nodes[attribute] = value
        if decl.state is not State.ACTS:
            with reader.below(decl.name):
                reader.note(decl.state, key, instead=decl.instead)
    bad = _exclusive(plan, values, nodes, reader) or bad
    if partial:
        return MISSING if bad else Partial(
            values, reader.at(node), {name: reader.at(nodes[name]) for name in values},
            {name: plan.by_attribute[name].name for name in values})
    if under:
        bad = _fill(plan, values, under, node, reader) or bad
    for decl in plan.required:
        # A field that was there but wrong has its own problem already.
        if decl.attribute not in values and decl.attribute not in nodes:
            bad = True
            reader.wrong(node, "VG0105", f'"{decl.name}" is missing here: {decl.doc}')
        elif decl.attribute not in values and decl.attribute in taken and not bad:
            bad = True
            reader.wrong(nodes[decl.attribute], "VG0105", f'"{decl.name}" must have a value: {decl.doc}')
    if bad:
        return MISSING
    made = made_message(plan, values, reader.at(node))
    if plan.rules is not None:
        for rule in plan.rules(made):
            bad = bad or rule.severity is Severity.ERROR
            reader.wrong(nodes.get(rule.field, node), rule.code, rule.message, rule.hint, severity=rule.severity)
    return MISSING if bad else made


def _read_field(decl: Decl, value: Node, reader: Reader, under: Partial | None, partial: bool) -> Any:
    type_ = decl.type
    if not decl.deep:
        return type_.read(value, reader)
    reader.path.append(decl.name)
    try:
        if decl.state is not State.ACTS:
            # The field as a whole is not acted on; what its parts do is then beside the point.
            kept = len(reader.notes)
            got = type_.read(value, reader)
            del reader.notes[kept:]
            return got
        if partial and isinstance(type_, Nested) and isinstance(value, MappingNode):
            return read_message(plan_of(type_.cls), value, reader, partial=True)
        return type_.merged(value, reader, under.get(decl.attribute) if under else None)
    finally:
        reader.path.pop()


def entries_of(plan: Plan | None, entries: list[tuple[Node, Node]]) -> Iterable[tuple[Node, Node]]:
    """The entries of a mapping; a block named like a oneof group (Terraform before 0.0.7) stands for its content."""
    if plan is None or not plan.groups:
        return entries
    if not any(key.value in plan.groups for key, _ in entries if isinstance(key, ScalarNode)):
        return entries
    result: list[tuple[Node, Node]] = []
    for key, value in entries:
        wrapped = isinstance(key, ScalarNode) and key.value in plan.groups and key.value not in plan.by_key
        if wrapped and isinstance(value, MappingNode):
            result += value.value
        else:
            result.append((key, value))
    return result


def _unknown(plan: Plan, key: Node, reader: Reader) -> Decl | None:
    """Report a key that is no field; returns the field that was probably meant."""
    if not isinstance(key, ScalarNode):
        reader.wrong(key, "VG0102", f"expected the name of a field, found {describe(key)}")
    elif key.tag not in (PLAIN, QUOTED):
        tagged(key, reader)
    elif key.value == "<<":
        reader.wrong(key, "VG0101", 'unknown field "<<"',
                     "YAML 1.2 has no merge keys; `defaults:` does the same for all objects")
    else:
        near = nearest(key.value, plan.by_key)
        reader.wrong(key, "VG0101", f'unknown field "{key.value}"',
                     f'did you mean "{near}"?' if near is not None else _fields_hint(plan))
        return plan.by_key[near] if near is not None else None
    return None


def _fields_hint(plan: Plan) -> str:
    names = [decl.name for decl in plan.decls if not decl.internal]
    return f"the fields here are {', '.join(names)}" if len(names) <= 8 else ""


def _exclusive(plan: Plan, values: dict[str, Any], nodes: dict[str, Node], reader: Reader) -> bool:
    """Report groups of which two members are set; True if there was one."""
    bad = False
    for group, members in plan.groups.items():
        present = [decl for decl in members if decl.attribute in values]
        for extra in present[1:]:
            bad = True
            first = present[0]
            reader.wrong(nodes[extra.attribute], "VG0106",
                         f'"{first.name}" and "{extra.name}" exclude each other; at most one member of {group} may be set',
                         related=((f'"{first.name}"', reader.place(nodes[first.attribute])),))
    return bad


def _fill(plan: Plan, values: dict[str, Any], under: Partial, node: Node, reader: Reader) -> bool:
    """Add defaults for what is absent; a default loses against another member of its oneof group. True if one was bad."""
    bad = False
    taken = {decl.group for decl in plan.decls if decl.group and decl.attribute in values}
    for decl in plan.decls:
        if decl.attribute not in under or decl.attribute in values or decl.group in taken:
            continue
        value = under[decl.attribute]
        if isinstance(value, Each):
            continue
        if isinstance(value, Partial):
            value = completed(decl, value, node, reader)
            if value is MISSING:
                bad = True
                continue
        values[decl.attribute] = value
    return bad


def completed(decl: Decl, partial: Partial, node: Node, reader: Reader) -> Any:
    """A message made of defaults alone; `node` is the mapping that they complete."""
    plan = plan_of(cast("Nested[Any]", decl.type).cls)
    values: dict[str, Any] = {}
    bad = _fill(plan, values, partial, node, reader)
    for need in plan.required:
        if need.attribute not in values:
            bad = True
            reader.wrong(node, "VG0105", f'`defaults:` gives this a "{decl.name}", but neither says its "{need.name}"')
    if bad:
        return MISSING
    return made_message(plan, values, -partial.at)         # negative: in the file where `defaults:` stands


def made_message(plan: Plan, values: dict[str, Any], at: int) -> Any:
    """The message of `plan` with `values`, by attribute; `at` is as in `Message`."""
    made = plan.cls(**values)
    object.__setattr__(made, "at", at)
    return made


def camel(name: str) -> str:
    """``dns_name`` -> ``dnsName``, as protobuf's JSON form spells it."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def plain_message(value: Any) -> dict[str, object]:
    """A message as plain data, as it would stand in a file; absent fields are left out."""
    result: dict[str, object] = {}
    for decl in plan_of(type(value)).decls:
        item = getattr(value, decl.attribute)
        if item != decl.type.default:
            result[decl.name] = decl.type.plain(item)
    return result


def message_schema(cls: type[Any], definitions: dict[str, Schema]) -> Schema:
    """The JSON Schema of a message; nested ones go to `definitions`. Unknown fields and two members of a group fail."""
    plan = plan_of(cls)
    properties: dict[str, Schema] = {}
    for decl in plan.decls:
        schema = decl.type.schema(definitions)
        described: Schema = {"description": decl.doc, **({"examples": [decl.example]} if decl.example else {})}
        # null is absent everywhere (objects.md 1.4)
        properties[decl.name] = {**described, "anyOf": [schema, {"type": "null"}]}
        for other in {camel(decl.name), *decl.aliases, *map(camel, decl.aliases)} - {decl.name}:
            properties[other] = {"anyOf": [schema, {"type": "null"}], "deprecated": True}
    for name in plan.ignored:
        properties[name] = {"readOnly": True}
    result: Schema = {"type": "object", "description": plan.doc, "additionalProperties": False, "properties": properties}
    required = [decl.name for decl in plan.required]
    if required:
        # Either spelling satisfies it.
        result["allOf"] = [{"anyOf": [{"required": [name]} for name in sorted({name, camel(name)})]} for name in required]
    # Blocks named like a oneof group, as Terraform once wrote them.
    properties.update({group: {"type": "object", "deprecated": True} for group in plan.groups if group not in properties})
    return result


def _declared(f: dataclasses.Field[Any], since: str) -> Decl:
    marked: _Marked = f.metadata["voltgw"]
    options = {**marked.options, "since": since if marked.options["since"] is None else marked.options["since"]}
    name = options.pop("name") or f.name.removesuffix(marked.type.suffix).removesuffix("_")
    return Decl(name=name, attribute=f.name, type=marked.type, doc=marked.doc, deep=_deep(marked.type), **options)


def plan_inside(type_: Type[Any, Any]) -> Plan | None:
    """The plan of the message that a field's value is, or is a list of."""
    item = getattr(type_, "item", type_)
    return plan_of(item.cls) if isinstance(item, Nested) else None


def _deep(type_: Type[Any, Any]) -> bool:
    """Whether reading it may leave notes: messages, enums with states, and what is made of them."""
    return isinstance(type_, Nested) or bool(getattr(type_, "states", None)) or any(
        _deep(part) for part in (getattr(type_, "item", None), getattr(type_, "value", None)) if isinstance(part, Type))


def _docstring(cls: type[Any]) -> str:
    # dataclass writes a signature where there is no docstring; the class's own one is what is meant
    text = cls.__doc__ or ""
    return "" if text.startswith(f"{cls.__name__}(") else " ".join(text.split())
