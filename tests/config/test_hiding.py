"""Lines of files below errors, and the configuration that is shown: secrets stand in neither."""

from __future__ import annotations

import json
from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from voltgw.config import effective, show
from voltgw.config.hiding import hidden
from voltgw.config.load import load_text
from voltgw.errors import ConfigErrors

SECRET = "hunter2-hunter2-hunter2"
INLINE = "string:///" + b64encode(SECRET.encode()).decode()
KEYS = json.dumps({"keys": [{"kty": "oct", "k": SECRET * 2}]})
HOST = """\
objects:
- kind: virtual_host
  metadata: {{name: h}}
  spec:
    domains: ["*"]
    {spec}
"""


class LineTests(SynchronousTestCase):
    def test_what_is_hidden(self) -> None:
        """What stands behind ``string:///``, in a private key, or under a name that says what it is."""
        for line in (f'key: "{INLINE}"', f"a: {{url: {INLINE}, b: 1}}", f"token: {SECRET}", f'"acl_token": "{SECRET}"', f"password: '{SECRET}'",
                     f"x: {{client_secret: {SECRET}, y: 2}}", f"jwks: '{KEYS}'", f"-----BEGIN PRIVATE KEY-----{SECRET}", f"api_key:   {SECRET}"):
            said, _ = hidden(line, 1)
            self.assertNotIn("hunter2", said)
            self.assertNotIn(INLINE[10:20], said)
            self.assertIn("***", said)

    def test_what_is_left(self) -> None:
        """Names of files and variables, switches, and everything else."""
        for line in ("key: file:pki/a.key", "token: env:TOKEN", "secret: ${SECRET}", "drop_token: true", "max_token_bytes: 8192",
                     "tokens_url: https://id.example/", "- kind: virtual_host", "metadata: {name: token}", "keys:", "key: {url: env:X}", "monkey: a"):
            self.assertEqual(hidden(line, 3), (line, 3))

    def test_the_caret_stays_where_it_belongs(self) -> None:
        """Before what is hidden, behind it, or at its beginning."""
        line = f"a: {{x: 1, token: {SECRET}, y: 2}}"
        for word in ("x:", "token:", "y:"):
            said, column = hidden(line, line.index(word) + 1)
            self.assertTrue(said[column - 1:].startswith(word), (said, column))
        said, column = hidden(line, line.index(SECRET) + 5)
        self.assertTrue(said[column - 1:].startswith("***"), (said, column))


class ErrorTests(SynchronousTestCase):
    def told(self, spec: str) -> str:
        """All that is told of the errors of a host, for people and for programs."""
        try:
            load_text(HOST.format(spec=spec))
        except ConfigErrors as errors:
            return show.report(errors.problems) + json.dumps([show.plain(each) for each in errors.problems])
        raise AssertionError("there is no error")

    def test_beside_a_secret(self) -> None:
        """The line in which something else is wrong; its caret points there."""
        told = self.told(f'voltgw: {{authentication: {{api_key: {{bogus: 1, keys: [{{name: a, key: "{INLINE}"}}]}}}}}}')
        self.assertNotIn(INLINE[10:20], told)
        self.assertIn("bogus", told)

    def test_a_secret_itself(self) -> None:
        """One that is no URL: neither its text nor its line is shown."""
        for spec in (f"voltgw: {{authentication: {{api_key: {{keys: [{{name: a, key: {SECRET}}}]}}}}}}",
                     f"jwt_validation: {{jwks_config: {{cleartext: {SECRET}}}}}"):
            told = self.told(spec)
            self.assertNotIn("hunter2", told)
            self.assertIn("expected string:///", told)


class ShownTests(SynchronousTestCase):
    def test_key_sets(self) -> None:
        """They may hold secrets of HMAC, or a private key by mistake: `config show` has three stars."""
        for spec in (f"jwt_validation: {{jwks: '{KEYS}'}}", f"jwt_validation: {{jwks_config: {{cleartext: {INLINE}}}}}"):
            config = load_text(HOST.format(spec=spec))
            for everything in (False, True):
                said = effective.text_of(config, everything=everything)
                self.assertNotIn("hunter2", said)
                self.assertNotIn(INLINE[10:20], said)
                self.assertIn('"***"', said)
