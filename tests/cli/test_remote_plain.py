"""What is shown to an admin interface is not shown to everybody on the way."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.running import run


class PlainTests(SynchronousTestCase):
    def test_a_token_to_another_host(self) -> None:
        """It is not sent in plain text; to this host it is."""
        token = Path(self.mktemp())
        token.write_text("a-token-of-this-host")
        for where in ("192.0.2.1:9901", "http://gw.example.com:9901", "[2001:db8::1]:9901"):
            done = run(["status", "--admin", where, "--token-file", str(token)])
            self.assertEqual(done.status, 3)
            self.assertIn("a token is not sent to another host in plain text; say https://", done.err)
        for where in ("127.0.0.1:1", "localhost:1", "[::1]:1", "1"):
            self.assertNotIn("plain text", run(["status", "--admin", where, "--token-file", str(token)]).err)
