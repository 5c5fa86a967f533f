"""The table of all kinds and fields."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.samples import messages
from tests.config.test_reference import complaints
from voltgw.config.catalog import entries, render_fields
from voltgw.config.kinds import KINDS


class CatalogTests(SynchronousTestCase):
    def test_every_field_stands_in_it_once(self) -> None:
        """Every field of every message that can stand in an object, under the first kind that has it."""
        found = [(entry.message or entry.kind, entry.field) for entry in entries()]
        self.assertEqual(len(found), len(set(found)))
        declared = {(name, decl.name) for name, where in messages().items() if where.kind != "metadata"
                    for decl in where.plan.decls}
        self.assertEqual(declared - set(found), set())

    def test_the_page(self) -> None:
        """Every kind is named, and the text of declarations is not taken for markup."""
        page = render_fields()
        self.assertEqual(complaints(page), "")
        for kind in KINDS.values():
            self.assertIn(f"``{kind.name}``", page)

    def test_states(self) -> None:
        """What works, what is warned of and what is refused; what stands inside is treated like what is around it."""
        states = {f"{entry.message or entry.kind}.{entry.field}": entry.state for entry in entries()}
        for field, state in (
            ("route.routes", "works"),
            ("virtual_host.js_challenge", "refused"),
            ("JavascriptChallengeType.custom_page", "warned or refused"),   # kinds that hold it are treated differently
            ("service_policy.algo", "works"),
            ("service_policy.deny_list", "works"),
            ("fleet.fleet_label", "works"),
            ("service_policy_set.policies", "works"),
        ):
            self.assertTrue(states[field].startswith(state), f"{field}: {states[field]}")
        self.assertIn("works; ", states["site.tunnel_type"])
