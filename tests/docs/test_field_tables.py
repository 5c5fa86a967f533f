"""docs/cluster-fields.csv, docs/health-check-fields.csv, docs/tls-fields.csv,
docs/forward-fields.csv, docs/publish-fields.csv, docs/names-fields.csv
and docs/rollout-fields.csv tell of every field of theirs, and of nothing else."""

from __future__ import annotations

from twisted.trial.runner import ErrorHolder, TestLoader
from twisted.trial.unittest import SynchronousTestCase

from tests.docs import features
from tests.docs.field_table import (
    CLUSTER,
    DOCS,
    FORWARD,
    HEALTH,
    NAMES,
    NOTHING,
    PUBLISH,
    ROLLOUT,
    TLS,
    WORKS,
    FieldTable,
)
from tests.docs.test_http_fields import cases
from voltgw.config.reader import State


class TableCase(SynchronousTestCase):
    def check(self, table: FieldTable, least: int) -> None:
        """Each field that is acted on has a row, with a test, or with the reason why there is nothing to show; each test is one."""
        acting = [name for name, decl in table.declared().items() if decl.state is State.ACTS]
        said = table.written()
        self.assertEqual([name for name in acting if name not in said], [])
        self.assertEqual([name for name in said if name not in acting], [])
        self.assertEqual([name for name, (test, remark) in said.items() if not test and not remark], [])
        self.assertGreaterEqual(len(acting), least)
        loader = TestLoader()
        faults = []
        for name in dict.fromkeys(row.test for row in table.rows() if row.test):
            found = cases(loader.loadByName(name))
            if len(found) != 1 or isinstance(found[0], ErrorHolder):
                faults.append(name)
        self.assertEqual(faults, [])
        self.assertEqual(table.render().count("\n   * - ``"), len(table.rows()))


class HealthTableTests(TableCase):
    def test_health_checks(self) -> None:
        """All of them."""
        self.check(HEALTH, 30)
        states = {row.field: row.state for row in HEALTH.rows()}
        self.assertEqual({states["healthcheck.timeout"], states["healthcheck.voltgw.udp_health_check.silence"]}, {WORKS})
        self.assertEqual(states["healthcheck.dns_health_check"], "refused")
        self.assertNotIn(NOTHING, states.values())


class ClusterTableTests(TableCase):
    def test_clusters(self) -> None:
        """Those of the object model and ours, TLS aside."""
        self.check(CLUSTER, 70)
        states = {row.field: row.state for row in CLUSTER.rows()}
        self.assertEqual({states["cluster.outlier_detection.interval"], states["cluster.voltgw.slow_start.window"]}, {WORKS})


class TlsTableTests(TableCase):
    def test_tls(self) -> None:
        """Towards clients, in both forms, and towards endpoints."""
        self.check(TLS, 100)


class ForwardTableTests(TableCase):
    def test_forward_proxies(self) -> None:
        """Connectors, firewalls, policies, and virtual hosts without a cluster."""
        self.check(FORWARD, 100)
        states = {row.field: row.state for row in FORWARD.rows()}
        self.assertEqual(states["forward_proxy_policy.rule_list.rules.url_category_list"], "refused")
        self.assertEqual(states["network_connector.enable_forward_proxy.tls_intercept"], WORKS)


class PublishTableTests(TableCase):
    def test_registries(self) -> None:
        """How names are kept, and each kind of registry."""
        self.check(PUBLISH, 40)
        states = {row.field: row.state for row in PUBLISH.rows()}
        self.assertEqual({states["discovery.voltgw.publish.owner"], states["discovery.voltgw.dns_update.tsig.secret"]}, {WORKS})


class NamesTableTests(TableCase):
    def test_discovery_and_sites(self) -> None:
        """How services are found, zones of our own, and what sites and networks are."""
        self.check(NAMES, 120)
        states = {row.field: row.state for row in NAMES.rows()}
        self.assertEqual(states["discovery.discovery_k8s.namespace_mapping.items.namespace_regex"], WORKS)
        self.assertEqual(states["virtual_network.srv6_network"], "warned")
        self.assertEqual(states["discovery.discovery_k8s.publish_info.dns_delegation.subdomain"], WORKS)


class RolloutTableTests(TableCase):
    def test_rollouts(self) -> None:
        """All of them."""
        self.check(ROLLOUT, 20)
        self.assertEqual({row.state for row in ROLLOUT.rows()}, {WORKS})


class PointsTests(SynchronousTestCase):
    def test_points(self) -> None:
        """Each point of docs/tls-fields.rst once, with a true state, and tests of which each means one."""
        rows = features.rows((DOCS / "tls-fields.rst").read_text(encoding="utf-8"))
        self.assertEqual([row.id for row in rows], [f"T{number}" for number in range(1, len(rows) + 1)])
        self.assertGreater(len(rows), 50)
        loader = TestLoader()
        for row in rows:
            self.assertIn(row.state, (features.WORKS, features.PARTLY, features.NOT_YET), row.id)
            self.assertEqual(bool(row.tests), row.state != features.NOT_YET, row.id)
            self.assertEqual(bool(row.missing), row.state == features.PARTLY, row.id)
        faults = []
        for name in dict.fromkeys(name for row in rows for name in row.tests):
            found = cases(loader.loadByName(name))
            if len(found) != 1 or isinstance(found[0], ErrorHolder):
                faults.append(name)
        self.assertEqual(faults, [])
