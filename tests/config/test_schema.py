"""Messages: what one declaration yields."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase
from yaml.nodes import Node

from tests.config.making import lines, problems
from voltgw.config.compound import ListOf
from voltgw.config.kinds import KINDS
from voltgw.config.origin import Source, documents
from voltgw.config.quantities import Duration
from voltgw.config.reader import MISSING, WARNS, Reader, State
from voltgw.config.schema import (
    Message,
    Nested,
    Partial,
    Plan,
    Rule,
    camel,
    field,
    message,
    plain_message,
    plan_inside,
    plan_of,
    read_message,
)
from voltgw.config.types import Flag, Number, Presence, Text


@message
class Wheel:
    """A wheel."""

    size: int = field(Number(1, 30), "Inches.", required=True)
    spokes: int | None = field(Number(), "How many.")


@message
class Car:
    """A car."""

    READ_ONLY = ("mileage",)

    name: str = field(Text(least=1), "What it is called.", required=True)
    wheels: tuple[Wheel, ...] = field(ListOf(Nested(Wheel), most=4), "Its wheels.")
    spare: Wheel | None = field(Nested(Wheel, scalar="size"), "One more.")
    petrol: bool = field(Presence(), "It burns.", group="engine_choice")
    volts: int | None = field(Number(), "It hums.", group="engine_choice")
    horn: bool = field(Flag(), "It honks.", state=WARNS)
    stop_after_s: float | None = field(Duration("ms"), "Limit.", aliases=("halt_after",))

    def rules(self) -> Iterable[Rule]:
        """A car with three wheels falls over."""
        if len(self.wheels) == 3:
            yield Rule("wheels", "VG0103", "three wheels are not enough")


class MessageCase(SynchronousTestCase):
    """Reads cars."""

    def read(self, text: str, *, partial: bool = False, under: Partial | None = None) -> object:
        """The message, or MISSING; the reader stays in `self.reader`."""
        self.reader, node = self.node(text)
        return read_message(plan_of(Car), node, self.reader, under, partial=partial)

    def node(self, text: str) -> tuple[Reader, Node]:
        """A reader and the node of a text."""
        source = Source.decode("f", text.encode())
        return Reader(source, {}, ".", substitute=False), next(documents(source))

    def codes(self) -> list[str]:
        """The codes of what went wrong."""
        return [problem.code for problem in self.reader.problems]


class ReadTests(MessageCase):
    def test_a_whole_message(self) -> None:
        """Every field, in both spellings of names."""
        self.assertEqual(
            self.read("{name: a, wheels: [{size: 3}, {size: 4, spokes: 5}], petrol: {}, stopAfter: 1500, mileage: [9]}"),
            Car(name="a", wheels=(Wheel(size=3), Wheel(size=4, spokes=5)), petrol=True, stop_after_s=1.5))
        self.assertEqual(self.codes(), [])

    def test_an_older_name(self) -> None:
        """It is the same field, so both together are one too many."""
        self.assertEqual(self.read("{name: a, halt_after: 1s}"), Car(name="a", stop_after_s=1.0))
        self.assertIs(self.read("{name: a, haltAfter: 1s, stop_after: 1s}"), MISSING)
        self.assertEqual(self.codes(), ["VG0005"])

    def test_null_is_absent(self) -> None:
        """Except where something must be there."""
        self.assertEqual(self.read("{name: a, wheels: null, spare: ~, petrol: , volts: null}"), Car(name="a"))
        self.assertIs(self.read("{name: null}"), MISSING)
        self.assertEqual(self.codes(), ["VG0105"])

    def test_a_scalar_for_a_message(self) -> None:
        """Where the declaration names a field for it."""
        self.assertEqual(self.read("{name: a, spare: 7}"), Car(name="a", spare=Wheel(size=7)))
        self.assertIs(self.read("{name: a, spare: big}"), MISSING)

    def test_all_mistakes_at_once(self) -> None:
        """One reading reports every problem, each at its own place; a misspelt field is not said to be missing, too."""
        self.assertIs(self.read("{nam: a, wheels: [{size: 0}, {siz: 3}], petrol: {}, volts: 9, horn: 5}"), MISSING)
        self.assertEqual(
            [(p.code, p.place.column) for p in self.reader.problems],
            [("VG0101", 2), ("VG0103", 26), ("VG0101", 31), ("VG0102", 69), ("VG0106", 60)])

    def test_members_of_a_group_exclude_each_other(self) -> None:
        """The message names both, and where the first one is; ``false`` is not set."""
        self.read("{name: a, petrol: {}, volts: 9}")
        (problem,) = self.reader.problems
        self.assertIn('"petrol" and "volts" exclude each other', problem.message)
        self.assertEqual(problem.related[0][1].column, 19)
        self.assertEqual(self.read("{name: a, petrol: false, volts: 9}"), Car(name="a", volts=9))

    def test_a_block_named_like_the_group(self) -> None:
        """Terraform wrapped oneofs in one until 0.0.6."""
        self.assertEqual(self.read("{name: a, engine_choice: {volts: 9}}"), Car(name="a", volts=9))

    def test_rules_of_the_message_itself(self) -> None:
        """They speak of a field, whose place is told."""
        self.assertIs(self.read("{name: a, wheels: [{size: 1}, {size: 1}, {size: 1}]}"), MISSING)
        self.assertEqual([(p.code, p.place.column) for p in self.reader.problems], [("VG0103", 19)])

    def test_a_field_that_is_not_acted_on(self) -> None:
        """It leaves a note, but only where it says something."""
        self.read("{name: a, horn: true}")
        self.assertEqual([(note.state, note.field) for note in self.reader.notes], [(State.WARNS, "horn")])
        self.read("{name: a, horn: false}")
        self.assertEqual(self.reader.notes, [])

    def test_no_mapping(self) -> None:
        """Told in words."""
        self.assertIs(self.read("[a]"), MISSING)
        self.assertEqual(self.reader.problems[0].message, "expected a mapping, found a list")


class DefaultsTests(MessageCase):
    def under(self, text: str) -> Partial:
        """Defaults."""
        result = self.read(text, partial=True)
        assert isinstance(result, Partial)
        return result

    def test_nothing_is_required_of_defaults(self) -> None:
        """But what they say must be right."""
        self.assertEqual(self.under("{volts: 3, spare: {spokes: 5}}"), {"volts": 3, "spare": {"spokes": 5}})
        self.assertIs(self.read("{volts: x}", partial=True), MISSING)

    def test_they_fill_what_is_absent(self) -> None:
        """What an object says itself wins, also inside messages."""
        under = self.under("{volts: 3, spare: {spokes: 5, size: 9}, wheels: [{size: 2}]}")
        self.assertEqual(self.read("{name: a, spare: {size: 1}}", under=under),
                         Car(name="a", volts=3, spare=Wheel(size=1, spokes=5), wheels=(Wheel(size=2),)))
        self.assertEqual(self.read("{name: a, wheels: [], volts: 4}", under=under),
                         Car(name="a", volts=4, spare=Wheel(size=9, spokes=5), wheels=(Wheel(size=2),)))

    def test_they_lose_against_another_member_of_the_group(self) -> None:
        """An object that chose is not given a second choice."""
        self.assertEqual(self.read("{name: a, petrol: {}}", under=self.under("{volts: 3}")), Car(name="a", petrol=True))

    def test_a_message_of_defaults_alone(self) -> None:
        """It must be complete, and its place is negative: in the other file."""
        made = self.read("{name: a}", under=self.under("{spare: {size: 9}}"))
        assert isinstance(made, Car) and made.spare is not None
        self.assertLess(getattr(made.spare, "at"), 0)                # noqa: B009  # the type checker does not know of it
        self.assertIs(self.read("{name: a}", under=self.under("{spare: {spokes: 5}}")), MISSING)
        self.assertIn("`defaults:` gives this", self.reader.problems[0].message)


class ValueTests(MessageCase):
    def test_values_are_immutable_and_hashable(self) -> None:
        """And compare by what they say, not by where it stood."""
        one, other = self.read("{name: a, spare: {size: 3}}"), self.read("\n\n{spare: {size: 3}, name: a}")
        self.assertEqual(one, other)
        self.assertEqual(hash(one), hash(other))
        with self.assertRaises(dataclasses.FrozenInstanceError):
            one.name = "b"                      # type: ignore[attr-defined]  # the point of the test

    def test_repr_says_what_was_said(self) -> None:
        """Eighty absent fields help nobody."""
        self.assertEqual(repr(self.read("{name: a, volts: 3}")), "Car(name='a', volts=3)")

    def test_plain_data_reads_back_as_the_same_value(self) -> None:
        """It is what would stand in a file."""
        one = self.read("{name: a, wheels: [{size: 3}], petrol: {}, stop_after: 90000}")
        plain = plain_message(one)
        self.assertEqual(plain, {"name": "a", "wheels": [{"size": 3}], "petrol": {}, "stop_after": "90s"})

    def test_camel_case(self) -> None:
        """As protobuf's JSON form has it."""
        self.assertEqual(camel("dns_name"), "dnsName")
        self.assertEqual(camel("consecutive_5xx"), "consecutive5xx")
        self.assertEqual(camel("http1_config"), "http1Config")


def plans(kinds: Iterable[str] = KINDS) -> dict[str, Plan]:
    """Every message of some kinds, by its class's name."""
    found: dict[str, Plan] = {}

    def walk(plan: Plan) -> None:
        if plan.cls.__name__ not in found:
            found[plan.cls.__name__] = plan
            for decl in plan.decls:
                inner = plan_inside(decl.type)
                if inner is not None:
                    walk(inner)

    for kind in kinds:
        plan = KINDS[kind].plan()
        if plan is not None:
            walk(plan)
    return found


class DeclarationTests(SynchronousTestCase):
    def test_every_field_is_documented(self) -> None:
        """One sentence each, and a docstring for each message."""
        for name, plan in plans().items():
            self.assertTrue(plan.doc, name)
            for decl in plan.decls:
                self.assertRegex(decl.doc, r"[.):]$", f"{name}.{decl.name}")

    def test_attributes_are_named_like_fields(self) -> None:
        """With the suffix of their unit, and an underscore behind a name that Python or messages need for themselves."""
        for name, plan in plans().items():
            for decl in plan.decls:
                self.assertIn(decl.attribute, {decl.name, decl.name + decl.type.suffix, f"{decl.name}_"}, f"{name}.{decl.name}")

    def test_no_spelling_means_two_fields(self) -> None:
        """Names, older names and camel case taken together."""
        for name, plan in plans().items():
            spellings = [s for d in plan.decls for s in {d.name, *d.aliases, *map(camel, (d.name, *d.aliases))}]
            self.assertEqual(len(spellings), len(set(spellings)), name)

    def test_every_message_with_all_absent_is_valid_python(self) -> None:
        """Defaults are immutable values of the declared type; equality and hash work."""
        for name, plan in plans().items():
            values = {decl.attribute: "x" for decl in plan.required}
            one = plan.cls(**values)
            self.assertIsInstance(one, Message, name)
            self.assertEqual(hash(one), hash(plan.cls(**values)))

    def test_groups_have_at_least_two_members(self) -> None:
        """Else the name of the group is mistyped somewhere; of kinds that nothing acts on, some members are not recorded."""
        acting = plans({kind for kind, known in KINDS.items() if known.state is State.ACTS})
        alone = {f"{name}.{group}" for name, plan in acting.items() for group, members in plan.groups.items() if len(members) < 2}
        # Of these the vendor publishes one member so far.
        self.assertEqual(alone, {"TokenLocation.token_location", "CrlSpec.access_info_choice",
                                 "UdpLoadbalancerSpec.loadbalancer_type", "DDoSMitigationRule.mitigation_choice"})

    def test_errors_name_the_fields_that_there_are(self) -> None:
        """When a message is small and nothing is near."""
        found = problems("kind: endpoint\nmetadata: {name: x}\nspec: {ip: 1.1.1.1, port: 1, voltgw: {zzz: 1}}\n")
        self.assertEqual(lines(found), ['3:39 VG0101 unknown field "zzz"'])
        self.assertEqual(found[0].hint, "the fields here are weight, priority, zone, unix")
