"""What operators see of authentication: explain, the verdict of a case, and a past request."""

from __future__ import annotations

from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, objects
from tests.security.credentials import ADA, basic, chosen, credential, gate_of, gated, judged, tokens
from tests.security.making import REST, asks, host
from tests.security.tokens import GOOD, rsa, signed
from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.past import Past
from voltgw.app.question import read_question
from voltgw.values.reason import Reason

URL = "http://shop.example:8080/"
LASTING = {**GOOD, "exp": 4_000_000_000, "nbf": 0}


class ExplainTests(SynchronousTestCase):
    def said(self, *lines: str, authentication: dict[str, Any] | None = None, **spec: Any) -> tuple[Any, Reason]:
        """What is said of a request, and of its credential."""
        extension: dict[str, Any] = {} if authentication is None else {"voltgw": {"authentication": authentication}}
        runtime = dry_runtime(config(objects(host(**extension, **spec), *REST)))
        found = Explainer(runtime, wall=lambda: 1.8e9).explain(read_question("GET", URL, lines, "", ""))
        (reason,) = (each for each in found.decisions if each.about == "authentication")
        self.assertEqual(list(gate_of(runtime).results.rows()), [])         # nothing was counted
        return found, reason

    def test_who_is_let_in(self) -> None:
        """Each kind with what it makes of the request, the place in the file, and the headers that go on."""
        found, reason = self.said(f"Authorization: Bearer {signed(LASTING)}", "X-User: root", jwt_validation=tokens(voltgw={
            "claims_to_headers": [{"claim": "sub", "header": "x-user"}]}))
        self.assertEqual((found.outcome, reason.outcome, reason.why), ("forwarded", "let pass", "jwt proves 'ada'"))
        self.assertIsNotNone(reason.place)
        assert found.sent is not None
        self.assertEqual([value for name, value in found.sent.fields if name == "x-user"], ["ada"])

    def test_who_is_refused(self) -> None:
        """The status, why, and a word by which cases of ``voltgw test`` know it."""
        for line, refused_by, step in (
                ("Accept: */*", "jwt missing", "refuses: missing"),
                (f"Authorization: Bearer {signed({**LASTING, 'exp': 1})}", "jwt expired", "refuses: expired"),
                (f"Authorization: Bearer {signed(LASTING, rsa('other'))}", "jwt unknown_key", "refuses: unknown_key")):
            found, reason = self.said(line, jwt_validation=tokens())
            self.assertEqual((found.status, found.flag, found.refused_by), (401, "AU", refused_by))
            self.assertEqual((reason.outcome, reason.steps[0].outcome), ("refused with 401", step))

    def test_a_dry_run(self) -> None:
        """It passes, and explain says that it would not."""
        found, reason = self.said(authentication={"report_only": True}, jwt_validation=tokens())
        self.assertEqual((found.outcome, reason.outcome, reason.why), ("forwarded", "let pass", "it only reports: jwt missing"))

    def test_passwords_are_checked_where_nobody_waits(self) -> None:
        """Without a running gateway the hash is worked out."""
        for password, outcome in (("secret", "let pass"), ("guess", "refused with 401")):
            self.assertEqual(self.said(credential("ada", password), authentication={"basic": basic(ADA)})[1].outcome, outcome)

    def test_what_is_not_known(self) -> None:
        """Keys that are fetched, and who would have to be asked."""
        _, reason = self.said(f"Authorization: Bearer {signed(LASTING)}", jwt_validation={"voltgw": {"jwks_url": "https://id.example/keys"}})
        self.assertEqual(reason.steps[0].outcome, "would accept")
        self.assertIn("the keys of https://id.example/keys are not here", reason.steps[0].why)
        _, reason = self.said(authentication={"forward_auth": {"cluster": ["c"]}})
        self.assertIn("what cluster default/c would say", reason.steps[0].why)


class PastTests(SynchronousTestCase):
    def test_a_past_request(self) -> None:
        """``voltgw why`` says who was proven, or why nobody was, and where it is asked for."""
        made = gated(jwt_validation=tokens())
        past = Past(lambda: ())
        for line, outcome, why in ((f"Authorization: Bearer {signed()}", "let pass", "jwt proves 'ada'"),
                                   ("Accept: */*", "refused", "jwt missing: the gate asks for a token in Authorization: Bearer")):
            exchange = asks("/", "GET", line)
            reply = judged(made, exchange)
            if reply is not None:
                exchange.flag, exchange.detail = reply.flag, reply.detail
            chosen(made, exchange)
            (reason,) = (each for each in past(exchange) if each.about == "authentication")
            self.assertEqual((reason.outcome, reason.why), (outcome, why))
            self.assertIn("voltgw.yaml", str(cast(Any, reason.place)))
