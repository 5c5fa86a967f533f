"""Cookies: found in requests, and edited in requests and responses (objects.md 3.5)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import answer, exchange, request
from voltgw.config.objects.headers import CookieValueOption, SetCookieValueOption
from voltgw.config.objects.secrets import ClearSecretInfoType, SecretType
from voltgw.config.values import Secret
from voltgw.routing.cookies import cookie_reader, cookie_values
from voltgw.routing.filters.cookies import RequestLevel, request_cookies, response_cookies
from voltgw.routing.problems import ProblemError


class ReaderTests(SynchronousTestCase):
    """Cookies by name."""

    def test_where_a_cookie_may_stand(self) -> None:
        """First, last, between others, in a second field, with or without space; never as part of another one."""
        read = cookie_reader("user")
        for line, wanted in ((b"user=1", b"1"), (b"a=b; user=1", b"1"), (b"a=b;user=1;c=d", b"1"), (b"user= 1 ; a=b", b"1"),
                             (b"user=", b""), (b"auser=1", None), (b"users=1", None), (b"a=user=1", None), (b"USER=1", None),
                             (b"user", None), (b"", None), (b'user="1"', b'"1"'), (b"user=a=b", b"a=b"), (b"\tuser=1", b"1")):
            self.assertEqual(read(request(fields=[(b"cookie", line)])), wanted, line)
        self.assertIsNone(read(request(fields=[(b"set-cookie", b"user=1")])))
        self.assertEqual(read(request(fields=[(b"cookie", b"a=b"), (b"cookie", b"user=2"), (b"cookie", b"user=3")])), b"2")

    def test_all_values(self) -> None:
        """Of one name, in order."""
        values = cookie_values("a.b")
        self.assertEqual(values(request(fields=[(b"cookie", b"a.b=1; axb=2; a.b=3"), (b"cookie", b"a.b=4")])), [b"1", b"3", b"4"])
        self.assertEqual(values(request()), [])

    def test_time(self) -> None:
        """The largest head there can be takes no long time, whatever it holds."""
        for line in (b"user=" + b" " * 60000 + b"x", b"; " * 30000, b";user" * 12000, b" " * 60000, b"user=x " * 8000):
            began = time.perf_counter()
            cookie_reader("user")(request(fields=[(b"cookie", line)]))
            cookie_values("user")(request(fields=[(b"cookie", line)]))
            sent([line], ([plus("user", "1", True), plus("a", "2")], ["b"]))
            answered([line], setting("user", "1", overwrite=True, add_secure=True))
            self.assertLess(time.perf_counter() - began, 0.2)


def plus(name: str, value: str | None, overwrite: bool = False) -> CookieValueOption:
    return CookieValueOption(name=name, value=value, overwrite=overwrite)


def sent(lines: Sequence[bytes], *levels: RequestLevel) -> list[bytes]:
    """The Cookie fields after the edits."""
    exchanged = exchange([(b"x", b"1"), *((b"cookie", line) for line in lines)])
    for edit in request_cookies(*levels):
        edit(exchanged)
    return [value for name, value in exchanged.request.fields if name == b"cookie"]


#: The model's order, edit by edit, on a list of (name, value).
def naive(have: Sequence[tuple[str, str]], levels: Sequence[RequestLevel]) -> list[tuple[str, str]]:
    result = list(have)
    for additions, removals in levels:
        for option in additions:
            if option.overwrite:
                result = [pair for pair in result if pair[0] != option.name]
            if option.overwrite or all(pair[0] != option.name for pair in result):
                result.append((option.name, option.value or ""))
        result = [pair for pair in result if pair[0] not in removals]
    return result


_NAMES = st.sampled_from(["a", "b", "c"])
_LEVELS = st.lists(st.tuples(
    st.lists(st.builds(plus, _NAMES, st.sampled_from(["1", "2"]), st.booleans()), max_size=3),
    st.lists(_NAMES, max_size=2)), max_size=2)


class RequestTests(SynchronousTestCase):
    """Cookies of requests."""

    def test_nothing_to_do(self) -> None:
        """Without edits there is no filter."""
        self.assertEqual(request_cookies(((), ()), ((), ())), ())
        self.assertEqual(response_cookies(((), ()), ((), ())), ())

    def test_adding(self) -> None:
        """Where the client sent one of that name it is left alone, unless the edit overwrites it."""
        self.assertEqual(sent([], ([plus("a", "1")], ())), [b"a=1"])
        self.assertEqual(sent([b"b=2"], ([plus("a", "1")], ())), [b"b=2; a=1"])
        self.assertEqual(sent([b"a=0; b=2"], ([plus("a", "1")], ())), [b"a=0; b=2"])
        self.assertEqual(sent([b"a=0; b=2; a=3"], ([plus("a", "1", True)], ())), [b"b=2; a=1"])

    def test_removing(self) -> None:
        """Every cookie of that name goes, and the field with the last one."""
        self.assertEqual(sent([b"a=0; b=2;a=1"], ((), ["a"])), [b"b=2"])
        self.assertEqual(sent([b"a=0"], ((), ["a"])), [])
        self.assertEqual(sent([b"ab=0; a b=1; a"], ((), ["a"])), [b"ab=0; a b=1; a"])
        self.assertEqual(sent([b"a=0", b"b=1; a = 2"], ((), ["a"])), [b"b=1"])

    def test_other_fields_stay(self) -> None:
        """The list of fields is the same one, and holds what it held, in its order."""
        exchanged = exchange([(b"x", b"1"), (b"cookie", b"a=0"), (b"y", b"2")])
        kept = exchanged.request.fields
        for edit in request_cookies(([plus("b", "1")], ["a"])):
            edit(exchanged)
        self.assertIs(exchanged.request.fields, kept)
        self.assertEqual(kept, [(b"x", b"1"), (b"cookie", b"b=1"), (b"y", b"2")])

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.tuples(_NAMES, st.sampled_from(["8", "9"])), max_size=4), _LEVELS)
    def test_any_edits(self, have: list[tuple[str, str]], levels: list[RequestLevel]) -> None:
        """One pass leaves the cookies that the edits leave one after the other."""
        lines = [b"; ".join(f"{name}={value}".encode() for name, value in have)] if have else []
        found = sent(lines, *levels)
        pairs = [tuple(pair.decode().split("=")) for line in found for pair in line.split(b"; ")]
        self.assertEqual(sorted(pairs), sorted(naive(have, levels)))
        self.assertLess(len(found), 2)

    def test_variables_stay_one_cookie(self) -> None:
        """A path with a semicolon cannot smuggle in a cookie."""
        exchanged = exchange(target=b"/a;admin=1,%22")
        for edit in request_cookies(([plus("from", "%PATH%")], ())):
            edit(exchanged)
        self.assertEqual(exchanged.request.fields, [(b"cookie", b"from=/a%3Badmin=1%2C%22")])

    def test_secrets(self) -> None:
        """A value may be a secret in the clear."""
        secret = SecretType(clear_secret_info=ClearSecretInfoType(url=Secret(b"s3\n")))
        self.assertEqual(sent([], ([CookieValueOption(name="k", secret_value=secret)], ())), [b"k=s3"])

    def test_refused(self) -> None:
        """What would be two cookies, or none, with the way to it."""
        for name, value, path in (("a;b", "1", ("name",)), ("a b", "1", ("name",)), ("a=", "1", ("name",)), ("ü", "1", ("name",)),
                                  ("a", "1; b=2", ("value",)), ("a", "1\r\nb", ("value",)), ("a", "%NOBODY%", ("value",))):
            error = self.assertRaises(ProblemError, request_cookies, ([plus("x", "1"), plus(name, value)], ()))
            self.assertEqual(error.path, ("request_cookies_to_add", 1, *path), name)
        error = self.assertRaises(ProblemError, response_cookies, ((), ["ok", "a b"]))
        self.assertEqual(error.path, ("response_cookies_to_remove", 1))


def setting(name: str, value: str | None = None, **fields: object) -> SetCookieValueOption:
    return SetCookieValueOption(name=name, value=value, **fields)  # type: ignore[arg-type]  # the caller's fields


def answered(lines: Sequence[bytes], *options: SetCookieValueOption, remove: Sequence[str] = ()) -> list[bytes]:
    """The Set-Cookie values after the edits of one level."""
    exchanged = exchange(response=answer((b"x", b"1"), *((b"set-cookie", line) for line in lines)))
    for edit in response_cookies((options, remove)):
        edit(exchanged)
    assert exchanged.response is not None
    return [value for name, value in exchanged.response.fields if name == b"set-cookie"]


class ResponseTests(SynchronousTestCase):
    """Cookies of responses."""

    def test_every_attribute(self) -> None:
        """As RFC 6265 writes them; each option is one."""
        option = setting("a", "1", add_domain="shop.example", add_path="/p", add_expiry="Wed, 21 Oct 2037 07:28:00 GMT",
                         max_age_value_s=3600.0, add_secure=True, add_httponly=True, add_partitioned=True, samesite_lax=True)
        wanted = (b"a=1; Domain=shop.example; Path=/p; Expires=Wed, 21 Oct 2037 07:28:00 GMT; Max-Age=3600; Secure; HttpOnly; "
                  b"Partitioned; SameSite=Lax")
        self.assertEqual(answered([], option), [wanted])
        for field, wanted in (("samesite_strict", b"Strict"), ("samesite_none", b"None")):
            self.assertEqual(answered([], setting("a", "1", **{field: True})), [b"a=1; SameSite=" + wanted])
        self.assertEqual(answered([], setting("a", "1", max_age_value_s=0.0)), [b"a=1; Max-Age=0"])
        ignored = {f"ignore_{name}": True for name in (
            "domain", "expiry", "httponly", "max_age", "partitioned", "path", "samesite", "secure")}
        self.assertEqual(answered([], setting("a", "1", **ignored)), [b"a=1"])

    def test_one_field_each(self) -> None:
        """Set-Cookie fields are never joined (RFC 6265 3)."""
        self.assertEqual(answered([b"o=1, 2; Path=/"], setting("a", "1"), setting("b", "2")), [b"o=1, 2; Path=/", b"a=1", b"b=2"])

    def test_one_that_the_origin_sets(self) -> None:
        """It stays, unless the edit overwrites it; then what is not said stays as the origin has it."""
        origin = b"a=0; path=/x; Secure; Max-Age=5"
        self.assertEqual(answered([origin], setting("a", "1", add_path="/y")), [origin])
        self.assertEqual(answered([origin], setting("a", "1", add_path="/y", overwrite=True)),
                         [b"a=1; Secure; Max-Age=5; Path=/y"])
        self.assertEqual(answered([origin, b"b=1"], setting("a", None, ignore_value=True, max_age_value_s=9.0, overwrite=True)),
                         [b"a=0; path=/x; Secure; Max-Age=9", b"b=1"])
        self.assertEqual(answered([b"a = 0 ; SECURE ;max-age=5; Securely"], setting(
            "a", "1", add_secure=True, max_age_value_s=1.0, overwrite=True)), [b"a=1; Securely; Max-Age=1; Secure"])
        self.assertEqual(answered([b"A=0"], setting("a", "1", overwrite=True)), [b"A=0", b"a=1"])

    def test_without_a_value_nothing_is_set(self) -> None:
        """An edit that ignores the value changes a cookie of the origin, and makes none."""
        self.assertEqual(answered([b"b=1"], setting("a", None, ignore_value=True, add_secure=True)), [b"b=1"])

    def test_removing(self) -> None:
        """The whole field goes; after adding, and the host's after the route's."""
        self.assertEqual(answered([b"a=1; Path=/", b"b=2", b"a=3"], remove=["a"]), [b"b=2"])
        self.assertEqual(answered([], setting("a", "1"), setting("b", "2"), remove=["a"]), [b"b=2"])
        exchanged = exchange(response=answer())
        for edit in response_cookies(([setting("a", "route")], ()), ([setting("a", "host"), setting("b", "host")], ["b"])):
            edit(exchanged)
        assert exchanged.response is not None
        self.assertEqual(exchanged.response.fields, [(b"set-cookie", b"a=route")])

    def test_variables(self) -> None:
        """Values may have them."""
        exchanged = exchange(response=answer((b"set-cookie", b"o=1")), id_=b"id-7")
        for edit in response_cookies(([setting("seen", "%REQUEST_ID%", add_path="/")], ())):
            edit(exchanged)
        assert exchanged.response is not None
        self.assertEqual(exchanged.response.fields, [(b"set-cookie", b"o=1"), (b"set-cookie", b"seen=id-7; Path=/")])

    def test_refused(self) -> None:
        """Attributes that would end early."""
        for field in ("add_path", "add_domain", "add_expiry"):
            error = self.assertRaises(ProblemError, response_cookies, ([setting("a", "1", **{field: "/; Secure"})], ()))
            self.assertEqual(error.path, ("response_cookies_to_add", 0, field))
