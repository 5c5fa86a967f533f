"""Header edits (objects.md 3.5, 22.11)."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import exchange
from voltgw.config.objects.headers import HeaderManipulationOptionType
from voltgw.config.objects.secrets import SecretType
from voltgw.routing.filters.headers import Level, request_edits, response_edits
from voltgw.routing.problems import ProblemError
from voltgw.values.head import Field, ResponseHead

NONE: Level = ((), (), "add", "remove")


def add(name: str, value: str, append: bool = False) -> HeaderManipulationOptionType:
    return HeaderManipulationOptionType(name=name, value=value, append=append)


def level(*options: HeaderManipulationOptionType, remove: Sequence[str] = ()) -> Level:
    return options, remove, "add", "remove"


def edited(fields: Sequence[Field], *levels: Level) -> list[Field]:
    """The request's fields after the filter."""
    exchanged = exchange(fields)
    kept = exchanged.request.fields
    for edit in request_edits(*levels):
        edit(exchanged)
    assert exchanged.request.fields is kept     # whoever holds the list sees the edits
    return exchanged.request.fields


def response(fields: Sequence[Field] = (), server: bytes | None = None, dated: bool = False) -> ResponseHead:
    head = ResponseHead(200, b"OK", 1, list(fields), 0, True)
    head.server = server
    head.dated = dated
    return head


def answered(head: ResponseHead, *levels: Level) -> ResponseHead:
    for edit in response_edits(*levels):
        edit(exchange(response=head))
    return head


#: The model's order, edit by edit, to compare with.
def naive(fields: Sequence[Field], levels: Sequence[Level]) -> list[Field]:
    result = list(fields)
    for options, removed, _, _ in levels:
        for option in options:
            name = option.name.lower().encode()
            if not option.append:
                result = [field for field in result if field[0] != name]
            result.append((name, (option.value or "").encode()))
        for text in removed:
            result = [field for field in result if field[0] != text.lower().encode()]
    return result


_NAMES = st.sampled_from(["A", "b", "C"])
_LEVELS = st.lists(st.tuples(
    st.lists(st.builds(add, _NAMES, st.sampled_from(["1", "2"]), st.booleans()), max_size=3),
    st.lists(_NAMES, max_size=2), st.just("add"), st.just("remove")), max_size=2)


class RequestEditTests(SynchronousTestCase):
    """Edits of requests."""

    def test_nothing_to_do(self) -> None:
        """Without edits there is no filter at all."""
        self.assertEqual(request_edits(NONE, NONE), ())
        self.assertEqual(response_edits(NONE, NONE), ())

    def test_one_filter(self) -> None:
        """All edits of a route and its host together are one filter."""
        self.assertEqual(len(request_edits(level(add("a", "1"), remove=["b"]), level(add("c", "2"), remove=["d"]))), 1)

    def test_replace_and_append(self) -> None:
        """Replace takes the place of all values; append adds one beside them; both add what is not there."""
        have = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
        self.assertEqual(edited(have, level(add("A", "x"))), [(b"b", b"2"), (b"a", b"x")])
        self.assertEqual(edited(have, level(add("A", "x", True))), [*have, (b"a", b"x")])
        self.assertEqual(edited([], level(add("a", "x"), add("a", "y", True))), [(b"a", b"x"), (b"a", b"y")])

    def test_order(self) -> None:
        """The route's edits come first, then the host's; in each, removing comes after adding."""
        self.assertEqual(edited([], level(add("a", "route")), level(add("a", "host"))), [(b"a", b"host")])
        self.assertEqual(edited([], level(add("a", "route")), level(add("a", "host", True))),
                         [(b"a", b"route"), (b"a", b"host")])
        self.assertEqual(edited([(b"a", b"1")], level(add("a", "x"), remove=["a"])), [])
        self.assertEqual(edited([(b"a", b"1")], level(remove=["a"]), level(add("a", "x", True))), [(b"a", b"x")])
        self.assertEqual(edited([], level(add("a", "x")), level(remove=["A"])), [])

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.sampled_from([b"1", b"9"])), max_size=5), _LEVELS)
    def test_any_edits(self, fields: list[Field], levels: list[Level]) -> None:
        """One pass does what the edits do one after the other."""
        self.assertEqual(edited(fields, *levels), naive(fields, levels))

    def test_values(self) -> None:
        """A value is sent as UTF-8, without the space around it."""
        self.assertEqual(edited([], level(add("a", "  ü\t "))), [(b"a", "ü".encode())])
        self.assertEqual(edited([], level(HeaderManipulationOptionType(name="a"))), [(b"a", b"")])

    def test_refused(self) -> None:
        """What could split a message, frame it, or belong to one connection is refused, with the way to it."""
        for value in ("a\r\nb: c", "a\nb", "a\rb", "a\x00b", "\x7f"):
            error = self.assertRaises(ProblemError, request_edits, level(add("b", "1"), add("a", value)))
            self.assertEqual(error.path, ("add", 1, "value"))
        for name in ("Connection", "Content-Length", "Transfer-Encoding", "Host", "TE", "Trailer", "Upgrade", "Keep-Alive",
                     "Proxy-Connection", "Expect", "a b", "a:", "", "a\r\nb", ":path", "ü"):
            for edits in (level(add(name, "1")), level(remove=[name])):
                for build in (request_edits, response_edits):
                    error = self.assertRaises(ProblemError, build, edits)
                    self.assertIn(error.path, (("add", 0, "name"), ("remove", 0)))

    def test_secret_value(self) -> None:
        """A value that we cannot open is refused rather than sent empty."""
        option = HeaderManipulationOptionType(name="a", secret_value=SecretType())
        error = self.assertRaises(ProblemError, request_edits, level(option))
        self.assertEqual(error.path, ("add", 0, "secret_value"))


class ResponseEditTests(SynchronousTestCase):
    """Edits of responses."""

    def test_fields(self) -> None:
        """They act like those of requests."""
        head = answered(response([(b"a", b"1"), (b"b", b"2")]), level(add("a", "x"), remove=["b"]), level(add("c", "3", True)))
        self.assertEqual(head.fields, [(b"a", b"x"), (b"c", b"3")])

    def test_server(self) -> None:
        """Server is set aside in a response: an edit changes what stands there, and never makes two of it."""
        self.assertIsNone(answered(response(server=b"nginx"), level(remove=["Server"])).server)
        head = answered(response(server=b"nginx"), level(add("server", "x")))
        self.assertEqual((head.server, head.fields), (b"x", []))
        self.assertEqual(answered(response(server=b"nginx"), level(add("server", "x", True))).server, b"nginx")
        self.assertEqual(answered(response(), level(add("server", "x", True))).server, b"x")
        head = answered(response([(b"a", b"1")], server=b"nginx"), level(add("a", "2"), remove=["server"]))
        self.assertEqual((head.server, head.fields), (None, [(b"a", b"2")]))

    def test_date(self) -> None:
        """Whether there is a Date is known after the edits, so that a missing one is added."""
        date = (b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")
        self.assertFalse(answered(response([date], dated=True), level(remove=["date"])).dated)
        self.assertTrue(answered(response(), level(add("date", "x"))).dated)
        self.assertTrue(answered(response([date], dated=True), level(add("a", "1"))).dated)
