"""Did you mean …?"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from voltgw.config.suggest import did_you_mean, nearest


class NearestTests(SynchronousTestCase):
    def test_case_and_separators_do_not_count(self) -> None:
        """``web-v2`` was meant to be ``web_v2``, however far other names are."""
        self.assertEqual(nearest("web-v2", ["web_v1", "web_v2", "web-v3"]), "web_v2")
        self.assertEqual(nearest("HTTP proxy", ["TCP_PROXY", "HTTP_PROXY"]), "HTTP_PROXY")

    def test_one_mistake_of_each_kind(self) -> None:
        """A letter left out, too many, wrong, or swapped with its neighbour."""
        for word in ("domans", "dommains", "domeins", "doamins"):
            self.assertEqual(nearest(word, ["routes", "domains", "proxy"]), "domains", word)

    def test_the_nearest_one(self) -> None:
        """Not just the first that is near enough."""
        self.assertEqual(nearest("shops", ["ship", "shop", "chop"]), "shop")

    def test_nothing_near(self) -> None:
        """Better no hint than a silly one."""
        self.assertIsNone(nearest("zebra", ["domains", "routes"]))
        self.assertIsNone(nearest("ab", ["xy"]))
        self.assertEqual(did_you_mean("zebra", ["domains"]), "")

    def test_the_hint(self) -> None:
        """In the words of the error format."""
        self.assertEqual(did_you_mean("domans", ["domains"]), 'did you mean "domains"?')
