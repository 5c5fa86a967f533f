"""What changed between two configurations."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import GOOD, loaded
from voltgw.config.diff import diff


class DiffTests(SynchronousTestCase):
    def test_nothing(self) -> None:
        """Comments, order of keys and units make no difference."""
        other = GOOD.replace("connection_timeout: 500", "connection_timeout: 500ms").replace(
            "{ip: 127.0.0.1, port: 9001}", "{port: 9001, ip: 127.0.0.1}  # moved")
        changed = diff(loaded(GOOD), loaded("# comment\n" + other))
        self.assertFalse(changed)
        self.assertEqual(changed.changes, ())

    def test_added_removed_and_changed(self) -> None:
        """By object, with the paths of what differs."""
        other = GOOD.replace("name: shop-2}\n", "name: shop-3}\n").replace("timeout: 5000", "timeout: 6000").replace(
            "connection_timeout: 500", "connection_timeout: 1s").replace("labels: {ves.io/app_type: shop}", "labels: {}")
        found = diff(loaded(GOOD), loaded(other))
        self.assertEqual([str(change) for change in found.changes], [
            'virtual_host "shop" changed: metadata.labels', 'route "shop" changed: spec.routes',
            'cluster "shop" changed: spec.connection_timeout', 'endpoint "shop-2" removed', 'endpoint "shop-3" added'])
        self.assertEqual([change.word for change in found.of("endpoint")], ["removed", "added"])
        self.assertTrue(found)

    def test_a_path_into_a_message(self) -> None:
        """Down to the field; lists are taken as a whole."""
        one = "kind: cluster\nmetadata: {name: a}\nspec: {circuit_breaker: {retries: 1}}\n"
        (change,) = diff(loaded(one), loaded(one.replace("1", "2"))).changes
        self.assertEqual(change.fields, ("spec.circuit_breaker.retries",))
        (change,) = diff(loaded(one), loaded("kind: cluster\nmetadata: {name: a}\n")).changes
        self.assertEqual(change.fields, ("spec.circuit_breaker",))

    def test_the_gateway_part(self) -> None:
        """Apart from objects."""
        found = diff(loaded("gateway: {log_level: info}"), loaded("gateway: {log_level: debug, site: x}"))
        self.assertEqual((found.gateway, found.changes), (("gateway.site", "gateway.log_level"), ()))

    def test_the_same_name_in_another_namespace_is_another_object(self) -> None:
        """It is not moved, it is replaced."""
        one = "kind: cluster\nmetadata: {name: a}\n"
        self.assertEqual([change.word for change in diff(loaded(one), loaded(one.replace("name: a", "name: a, namespace: b"))).changes],
                         ["removed", "added"])
