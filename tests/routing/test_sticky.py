"""The sticky split: whoever is at a destination stays there while its weight does not fall."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import Cluster, Clusters, build, exchange, request
from tests.routing.test_table import rule, to
from voltgw.config.objects.extensions import DestinationExtension, StickyType
from voltgw.errors import Place
from voltgw.routing.problems import BuildErrors
from voltgw.routing.split import Destination
from voltgw.routing.sticky import Sticky

BY_COOKIE = StickyType(cookie="user")
USERS = [b"%d" % number for number in range(1600)]


def split(weights: Mapping[str, int], *, retract: bool = False, priorities: Mapping[str, int] | None = None,
          down: frozenset[str] = frozenset()) -> Sticky:
    """A split among clusters with these weights."""
    destinations = [
        Destination(Cluster(name, name not in down), name, weight, (priorities or {}).get(name, 0),
                    partial(Place, "r.yaml", line))
        for line, (name, weight) in enumerate(weights.items(), 1)]
    return Sticky(BY_COOKIE, destinations, retract)


def places(sticky: Sticky) -> dict[bytes, str]:
    """Where each user goes."""
    return {user: sticky.pick(sticky.share(exchange([(b"cookie", b"user=" + user)]))).cluster_name for user in USERS}


_WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 100), min_size=2, max_size=6)
_SETTINGS = settings(max_examples=30, deadline=None, derandomize=True, database=None)


class MonotoneTests(SynchronousTestCase):
    """What the users of a destination may rely on."""

    def test_five_becomes_twenty(self) -> None:
        """Whoever is on the canary stays; those that come are the difference, and all of them come from the other side."""
        before, after = places(split({"stable": 95, "canary": 5})), places(split({"stable": 80, "canary": 20}))
        self.assertEqual({after[user] for user in USERS if before[user] == "canary"}, {"canary"})
        moved = sum(before[user] != after[user] for user in USERS)
        self.assertLess(abs(moved - 0.15 * len(USERS)), 4 * math.sqrt(len(USERS) * 0.15 * 0.85))

    @_SETTINGS
    @given(_WEIGHTS, st.data())
    def test_raising_one_weight(self, weights: dict[str, int], data: st.DataObject) -> None:
        """Users move to that destination or not at all."""
        raised = data.draw(st.sampled_from(sorted(weights)))
        before = places(split(weights))
        after = places(split({**weights, raised: weights[raised] + data.draw(st.integers(1, 100))}))
        for user in USERS:
            self.assertIn(after[user], (before[user], raised))

    @_SETTINGS
    @given(_WEIGHTS, st.data())
    def test_any_change(self, weights: dict[str, int], data: st.DataObject) -> None:
        """A user moves only to a destination whose weight has grown in proportion to the one that they leave."""
        others = {name: data.draw(st.integers(1, 100)) for name in weights}
        before, after = places(split(weights)), places(split(others))
        for user in USERS:
            left, taken = before[user], after[user]
            if left != taken:
                self.assertGreater(others[taken] * weights[left], weights[taken] * others[left])

    @_SETTINGS
    @given(_WEIGHTS, st.data())
    def test_a_destination_more(self, weights: dict[str, int], data: st.DataObject) -> None:
        """A new destination takes its users from everywhere; nobody else moves. Taking it out again brings them back."""
        added = data.draw(st.sampled_from(sorted(weights)))
        without = {name: weight for name, weight in weights.items() if name != added}
        if len(without) < 2:
            without["z"] = 10
        before, after = places(split(without)), places(split({**without, added: weights[added]}))
        for user in USERS:
            self.assertIn(after[user], (before[user], added))

    def test_the_order_of_the_list_does_not_count(self) -> None:
        """Destinations are who they are, wherever they stand; the same cluster twice is two of them."""
        self.assertEqual(places(split({"a": 3, "b": 2, "c": 1})), places(split({"c": 1, "a": 3, "b": 2})))
        twice = [Destination(None, "c", 1, identity="c?v=1"), Destination(None, "c", 1, identity="c?v=2")]
        one, other = Sticky(BY_COOKIE, twice, False), Sticky(BY_COOKIE, twice[::-1], False)
        for user in USERS[:200]:
            number = one.share(exchange([(b"cookie", b"user=" + user)]))
            self.assertIs(one.pick(number), other.pick(number))
        same = Sticky(BY_COOKIE, [Destination(None, "c"), Destination(None, "c")], False)
        self.assertEqual(len({id(same.pick(number / 100)) for number in range(100)}), 2)

    def test_multiplying_all_weights(self) -> None:
        """Only their proportions count."""
        self.assertEqual(places(split({"a": 19, "b": 1})), places(split({"a": 1900, "b": 100})))


class ShareTests(SynchronousTestCase):
    """How many users each destination gets."""

    def test_by_weight(self) -> None:
        """Within four standard deviations, for any number of destinations."""
        for weights in ({"a": 1, "b": 1}, {"a": 95, "b": 5}, {"a": 50, "b": 30, "c": 15, "d": 5},
                        dict.fromkeys("abcdefghijklmnop", 1)):
            counts = Counter(places(split(weights)).values())
            total = sum(weights.values())
            for name, weight in weights.items():
                share = weight / total
                self.assertLess(abs(counts[name] - len(USERS) * share), 4 * math.sqrt(len(USERS) * share * (1 - share)), (weights, name))

    def test_weight_zero(self) -> None:
        """Such a destination gets nobody."""
        self.assertEqual(set(places(split({"a": 1, "b": 0, "c": 1})).values()), {"a", "c"})

    def test_requests_that_say_nothing(self) -> None:
        """They are drawn anew each time, by weight; an empty cookie says nothing either."""
        sticky = split({"a": 3, "b": 1})
        for fields in ([], [(b"cookie", b"user=")]):
            drawn = Counter(
                sticky.pick(sticky.share(exchange(fields, id_=b"p%012x" % number))).cluster_name for number in range(4000))
            self.assertLess(abs(drawn["a"] - 3000), 4 * math.sqrt(750))

    def test_header(self) -> None:
        """The identity may be a header."""
        sticky = Sticky(StickyType(header="X-User"), [Destination(None, "a"), Destination(None, "b")], False)
        self.assertEqual(sticky.share(exchange([(b"x-user", b"7")])), split({"a": 1, "b": 1}).share(
            exchange([(b"cookie", b"user=7")])))


class ReadyTests(SynchronousTestCase):
    """Clusters that are down."""

    def test_retract(self) -> None:
        """Only the users of the one that drops out move, by weight, and they come back with it."""
        weights = {"a": 2, "b": 1, "c": 1}
        before, after = places(split(weights, retract=True)), places(split(weights, retract=True, down=frozenset("b")))
        self.assertEqual(before, places(split(weights)))
        for user in USERS:
            self.assertEqual(after[user] if before[user] != "b" else "b", before[user])
        self.assertEqual({after[user] for user in USERS if before[user] == "b"}, {"a", "c"})

    def test_without_retract(self) -> None:
        """They stay, and their requests fail: that is what the operator has said."""
        weights = {"a": 1, "b": 1}
        self.assertEqual(places(split(weights)), places(split(weights, down=frozenset("b"))))

    def test_all_down(self) -> None:
        """Everybody stays, so that requests fail as they should."""
        weights = {"a": 1, "b": 1}
        self.assertEqual(places(split(weights, retract=True)), places(split(weights, retract=True, down=frozenset("ab"))))

    def test_priorities(self) -> None:
        """The stand-by takes over as a whole when nobody of the first is ready."""
        weights, priorities = {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 2}
        self.assertEqual(set(places(split(weights, priorities=priorities)).values()), {"a", "b"})
        self.assertEqual(set(places(split(weights, priorities=priorities, down=frozenset("ab"))).values()), {"c"})


class RouteTests(SynchronousTestCase):
    """On a route."""

    EXTENSION = DestinationExtension(sticky=BY_COOKIE)

    def test_several_destinations(self) -> None:
        """`share` gives the number and `split` the destination."""
        route = build(rule(to_=to("a=1", "b=1", voltgw=self.EXTENSION))).routes[0]
        assert route.share is not None and route.split is not None and route.sticky is not None
        for user in USERS[:50]:
            exchanged = exchange([(b"cookie", b"user=" + user)])
            number = route.share(exchanged)
            self.assertIs(route.split(number), route.split(route.share(exchanged)))
            self.assertEqual(route.sticky.why(exchanged.request).outcome, f"cluster {route.split(number).cluster_name}")

    def test_one_destination(self) -> None:
        """There is nothing to choose, so nothing is asked, existing or not."""
        for clusters in (Clusters(), Clusters("c")):
            route = build(rule(to_=to("c", voltgw=self.EXTENSION)), clusters=clusters).routes[0]
            self.assertEqual((route.share, route.sticky), (None, None))

    def test_mistakes(self) -> None:
        """Weights that leave nobody are one mistake, not two."""
        error = self.assertRaises(BuildErrors, build, rule(to_=to("a=0", "b=0", voltgw=self.EXTENSION)))
        self.assertEqual([problem.place.file for problem in error.problems], ["r.yaml:routes.0.route_destination.destinations"])


class WhyTests(SynchronousTestCase):
    """What explain says."""

    def test_how_long_a_user_stays(self) -> None:
        """The weight that it names is the one at which the user moves."""
        weights = {"stable": 80, "canary": 20}
        sticky = split(weights)
        user = next(user for user, place in places(sticky).items() if place == "canary")
        reason = sticky.why(request(fields=[(b"cookie", b"user=" + user)]))
        self.assertEqual((reason.about, reason.outcome, reason.place), ("sticky by cookie user", "cluster canary", Place("r.yaml", 2)))
        need = float(reason.why.split(" is over ")[1].split(" ")[0])
        self.assertLess(need, 20)
        self.assertEqual(places(split({"stable": 80, "canary": math.floor(need)} if need >= 1 else weights))[user],
                         "stable" if need >= 1 else "canary")
        self.assertEqual(places(split({"stable": 80, "canary": math.ceil(need)}))[user], "canary")

    def test_a_request_that_says_nothing(self) -> None:
        """It is drawn."""
        self.assertIn("does not have it", split({"a": 1, "b": 1}).why(request()).why)
