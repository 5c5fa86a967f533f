"""The real servers of the integration tests start, answer and stop."""

from __future__ import annotations

import os
import ssl
import subprocess
import urllib.request
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.gateway import free_port
from tests.servers import haproxy, in_ci, nginx, pebble, require


def fetch(url: str) -> bytes:
    """The body of a page."""
    with urllib.request.urlopen(url, timeout=10) as response:
        body: bytes = response.read()
        return body


class RequireTests(SynchronousTestCase):
    def test_a_program_that_is_not_there(self) -> None:
        """A missing program skips a test by name, and fails it where CI should have installed it."""
        self.patch_ci("")
        self.assertFalse(in_ci())
        refusal = self.assertRaises(SkipTest, require, "no-such-program")
        self.assertIn("no-such-program is not installed", str(refusal))
        self.patch_ci("true")
        self.assertRaises(AssertionError, require, "no-such-program")

    def test_a_program_that_is_there(self) -> None:
        """What is installed is found, with its path."""
        self.assertTrue(require("sh").endswith("/sh"))

    def patch_ci(self, value: str) -> None:
        """Set CI for this test."""
        self.patch(os, "environ", {**os.environ, "CI": value})


class ServerTests(SynchronousTestCase):
    def test_nginx_answers_at_once(self) -> None:
        """nginx takes our socket over: the first request needs no waiting and no retry."""
        server = nginx(self, 'location / { return 200 "one"; }')
        self.assertEqual(fetch(f"http://127.0.0.1:{server.port}/"), b"one")

    def test_nginx_killed_and_started_again(self) -> None:
        """A killed origin refuses connections; it comes back on the same port."""
        server = nginx(self, 'location / { return 200 "one"; }')
        self.assertEqual(fetch(f"http://127.0.0.1:{server.port}/"), b"one")
        server.kill()
        self.assertRaises(OSError, fetch, f"http://127.0.0.1:{server.port}/")
        again = nginx(self, 'location / { return 200 "two"; }', port=server.port)
        self.assertEqual(fetch(f"http://127.0.0.1:{again.port}/"), b"two")

    def test_haproxy_answers_at_once(self) -> None:
        """HAProxy takes our socket over too."""
        server = haproxy(self, "  http-request return status 200 content-type text/plain string three")
        self.assertEqual(fetch(f"http://127.0.0.1:{server.port}/"), b"three")

    def test_stopping_ends_the_process(self) -> None:
        """Nothing of a server is left when its test is over."""
        server = nginx(self, "return 204;")
        server.stop()
        self.assertFalse(server.running)

    def test_curl_is_the_real_one(self) -> None:
        """The client that the documentation tells the reader to use."""
        curl = require("curl")
        server = nginx(self, 'return 200 "four";')
        done = subprocess.run([curl, "-sS", f"http://127.0.0.1:{server.port}/"], capture_output=True, check=True)
        self.assertEqual(done.stdout, b"four")

    def test_pebble_answers(self) -> None:
        """A CA is there when the call is over, by the certificate that it is judged by."""
        server = pebble(self, free_port(), free_port())
        self.assertTrue(server.root().startswith(b"-----BEGIN CERTIFICATE-----"))
        context = ssl.create_default_context(cafile=str(server.ca))
        with urllib.request.urlopen(server.directory, context=context, timeout=10) as response:
            self.assertIn(b"newOrder", response.read())
        server.stop()
        self.assertFalse(server.running)
