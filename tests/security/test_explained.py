"""What operators see of service policies: explain, the verdict of a case, and a past request."""

from __future__ import annotations

from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, objects
from tests.security.making import REST, asks, chain_of, host, host_of, service_policy, serving
from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.past import Past
from voltgw.app.question import read_question
from voltgw.values.reply import Reply

EDGE = service_policy("edge", {"rule_list": {"rules": [
    {"metadata": {"name": "no-admin"}, "spec": {"action": "DENY", "path": {"prefix_values": ["/admin"]}}},
    {"metadata": {"name": "rest"}, "spec": {"action": "ALLOW"}}]}})
PARTS = host(active_service_policies={"policies": ["edge"]}), EDGE


class ExplainTests(SynchronousTestCase):
    def test_a_request_that_is_refused(self) -> None:
        """Each rule that was asked, with its place; the answer is 403, and nothing was counted."""
        runtime = dry_runtime(config(objects(*PARTS, *REST)))
        said = Explainer(runtime).explain(read_question("GET", "http://shop.example:8080/x/../admin", (), "", ""))
        self.assertEqual((said.outcome, said.status, said.flag), ("answered", 403, "SP"))
        (reason,) = (each for each in said.decisions if each.about == "service policies")
        self.assertEqual((reason.outcome, reason.why), ("refused", "rule default/edge/no-admin"))
        self.assertIsNotNone(reason.place)
        self.assertEqual(reason.steps[0].steps[0].why, "the path begins with '/admin' (path '/admin')")
        self.assertEqual(list(chain_of(runtime).rows()), [])

    def test_a_request_that_may_pass(self) -> None:
        """It is forwarded, and the rule that let it pass is named."""
        runtime = dry_runtime(config(objects(*PARTS, *REST)))
        said = Explainer(runtime).explain(read_question("GET", "http://shop.example:8080/shop", (), "", ""))
        self.assertEqual(said.outcome, "forwarded")
        (reason,) = (each for each in said.decisions if each.about == "service policies")
        self.assertEqual([step.outcome for step in reason.steps[0].steps], ["does not match", "matches: ALLOW"])

    def test_a_past_request(self) -> None:
        """``voltgw why`` asks the rules again for what was refused, and names the one that let others pass."""
        made = serving(*PARTS)
        past = Past(lambda: ())
        for target, outcome, why in (("/admin", "refused", "rule default/edge/no-admin"), ("/", "let pass", "default/edge/rest")):
            exchange = asks(target)
            route = host_of(made).choose(exchange.request, 8080)
            assert route is not None
            exchange.route = route
            reply = cast("Reply | None", route.request_filters[0](exchange))
            if reply is not None:
                exchange.flag, exchange.detail = reply.flag, reply.detail
            (reason,) = (each for each in past(exchange) if each.about == "service policies")
            self.assertEqual((reason.outcome, reason.why), (outcome, why))
