"""The declarations against the object model: every field, its oneof group, since when it is there, and each of its limits.

``fields.csv`` is the object model's reference, field by field and in its order; a row whose ``section`` is empty is a field
that the vendor publishes and the reference does not spell out. Neither is made from the other.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from tests.config.limits import LENIENT, STRICTER, cases, put, tried
from tests.config.samples import sample
from tests.config.table import MESSAGES, ROWS, SPECIAL, companions, declared, errors_of
from voltgw.config.reader import State
from voltgw.config.schema import camel
from voltgw.config.types import Choice

#: What the API writes beside metadata's own fields; the reference gives it in prose.
READ_ONLY: Final = frozenset(("tenant", "creation_timestamp", "modification_timestamp", "object_index", "owner_view"))


class FieldsTests(SynchronousTestCase):
    def test_every_field_of_the_model_is_declared(self) -> None:
        """Each row has a declaration, or is one of the fields that are taken and forgotten, as the row says."""
        lost = []
        for row in ROWS:
            if row.message not in MESSAGES:
                lost.append(f"{row.message}: no such message")
                continue
            where, decl = declared(row)
            if row.limit == "read-only":
                if row.field not in where.plan.ignored:
                    lost.append(f"{row.message}.{row.field} is read-only")
            elif decl is None:
                lost.append(f"{row.message}.{row.field}")
        self.assertEqual(sorted(set(lost)), [])

    def test_every_declared_field_is_of_the_model(self) -> None:
        """A declared field stands in the table, under its own name, unless it is voltgw's own."""
        known = {(row.message, row.field) for row in ROWS}
        extra = [
            f"{name}.{field}"
            for name, where in MESSAGES.items()
            for field in (*(decl.name for decl in where.plan.decls if decl.since != "voltgw"),
                          *getattr(where.plan.cls, "READ_ONLY", ()))
            if (name, field) not in known and where.plan.decls and not (where.kind == "metadata" and field in READ_ONLY)
        ]
        self.assertEqual(extra, [])

    def test_every_message_of_the_table_has_one_name(self) -> None:
        """Names of messages and enums are unique: the JSON Schema and the reference page know them by these alone."""
        seen: dict[str, set[str]] = {}
        for where in MESSAGES.values():
            seen.setdefault(where.plan.cls.__name__, set()).add(where.plan.cls.__module__)
            for decl in where.plan.decls:
                enum = getattr(getattr(decl.type, "item", decl.type), "enum", None)
                if enum is not None:
                    seen.setdefault(enum.__name__, set()).add(enum.__module__)
        self.assertEqual({name: modules for name, modules in seen.items() if len(modules) > 1}, {})

    def test_groups_and_dates_are_the_models(self) -> None:
        """The oneof group and the column "since" of every declaration are the table's."""
        wrong = []
        for row in ROWS:
            _, decl = declared(row)
            if decl is None or decl.name != row.field:      # an older spelling, declared as an alias
                continue
            if decl.group != row.group:
                wrong.append(f"{row.message}.{row.field}: group {decl.group!r}, table {row.group!r}")
            if decl.since != row.since:
                wrong.append(f"{row.message}.{row.field}: since {decl.since!r}, table {row.since!r}")
        self.assertEqual(wrong, [])

    def test_enums_have_the_models_words_in_the_wires_order(self) -> None:
        """An enum's words are the model's and stand in the order of its numbers, the first of which is the absent one."""
        wrong = []
        with (Path(__file__).parent / "enums.csv").open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                decl = MESSAGES[line["message"]].plan.by_key[line["field"]]
                item: Any = getattr(decl.type, "item", decl.type)
                words = [member.value for member in item.enum] if isinstance(item, Choice) else [w for w in item.one_of if w]
                if words != line["values"].split():
                    wrong.append(f"{line['message']}.{line['field']}: {words}")
        self.assertEqual(wrong, [])

    def test_every_field_is_read(self) -> None:
        """Each field of the table is accepted in both spellings, alone in the smallest object in which it can stand."""
        wrong = []
        for row in ROWS:
            where, decl = declared(row)
            value: Any = SPECIAL.get((row.message, row.field)) or (sample(decl.type) if decl is not None else {"x": [1]})
            for name in dict.fromkeys((row.field, camel(row.field))):
                # What the smallest message has anyway stands there in its first spelling.
                found = errors_of(where, {**companions(row), name: value}, "" if name == row.field else row.field)
                wrong += [f"{row.message}.{name}: {e.code} {e.message}" for e in found]
        self.assertEqual(wrong, [])


class LimitsTests(SynchronousTestCase):
    def test_each_limit_allows_what_it_should(self) -> None:
        """The value at each limit is accepted, by the reader and in an object."""
        wrong = []
        for row, term, case in cases():
            where, _ = declared(row)
            fields, without = put(row, case.good)
            wrong += [f"{row.message}.{row.field} ({term}): {e.message}" for e in errors_of(where, fields, without)]
        self.assertEqual(wrong, [])

    def test_each_limit_refuses_what_it_should(self) -> None:
        """The value beyond each limit is refused, unless it stands among those where we are lenient, with the reason."""
        wrong, lenient = [], set()
        for row, term, case in cases():
            if case.bad is None:
                continue
            where, _ = declared(row)
            fields, without = put(row, case.bad)
            found = errors_of(where, fields, without)
            if (row.message, row.field, term) in LENIENT:
                lenient.add((row.message, row.field, term))
                if found:
                    wrong.append(f"{row.message}.{row.field} ({term}) is refused after all: {found[0].message}")
            elif not found:
                wrong.append(f"{row.message}.{row.field} ({term}): {str(case.bad)[:60]!r} was accepted")
        self.assertEqual(wrong, [])
        self.assertEqual(lenient, set(LENIENT))

    def test_where_we_are_stricter_it_is_so(self) -> None:
        """Each value that the API allows and we do not is refused indeed."""
        for (message, field, term), (reason, _) in STRICTER.items():
            row = next(row for row in ROWS if (row.message, row.field) == (message, field))
            where, decl = declared(row)
            assert decl is not None
            for case in tried(term, decl):
                self.assertNotEqual(errors_of(where, {field: case.good}), [], reason)

    def test_the_table_has_no_limit_that_is_not_tried(self) -> None:
        """Every term of the column "limit" is understood."""
        known = {(row, term) for row, term, _ in cases()}
        untried = {f"{row.message}.{row.field}: {term}" for row in ROWS for term in row.terms
                   if (row, term) not in known and term != "read-only" and (row.message, row.field, term) not in LENIENT}
        self.assertEqual(untried, set())


class StatesTests(SynchronousTestCase):
    def test_what_exists_to_refuse_someone_is_an_error(self) -> None:
        """Ignoring any of these would admit someone, so using it is an error until it is acted on."""
        refused = {
            f"{name}.{decl.name}" for name, where in MESSAGES.items() for decl in where.plan.decls
            if decl.state is State.REFUSES
        }
        self.assertEqual([field for field in (
            "ForwardProxyAdvancedRuleType.url_category_list",
            "forward_proxy_policy.segment_policy", "network_firewall.active_network_policies",
            "virtual_host.authentication", "virtual_host.js_challenge", "WafType.app_firewall",
            "http_loadbalancer.app_firewall", "http_loadbalancer.api_rate_limit",
        ) if field not in refused], [])
