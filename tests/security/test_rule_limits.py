"""Rate limits of rules of service policies: what they count, and what they leave alone."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.security.making import asks, chain_of, host, host_of, service_policy, serving
from tests.security.test_limits import answer, limiter, statuses, users
from voltgw.app.build import Runtime
from voltgw.errors import ConfigErrors
from voltgw.security.limiting import Limits

LOGIN = {"action": "ALLOW", "path": {"prefix_values": ["/login"]}, "rate_limiter": ["two"]}
REST = {"action": "ALLOW"}


def policy(*rules: dict[str, Any], name: str = "p", **more: Any) -> str:
    """A service_policy of these rules, named r0, r1, ..."""
    return service_policy(name, {**more, "rule_list": {"rules": [
        {"metadata": {"name": f"r{number}"}, "spec": rule} for number, rule in enumerate(rules)]}})


def limited(*rules: dict[str, Any], previous: Runtime | None = None, **more: Any) -> Runtime:
    """A host that they judge, and the limiter ``two``: two in a minute."""
    return serving(host(active_service_policies={"policies": ["p"]}), policy(*rules, **more), limiter(), previous=previous)


class RuleTests(SynchronousTestCase):
    def test_what_it_counts(self) -> None:
        """Only what the rule holds for; one too many is 429 and says which limit, and the log names the rule, too."""
        made = limited(LOGIN, REST)
        self.assertEqual(statuses(made, *(asks("/x") for _ in range(5))), [0] * 5)
        self.assertEqual(statuses(made, asks("/login"), asks("/login")), [0, 0])
        third = asks("/login")
        reply = answer(made, third)
        assert reply is not None
        self.assertEqual((reply.status, reply.flag, reply.detail), (429, "RL", "rate_limit: default/two"))
        self.assertEqual(dict(reply.fields)[b"retry-after"], b"30")
        self.assertEqual((third.limit, third.policy), ("default/two 192.0.2.1", "default/p/r0"))
        self.assertEqual(statuses(made, asks("/x"), asks("/login", address="192.0.2.9")), [0, 0])
        self.assertEqual(statuses(made, asks("/login"), asks("/login"), now=1030.0), [0, 429])

    def test_what_goes_on(self) -> None:
        """A rule that leaves the verdict to the next policy counts as well; what is too much gets no further."""
        made = serving(
            host(active_service_policies={"policies": ["p", "q"]}), limiter(),
            policy({"action": "NEXT_POLICY", "rate_limiter": ["two"]}), policy({"action": "ALLOW"}, name="q"))
        self.assertEqual(statuses(made, *(asks() for _ in range(3))), [0, 0, 429])

    def test_what_counts_nothing(self) -> None:
        """Rules that refuse or only log, policies that only report: nobody is counted, or refused by the limit."""
        report: dict[str, Any] = {"voltgw": {"report_only": True}}
        cases: tuple[tuple[dict[str, Any], dict[str, Any], int], ...] = (
            ({"action": "DENY"}, {}, 403), ({"action": "ALLOW", "log_rule_evaluation": True}, {}, 0),
            ({"action": "ALLOW"}, report, 0))
        for rule, more, expected in cases:
            made = limited({**rule, "rate_limiter": ["two"]}, REST, **more)
            self.assertEqual(statuses(made, *(asks() for _ in range(4))), [expected] * 4, rule)

    def test_two_limits(self) -> None:
        """A request takes from both or from none."""
        rule = {**LOGIN, "rate_limiter": ["two", "three"]}
        made = serving(host(active_service_policies={"policies": ["p"]}), policy(rule), limiter(),
                       limiter("three", 3, user_identification=["who"]), users({"http_header_name": "x-key"}))
        asked = [asks("/login", "GET", "X-Key: a", address=f"192.0.2.{number}") for number in (1, 1, 1, 2, 3)]
        self.assertEqual(statuses(made, *asked), [0, 0, 429, 0, 429])

    def test_asking_counts_nothing(self) -> None:
        """`rehearse` says what the limit would say, with its place, and takes nothing."""
        made = limited(LOGIN, REST)
        chain = chain_of(made)
        for _ in range(5):
            reply, reason = chain.rehearse(asks("/login"))
            self.assertIsNone(reply)
        counted = next(step for step in reason.steps[0].steps if step.about == "rate limits")
        self.assertEqual((counted.outcome, counted.steps[0].about), ("let pass", "rate_limiter default/two"))
        statuses(made, asks("/login"), asks("/login"))
        late = asks("/login")
        late.t_start = 1000.0
        reply, reason = chain.rehearse(late)
        self.assertEqual((reply.status if reply is not None else 0, reason.outcome), (429, "refused"))
        self.assertIn("default/p/r0", reason.why)

    def test_a_reload(self) -> None:
        """What users owe stays theirs when the policy changes, and a limit that changes takes effect."""
        made = limited(LOGIN, REST)
        statuses(made, asks("/login"), asks("/login"))
        after = limited(LOGIN, {"action": "ALLOW", "path": {"prefix_values": ["/x"]}}, previous=made)
        self.assertEqual(statuses(after, asks("/login"), asks("/y")), [429, 403])
        parts = host(active_service_policies={"policies": ["p"]}), policy(LOGIN, REST)
        larger = serving(*parts, limiter(total=5), previous=after)
        self.assertEqual(statuses(larger, *(asks("/login") for _ in range(6))), [0] * 5 + [429])

    def test_what_the_metrics_read(self) -> None:
        """The limits of the host tell of it: how often it let pass and refused, how many users it knows."""
        made = limited(LOGIN, REST)
        statuses(made, *(asks("/login") for _ in range(3)))
        limits = next(gate for gate in host_of(made).gates if isinstance(gate, Limits))
        self.assertEqual(list(limits.verdicts()), [("default/two", "allowed", 2), ("default/two", "refused", 1)])
        self.assertEqual([len(each.store) for each in limits.all], [1])

    def test_fields_of_every_answer(self) -> None:
        """``fields: ALWAYS`` of a rule's limit, beside one of the host, tells a client once where it stands."""
        made = serving(host(active_service_policies={"policies": ["p"]}, rate_limiter=["all"]), policy(LOGIN, REST),
                       limiter(voltgw={"fields": "ALWAYS"}), limiter("all", 100, voltgw={"fields": "ALWAYS"}))
        chosen = host_of(made).choose(asks("/login").request, 8080)
        assert chosen is not None
        self.assertEqual(len(set(chosen.response_filters)), len(chosen.response_filters))

    def test_what_is_not_there(self) -> None:
        """A limiter that is not there, or that a policy asks for before claims are known, is an error."""
        error = self.assertRaises(ConfigErrors, limited, {**LOGIN, "rate_limiter": ["gone"]})
        self.assertIn("gone", "".join(each.message for each in error.problems))
        claims = limiter(user_identification=["who"]), users({"jwt_claim_name": "sub"})
        error = self.assertRaises(
            ConfigErrors, serving, host(voltgw={"blocking_policies": ["p"]}), policy({**LOGIN, "action": "NEXT_POLICY"}), *claims)
        self.assertIn("before it is known who sends a request", "".join(each.message for each in error.problems))
