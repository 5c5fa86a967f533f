"""Claims about all requests: what is proved, what is refuted by a request, and what stays open."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config, host, objects, policy
from voltgw.app.claims import ClaimError, read_claim
from voltgw.app.conditions import Atom, samples, solve
from voltgw.app.dry import dry_runtime
from voltgw.app.explain import Explainer
from voltgw.app.prove import Outcome, Verdict, prove
from voltgw.app.question import read_question
from voltgw.routing.regex.pattern import PATH, Pattern

ON_8080: Final = policy("p", "address: 127.0.0.1, port: 8080")
CLUSTERS: Final = "".join(f"- {{kind: cluster, metadata: {{name: {name}}}, spec: {{endpoints: []}}}}\n"
                          for name in ("public", "admin", "other"))
PROVED, REFUTED, OPEN = Outcome.PROVED, Outcome.REFUTED, Outcome.OPEN


def rule(match: str, cluster: str = "public", more: str = "") -> str:
    """One rule; `match` is one entry."""
    condition = f"match: [{{{match}}}], " if match else ""
    return f"    - {{{condition}route_destination: {{destinations: [{{cluster: [{cluster}]}}]{more}}}}}\n"


def answer(match: str, status: int = 403) -> str:
    """A rule that answers itself."""
    return f"    - {{match: [{{{match}}}], route_direct_response: {{response_code: {status}}}}}\n"


def shop(*rules: str, more: str = "", domains: str = '["*"]') -> str:
    """A configuration of one virtual host with these rules."""
    return objects(host("shop", domains=domains, more=more), ON_8080,
                   "- kind: route\n  metadata: {name: r}\n  spec:\n    routes:\n", *rules, CLUSTERS)


class ProveCase(SynchronousTestCase):
    def prove(self, text: str, claim: str) -> Verdict:
        """The verdict on a claim; an example is checked by explain, which goes another way."""
        runtime = dry_runtime(config(text))
        verdict = prove(runtime, read_claim(claim, runtime))
        if verdict.example is not None:
            example = verdict.example
            explanation = Explainer(runtime).explain(
                read_question(example.method, example.url, example.headers, "", example.listener))
            self.assertIn(explanation.route or "no ", example.goes)
        return verdict

    def outcome(self, claim: str, *rules: str, more: str = "", domains: str = '["*"]') -> Outcome:
        """The outcome only."""
        return self.prove(shop(*rules, more=more, domains=domains), claim).outcome


class PathTests(ProveCase):
    CLAIM = "nothing under /admin reaches cluster public"

    def test_a_rule_before_it(self) -> None:
        """A whole-segment rule in front of the public one keeps /admin away from it."""
        guard = rule("path: {prefix: /admin}", "admin")
        self.assertIs(self.outcome(self.CLAIM, guard, rule("")), PROVED)
        self.assertIs(self.outcome(self.CLAIM, rule(""), guard), REFUTED)

    def test_a_prefix_that_is_too_long(self) -> None:
        """/admin/ does not take /admin itself: the counter-example is exactly that path."""
        verdict = self.prove(shop(rule("path: {prefix: /admin/}", "admin"), rule("")), self.CLAIM)
        assert verdict.example is not None
        self.assertEqual((verdict.outcome, verdict.example.url), (REFUTED, "http://voltgw-any.invalid:8080/admin"))

    def test_an_exact_path_is_not_enough(self) -> None:
        """A rule for the path alone leaves what stands below it."""
        verdict = self.prove(shop(rule("path: {path: /admin}", "admin"), rule("")), self.CLAIM)
        assert verdict.example is not None
        self.assertRegex(verdict.example.url, r"/admin/.*$")

    def test_a_longer_literal_in_between(self) -> None:
        """A rule for one path below it, ahead of the guard, is found."""
        verdict = self.prove(shop(rule("path: {path: /admin/help}"), rule("path: {prefix: /admin}", "admin"), rule("")), self.CLAIM)
        assert verdict.example is not None
        self.assertTrue(verdict.example.url.endswith("/admin/help"))

    def test_whole_segments_and_beginnings(self) -> None:
        """`under` means whole segments; /adminx is only spoken of by `beginning with`."""
        rules = (rule("path: {prefix: /adminx}"), rule("path: {prefix: /admin}", "admin"))
        self.assertIs(self.outcome(self.CLAIM, *rules), PROVED)
        self.assertIs(self.outcome("nothing beginning with /admin reaches cluster public", *rules), REFUTED)
        self.assertIs(self.outcome("nothing at /admin reaches cluster public", *rules), PROVED)

    def test_another_host(self) -> None:
        """Every virtual host that leads there is looked at; with `on` only those of the name."""
        text = objects(
            host("a", domains="[a.example]", routes="[r]"), host("b", domains='["*.b.example"]', routes="[s]"), ON_8080,
            "- kind: route\n  metadata: {name: r}\n  spec:\n    routes:\n", rule("path: {prefix: /admin}", "admin"), rule(""),
            "- kind: route\n  metadata: {name: s}\n  spec:\n    routes:\n", rule(""), CLUSTERS)
        verdict = self.prove(text, self.CLAIM)
        assert verdict.example is not None
        self.assertIn(".b.example:8080/", verdict.example.url)
        self.assertIs(self.prove(text, "nothing under /admin on a.example reaches cluster public").outcome, PROVED)
        self.assertIs(self.prove(text, "nothing under /admin on *.b.example reaches cluster public").outcome, REFUTED)

    def test_wildcards_that_take_the_usual_names(self) -> None:
        """A wildcard is looked at however many longer ones take names that begin within it."""
        longer = ["*-any.b.example", "*-anya.b.example", "*-any0.b.example"]
        text = objects(
            host("long", domains=str(longer).replace("'", '"'), routes="[r]"), host("b", domains='["*.b.example"]', routes="[s]"), ON_8080,
            "- kind: route\n  metadata: {name: r}\n  spec:\n    routes:\n", rule("", "admin"),
            "- kind: route\n  metadata: {name: s}\n  spec:\n    routes:\n", rule(""), CLUSTERS)
        for claim in ("nothing reaches cluster public", "nothing on *.b.example reaches cluster public"):
            verdict = self.prove(text, claim)
            assert verdict.example is not None
            self.assertIn("route s/0", verdict.example.goes)

    def test_copies_count(self) -> None:
        """A request whose copy gets there has got there; for `everything` a copy is not enough."""
        mirrored = rule("", "admin", ", mirror_policy: {cluster: [public]}")
        self.assertIs(self.outcome(self.CLAIM, mirrored), REFUTED)
        self.assertIs(self.outcome("everything reaches cluster public", mirrored), REFUTED)
        self.assertIs(self.outcome("everything reaches cluster admin", mirrored), PROVED)

    def test_a_share_counts(self) -> None:
        """A cluster that gets one in a hundred is reached; one of weight 0 is not."""
        split = "    - {route_destination: {destinations: [{cluster: [admin], weight: 99}, {cluster: [public], weight: %d}]}}\n"
        self.assertIs(self.outcome(self.CLAIM, split % 1), REFUTED)
        self.assertIs(self.outcome(self.CLAIM, split % 0), PROVED)


class ConditionTests(ProveCase):
    CLAIM = "nothing under /admin reaches cluster public"

    def test_a_header_that_a_client_may_send(self) -> None:
        """A guard that asks for a header is passed by without it; one that asks for its absence, with it."""
        verdict = self.prove(shop(rule("path: {prefix: /admin}, headers: [{name: x-staff, presence: true}]", "admin"), rule("")),
                             self.CLAIM)
        assert verdict.example is not None
        self.assertEqual(verdict.example.headers, ())
        verdict = self.prove(shop(
            rule("path: {prefix: /admin}, headers: [{name: x-staff, presence: true, invert_match: true}]", "admin"), rule("")),
            self.CLAIM)
        assert verdict.example is not None
        self.assertEqual(verdict.example.headers, ("x-staff: voltgw-any",))

    def test_both_sides_of_a_header(self) -> None:
        """Two guards that together take every request leave none."""
        self.assertIs(self.outcome(
            self.CLAIM, rule("path: {prefix: /admin}, headers: [{name: x-staff, exact: yes}]", "admin"),
            rule("path: {prefix: /admin}, headers: [{name: x-staff, exact: yes, invert_match: true}]", "admin"), rule("")), PROVED)

    def test_a_value_implies_that_it_is_there(self) -> None:
        """A rule that wants a value never sees what a guard for the header's presence takes."""
        self.assertIs(self.outcome(
            self.CLAIM, rule("headers: [{name: x-staff, presence: true}]", "admin"),
            rule("path: {prefix: /admin}, headers: [{name: x-staff, exact: yes}]")), PROVED)
        self.assertIs(self.outcome(
            self.CLAIM, rule("headers: [{name: x-staff, regex: '[a-z]+'}]", "admin"),
            rule("path: {prefix: /admin}, headers: [{name: x-staff, exact: yes}]")), PROVED)

    def test_methods(self) -> None:
        """A guard for one method leaves the others; a claim may speak of one."""
        rules = (rule("path: {prefix: /admin}, http_method: GET", "admin"), rule(""))
        self.assertIs(self.outcome(self.CLAIM, *rules), REFUTED)
        self.assertIs(self.outcome("nothing GET under /admin reaches cluster public", *rules), PROVED)

    def test_query_and_regex_values(self) -> None:
        """A value is made up for a regex, and a query for a parameter."""
        verdict = self.prove(shop(
            rule("path: {prefix: /admin}, query_params: [{key: debug, regex: '[0-9]{3}'}], "
                 "headers: [{name: x-a, regex: 'v(1|2)'}]")), self.CLAIM)
        assert verdict.example is not None
        self.assertRegex(verdict.example.url, r"/admin\?debug=\d{3}$")
        self.assertEqual(verdict.example.headers, ("x-a: v1",))

    def test_the_host_header(self) -> None:
        """Conditions on Host are decided by the name; a name that a rule asks for is tried."""
        rules = (rule("headers: [{name: host, exact: staff.example}]"), rule("", "admin"))
        verdict = self.prove(shop(*rules), self.CLAIM)
        assert verdict.example is not None
        self.assertTrue(verdict.example.url.startswith("http://staff.example:8080/admin"))
        self.assertEqual(verdict.example.headers, ("Host: staff.example",))
        self.assertIs(self.outcome(self.CLAIM, *rules, domains="[other.example]"), PROVED)

    def test_a_regex_for_names(self) -> None:
        """Names that only a regex tells apart are not taken for alike: an example is made up, or the claim stays open."""
        regex = rule("headers: [{name: host, regex: 'staff[0-9].example'}]")
        self.assertIs(self.outcome(self.CLAIM, regex, rule("", "admin")), REFUTED)
        self.assertIs(self.outcome(self.CLAIM, regex, rule("", "admin"), domains="[other.example]"), PROVED)
        guard = rule("headers: [{name: host, regex: '.*'}]", "admin")
        self.assertIs(self.outcome(self.CLAIM, guard, rule("")), OPEN)

    def test_the_incoming_port(self) -> None:
        """Conditions on the port are decided by the listener."""
        self.assertIs(self.outcome(self.CLAIM, rule("incoming_port: {port: 8081}")), PROVED)
        self.assertIs(self.outcome(self.CLAIM, rule("incoming_port: {port: 8080}")), REFUTED)


class RegexTests(ProveCase):
    CLAIM = "nothing under /admin reaches cluster public"

    def test_a_regex_that_cannot_begin_so(self) -> None:
        """The literal beginning of a regex settles it."""
        self.assertIs(self.outcome(self.CLAIM, rule("path: {regex: '/img/.*[.]png'}")), PROVED)

    def test_an_example_is_made_up(self) -> None:
        """A path that the regex matches is found."""
        verdict = self.prove(shop(rule("path: {regex: '/(admin|other)/[0-9]+/edit'}")), self.CLAIM)
        assert verdict.example is not None
        self.assertRegex(verdict.example.url, r"/admin/\d+/edit$")

    def test_a_guard_that_is_everything(self) -> None:
        """``/admin(/.*)?`` is more than a literal; what it cannot be shown to take stays open, but is never called proved."""
        outcome = self.outcome(self.CLAIM, rule("path: {regex: '/admin(/.*)?'}", "admin"), rule(""))
        self.assertIs(outcome, OPEN)


class EverythingTests(ProveCase):
    def test_everything_is_answered(self) -> None:
        """One status for all that stands below a path."""
        rules = (answer("path: {prefix: /old}", 410), rule(""))
        self.assertIs(self.outcome("everything under /old is answered 410", *rules), PROVED)
        self.assertIs(self.outcome("everything under /ol is answered 410", *rules), REFUTED)
        self.assertIs(self.outcome("nothing under /new is answered 410", *rules), PROVED)

    def test_a_hole(self) -> None:
        """What no rule takes is a counter-example for everything, and none for nothing."""
        verdict = self.prove(shop(rule("path: {prefix: /a}"), rule("http_method: GET")), "everything reaches any cluster")
        assert verdict.example is not None
        self.assertIn("404", verdict.example.goes)
        self.assertNotEqual(verdict.example.method, "GET")
        self.assertIs(self.outcome("nothing under /b reaches cluster public", rule("path: {prefix: /a}")), PROVED)

    def test_names_that_nobody_takes(self) -> None:
        """They are a hole only where the claim names them."""
        rules = (rule(""),)
        self.assertIs(self.outcome("everything reaches cluster public", *rules, domains="[a.example]"), PROVED)
        self.assertIs(self.outcome("everything on a.example reaches virtual host shop", *rules, domains="[a.example]"), PROVED)
        self.assertIs(self.outcome("everything on b.example reaches virtual host shop", *rules, domains="[a.example]"), REFUTED)

    def test_paths_as_they_are_written(self) -> None:
        """For a host that does not normalise, a note says that other spellings are other paths."""
        verdict = self.prove(shop(rule("path: {prefix: /admin}", "admin"), rule(""), more=", disable_path_normalize: true"),
                             "nothing under /admin reaches cluster public")
        self.assertEqual(len(verdict.notes), 1)


class ClaimTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.runtime = dry_runtime(config(shop(rule(""))))

    def test_what_is_not_there(self) -> None:
        """A name that does not exist is an error with a hint: nothing ever reaches a misspelt cluster."""
        for text, words in (("nothing reaches cluster pubilc", 'did you mean "public"'), ("nothing reaches route x", "no virtual host has"),
                            ("nothing reaches virtual host x", "there is no virtual host")):
            self.assertIn(words, str(self.assertRaises(ClaimError, read_claim, text, self.runtime)))

    def test_sentences_that_are_none(self) -> None:
        """A sentence of another form is refused with the form."""
        for text in ("nobody reaches cluster public", "nothing below /x reaches cluster public", "nothing reaches", "",
                     "nothing under admin reaches cluster public", "nothing on a:80 reaches cluster public",
                     "nothing under /a/../b reaches cluster public"):
            self.assertRaises(ClaimError, read_claim, text, self.runtime)


class AgainstAllRequestsTests(ProveCase):
    """Verdicts on random rules, held against requests that are gone through one by one."""

    PATHS = ("/", "/a", "/a/", "/a/x", "/ab", "/a/b", "/a/b/", "/a/b/c", "/b", "/ba", "/b/a", "/c")
    HEADERS = ((), ("x: 1",), ("x: 2",), ("x: 3",), ("y: 1",), ("x: 1", "y: 1"), ("x: 2", "y: 1"), ("x: 3", "y: 1"), ("x: 1", "x: 2"))

    def test_they_agree(self) -> None:
        """A claim that is proved is broken by no request; one that is broken by one is refuted."""
        chance = Random(7)
        refuted = proved = 0
        for _ in range(120):
            rules = [self.random_rule(chance) for _ in range(chance.randrange(1, 6))]
            claim = chance.choice(("nothing under /a reaches cluster public", "everything under /a/b reaches cluster public",
                                   "nothing reaches cluster admin", "everything GET beginning with /a reaches any cluster"))
            runtime = dry_runtime(config(shop(*rules)))
            read = read_claim(claim, runtime)
            verdict = prove(runtime, read)
            self.assertIsNot(verdict.outcome, OPEN)
            explainer = Explainer(runtime)
            broken = False
            for method, path, headers in product(("GET", "POST"), self.PATHS, self.HEADERS):
                if not read.speaks_of(path.encode()) or read.method not in (None, method.encode()):
                    continue
                got = explainer.explain(read_question(method, f"http://h:8080{path}", headers))
                table = runtime.hosts["default/shop"]
                route = next((each for each in table.routes if each.name == got.route), None)
                broken = broken or read.broken_by(table, route, got.status if route is None or route.answer is not None else None)
            if broken:
                self.assertIs(verdict.outcome, REFUTED, (claim, rules))
            refuted += verdict.outcome is REFUTED
            proved += verdict.outcome is PROVED
        self.assertGreater(min(refuted, proved), 20)

    def random_rule(self, chance: Random) -> str:
        """A rule of literal conditions."""
        parts = []
        if chance.random() < 0.7:
            parts.append(f"path: {{{chance.choice(('prefix', 'path'))}: {chance.choice(self.PATHS[:9])}}}")
        if chance.random() < 0.3:
            parts.append(f"http_method: {chance.choice(('GET', 'POST'))}")
        if chance.random() < 0.5:
            name = chance.choice("xy")
            value = chance.choice(("presence: true", "exact: '1'", "exact: '2'", "regex: '[12]'"))
            parts.append(f"headers: [{{name: {name}, {value}, invert_match: {str(chance.random() < 0.4).lower()}}}]")
        if chance.random() < 0.2 and parts:
            return answer(", ".join(parts))
        return rule(", ".join(parts), chance.choice(("public", "admin")))


class PieceTests(SynchronousTestCase):
    def test_samples_match(self) -> None:
        """Every string that is made up for a regex is one that it matches."""
        for text in ("/a(b|c)*d", "/x/[0-9]+/y", "/(?i)abc", "/a{2,3}b?", "/[^/]+/z", "/.*", "/a|/b", "/\\d\\w-"):
            made = samples(text)
            self.assertTrue(made, text)
            for each in made:
                self.assertTrue(Pattern(text, PATH).matches(each), (text, each))

    def test_solve(self) -> None:
        """Truths that satisfy all clauses, or None where there are none."""
        a, b, c = (Atom("header", name, "there") for name in "abc")
        found = solve([(a, True)], [[(a, False), (b, True)], [(b, False), (c, False)]])
        self.assertEqual(found, {a: True, b: True, c: False})
        self.assertIsNone(solve([(a, True)], [[(a, False), (b, True)], [(b, False)]]))
        self.assertIsNone(solve([(a, True), (a, False)], []))
        pigeons = [Atom("header", f"{pigeon}-{hole}", "there") for pigeon in range(3) for hole in range(2)]
        clauses = [[(pigeons[2 * p], True), (pigeons[2 * p + 1], True)] for p in range(3)]
        clauses += [[(pigeons[2 * p + h], False), (pigeons[2 * q + h], False)] for h in range(2) for p in range(3) for q in range(p)]
        self.assertIsNone(solve([], clauses))
