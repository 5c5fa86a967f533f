"""Credentials at random: whatever comes is refused in words, and no change of a good token makes another good one."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from tests.security.making import asks
from tests.security.tokens import GOOD, NOW, ec, jwks, okp, part, rsa, signed
from voltgw.security.api_key import read_keys
from voltgw.security.basic import Basic
from voltgw.security.ext_authz import check_response
from voltgw.security.htpasswd import Htpasswd
from voltgw.security.jwt import Jwt, JwtTerms, KeySource, field_value
from voltgw.security.keys import KeySet
from voltgw.security.places import CredentialPlace, authorization, cookie, header, parameter
from voltgw.security.proofs import Accepted, Denied
from voltgw.security.tokens import Refused, read_token
from voltgw.wire.protobuf import message, number

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=12)
LINE = st.text(st.characters(min_codepoint=32, max_codepoint=255, blacklist_characters="\x7f"), max_size=60)
KEYS = KeySet.parse(jwks(rsa(), ec(), okp()), secrets=False)
TOKENS = [signed(), signed(key=ec(), alg="ES256"), signed(key=okp(), alg="EdDSA")]


class CredentialsAtRandom(SynchronousTestCase):
    def method(self) -> Jwt:
        """Asks for tokens."""
        return Jwt(JwtTerms(), KeySource("here", KEYS), (authorization("Bearer"),), lambda: NOW, "shop")

    @given(st.binary(max_size=200) | st.lists(st.binary(max_size=30), min_size=3, max_size=3).map(b".".join))
    @examples(150)
    def test_bytes_that_are_no_token(self, data: bytes) -> None:
        """Nothing but a refusal comes of them."""
        self.assertRaises(Refused, read_token, data)

    @given(JSON, JSON)
    @examples(150)
    def test_json_that_is_no_token(self, head: object, payload: object) -> None:
        """Any JSON in either part: refused, or read, and then its signature is none."""
        data = f"{part(json.dumps(head))}.{part(json.dumps(payload))}.{part(b'x' * 64)}".encode()
        verdict = self.method().check(asks("/", "GET", f"Authorization: Bearer {data.decode()}"))
        self.assertIsInstance(verdict, Denied)

    @given(JSON)
    @examples(150)
    def test_claims_of_any_kind(self, claim: object) -> None:
        """Signed by a good key: accepted, or refused as malformed; what goes into a header is one line."""
        payload = json.dumps({**GOOD, "x": claim, "exp": claim}).encode()
        verdict = self.method().check(asks("/", "GET", f"Authorization: Bearer {signed(payload, ec(), 'ES256')}"))
        assert isinstance(verdict, Accepted | Denied)
        value = field_value(claim)
        self.assertTrue(value is None or not set(value) & {10, 13, 0})

    @given(st.sampled_from(TOKENS), st.integers(min_value=0), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.="))
    @examples(150)
    def test_a_good_token_with_one_letter_changed(self, token: str, at: int, letter: str) -> None:
        """It is none any more, wherever that letter stands."""
        at %= len(token)
        changed = token[:at] + letter + token[at + 1:]
        verdict = self.method().check(asks("/", "GET", f"Authorization: Bearer {changed}"))
        self.assertIsInstance(verdict, Accepted if changed == token else Denied)

    @given(st.binary(max_size=120) | JSON.map(lambda value: json.dumps({"keys": [value, {"kty": "RSA", "n": value, "e": "AQAB"}]}).encode()))
    @examples(150)
    def test_key_sets(self, data: bytes) -> None:
        """What is no key set is refused with a reason."""
        try:
            self.assertTrue(KeySet.parse(data, secrets=True).keys)
        except ValueError as error:
            self.assertTrue(str(error))

    @given(st.binary(max_size=200))
    @examples(150)
    def test_files(self, data: bytes) -> None:
        """Users and keys: the reason names a line and nothing else of it."""
        for read in (Htpasswd.parse, read_keys):
            try:
                read(data)
            except ValueError as error:
                self.assertRegex(str(error), "^line [0-9]+")

    @given(st.lists(LINE, max_size=4), LINE)
    @examples(150)
    def test_places(self, values: list[str], query: str) -> None:
        """Nothing is found, one is found, or it is refused; taken out, there is none left."""
        target = "/?" + "".join(char if char.isalnum() or char in "&=%+" else "_" for char in query.encode("ascii", "ignore").decode())
        places: list[CredentialPlace] = [authorization("Bearer"), header("x-k", "p"), cookie("c"), parameter("k")]
        for place in places:
            lines = [f"{name}: {value.strip()}" for value in values for name in ("Authorization", "X-K", "Cookie")]
            request = asks(target, "GET", *lines).request
            try:
                place.find(request)
            except Refused:
                pass                        # several of them
            place.take_out(request)
            self.assertIs(place.find(request) if place is not places[0] else None, None)

    @given(LINE)
    @examples(150)
    def test_basic(self, value: str) -> None:
        """Any text behind ``Basic`` is refused."""
        method = Basic(Htpasswd({}), "shop", b"key", lambda: 0.0, lambda: None)
        self.assertIsInstance(method.check(asks("/", "GET", f"Authorization: Basic {value.strip()}")), Denied)

    @given(st.binary(max_size=80) | st.lists(st.tuples(st.integers(1, 4), st.binary(max_size=24) | st.integers(0, 1 << 33)), max_size=6).map(
        lambda parts: b"".join(message(number_, value) if isinstance(value, bytes) else number(number_, value) for number_, value in parts)))
    @examples(400)
    def test_answers_of_authorizers(self, data: bytes) -> None:
        """Read as a verdict, or refused; fields are such as may stand in a head, and a status is one of an answer."""
        for wrapped in (data, message(1, data), message(2, data), message(3, data), message(3, message(2, message(1, data)))):
            try:
                check = check_response(wrapped)
            except ValueError:
                continue
            self.assertTrue(200 <= check.status <= 599)
            for name, value in (*check.headers, *check.to_client):
                self.assertRegex(name, rb"^[!#$%&'*+.^_`|~0-9a-z-]+$")
                self.assertFalse(set(value) & {0, 10, 13})
                self.assertEqual(value, value.strip(b" \t"))
