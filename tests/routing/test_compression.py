"""Compression of answers (objects.md 4.5)."""

from __future__ import annotations

import gzip
import zlib
from importlib import import_module
from importlib.util import find_spec

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.routing.support import Endpoint, answer, build, exchange
from tests.routing.test_table import rule
from tests.servers import missing
from voltgw.config.objects.extensions import CompressionExtension
from voltgw.config.objects.virtual_host import CompressionType, VirtualHostSpec
from voltgw.routing.filters import encoders
from voltgw.routing.filters.compression import MEDIA_TYPES, Compression, choose, compression
from voltgw.routing.filters.encoders import encoder
from voltgw.routing.problems import BuildErrors
from voltgw.values.exchange import Exchange
from voltgw.values.head import CHUNKED, UNTIL_CLOSE, Field, ResponseHead

TEXT: Field = (b"content-type", b"text/plain; charset=utf-8")
GZIP: Field = (b"accept-encoding", b"gzip")


def made(**fields: object) -> Compression:
    """The filters of a policy with these fields."""
    filters = compression(CompressionType(**fields))  # type: ignore[arg-type]  # the caller's fields
    assert filters is not None
    return filters


def answered(response: ResponseHead, *sent: Field, filters: Compression | None = None) -> Exchange:
    """An exchange with this answer, after the filter; `sent` are the request's fields."""
    exchanged = exchange(sent or (GZIP,), response)
    exchanged.endpoint = Endpoint()
    (filters or made()).response(exchanged)
    return exchanged


def compresses(response: ResponseHead, *sent: Field, **fields: object) -> bool:
    exchanged = answered(response, *sent, filters=made(**fields))
    assert exchanged.response is not None
    coded = exchanged.response.get(b"content-encoding") == b"gzip"
    assert coded is (exchanged.transform is not None)
    return coded


class ChoiceTests(SynchronousTestCase):
    """Accept-Encoding (RFC 9110 12.5.3, objects.md 4.5)."""

    def test_gzip(self) -> None:
        """Named with a weight, or meant by ``*``; what is named counts for more; never beside ``identity``."""
        for value, wanted in (
            (b"gzip", True), (b"GZIP", True), (b"x-gzip", True), (b"gzip;q=0.001", True), (b"gzip ; q=1.000", True), (b"*", True),
            (b"deflate, gzip;q=0.5", True), (b"*;q=0,gzip;q=1", True), (b"br,*;q=0.1", True), (b"gzip;q=1.0, identity;q=0", True),
            (b"gzip;q=0", False), (b"gzip;q=0.000", False), (b"gzip;q=0,*;q=1", False), (b"*;q=0", False), (b"deflate, br", False),
            (b"", False), (b",", False), (b"gzip, identity", False), (b"identity", False), (b"identity;q=0.5,gzip", False),
            (b"gzip;q=2", False), (b"gzip;q=abc", False), (b"gzip;q=", False), (b"gzip;q=0.1234", False), (b"agzip", False),
        ):
            self.assertEqual(choose(value, (b"gzip",)), b"gzip" if wanted else None, value)

    def test_several_codings(self) -> None:
        """The client's weights decide; where it does not mind, our order."""
        ours = (b"zstd", b"br", b"gzip")
        for value, wanted in ((b"gzip, br, zstd", b"zstd"), (b"gzip, br;q=0.9", b"gzip"), (b"br;q=0.5, gzip;q=0.5", b"br"),
                              (b"*", b"zstd"), (b"*;q=0.5, gzip", b"gzip"), (b"zstd;q=0, *", b"br"), (b"deflate", None)):
            self.assertEqual(choose(value, ours), wanted, value)

    def test_values_that_are_long_or_new(self) -> None:
        """Remembered or not, the answer is the same, and any value is looked at in little time."""
        filters = made()
        for value in (b"gzip", b"gzip", b"a, " * 20000 + b"gzip", b";" * 50000 + b",gzip", b"gzip;q=0" + b", gzip" * 9000):
            wanted = choose(value, (b"gzip",))
            exchanged = answered(answer(TEXT), (b"accept-encoding", value), filters=filters)
            assert exchanged.response is not None
            self.assertEqual(exchanged.response.get(b"content-encoding"), wanted)


class ConditionTests(SynchronousTestCase):
    """What is compressed, and what is not."""

    def test_media_types(self) -> None:
        """The list of the object model, or the operator's own; parameters and case do not count."""
        for text in MEDIA_TYPES:
            self.assertTrue(compresses(answer((b"content-type", text.upper().encode() + b" ; a=b"))), text)
        for other in (b"image/png", b"text/event-stream", b"application/octet-stream", b"text", b""):
            self.assertFalse(compresses(answer((b"content-type", other))), other)
        self.assertFalse(compresses(answer()))
        own = {"content_type": ("text/csv",)}
        self.assertTrue(compresses(answer((b"content-type", b"text/csv")), **own))
        self.assertFalse(compresses(answer(TEXT), **own))

    def test_length(self) -> None:
        """30 bytes or more, or what the operator says; a chunked answer always, one that only the connection ends never."""
        for length, wanted in ((29, False), (30, True), (0, False), (CHUNKED, True), (UNTIL_CLOSE, False)):
            self.assertEqual(compresses(answer(TEXT, length=length)), wanted, length)
        for length, wanted in ((999, False), (1000, True), (CHUNKED, True)):
            self.assertEqual(compresses(answer(TEXT, length=length), content_length_bytes=1000), wanted, length)

    def test_what_is_encoded_already(self) -> None:
        """No double work; parts of an answer are parts of what they were."""
        for field in ((b"content-encoding", b"br"), (b"content-encoding", b"identity"), (b"content-range", b"bytes 0-9/10")):
            self.assertFalse(compresses(answer(TEXT, field)), field)
        self.assertFalse(compresses(answer(TEXT, status=206)))
        exchanged = exchange((GZIP,), answer(TEXT))
        exchanged.endpoint = Endpoint()
        exchanged.transform = other = encoder("gzip")(False)
        made().response(exchanged)
        self.assertIs(exchanged.transform, other)
        assert exchanged.response is not None
        self.assertIsNone(exchanged.response.get(b"content-encoding"))

    def test_no_transform(self) -> None:
        """Either side may forbid it."""
        self.assertFalse(compresses(answer(TEXT, (b"cache-control", b"public, No-Transform"))))
        self.assertTrue(compresses(answer(TEXT, (b"cache-control", b"public"))))
        self.assertFalse(compresses(answer(TEXT), GZIP, (b"cache-control", b"no-transform")))

    def test_no_accept_encoding(self) -> None:
        """A client that does not say is sent what the endpoint sent."""
        self.assertFalse(compresses(answer(TEXT), (b"a", b"b")))
        self.assertTrue(compresses(answer(TEXT), (b"accept-encoding", b"br"), (b"accept-encoding", b"gzip")))

    def test_answers_of_our_own(self) -> None:
        """A direct response is an answer like any other."""
        exchanged = exchange((GZIP,), answer(TEXT))
        made().response(exchanged)
        self.assertIsNotNone(exchanged.transform)

    def test_statuses_without_a_whole_body(self) -> None:
        """There is nothing to compress, or not all of it."""
        for status, wanted in ((200, True), (404, True), (500, True), (204, False), (206, False), (304, False)):
            self.assertEqual(compresses(answer(TEXT, status=status)), wanted, status)


class FieldTests(SynchronousTestCase):
    """What becomes of the head."""

    def fields(self, *fields: Field, **options: object) -> list[Field]:
        exchanged = answered(answer(TEXT, *fields), filters=made(**options))
        assert exchanged.response is not None
        return exchanged.response.fields[1:]

    def test_coding_and_vary(self) -> None:
        """Both are said; Vary beside what stands there."""
        self.assertEqual(self.fields(), [(b"vary", b"accept-encoding"), (b"content-encoding", b"gzip")])
        self.assertEqual(self.fields((b"vary", b"origin")), [(b"vary", b"origin, accept-encoding"), (b"content-encoding", b"gzip")])

    def test_vary_where_it_was_not_compressed(self) -> None:
        """Only the client's wish was in the way, so a cache must not give this form to others."""
        for sent, wanted in (((b"accept-encoding", b"br"), b"accept-encoding"), ((b"a", b"b"), b"accept-encoding")):
            exchanged = answered(answer(TEXT), sent)
            assert exchanged.response is not None
            self.assertEqual(exchanged.response.get(b"vary"), wanted)
        exchanged = answered(answer((b"content-type", b"image/png")))
        assert exchanged.response is not None
        self.assertIsNone(exchanged.response.get(b"vary"))

    def test_etag(self) -> None:
        """A strong one goes, a weak one stays; or answers that have one are left alone."""
        self.assertEqual(self.fields((b"etag", b'"1"'))[0][0], b"vary")
        self.assertEqual(self.fields((b"etag", b'W/"1"'))[0], (b"etag", b'W/"1"'))
        for etag in (b'"1"', b'W/"1"'):
            self.assertFalse(compresses(answer(TEXT, (b"etag", etag)), disable_on_etag_header=True))
        self.assertTrue(compresses(answer(TEXT), disable_on_etag_header=True))

    def test_what_describes_the_bytes_as_they_were(self) -> None:
        """Digests and the offer of ranges go: they speak of other bytes."""
        found = self.fields((b"accept-ranges", b"bytes"), (b"content-md5", b"x"), (b"digest", b"x"), (b"content-digest", b"x"),
                            (b"repr-digest", b"x"), (b"etag", b'W/"1"'), (b"x", b"1"))
        self.assertEqual([name for name, _ in found], [b"etag", b"x", b"vary", b"content-encoding"])


class RequestTests(SynchronousTestCase):
    """``remove_accept_encoding_header``."""

    def run_filters(self, spec: VirtualHostSpec, *sent: Field) -> Exchange:
        route = build(rule(), spec=spec).routes[0]
        exchanged = exchange(sent, answer(TEXT))
        for request_filter in route.request_filters:
            request_filter(exchanged)
        exchanged.endpoint = Endpoint()
        for response_filter in route.response_filters:
            response_filter(exchanged)
        return exchanged

    def test_it_is_not_forwarded(self) -> None:
        """The endpoint does not see it, and the answer is compressed all the same."""
        spec = VirtualHostSpec(domains=("*",), compression_params=CompressionType(remove_accept_encoding_header=True))
        exchanged = self.run_filters(spec, (b"a", b"1"), GZIP)
        self.assertEqual(exchanged.request.fields, [(b"a", b"1")])
        self.assertIsNotNone(exchanged.transform)
        self.assertIsNone(self.run_filters(spec, (b"a", b"1")).transform)

    def test_it_is_forwarded(self) -> None:
        """Unless told so, the endpoint may compress itself."""
        exchanged = self.run_filters(VirtualHostSpec(domains=("*",), compression_params=CompressionType()), GZIP)
        self.assertEqual(exchanged.request.fields, [GZIP])

    def test_an_edit_that_drops_it(self) -> None:
        """The client's wish stays known."""
        spec = VirtualHostSpec(domains=("*",), compression_params=CompressionType(), request_headers_to_remove=("Accept-Encoding",))
        exchanged = self.run_filters(spec, GZIP)
        self.assertEqual(exchanged.request.fields, [])
        self.assertIsNotNone(exchanged.transform)


class BodyTests(SynchronousTestCase):
    """The transform."""

    @settings(max_examples=50, deadline=None, derandomize=True, database=None)
    @given(st.lists(st.binary(max_size=300), max_size=8), st.booleans())
    def test_any_pieces(self, pieces: list[bytes], eager: bool) -> None:
        """What comes out is the body, whatever the pieces were."""
        transform = encoder("gzip")(eager)
        out = b"".join([*(transform.feed(piece) for piece in pieces), transform.finish()])
        self.assertEqual(gzip.decompress(out), b"".join(pieces))

    def test_a_stream(self) -> None:
        """Of an answer of unknown length every piece can be read as soon as it is here."""
        exchanged = answered(answer(TEXT, length=CHUNKED))
        assert exchanged.transform is not None
        reader = zlib.decompressobj(31)
        for piece in (b"data: 1\n", b"data: 2\n"):
            self.assertEqual(reader.decompress(exchanged.transform.feed(piece)), piece)

    def test_it_saves_something(self) -> None:
        """A page of text is smaller afterwards."""
        exchanged = answered(answer(TEXT, length=9000))
        assert exchanged.transform is not None
        self.assertLess(len(exchanged.transform.feed(b"voltgw " * 1200) + exchanged.transform.finish()), 500)

    def test_each_answer_has_its_own(self) -> None:
        """Two answers at a time do not mix."""
        filters = made()
        first, second = (answered(answer(TEXT), filters=filters).transform for _ in range(2))
        assert first is not None and second is not None
        one, other = first.feed(b"a" * 99), second.feed(b"b" * 99)
        self.assertEqual(gzip.decompress(one + first.finish()), b"a" * 99)
        self.assertEqual(gzip.decompress(other + second.finish()), b"b" * 99)


class ExtraTests(SynchronousTestCase):
    """Brotli and Zstandard, the extra ``compress``."""

    def check(self, package: str, coding: str) -> None:
        if find_spec(package) is None:
            raise missing(f"{package} is not installed")
        expand = import_module(package).decompress
        for eager in (False, True):
            transform = encoder(coding)(eager)
            out = transform.feed(b"one ") + transform.feed(b"") + transform.feed(b"two " * 500) + transform.finish()
            read = expand(out) if coding == "br" else import_module(package).ZstdDecompressor().decompressobj().decompress(out)
            self.assertEqual(read, b"one " + b"two " * 500)
        transform = encoder(coding)(True)
        self.assertTrue(transform.feed(b"a first line\n"))
        filters = made(voltgw=CompressionExtension(encodings=(coding, "gzip")))
        for accept, wanted in ((b"gzip, br, zstd", coding.encode()), (b"gzip", b"gzip"), (b"*", coding.encode())):
            exchanged = answered(answer(TEXT), (b"accept-encoding", accept), filters=filters)
            assert exchanged.response is not None
            self.assertEqual(exchanged.response.get(b"content-encoding"), wanted)

    def test_brotli(self) -> None:
        """What it makes can be read again, in order of preference."""
        self.check("brotli", "br")

    def test_zstandard(self) -> None:
        """The same."""
        self.check("zstandard", "zstd")

    def test_what_is_not_installed(self) -> None:
        """It is said where it is asked for, with what to install."""
        self.patch(encoders, "_ENCODERS", {**encoders._ENCODERS, "br": (encoders.Brotli, None, "brotli")})
        spec = VirtualHostSpec(domains=("*",), compression_params=CompressionType(
            voltgw=CompressionExtension(encodings=("gzip", "br"))))
        error = self.assertRaises(BuildErrors, build, rule(), rule(), spec=spec)
        self.assertEqual([problem.message for problem in error.problems],
                         ["br needs the package brotli, which is not installed (pip install 'voltgw[compress]')"])

    def test_gzip_needs_nothing(self) -> None:
        """It is all there is without the extra."""
        exchanged = answered(answer(TEXT), (b"accept-encoding", b"br, zstd, gzip;q=0.1"))
        assert exchanged.response is not None
        self.assertEqual(exchanged.response.get(b"content-encoding"), b"gzip")
