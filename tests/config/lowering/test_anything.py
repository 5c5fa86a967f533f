"""Whatever the declarations of the views accept can be lowered: it loads, or is refused in words."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.config.samples import sample
from voltgw.config.compound import ListOf, MapOf
from voltgw.config.effective import text_of
from voltgw.config.kinds import KINDS
from voltgw.config.load import load_text
from voltgw.config.reader import State
from voltgw.config.schema import Nested, Plan, plan_of
from voltgw.config.states import table
from voltgw.config.types import Choice, Type
from voltgw.errors import ConfigErrors

#: What would be refused before anything is made of it.
ALLOWED = "gateway: {on_dangling: serve_503, allow_unenforced: [%s]}\n"


class AnythingTests(SynchronousTestCase):
    def value(self, type_: Type[Any, Any], chance: Random, depth: int) -> Any:
        """Some value of a type."""
        if isinstance(type_, Nested):
            return self.message(plan_of(type_.cls), chance, depth + 1)
        if isinstance(type_, ListOf):
            return [self.value(type_.item, chance, depth) for _ in range(max(type_.least, chance.randint(0, 2)))]
        if isinstance(type_, MapOf) and isinstance(type_.value, Nested):
            return {}
        if isinstance(type_, Choice):
            return chance.choice([member.value for member in type_.enum])
        return sample(type_, chance.randint(0, 3))

    def message(self, plan: Plan, chance: Random, depth: int) -> dict[str, Any]:
        """Some fields of a message: those that it needs, one of each group at most, fewer the deeper it stands."""
        found: dict[str, Any] = {}
        taken: set[str] = set()
        for decl in chance.sample(plan.decls, len(plan.decls)):
            if decl.required or decl.group not in taken and chance.random() < 0.5 / (1 + depth / 3):
                found[decl.name] = self.value(decl.type, chance, depth)
                taken |= {decl.group} - {""}
        return found

    def test_random_views(self) -> None:
        """Nothing but `ConfigErrors`, ever; what loads is shown with its origins, and has no place outside its file."""
        chance = Random(0)
        refused = [name for name, kind in KINDS.items() if kind.lowers]
        allowed = {row.field.partition(".")[0] for row in table() if row.state is State.REFUSES} & set(refused)
        loaded = 0
        for number in range(240):
            kind = refused[number % len(refused)]
            plan = KINDS[kind].plan()
            assert plan is not None
            spec = self.message(plan, chance, 0)
            source = ALLOWED % ", ".join(sorted(allowed)) + "objects:\n- " + json.dumps({"kind": kind, "metadata": {"name": "x"}, "spec": spec})
            try:
                config = load_text(source, name="voltgw.yaml")
            except ConfigErrors as errors:
                for problem in errors.problems:
                    self.assertEqual(problem.place.file, "voltgw.yaml", problem)
                continue
            loaded += 1
            text_of(config, everything=True)
            for objects in config.objects.values():
                for one in objects.values():
                    self.assertEqual((one.place().file, one.place().line), ("voltgw.yaml", 3))
        self.assertGreater(loaded, 20)
