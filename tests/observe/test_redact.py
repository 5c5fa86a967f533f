"""Secrets in queries and sentences."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.observe.redact import redact_query, redact_text, secret_name


class RedactQueryTests(SynchronousTestCase):
    """Values of secrets go, everything else stays byte for byte."""

    def test_names_of_secrets(self) -> None:
        """The value of each of these is hidden, in any case, and nothing else of the query."""
        for name in (
            "token", "access_token", "id_token", "refresh-token", "key", "api_key", "apikey", "X-Api-Key", "password",
            "passwd", "pass", "user_pass", "pwd", "secret", "client_secret", "sig", "signature", "X-Amz-Signature",
            "X-Amz-Credential", "X-Amz-Security-Token", "code", "auth", "authorization", "oauth_verifier", "jwt",
            "session", "PHPSESSID", "jsessionid", "session_id", "sid", "otp", "pin", "ticket", "SAMLResponse",
            "client_assertion", "user[password]", "tokens[]", "subscription-key", "hmac", "passphrase", "nonce",
        ):
            for spelling in (name, name.upper()):
                self.assertTrue(secret_name(spelling), spelling)
                self.assertEqual(redact_query(f"a=1&{spelling}=S3cret&b=%202"), f"a=1&{spelling}=***&b=%202")

    def test_names_that_only_look_like_it(self) -> None:
        """Ordinary parameters keep their values."""
        for query in (
            "page=2&sort=price", "author=kafka", "authority=x", "country_code=de", "zipcode=1", "q=token", "keyword=x",
            "passenger=2", "design=1", "pinned=1", "a&b&c", "", "=", "code", "q=a%20b%2Bc", "compass=n", "message=hi",
            "url=https%3A%2F%2Fexample.com%2F%3Fpage%3D2", "time=12:30", "signed=1",
        ):
            self.assertEqual(redact_query(query), query)

    def test_encoded_names(self) -> None:
        """A name is read as an origin reads it."""
        self.assertEqual(redact_query("%74oken=abc"), "%74oken=***")
        self.assertEqual(redact_query("%74%6f%6B%65%6E=abc&x=1"), "%74%6f%6B%65%6E=***&x=1")
        self.assertEqual(redact_query("user%5Bpassword%5D=abc"), "user%5Bpassword%5D=***")

    def test_semicolons_separate_too(self) -> None:
        """Some origins split there; the separator stays."""
        self.assertEqual(redact_query("a=1;token=x;b=2"), "a=1;token=***;b=2")

    def test_secrets_inside_a_value(self) -> None:
        """A URL in a value that carries a secret is hidden whole."""
        self.assertEqual(redact_query("next=%2Fin%3Ftoken%3Dabc&x=1"), "next=***&x=1")
        self.assertEqual(redact_query("next=/in?token=abc&x=1"), "next=***&x=1")
        self.assertEqual(redact_query("to=ftp%3A%2F%2Fme%3Apw%40host%2F"), "to=***")
        self.assertEqual(redact_query("to=ftp://me:pw@host/"), "to=***")

    def test_a_json_web_token_under_any_name(self) -> None:
        """It is known by its beginning, with or without a name."""
        token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc"
        self.assertEqual(redact_query(f"x={token}"), "x=***")
        self.assertEqual(redact_query(token), "***")

    def test_values_with_equals_signs_and_empty_ones(self) -> None:
        """Only the first ``=`` ends a name; an empty value hides nothing."""
        self.assertEqual(redact_query("token=a=b==&x=1"), "token=***&x=1")
        self.assertEqual(redact_query("token=&x=1"), "token=&x=1")


class RedactTextTests(SynchronousTestCase):
    """Sentences of the process log."""

    def test_a_url_in_a_sentence(self) -> None:
        """Its secret goes; the sentence goes on."""
        self.assertEqual(redact_text("GET '/a?x=1&token=abc' failed, count=3"), "GET '/a?x=1&token=***' failed, count=3")

    def test_a_sentence_without_one(self) -> None:
        """It stays as it is."""
        self.assertEqual(redact_text("key=value, token: abc"), "key=value, token: abc")
