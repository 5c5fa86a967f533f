"""Places inside objects cost reading their file once more, so building looks for them only when there is a problem to tell."""

from __future__ import annotations

from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import cluster, config, endpoint, host, makings, objects, policy, route
from voltgw.app.build import build


class PlaceTests(SynchronousTestCase):
    def test_nothing_is_read_again(self) -> None:
        """Neither for a whole configuration nor for one changed cluster; of ten thousand hosts in one file that is 20 ms each."""
        def made(timeout: int) -> str:
            return objects(host("a"), policy("p", "address: 127.0.0.1, port: 8080"), route("r"),
                           cluster(more=f", connection_timeout: {timeout}"), endpoint())

        with mock.patch("voltgw.config.model._found_place", side_effect=AssertionError("a place was looked up in the text")):
            first = build(config(made(100)), None, makings())
            second = build(config(made(200)), first, makings())
        self.assertIsNot(first.clusters["default/c"], second.clusters["default/c"])
