"""Random single mistakes in valid files: each is told on the right line, and never by a traceback."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import GOOD, judged, text
from voltgw.config.kinds import KINDS
from voltgw.config.show import report
from voltgw.errors import ConfigError, Severity

#: A file of the API's making, as one object with much in it.
OBJECT = text("""
    kind: route
    metadata:
      name: reviews
      namespace: shop
    spec:
      routes:
      - match:
        - http_method: GET
          path:
            prefix: /reviews/
          headers:
          - name: x-user
            regex: (alice|bob)
            invert_match: false
          query_params:
          - key: lang
            exact: en
        route_destination:
          destinations:
          - cluster:
            - namespace: shop
              name: reviews
            weight: 95
          auto_host_rewrite: false
          timeout: 30000
        request_headers_to_add:
        - name: x-canary
          value: maybe
          append: false
      - match:
        - path:
            path: /old
        route_redirect:
          proto_redirect: https
          path_redirect: /new
          response_code: 301
      - route_direct_response:
          response_code: 404
          response_body_encoded: string:///bm90IGhlcmU=
    ---
    kind: cluster
    metadata: {name: reviews, namespace: shop}
    spec:
      endpoints: [reviews-1]
      circuit_breaker:
        connection_limit: 100
        retries: 3
    ---
    kind: endpoint
    metadata: {name: reviews-1, namespace: shop}
    spec: {ip: 192.0.2.1, port: 80}
""")
SHORT = text("""
    load_balancers:
    - name: shop
      protocol: http
      listen: 8080
      domains: [shop.example.com]
      origins: [127.0.0.1:9001, {address: 127.0.0.1:9002, weight: 2}]
      health_check: {path: /healthz, interval: 1s}
      routes: [{path: /api, to: api}, {path: /old, redirect: /new}]
    - name: api
      listen: 127.0.0.1:8081
      origins: [127.0.0.1:9003]
""")
FILES = (GOOD, OBJECT, SHORT)
#: A mistake: the line it was made on (from 1) and the file with it; None where it cannot be made.
Mistake = tuple[int, str] | None


def spots(source: str, pattern: str) -> list[re.Match[str]]:
    """Where something can go wrong."""
    return list(re.finditer(pattern, source, re.MULTILINE))


def changed(source: str, start: int, end: int, new: str) -> Mistake:
    """The text with a part replaced, if that changes it."""
    if source[start:end] == new:
        return None
    return source.count("\n", 0, start) + 1, source[:start] + new + source[end:]


def typo(word: str, chance: random.Random) -> str:
    """A word with one letter lost, doubled, wrong, or two swapped."""
    at = chance.randrange(len(word))
    kind = chance.randrange(4)
    if kind == 0 and len(word) > 2:
        return word[:at] + word[at + 1:]
    if kind == 1:
        return word[:at] + word[at] + word[at:]
    if kind == 2 and at + 1 < len(word) and word[at] != word[at + 1]:
        return word[:at] + word[at + 1] + word[at] + word[at + 2:]
    return word[:at] + chance.choice("qxz") + word[at + 1:]


def mistyped_key(source: str, chance: random.Random) -> Mistake:
    """A letter in the name of a field (label keys and port maps are free, so they are left out)."""
    found = chance.choice(spots(source, r"(?<![\w./-])([a-z][a-z_0-9]*[a-z0-9])(?=:(?:\s|$))"))
    return changed(source, found.start(1), found.end(1), typo(found[1], chance))


def mistyped_enum(source: str, chance: random.Random) -> Mistake:
    """A letter in a word of a fixed list."""
    choices = spots(source, r"(?:proxy|loadbalancer_algorithm|http_method|site_type|protocol|proto_redirect): ([A-Za-z_]+)")
    if not choices:
        return None
    found = chance.choice(choices)
    return changed(source, found.start(1), found.end(1), typo(found[1], chance))


def mistyped_reference(source: str, chance: random.Random) -> Mistake:
    """A letter in the name of another object."""
    choices = spots(source, r"(?:cluster|endpoints|routes|policies|checks)[a-z_]*: \[\{?(?:name: )?([a-z][a-z0-9-]*)|to: ([a-z]+)"
                            r"|^ +name: (reviews)$")
    choices = [one for one in choices if source[one.start():].split("\n")[0].find("match") < 0]
    if not choices:
        return None
    found = chance.choice(choices)
    group = 1 if found[1] else 2 if found[2] else 3
    if "metadata:\n" + found[0] in source:
        return None                         # that is the object's own name
    return changed(source, found.start(group), found.end(group), typo(found[group], chance))


def wrong_type(source: str, chance: random.Random) -> Mistake:
    """A number that is a word, a list that is none, a mapping that is one."""
    rules: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
        (r"(?:port|weight|timeout|interval|threshold|response_code|retries|limit): ([0-9]+)", lambda m: "many"),
        (r"(?:domains|health_checks): (\[[^\]\n]*\])", lambda m: "{a: b}"),
        (r"(?:path|ip|dns_name): ([a-z0-9./]+)", lambda m: "[a, b]"),
        (r"(?:append|invert_match|auto_host_rewrite): (false)", lambda m: "maybe"),
        (r"(?:spec|metadata|http_health_check): (\{[^}\n]*\})", lambda m: "5"),
    )
    pattern, make = chance.choice(rules)
    choices = spots(source, pattern)
    if not choices:
        return None
    found = chance.choice(choices)
    return changed(source, found.start(1), found.end(1), make(found))


def beyond_a_limit(source: str, chance: random.Random) -> Mistake:
    """A number that is far too large."""
    choices = spots(source, r"(?:port|weight|listen|threshold|response_code|connection_limit): ([0-9]+)(?=[,}\s])")
    if not choices:
        return None
    found = chance.choice(choices)
    return changed(source, found.start(1), found.end(1), "99999999")


def wrong_indent(source: str, chance: random.Random) -> Mistake:
    """One line that stands a little further to the right or left."""
    found = chance.choice(spots(source, r"^( +)(?=[a-z])"))
    return changed(source, found.start(1), found.end(1), found[1] + " " if chance.random() < 0.5 else found[1][:-1])


def broken_syntax(source: str, chance: random.Random) -> Mistake:
    """A bracket, colon or quote that is missing, or one too many."""
    found = chance.choice(spots(source, r"[\[\]{}:]"))
    return changed(source, found.start(), found.end(), "" if chance.random() < 0.6 else found[0] * 2)


def doubled_line(source: str, chance: random.Random) -> Mistake:
    """A line that was pasted twice."""
    found = chance.choice(spots(source, r"^ *[a-z_]+: .+\n"))
    return changed(source, found.end(), found.end(), found[0])


KINDS_OF_MISTAKES = (mistyped_key, mistyped_enum, mistyped_reference, wrong_type, beyond_a_limit, wrong_indent, broken_syntax,
                     doubled_line)


def mistakes(seed: int, count: int) -> Iterator[tuple[str, int, str, str]]:
    """`count` mistakes: what was done, on which line, the file with it, the line as it is now."""
    chance = random.Random(seed)
    made = 0
    while made < count:
        kind = chance.choice(KINDS_OF_MISTAKES)
        mistake = kind(chance.choice(FILES), chance)
        if mistake is None:
            continue
        made += 1
        line, source = mistake
        yield kind.__name__, line, source, source.split("\n")[line - 1]


def near(found: tuple[ConfigError, ...], line: int, slack: int) -> bool:
    """Whether an error is told on the line, or on one of its neighbours, or refers to it."""
    places = [place for one in found if one.severity is Severity.ERROR
              for place in (one.place, *(place for _, place in one.related))]
    return any(abs(place.line - line) <= slack for place in places)


class MutationTests(SynchronousTestCase):
    def test_valid_files_are_valid(self) -> None:
        """Else the others would prove nothing."""
        for source in FILES:
            self.assertEqual(report(judged(source)), "")

    def test_mistakes_are_told_on_their_line(self) -> None:
        """At least 95 in 100; no traceback ever; what changes nothing is not counted."""
        missed: list[str] = []
        count = 0
        for what, line, source, now in mistakes(seed=1, count=400):
            found = judged(source)
            if not any(one.severity is Severity.ERROR for one in found) and what in ("wrong_indent", "broken_syntax"):
                continue                    # some are no mistakes: a list may be indented, a text may lose a bracket
            count += 1
            # A broken structure is noticed where it stops making sense, which may be the line below.
            slack = 1 if what in ("wrong_indent", "broken_syntax", "doubled_line") else 0
            if not near(found, line, slack):
                missed.append(f"{what} on line {line}: {now!r}\n{report(found)}")
        self.assertGreater(count, 300)
        self.assertLessEqual(len(missed), count // 20, "\n\n".join(missed))

    def test_each_kind_of_mistake_has_its_code(self) -> None:
        """What the mistake is, not what follows from it."""
        for source, code in (
            (GOOD.replace("domains:", "domans:"), "VG0101"), (GOOD.replace("HTTP_PROXY", "HTTP_PROXI"), "VG0104"),
            (GOOD.replace("name: canary}]\n", "name: canari}]\n"), "VG0107"), (GOOD.replace("port: 9001", "port: many"), "VG0102"),
            (GOOD.replace("    domains", "   domains"), "VG0001"), (GOOD.replace("kind: site", "kind: sitte"), "VG0108"),
            (GOOD.replace("path: /healthz", "path: healthz"), "VG0110"), (GOOD.replace("timeout: 5000", "timeout: 5 sek"), "VG0111"),
        ):
            found = judged(source)
            self.assertEqual([one.code for one in found], [code], report(found))

    def test_one_mistake_is_one_error(self) -> None:
        """A misspelt field is not also said to be missing, a bad object not also to be dangling."""
        for kind in KINDS.values():
            if not kind.spec:
                continue
            plan = kind.plan()
            for decl in plan.decls if plan is not None else ():
                wrong = f"{decl.name}zz"
                found = judged(f"kind: {kind.name}\nmetadata: {{name: x}}\nspec:\n  {wrong}: 1\n")
                self.assertEqual([(one.code, one.place.line) for one in found if wrong in one.message], [("VG0101", 4)],
                                 f"{kind.name}.{wrong}")
