"""docs/layer4-fields.csv tells of every field that relays and their listeners ask, and of nothing else."""

from __future__ import annotations

from twisted.trial.runner import ErrorHolder, TestLoader
from twisted.trial.unittest import SynchronousTestCase

from tests.docs import http_fields, layer4_fields
from tests.docs.http_fields import NOTHING, WORKS
from tests.docs.test_http_fields import cases
from voltgw.config.reader import State


class Layer4FieldsTests(SynchronousTestCase):
    def test_every_field_is_told(self) -> None:
        """Each that is acted on has a row in the file, with a test, or with the reason why there is nothing to show."""
        acting = [name for name, decl in layer4_fields.declared().items() if decl.state is State.ACTS]
        said = http_fields.written(layer4_fields.FILE)
        self.assertEqual([name for name in acting if name not in said], [])
        self.assertEqual([name for name in said if name not in acting], [])
        self.assertEqual([name for name, (test, remark) in said.items() if not test and not remark], [])

    def test_states(self) -> None:
        """They are those of the declarations."""
        states = {row.field: row.state for row in layer4_fields.rows()}
        for name, state in (("advertise_policy.port_ranges", WORKS), ("advertise_policy.public_ip", "warned"),
                            ("tcp_loadbalancer.do_not_retract_cluster", NOTHING)):
            self.assertEqual(states[name], state, name)

    def test_named_tests_exist(self) -> None:
        """Each name means one test."""
        loader = TestLoader()
        faults = []
        for name in dict.fromkeys(row.test for row in layer4_fields.rows() if row.test):
            found = cases(loader.loadByName(name))
            if len(found) != 1 or isinstance(found[0], ErrorHolder):
                faults.append(name)
        self.assertEqual(faults, [])

    def test_the_table(self) -> None:
        """Each row of it is a field."""
        self.assertEqual(layer4_fields.render().count("\n   * - ``"), len(layer4_fields.rows()))
