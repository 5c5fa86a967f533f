"""What a cluster object may not say, and how it is told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import problems


class ClusterRulesTests(SynchronousTestCase):
    def refused(self, spec: str) -> str:
        """The one problem that a cluster with this spec has."""
        (problem,) = problems(f"kind: cluster\nmetadata: {{name: shop}}\nspec: {{{spec}}}\n")
        return str(problem)

    def test_finer_rules_without_any(self) -> None:
        """Rules that refine outlier detection need it."""
        self.assertIn("refines `outlier_detection`, which is missing", self.refused("voltgw: {outlier: {time_only: true}}"))

    def test_a_most_below_the_base(self) -> None:
        """As in Envoy the longest ejection may not be shorter than the first."""
        said = self.refused("outlier_detection: {base_ejection_time: 60000}, voltgw: {outlier: {max_ejection_time: 30s}}")
        self.assertIn("`max_ejection_time` is shorter than `base_ejection_time`, 1m", said)

    def test_local_origin_without_the_split(self) -> None:
        """A limit that could never be reached is a mistake."""
        said = self.refused("outlier_detection: {}, voltgw: {outlier: {consecutive_local_origin_failure: 3}}")
        self.assertIn("split_external_local_origin_errors", said)

    def test_slow_start_with_affinity(self) -> None:
        """With a scheduler by keys it would move users all the time."""
        for spec in ("loadbalancer_algorithm: RING_HASH, voltgw: {slow_start: {window: 60s}}",
                     "voltgw: {scheduler: maglev, slow_start: {window: 60s}}"):
            self.assertIn("keep no affinity", self.refused(spec))

    def test_a_cookie_without_affinity(self) -> None:
        """It would never be set."""
        self.assertIn("refines `affinity`, which is missing", self.refused("voltgw: {affinity_cookie: {name: node}}"))

    def test_limits_of_concurrency(self) -> None:
        """The least may not be above the most."""
        self.assertIn("`min_limit` is higher", self.refused("voltgw: {adaptive_concurrency: {min_limit: 300, max_limit: 100}}"))

    def test_weights_that_are_none(self) -> None:
        """NaN, infinity, fractions, negative and huge weights of an endpoint are refused with the reason at their place."""
        for weight, reason in ((".nan", "whole number"), ("NaN", "whole number"), ("1.5", "whole number"),
                               (".inf", "whole number"), ("-1", "0 to 65535"), ("65536", "0 to 65535"),
                               ("9" * 40, "0 to 65535")):
            (problem,) = problems(
                f"kind: endpoint\nmetadata: {{name: e}}\nspec: {{ip: 192.0.2.1, port: 80, voltgw: {{weight: {weight}}}}}\n")
            self.assertIn(reason, str(problem), weight)
