"""What a CA answers, whatever it may be: a value, or an error that says what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.control.acme.ca import START, URL
from tests.fuzz.settings import examples
from voltgw.control.acme.messages import (
    MOST_TEXT,
    MOST_WAIT_S,
    Answer,
    problem_words,
    read_authorization,
    read_directory,
    read_order,
    refusal,
    retry_after_s,
)
from voltgw.control.acme.problems import Garbled

_NAMES = st.sampled_from([
    "status", "authorizations", "finalize", "certificate", "error", "identifier", "value", "challenges", "type", "url", "token",
    "newNonce", "newAccount", "newOrder", "meta", "termsOfService", "externalAccountRequired", "detail", "subproblems"])
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from([f"{URL}/x", "http://ca.example/", "https://", "valid", "pending", "dns", "a-b_c"]))
_JSON = st.recursive(_LEAVES, lambda inner: st.one_of(
    st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=8)), max_leaves=40)


def answer(body: bytes, status: int = 200, **headers: str) -> Answer:
    """What came."""
    return Answer(f"{URL}/asked", status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


class AnyAnswerTests(SynchronousTestCase):
    def read(self, body: bytes) -> None:
        """Read it as everything that it could be."""
        for reader in (read_directory, read_authorization, lambda one: read_order(one, f"{URL}/order")):
            try:
                reader(answer(body))
            except Garbled as error:
                self.assertLess(len(str(error)), 2 * MOST_TEXT)
        said = refusal(answer(body, 400), START)
        self.assertLess(len(str(said)), 2 * MOST_TEXT)
        self.assertTrue(str(said).isprintable())

    @examples(300)
    @given(_JSON)
    def test_any_json(self, value: Any) -> None:
        """Nothing but our own errors, whose words fit in a log."""
        self.read(json.dumps(value).encode())

    @examples(300)
    @given(st.binary(max_size=200))
    def test_any_bytes(self, body: bytes) -> None:
        """Likewise."""
        self.read(body)

    def test_deep_ones(self) -> None:
        """Nesting beyond what the parser takes."""
        for body in (b"[" * 200_000, b'{"a":' * 200_000, b'{"error":' * 400 + b"1" + b"}" * 400):
            self.read(body)

    def test_problems_in_problems(self) -> None:
        """The first few are told, and no more."""
        problem: dict[str, Any] = {"type": "urn:ietf:params:acme:error:compound", "detail": "x" * 300}
        for _ in range(50):
            problem = {**problem, "subproblems": [problem] * 3}
        self.assertLessEqual(len(problem_words(problem)), MOST_TEXT)

    @examples(300)
    @given(st.text(max_size=40))
    def test_any_retry_after(self, text: str) -> None:
        """A number that is no wait is not believed."""
        found = retry_after_s(answer(b"", retry_after=text), START)
        self.assertTrue(found is None or 0 <= found <= MOST_WAIT_S)

    def test_retry_after(self) -> None:
        """Seconds or a date (RFC 9110 10.2.3)."""
        for text, expected in (("120", 120.0), ("0", 0.0), ("", None), ("soon", None), ("-1", None), ("1.5", None),
                               ("9" * 400, MOST_WAIT_S), ("Sun, 17 Mar 2030 17:48:40 GMT", 120.0),
                               ("Sun, 17 Mar 2019 17:48:40 GMT", 0.0)):
            self.assertEqual(retry_after_s(answer(b"", retry_after=text), START), expected, text)

    def test_words_for_terminals(self) -> None:
        """Control characters of a stranger do not reach a terminal."""
        said = str(refusal(answer(json.dumps({"type": "urn:ietf:params:acme:error:malformed", "detail": "a\x1b[31mb\nc"}).encode(), 400), START))
        self.assertEqual(said, "malformed: a [31mb c")
