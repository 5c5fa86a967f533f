"""``%NAME%`` in the values of edits."""

from __future__ import annotations

import base64

from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import Endpoint, answer, build, exchange
from tests.routing.test_table import rule, to
from voltgw.config.objects.headers import HeaderManipulationOptionType
from voltgw.config.objects.secrets import ClearSecretInfoType, SecretEncodingType, SecretType
from voltgw.config.values import Secret
from voltgw.routing.filters.headers import Level, request_edits, response_edits
from voltgw.routing.filters.variables import VARIABLES, compile_value
from voltgw.routing.problems import BuildErrors, ProblemError
from voltgw.values.exchange import Exchange


def value(text: str, exchanged: Exchange | None = None) -> bytes:
    """What `text` comes to, in a response."""
    compiled = compile_value(text, None, response=True)
    return compiled if isinstance(compiled, bytes) else compiled(exchanged or ready())


def ready() -> Exchange:
    """An exchange of a route with one destination, answered by an endpoint."""
    exchanged = exchange([(b"x-user", b"bob")], answer(status=201), id_=b"abc-1", method=b"PUT", target=b"/a/../b?q=1", port=81)
    exchanged.route = build(rule(to_=to("c"))).routes[0]
    exchanged.endpoint = Endpoint()
    exchanged.attempts = 2
    client = exchanged.client
    client.sni, client.tls_version, client.tls_cipher = "shop.example", "TLSv1.3", "TLS_AES_128_GCM_SHA256"
    exchanged.client_address = "203.0.113.5"
    return exchanged


def add(name: str, text: str, append: bool = False) -> HeaderManipulationOptionType:
    return HeaderManipulationOptionType(name=name, value=text, append=append)


def level(*options: HeaderManipulationOptionType, remove: tuple[str, ...] = ()) -> Level:
    return options, remove, "add", "remove"


class ValueTests(SynchronousTestCase):
    """What each variable stands for."""

    def test_every_variable(self) -> None:
        """All that are documented, each with what it says of one exchange."""
        wanted = {
            "CLIENT_ADDRESS": b"203.0.113.5", "PEER_ADDRESS": b"192.0.2.7", "PEER_PORT": b"40000", "LOCAL_ADDRESS": b"192.0.2.1",
            "LOCAL_PORT": b"8080", "SCHEME": b"http", "PROTOCOL": b"HTTP/1.1", "METHOD": b"PUT", "HOST": b"shop.example:81",
            "PATH": b"/b", "QUERY": b"q=1", "REQUEST_ID": b"abc-1", "START_TIME": b"2027-01-15T08:00:00.125Z",
            "SNI": b"shop.example", "TLS_VERSION": b"TLSv1.3", "TLS_CIPHER": b"TLS_AES_128_GCM_SHA256",
            "VIRTUAL_HOST": b"default/shop", "ROUTE": b"r/0", "CLUSTER": b"default/c", "ENDPOINT": b"192.0.2.80:9000",
            "STATUS": b"201", "ATTEMPTS": b"2", "DURATION": b"125",
        }
        self.assertEqual([variable.name for variable in VARIABLES], list(wanted))
        for variable in VARIABLES:
            for name in (variable.name, *variable.aliases):
                self.assertEqual(value(f"%{name}%"), wanted[variable.name], name)

    def test_text_around_and_several(self) -> None:
        """Variables stand anywhere in a value."""
        self.assertEqual(value("<%METHOD%>"), b"<PUT>")
        self.assertEqual(value("%METHOD% %PATH%%QUERY%"), b"PUT /bq=1")
        self.assertEqual(value("%REQ(X-User)%@%REQ(x-nobody)%"), b"bob@")

    def test_percent_signs(self) -> None:
        """``%%`` is one; what begins no name is itself, percent-encoded text too."""
        for text, wanted in (("100%", b"100%"), ("100%%", b"100%"), ("%%METHOD%%", b"%METHOD%"), ("%2F%20a", b"%2F%20a"),
                             ("%AB%CD%", b"%AB%CD%"), ("50% of %METHOD%", b"50% of PUT"), ("%%%METHOD%%%", b"%PUT%"), ("%", b"%"),
                             ("%method%", b"%method%"), ("%s %b %d", b"%s %b %d")):
            self.assertEqual(value(text), wanted, text)

    def test_what_is_not_known_is_empty(self) -> None:
        """A request that is answered here has no endpoint; a split route has no one cluster before it is answered."""
        exchanged = exchange(response=answer())
        exchanged.route = build(rule(to_=to("a", "b"))).routes[0]
        self.assertEqual([value(text, exchanged) for text in ("%ENDPOINT%", "%CLUSTER%", "%SNI%", "%QUERY%")], [b""] * 4)

    def test_protocols(self) -> None:
        """As the client speaks it."""
        exchanged = exchange(response=answer())
        for minor, wanted in ((0, b"HTTP/1.0"), (1, b"HTTP/1.1"), (2, b"HTTP/2")):
            exchanged.request.minor = minor
            self.assertEqual(value("%PROTOCOL%", exchanged), wanted)

    def test_a_name_from_outside_that_could_split_a_message(self) -> None:
        """Nothing of it is sent."""
        exchanged = ready()
        exchanged.client.sni = "a\r\nx: y"
        self.assertEqual(value("%SNI%", exchanged), b"")

    def test_mistakes(self) -> None:
        """Names that do not exist, with what may have been meant; what requests cannot have; fields that are none."""
        error = self.assertRaises(ProblemError, compile_value, "%CLIENT_ADRESS%", None, response=False)
        self.assertEqual((error.path, error.message), (("value",), "there is no variable %CLIENT_ADRESS%"))
        self.assertIn("did you mean %CLIENT_ADDRESS%?", error.hint)
        for text in ("%ENDPOINT%", "%STATUS%", "%ATTEMPTS%", "%DURATION%", "%UPSTREAM_HOST%"):
            self.assertRaises(ProblemError, compile_value, text, None, response=False)
            compile_value(text, None, response=True)
        for text in ("%REQ(a b)%", "%REQ()%", "%METHOD(x)%", "%REQ%"):
            self.assertRaises(ProblemError, compile_value, text, None, response=True)


class SecretTests(SynchronousTestCase):
    """Values from secrets."""

    def clear(self, data: bytes, encoding: SecretEncodingType = SecretEncodingType.NONE) -> SecretType:
        return SecretType(clear_secret_info=ClearSecretInfoType(url=Secret(data)), secret_encoding_type=encoding)

    def test_in_the_clear(self) -> None:
        """The secret without the line end of its file; it has no variables."""
        self.assertEqual(compile_value(None, self.clear(b"Bearer x%METHOD%\n"), response=False), b"Bearer x%METHOD%")
        self.assertEqual(compile_value(None, self.clear(base64.b64encode(b"key"), SecretEncodingType.BASE64), response=False), b"key")

    def test_what_cannot_be_sent(self) -> None:
        """Two lines are no value, and what cannot be opened is not sent empty."""
        for secret in (self.clear(b"a\nb"), self.clear(b"?", SecretEncodingType.BASE64), SecretType()):
            error = self.assertRaises(ProblemError, compile_value, None, secret, response=False)
            self.assertEqual(error.path, ("secret_value",))


class EditTests(SynchronousTestCase):
    """Edits whose values have variables."""

    def test_requests(self) -> None:
        """They come in their order, among those that have none."""
        exchanged = exchange([(b"a", b"1"), (b"b", b"2")], target=b"/p")
        kept = exchanged.request.fields
        (edit,) = request_edits(level(add("a", "x"), add("c", "%PATH%"), add("d", "y"), add("c", "%METHOD%", True)))
        edit(exchanged)
        self.assertEqual(kept, [(b"b", b"2"), (b"a", b"x"), (b"c", b"/p"), (b"d", b"y"), (b"c", b"GET")])

    def test_a_value_that_comes_out_empty(self) -> None:
        """It is not sent; one that is written empty is."""
        exchanged = exchange([(b"a", b"1")])
        for edit in request_edits(level(add("a", "%SNI%"), add("b", ""), add("c", "%QUERY%"))):
            edit(exchanged)
        self.assertEqual(exchanged.request.fields, [(b"b", b"")])

    def test_a_field_that_an_edit_replaces(self) -> None:
        """Its value still says what the client sent."""
        exchanged = exchange([(b"x", b"1")])
        for edit in request_edits(level(add("x", "<%REQ(x)%>"))):
            edit(exchanged)
        self.assertEqual(exchanged.request.fields, [(b"x", b"<1>")])

    def test_responses(self) -> None:
        """The same for them, Server and Date included."""
        exchanged = ready()
        assert exchanged.response is not None
        exchanged.response.server = b"nginx"
        exchanged.response.fields = [(b"a", b"1")]
        for edit in response_edits(level(add("a", "%ENDPOINT%"), add("server", "%PROTOCOL%"), add("date", "%START_TIME%"))):
            edit(exchanged)
        self.assertEqual(exchanged.response.fields, [(b"a", b"192.0.2.80:9000"), (b"date", b"2027-01-15T08:00:00.125Z")])
        self.assertEqual((exchanged.response.server, exchanged.response.dated), (b"HTTP/1.1", True))

    def test_plain_edits_pay_nothing(self) -> None:
        """Without variables the very fields that were built are added."""
        (edit,) = request_edits(level(add("a", "x")))
        first, second = exchange(), exchange()
        edit(first)
        edit(second)
        self.assertIs(first.request.fields[0], second.request.fields[0])

    def test_places(self) -> None:
        """A mistake is shown where it stands."""
        error = self.assertRaises(BuildErrors, build, rule(request_headers_to_add=(add("a", "x"), add("b", "%STATUS%"))))
        self.assertEqual([problem.place.file for problem in error.problems], ["r.yaml:routes.0.request_headers_to_add.1.value"])

    def test_what_responses_need_is_set_aside(self) -> None:
        """Fields that filters of responses ask for stay known when edits drop them."""
        exchanged = exchange([(b"origin", b"https://a"), (b"x", b"1")])
        for edit in request_edits(level(remove=("origin", "x")), keep=frozenset((b"origin",))):
            edit(exchanged)
        self.assertEqual((exchanged.request.fields, exchanged.request.connection), ([], [(b"origin", b"https://a")]))
