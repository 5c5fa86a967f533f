"""Request heads: what is accepted and what it becomes, what is refused and with which status (RFC 9112 2 to 6)."""

from __future__ import annotations

import h11
from twisted.trial.unittest import SynchronousTestCase

from tests.wire.heads import ENDS, forget_lines, h11_request, request, status_of, with_lines
from voltgw.errors import BadRequest
from voltgw.values.defaults import MAX_REQUEST_FIELDS
from voltgw.values.head import CHUNKED, RequestHead
from voltgw.wire import http1
from voltgw.wire.authority import known_authorities
from voltgw.wire.http1 import RequestParser, bad_start, parse_request

#: Two ways to say where a body ends, or a way that two parsers could read differently. 0 = accepted.
FRAMING = {
    # CL.TE and TE.CL: Content-Length beside Transfer-Encoding, either order
    "CL then TE": ([b"Content-Length: 6", b"Transfer-Encoding: chunked"], 400),
    "TE then CL": ([b"Transfer-Encoding: chunked", b"Content-Length: 6"], 400),
    "TE beside CL 0": ([b"Transfer-Encoding: chunked", b"Content-Length: 0"], 400),
    # TE.TE: anything that is not one plain `chunked`
    "chunked": ([b"Transfer-Encoding: chunked"], 0),
    "chunked in capitals": ([b"Transfer-Encoding: CHUNKED"], 0),
    "chunked with spaces around": ([b"Transfer-Encoding: \t chunked \t"], 0),
    "chunked twice in one line": ([b"Transfer-Encoding: chunked, chunked"], 501),
    "chunked on two lines": ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], 400),
    "chunked then identity": ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"], 400),
    "identity then chunked": ([b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"], 400),
    "identity": ([b"Transfer-Encoding: identity"], 400),
    "chunked, identity": ([b"Transfer-Encoding: chunked, identity"], 400),
    "gzip, chunked": ([b"Transfer-Encoding: gzip, chunked"], 501),
    "gzip alone": ([b"Transfer-Encoding: gzip"], 400),
    "xchunked": ([b"Transfer-Encoding: xchunked"], 400),
    "chunked with an x behind": ([b"Transfer-Encoding: chunkedx"], 400),
    "chunked in quotes": ([b'Transfer-Encoding: "chunked"'], 400),
    "chunked in single quotes": ([b"Transfer-Encoding: 'chunked'"], 400),
    "chunked with a parameter": ([b"Transfer-Encoding: chunked;q=1"], 400),
    "chunked behind a comma": ([b"Transfer-Encoding: ,chunked"], 400),
    "chunked before a comma": ([b"Transfer-Encoding: chunked,"], 400),
    "an empty Transfer-Encoding": ([b"Transfer-Encoding:"], 400),
    "chunked behind VT": ([b"Transfer-Encoding: \x0bchunked"], 400),
    "chunked behind FF": ([b"Transfer-Encoding: \x0cchunked"], 400),
    "chunked behind NEL": ([b"Transfer-Encoding: \x85chunked"], 400),
    "chunked behind NBSP": ([b"Transfer-Encoding: \xa0chunked"], 400),
    "chunked before NUL": ([b"Transfer-Encoding: chunked\0"], 400),
    "chunked on a folded line": ([b"Transfer-Encoding:", b" chunked"], 400),
    "Transfer-Encoding with a space before the colon": ([b"Transfer-Encoding : chunked"], 400),
    "Transfer-Encoding behind a space": ([b" Transfer-Encoding: chunked"], 400),
    "Transfer-Encoding behind VT": ([b"\x0bTransfer-Encoding: chunked"], 400),
    "Transfer-Encoding behind a line that ends with LF": ([b"X: y\nTransfer-Encoding: chunked"], 400),
    "Transfer-Encoding behind a line that ends with CR": ([b"X: y\rTransfer-Encoding: chunked"], 400),
    "the ligature": ([b"Transfer-Encod\xefng: chunked"], 400),
    # Content-Length
    "a plain length": ([b"Content-Length: 6"], 0),
    "leading zeros": ([b"Content-Length: 006"], 0),
    "the same length twice": ([b"Content-Length: 6", b"Content-Length: 6"], 400),
    "two lengths": ([b"Content-Length: 6", b"Content-Length: 7"], 400),
    "two lengths in one line": ([b"Content-Length: 6, 7"], 400),
    "the same length twice in one line": ([b"Content-Length: 6, 6"], 400),
    "a plus sign": ([b"Content-Length: +6"], 400),
    "a minus sign": ([b"Content-Length: -6"], 400),
    "hexadecimal": ([b"Content-Length: 0x6"], 400),
    "an underscore": ([b"Content-Length: 1_0"], 400),
    "a space inside": ([b"Content-Length: 1 0"], 400),
    "a fraction": ([b"Content-Length: 6.0"], 400),
    "an exponent": ([b"Content-Length: 1e1"], 400),
    "an empty length": ([b"Content-Length:"], 400),
    "an Arabic digit": ([b"Content-Length: \xd9\xa6"], 400),
    "a superscript digit in Latin-1": ([b"Content-Length: \xb2"], 400),
    "nineteen digits": ([b"Content-Length: 1000000000000000000"], 400),
    "2**64 + 6": ([b"Content-Length: 18446744073709551622"], 400),
    "Content-Length with a space before the colon": ([b"Content-Length : 6"], 400),
    "Content-Length with a tab before the colon": ([b"Content-Length\t: 6"], 400),
}

#: Whole heads that are wrong as such.
HEADS = {
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: a\n\r\n\r\n", 400),
    "bare LF after the request line": (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    "bare CR after the request line": (b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
    "CR CR LF": (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
    "bare LF inside a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: w\r\n\r\n", 400),
    "bare CR inside a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: w\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n", 400),
    "NUL in a name": (b"GET / HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n", 400),
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "NUL in the method": (b"GE\0T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "DEL in a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400),
    "a folded line": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
    "a line folded with a tab": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n", 400),
    "a folded line that is empty": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n \r\n\r\n", 400),
    "a space before the first field": (b"GET / HTTP/1.1\r\n Host: a\r\nHost: b\r\n\r\n", 400),
    "a space before the colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "an empty name": (b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
    "a name with parentheses": (b"GET / HTTP/1.1\r\nHost: a\r\nX(): y\r\n\r\n", 400),
    "a name with a slash": (b"GET / HTTP/1.1\r\nHost: a\r\nX/Y: y\r\n\r\n", 400),
    "a name in UTF-8": (b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xa9: y\r\n\r\n", 400),
    "two spaces in the request line": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a space behind the version": (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    "a space before the method": (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "tabs in the request line": (b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a space in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a tab in the target": (b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a fragment in the target": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no target": (b"GET HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a target without a slash": (b"GET index.html HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "another scheme": (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    "the HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\n", 505),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    "HTTP/1": (b"GET / HTTP/1\r\nHost: a\r\n\r\n", 400),
    "http/1.1": (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    "HTTP/1.1 with a letter behind": (b"GET / HTTP/1.1x\r\nHost: a\r\n\r\n", 400),
    "a PROXY header that nobody asked for": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a method with a colon": (b"GE:T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a method without end": (b"G" * 33 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CONNECT to an authority": (b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405),
    "CONNECT to a path": (b"CONNECT /admin HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "CONNECT to a URL": (b"CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "CONNECT to nothing": (b"CONNECT * HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "an asterisk for GET": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "chunked in HTTP/1.0": (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "an expectation that nobody knows": (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417),
    "an obfuscated expectation": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: y 100-continue\r\n\r\n",
                                  417),
}

#: Host fields. 0 = accepted.
HOSTS = {
    b"shop.example.com": 0, b"SHOP.Example.Com:8080": 0, b"shop.example.com.": 0, b"127.0.0.1": 0, b"[::1]": 0,
    b"[::1]:80": 0,
    b"a:": 0, b"a_b": 0, b"xn--bcher-kva.example": 0,
    b"": 400, b"a b": 400, b"a/b": 400, b"a@b": 400, b"a?b": 400, b"a#b": 400, b"a:b": 400, b"a:80:80": 400,
    b"a:0": 400,
    b"a:65536": 400, b"a:-1": 400, b"a:+80": 400, b"::1": 400, b"[::1": 400, b"[::1]x": 400, b"[]": 400, b"[a]": 400,
    b"[1.2.3.4]": 400, b"[:::::]": 400, b"b\xc3\xbccher": 400, b"a\\b": 400, b"a,b c": 400, b"http://a": 400,
    b":80": 400,
}


class FramingTests(SynchronousTestCase):
    def test_every_way_to_say_the_length_is_taken_or_refused_as_the_table_says(self) -> None:
        """One Content-Length of digits or one Transfer-Encoding of just ``chunked``; everything else is refused."""
        found = {name: status_of(with_lines(*lines)) for name, (lines, _) in FRAMING.items()}
        self.assertEqual(found, {name: status for name, (_, status) in FRAMING.items()})

    def test_a_line_that_was_seen_before_is_judged_the_same_way(self) -> None:
        """Remembering lines changes no verdict: the table gives the same answers a second time, and backwards."""
        first = [status_of(with_lines(*lines)) for lines, _ in FRAMING.values()]
        again = [status_of(with_lines(*lines)) for lines, _ in reversed(FRAMING.values())]
        self.assertEqual(first, again[::-1])

    def test_no_length_means_no_body(self) -> None:
        """RFC 9112 6.3 item 7: a request without either field has no body, whatever its method."""
        self.assertEqual(request(with_lines()).length, 0)

    def test_the_length_is_the_number_written(self) -> None:
        """Content-Length gives the length; it is not among the fields that filters see."""
        head = request(with_lines(b"Content-Length: 017"))
        self.assertEqual((head.length, head.fields), (17, []))

    def test_chunked_has_a_length_of_its_own(self) -> None:
        """Transfer-Encoding gives CHUNKED; it is not among the fields that filters see."""
        head = request(with_lines(b"Transfer-Encoding: Chunked"))
        self.assertEqual((head.length, head.fields), (CHUNKED, []))


class HeadTests(SynchronousTestCase):
    def test_every_malformed_head_gets_the_status_of_the_table(self) -> None:
        """What is not a request by RFC 9112 is refused; nothing is repaired."""
        found = {name: status_of(data) for name, (data, _) in HEADS.items()}
        self.assertEqual(found, {name: status for name, (_, status) in HEADS.items()})

    def test_the_parts_of_a_plain_request(self) -> None:
        """Method, target, path, query and version are what the client wrote; names are lower case, order is kept."""
        head = request(b"GET /a/b?c=d HTTP/1.1\r\nHost: Shop.Example.com\r\nX-B: 1\r\nX-A:2\r\nx-b:\t3 \t\r\nE:\r\n\r\n")
        self.assertEqual((head.method, head.target, head.path, head.query, head.minor),
                         (b"GET", b"/a/b?c=d", b"/a/b", b"c=d", 1))
        self.assertEqual(head.fields, [(b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3"), (b"e", b"")])
        self.assertEqual((head.forward, head.authority, head.host, head.port),
                         (b"/a/b?c=d", b"Shop.Example.com", b"shop.example.com", None))

    def test_methods_are_case_sensitive_and_any_token_will_do(self) -> None:
        """RFC 9110 9.1: what we do not know is the origin's to judge; ``get`` is not GET."""
        self.assertEqual([request(with_lines(start=method + b" / HTTP/1.1")).method for method in (b"get", b"PROPFIND",
                                                                                                   b"M-SEARCH")],
                         [b"get", b"PROPFIND", b"M-SEARCH"])

    def test_as_many_fields_as_allowed_pass_and_one_more_does_not(self) -> None:
        """The bound counts field lines; more is 431 (RFC 6585 5)."""
        lines = [b"X-%d: y" % number for number in range(MAX_REQUEST_FIELDS - 1)]
        self.assertEqual(status_of(with_lines(*lines)), 0)
        self.assertEqual(status_of(with_lines(*lines, b"X: y")), 431)

    def test_values_keep_bytes_above_ascii(self) -> None:
        """obs-text (RFC 9110 5.5) passes untouched."""
        self.assertEqual(request(with_lines(b"X: \xe9\xff")).fields, [(b"x", b"\xe9\xff")])

    def test_an_asterisk_is_for_options(self) -> None:
        """RFC 9112 3.2.4."""
        head = request(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual((head.path, head.query, head.forward), (b"*", None, b"*"))

    def test_options_for_a_url_without_a_path_means_the_server(self) -> None:
        """RFC 9112 3.2.4: the last intermediary sends the asterisk; with a path it is a path."""
        self.assertEqual(request(b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n").forward, b"*")
        self.assertEqual(request(b"OPTIONS http://a/ HTTP/1.1\r\nHost: a\r\n\r\n").forward, b"/")
        self.assertEqual(request(b"OPTIONS http://a?b HTTP/1.1\r\nHost: a\r\n\r\n").forward, b"/?b")

    def test_a_path_may_be_passed_on_as_it_was_written(self) -> None:
        """``disable_path_normalize``: dot segments and escapes stay, what is illegal is refused all the same."""
        data = b"GET /a/../%7Eb/./c HTTP/1.1\r\nHost: a\r\n\r\n"
        self.assertEqual(request(data, False).forward, b"/a/../%7Eb/./c")
        self.assertEqual(request(data).forward, b"/~b/c")
        self.assertRaises(BadRequest, request, b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", False)
        self.assertRaises(BadRequest, request, b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", False)


class HostTests(SynchronousTestCase):
    def test_every_host_is_taken_or_refused_as_the_table_says(self) -> None:
        """RFC 9112 3.2: an invalid Host is 400."""
        found = {host: status_of(with_lines(host=b"Host: " + host)) for host in HOSTS}
        self.assertEqual(found, HOSTS)

    def test_host_is_compared_in_lower_case_without_port_and_final_dot(self) -> None:
        """What routes match is one form of the name; what is forwarded is what the client wrote."""
        forms = {
            b"Shop.Example.COM": (b"shop.example.com", None), b"shop.example.com.": (b"shop.example.com", None),
            b"shop.example.com:": (b"shop.example.com", None), b"shop.example.com.:8080": (b"shop.example.com", 8080),
            b"[2001:DB8::1]:80": (b"[2001:db8::1]", 80), b"[::1]": (b"[::1]", None),
        }
        found = {}
        for host in forms:
            head = request(with_lines(host=b"Host: " + host))
            self.assertEqual(head.authority, host)
            found[host] = head.host, head.port
        self.assertEqual(found, forms)

    def test_no_host_is_refused_in_1_1_only(self) -> None:
        """RFC 9112 3.2: missing Host is 400 in HTTP/1.1; HTTP/1.0 did not have it."""
        self.assertEqual(status_of(b"GET / HTTP/1.1\r\n\r\n"), 400)
        self.assertEqual(status_of(b"GET / HTTP/1.1\r\nX: y\r\n\r\n"), 400)
        head = request(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual((head.authority, head.host, head.port), (b"", b"", None))

    def test_two_hosts_are_refused_even_if_they_agree(self) -> None:
        """RFC 9112 3.2: more than one Host line is 400."""
        self.assertEqual([status_of(with_lines(b"Host: a")), status_of(with_lines(b"Host: b")),
                          status_of(b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
                          status_of(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n")], [400] * 4)

    def test_the_authority_of_the_target_wins(self) -> None:
        """RFC 9112 3.2.2: the absolute form replaces Host, for routing and for the origin."""
        head = request(b"GET http://Inner.example:81/x?y HTTP/1.1\r\nHost: outer.example\r\n\r\n")
        self.assertEqual((head.authority, head.host, head.port, head.path, head.query, head.forward),
                         (b"Inner.example:81", b"inner.example", 81, b"/x", b"y", b"/x?y"))

    def test_the_absolute_form_does_not_excuse_a_missing_or_invalid_host(self) -> None:
        """RFC 9112 3.2 asks for a valid Host in every 1.1 request, whatever the form of the target."""
        self.assertEqual([status_of(b"GET http://a/ HTTP/1.1\r\n\r\n"),
                          status_of(b"GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n")],
                         [400, 400])

    def test_an_absolute_target_needs_a_valid_authority(self) -> None:
        """RFC 9110 4.2: no empty host, no user information."""
        targets = [b"http://", b"http:///x", b"http://u@a/", b"http://a:b/", b"http:/a", b"http:a", b"http://a b/",
                   b"//a/b"]
        found = [status_of(b"GET %b HTTP/1.%d\r\nHost: a\r\n\r\n" % (target,
                                                                     minor)) for target in targets for minor in (0, 1)]
        self.assertEqual(found[:-2], [400] * (len(found) - 2))
        self.assertEqual(found[-2:], [0, 0])        # two slashes begin a path here, as in every origin-form

    def test_the_scheme_is_written_in_any_case(self) -> None:
        """RFC 3986 3.1."""
        self.assertEqual(request(b"GET HTTP://a HTTP/1.1\r\nHost: b\r\n\r\n").forward, b"/")


class HopByHopTests(SynchronousTestCase):
    def test_fields_of_one_hop_are_set_aside(self) -> None:
        """RFC 9110 7.6.1: none of them is among the fields that are forwarded."""
        head = request(with_lines(
            b"Connection: keep-alive, Upgrade, HTTP2-Settings, TE", b"Keep-Alive: 5", b"Proxy-Connection: x",
            b"TE: trailers",
            b"Trailer: x", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
            b"Proxy-Authorization: Basic x",
            b"Accept: */*",
        ))
        self.assertEqual(head.fields, [(b"accept", b"*/*")])
        self.assertEqual(head.upgrade, b"h2c")

    def test_upgrade_without_connection_is_no_upgrade(self) -> None:
        """RFC 9110 7.8: the field counts only if Connection names it."""
        self.assertIs(request(with_lines(b"Upgrade: websocket")).upgrade, None)

    def test_fields_that_connection_names_are_set_aside(self) -> None:
        """Whatever their case, on one line or on several, before or after Connection."""
        head = request(with_lines(b"X-A: 1", b"Connection: X-a , x-b", b"X-B: 2", b"connection: X-C", b"X-C: 3",
                                  b"X-D: 4"))
        self.assertEqual(head.fields, [(b"x-d", b"4")])
        self.assertEqual([name for name, _ in head.connection if name != b"connection"], [b"x-a", b"x-b", b"x-c"])

    def test_connection_cannot_take_away_host_or_framing(self) -> None:
        """``Connection: Host, Content-Length`` leaves both where they are."""
        head = request(with_lines(b"Connection: host, content-length, transfer-encoding", b"Content-Length: 3"))
        self.assertEqual((head.authority, head.length), (b"a", 3))
        head = request(with_lines(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked"))
        self.assertEqual(head.length, CHUNKED)

    def test_connection_takes_away_what_the_client_says_of_itself(self) -> None:
        """Fields about the client that Connection names are gone before the data plane writes its own."""
        head = request(with_lines(b"Connection: X-Forwarded-For, Authorization", b"X-Forwarded-For: 1",
                                  b"Authorization: x",
                                  b"Forwarded: for=2"))
        self.assertEqual((head.fields, head.forwarding), ([], [(b"forwarded", b"for=2")]))
        head = request(with_lines(b"Connection: x-forwarded-for", b"X-Forwarded-For: 1"))
        self.assertIs(head.forwarding, None)

    def test_what_clients_say_of_themselves_is_kept_apart(self) -> None:
        """Forwarding and client-identity fields never reach filters as if they were true."""
        names = (b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Port", b"X-Real-IP",
                 b"Forwarded",
                 b"X-Forwarded-Client-Cert", b"Client-Cert", b"Client-Cert-Chain", b"X-Request-Id")
        head = request(with_lines(*(name + b": z" for name in names)))
        self.assertEqual(head.fields, [])
        self.assertEqual(head.forwarding, [(name.lower(), b"z") for name in names])

    def test_names_with_underscores_are_dropped_and_counted(self) -> None:
        """Origins that read X_Real_IP and X-Real-IP as one cannot be lied to."""
        head = request(with_lines(b"X_Forwarded_For: 1", b"Content_Length: 5", b"Transfer_Encoding: chunked",
                                  b"A-B: 1"))
        self.assertEqual((head.fields, head.underscored, head.length), ([(b"a-b", b"1")], 3, 0))

    def test_who_keeps_the_connection(self) -> None:
        """RFC 9112 9.3: 1.1 persists unless closed, 1.0 closes unless asked; close wins."""
        table = {
            (1, b""): True, (1, b"close"): False, (1, b"Close"): False, (1, b"keep-alive"): True,
            (1, b"keep-alive, close"): False,
            (1, b"x, close ,y"): False, (1, b"closed"): True, (0, b""): False, (0, b"keep-alive"): True,
            (0, b"Keep-Alive"): True,
            (0, b"close, keep-alive"): False,
        }
        found = {}
        for minor, value in table:
            lines = [b"Connection: " + value] if value else []
            found[minor, value] = request(with_lines(*lines, start=b"GET / HTTP/1.%d" % minor)).keep_alive
        self.assertEqual(found, table)

    def test_an_expectation_is_set_aside(self) -> None:
        """RFC 9110 10.1.1: 100-continue in any case, from a 1.1 client only."""
        head = request(with_lines(b"Content-Length: 1", b"Expect: 100-Continue"))
        self.assertEqual((head.expect_continue, head.fields), (True, []))
        head = request(with_lines(b"Content-Length: 1", b"Expect: 100-continue", start=b"POST / HTTP/1.0"))
        self.assertEqual((head.expect_continue, head.fields), (False, []))


class BadStartTests(SynchronousTestCase):
    def test_what_can_never_become_a_request_is_known_at_once(self) -> None:
        """A TLS hello, bare LF, NUL or a line that is no method: the client need not wait for its deadline."""
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET / HTTP/1.1\nHost", b"\nGET / ",
                     b"GET / HTTP/1.1\r\nX: \0",
                     b"G:T / HTTP", b"{\"a\": 1}\r\n", b" GET", b"G" * 33):
            self.assertIsInstance(bad_start(data), BadRequest, data)

    def test_every_beginning_of_a_good_head_is_let_grow(self) -> None:
        """No cut of a valid head is refused before its end."""
        data = b"OPTIONS /a?b HTTP/1.1\r\nHost: a\r\nX: y z\r\n\r\n"
        for cut in range(1, len(data)):
            self.assertIs(bad_start(data[:cut]), None, data[:cut])

    def test_what_was_looked_at_before_is_not_looked_at_again(self) -> None:
        """Only the new bytes are searched, and one before them: a head that drips in costs its length, not its
        square."""
        self.assertIs(bad_start(b"GET / HTTP/1.1\r\nA: \0b", 20), None)
        self.assertIsInstance(bad_start(b"GET / HTTP/1.1\r\nA: \0b", 19), BadRequest)
        self.assertIsInstance(bad_start(b"GET / HTTP/1.1\n", 14), BadRequest)
        self.assertIs(bad_start(b"GET / HTTP/1.1\r\n", 15), None)


class MemoTests(SynchronousTestCase):
    def setUp(self) -> None:
        forget_lines()

    def test_secrets_are_never_remembered(self) -> None:
        """No line of a field that may hold a secret stays in the process."""
        names = (b"Authorization", b"Cookie", b"X-Api-Key", b"X-Auth-Token", b"Proxy-Authorization",
                 b"X-Amz-Security-Token",
                 b"X-CSRF-Token", b"Private-Token", b"X-Vault-Token", b"X-Goog-Signature", b"X-Secret", b"X-Password",
                 b"ApiKey",
                 b"X-Session-Id", b"Authentication", b"X-Client-Credentials", b"X-JWT-Assertion", b"Cookie2", b"DPoP")
        request(with_lines(*(name + b": hunter2" for name in names)))
        self.assertEqual([line for line in http1._request_lines if b"hunter2" in line], [])

    def test_what_differs_every_time_is_not_remembered(self) -> None:
        """Request ids and validators would only push out what repeats."""
        request(with_lines(b"X-Request-Id: 1", b"Traceparent: 2", b"If-None-Match: 4"))
        self.assertEqual(list(http1._request_lines), [b"Host: a"])

    def test_the_tables_are_bounded(self) -> None:
        """However many different lines clients send, a table never holds more than its bound."""
        lines = [b"X: %d" % number for number in range(http1.MEMO_LINES + 500)]
        for start in range(0, len(lines), 100):
            request(with_lines(*lines[start:start + 100], host=b"Host: h%d" % start))
        self.assertLessEqual(len(http1._request_lines), http1.MEMO_LINES)
        for number in range(http1.MEMO_LINES + 10):
            request(with_lines(host=b"Host: h%d" % number))
            http1._request_lines.clear()
        self.assertLessEqual(len(known_authorities), http1.MEMO_LINES)

    def test_long_lines_are_not_remembered(self) -> None:
        """So that a full table is a few megabytes."""
        request(with_lines(b"X: " + b"y" * http1.MEMO_LINE_BYTES, host=b"Host: " + b"h" * (http1.MEMO_LINE_BYTES + 1)))
        self.assertEqual((list(http1._request_lines), list(known_authorities)), ([], []))

    def test_a_bad_line_is_not_remembered(self) -> None:
        """What was refused is refused again."""
        for _ in range(2):
            self.assertEqual(status_of(with_lines(b"X : y")), 400)
        self.assertEqual([line for line in http1._request_lines if b"X" in line], [])


class BeginningTests(SynchronousTestCase):
    """What one connection has begun with, another one may begin with as well."""

    def setUp(self) -> None:
        forget_lines()

    def first(self, *lines: bytes, start: bytes = b"GET /a?b HTTP/1.1", begun: bool = False) -> RequestHead:
        """The first head of a new connection; with `begun` it is read as if another one had come before."""
        data = with_lines(*lines, start=start, host=b"Host: H.:81")
        parser = RequestParser()
        parser._begun = begun
        return parser.parse(data, data.index(ENDS))

    def test_the_same_lines_mean_the_same(self) -> None:
        """Whatever cookies stand between them, and wherever."""
        for lines, known in (((b"X: y", b"Z: 1"), 1), ((b"X: y", b"Connection: keep-alive"), 1), ((b"Connection: close", b"X: y"), 1),
                             ((b"X: y", b"Cookie: %b", b"Z: 1"), 1), ((b"X: y", b"Z: 1", b"Cookie: %b"), 1), ((b"Cookie: %b", b"X: y"), 1),
                             ((b"Connection: Close", b"Cookie: %b"), 1), ((b"X: y", b"cookie: %b"), 0), ((b"X-Token: %b",), 0),
                             ((b"Cookie: %b", b"Cookie: %b"), 0), ((b"Cookie: %b", b"X-Token: %b"), 0), ((b"Content-Length: 1",), 0),
                             ((b"Connection: close", b"Connection: close"), 0), ((b"If-None-Match: %b",), 0)):
            forget_lines()
            for value in (b"hunter2", b"other ", b""):
                wanted = [line.replace(b"%b", value) for line in lines]
                heads = [self.first(*wanted)]
                if known:
                    self.assertEqual(len(http1._beginnings), 1, lines)
                    heads += [self.first(*wanted), self.first(*wanted, start=b"GET http://h/ HTTP/1.1")]
                    self.assertEqual(len(http1._beginnings), 1, lines)
                plain = self.first(*wanted, begun=True)
                for head in heads:
                    self.assertEqual((head.fields, head.authority if head is not heads[-1] else plain.authority, head.keep_alive,
                                      head.connection, head.length),
                                     (plain.fields, plain.authority, plain.keep_alive, plain.connection, plain.length), lines)
            self.assertEqual(len(http1._beginnings), known, lines)
            self.assertNotIn(b"hunter2", repr([(key, each.fields) for key, each in http1._beginnings.items()]).encode())

    def test_nothing_that_is_known_lets_anything_pass(self) -> None:
        """What looks like a known beginning with its cookies taken out is none, and cookies are looked at every time."""
        self.first(b"X: y", b"Cookie: a", b"Z: 1")
        self.first(b"X: y", b"Z: 1")
        for lines in ((b"X: y", b"", b"Z: 1"), (b"X: y\0", b"Z: 1"), (b"X: y", b"Cookie: a\0", b"Z: 1"), (b"X: y", b"Cookie: a\n", b"Z: 1"),
                      (b"X: y", b"Cookie: a", b"Z: 1", b"Cookie : a")):
            data = b"\r\n".join([b"GET / HTTP/1.1", b"Host: H.:81", *lines, b"", b""])
            if b"" not in lines:
                self.assertRaises(BadRequest, RequestParser().parse, data, data.index(ENDS))
        self.assertEqual(self.first(b"X: y", b"Cookie: a", b"Z: 1", b"Cookie: b").fields,
                         [(b"x", b"y"), (b"cookie", b"a"), (b"z", b"1"), (b"cookie", b"b")])

    def test_the_table_is_bounded(self) -> None:
        """However differently connections begin, and large beginnings are left out."""
        for number in range(http1.MEMO_BLOCKS + 10):
            self.first(b"X: %d" % number)
            self.assertLessEqual(len(http1._beginnings), http1.MEMO_BLOCKS)
        http1._beginnings.clear()
        self.first(*(b"X: " + b"y" * 500 for _ in range(5)))
        self.assertEqual(len(http1._beginnings), 0)


class RepeatedHeadTests(SynchronousTestCase):
    """A connection's parser compares field lines with those of its last request instead of reading them again."""

    def setUp(self) -> None:
        self.parser = RequestParser()

    def parse(self, data: bytes) -> RequestHead:
        """The head of `data`, as this connection's next one."""
        return self.parser.parse(data, data.index(ENDS))

    def test_the_same_lines_mean_the_same_again(self) -> None:
        """Whatever the request line: method, target and query are the new one's, all else is equal."""
        first = self.parse(with_lines(b"X: y", b"Cookie: z", start=b"GET /a?b HTTP/1.1", host=b"Host: H.:81"))
        again = self.parse(with_lines(b"X: y", b"Cookie: z", start=b"DELETE /c HTTP/1.1", host=b"Host: H.:81"))
        self.assertEqual((again.method, again.target, again.path, again.query, again.forward),
                         (b"DELETE", b"/c", b"/c", None, b"/c"))
        for name in ("fields", "authority", "host", "port", "length", "keep_alive", "minor", "expect_continue",
                     "upgrade",
                     "forwarding", "underscored"):
            self.assertEqual(getattr(again, name), getattr(first, name), name)

    def test_a_filter_that_edits_one_head_does_not_edit_the_next(self) -> None:
        """Each head has a list of fields of its own."""
        self.parse(with_lines(b"X: y")).fields.clear()
        self.parse(with_lines(b"X: y")).fields.append((b"z", b""))
        self.assertEqual(self.parse(with_lines(b"X: y")).fields, [(b"x", b"y")])

    def test_lines_with_a_meaning_for_this_hop_are_read_every_time(self) -> None:
        """Bodies, expectations, closes and forwarding fields are as they are written in each request."""
        lines = [b"Content-Length: 3", b"Expect: 100-continue", b"Connection: close", b"X-Forwarded-For: 1"]
        for _ in range(2):
            head = self.parse(with_lines(*lines))
            self.assertEqual((head.length, head.expect_continue, head.keep_alive, head.forwarding),
                             (3, True, False, [(b"x-forwarded-for", b"1")]))
        self.assertEqual(self.parse(with_lines()).length, 0)

    def test_the_request_line_is_judged_every_time(self) -> None:
        """Known field lines open no way around the rules for methods, targets and versions."""
        self.parse(with_lines())
        for start, status in ((b"CONNECT / HTTP/1.1", 405), (b"GET /a b HTTP/1.1", 400), (b"GET /%00 HTTP/1.1", 400),
                              (b"G@T / HTTP/1.1", 400), (b"GET / HTTP/1.3", 505), (b"GET * HTTP/1.1", 400)):
            error = self.assertRaises(BadRequest, self.parse, with_lines(start=start))
            self.assertEqual(error.answer, status, start)
        self.assertEqual(self.parse(with_lines(start=b"GET /a/%2e%2e/b HTTP/1.1")).forward, b"/b")
        self.assertEqual(self.parse(with_lines(start=b"GET http://other/ HTTP/1.1")).host, b"other")
        self.assertEqual(self.parse(with_lines()).host, b"a")
        self.assertFalse(self.parse(with_lines(start=b"GET / HTTP/1.0")).keep_alive)

    def test_fields_with_another_line_in_front_are_found(self) -> None:
        """`repeated` takes those targets that are paths or have a query, and nothing that `anew` would take otherwise."""
        lines, targets = (b"X: y", b"Cookie: z"), (b"/", b"/a/b.c", b"/a?b=/./c", b"/a;b=%41", b"/%C3", b"/a?b", b"/.a", b"/a/..")
        self.parse(with_lines(*lines))
        for method in (b"GET", b"HEAD", b"DELETE"):
            for target in targets:
                data = with_lines(*lines, start=b"%b %b HTTP/1.1" % (method, target))
                found, anew = self.parser.repeated(data, data.index(ENDS)), RequestParser().anew(data, data.index(ENDS))
                if b"/." in target or target == b"/a;b=%41":
                    self.assertIs(found, None, target)
                    continue
                assert found is not None, target
                self.assertEqual((found.method, found.target, found.forward, found.path, found.query, found.host),
                                 (anew.method, anew.target, anew.forward, anew.path, anew.query, anew.host))
        for start in (b"GET / HTTP/1.0", b"GET / HTTP/1.1\r\nX: x", b"\r\nGET / HTTP/1.1", b"GET / a HTTP/1.1", b"GET /\0 HTTP/1.1",
                      b"GET /\x80 HTTP/1.1", b"GET /# HTTP/1.1", b"GET / HTTP/1.1 ", b"GET  HTTP/1.1", b"GET /HTTP/1.1", b"GET /"):
            data = with_lines(*lines, start=start)
            self.assertIs(self.parser.repeated(data, len(data) - len(ENDS)), None, start)

    def test_what_fields_look_like_is_written_once(self) -> None:
        """From the second head on, and anew when the fields are others."""
        heads = [self.parse(with_lines(b"X:  y ", b"Z: 1", start=b"GET /%d HTTP/1.1" % number)) for number in range(3)]
        self.assertIs(heads[0].shared, None)
        assert heads[1].shared is not None
        self.assertEqual((heads[1].shared.text, heads[1].shared.fields), (b"x: y\r\nz: 1", heads[1].fields))
        self.assertIs(heads[2].shared, heads[1].shared)
        self.parse(with_lines(b"X: z", start=b"GET / HTTP/1.1"))
        again = self.parse(with_lines(b"X: z", start=b"GET / HTTP/1.1"))
        assert again.shared is not None
        self.assertEqual(again.shared.text, b"x: z")
        self.parse(with_lines(start=b"GET / HTTP/1.1"))
        self.assertIs(self.parse(with_lines(start=b"GET / HTTP/1.1")).shared, None)     # no field, no line

    def test_a_large_head_is_not_kept(self) -> None:
        """What an idle connection remembers is bounded."""
        self.parse(with_lines(b"X: " + b"y" * http1.MEMO_BLOCK_BYTES))
        self.assertEqual(self.parser._block, b"\0")
        self.parse(with_lines(b"X: y"))
        self.assertEqual(self.parser._block, b"\r\nHost: a\r\nX: y")


class SecondOpinionTests(SynchronousTestCase):
    def test_h11_accepts_what_we_accept_with_the_same_fields(self) -> None:
        """Whatever we let through, a strict server reads as the same method, target, fields and framing."""
        datas = [with_lines(*lines) for lines, status in FRAMING.values() if not status]
        datas += [with_lines(host=b"Host: " + host) for host, status in HOSTS.items() if not status]
        datas += [with_lines(b"X: a b\tc", b"Y:", b"Z: \xff"), b"GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n",
                  b"GET / HTTP/1.0\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"]
        for data in datas:
            ours, theirs = request(data), h11_request(data)
            self.assertEqual((ours.method, ours.target), (theirs.method, theirs.target))
            self.assertEqual(b"1.%d" % ours.minor, theirs.http_version)
            fields = dict(theirs.headers)
            self.assertEqual(fields.get(b"host", b""), ours.authority if ours.target.startswith((b"/", b"*")) else b"a")
            for name, value in ours.fields:
                self.assertIn((name, value), list(theirs.headers))
            self.assertEqual(ours.length == CHUNKED, b"transfer-encoding" in fields)
            if ours.length > 0:
                self.assertEqual(int(fields[b"content-length"]), ours.length)

    def test_we_refuse_what_h11_refuses(self) -> None:
        """No head of the tables that h11 refuses is accepted here."""
        datas = [data for data, _ in HEADS.values()] + [with_lines(*lines) for lines, _ in FRAMING.values()]
        for data in datas:
            try:
                h11_request(data)
            except h11.RemoteProtocolError:
                self.assertNotEqual(status_of(data), 0, data)


class PieceTests(SynchronousTestCase):
    def test_the_head_alone_is_read(self) -> None:
        """Bytes behind the head (a body, the next request) change nothing."""
        data = with_lines(b"Content-Length: 4")
        plain = parse_request(data, len(data) - 4)
        followed = parse_request(data + b"\r\n\r\nGET", len(data) - 4)
        for name in ("method", "forward", "fields", "length", "host"):
            self.assertEqual(getattr(plain, name), getattr(followed, name))


class TunnelTests(SynchronousTestCase):
    """CONNECT, where the parser's owner makes tunnels."""

    def parse(self, head: bytes) -> RequestHead:
        return RequestParser(tunnels=True).parse(head, head.index(ENDS))

    def test_the_target_is_the_authority(self) -> None:
        """A name or an address with a port; Host says nothing that counts."""
        for target in (b"a.test:443", b"[2001:db8::1]:8443", b"192.0.2.1:1"):
            head = self.parse(b"CONNECT " + target + b" HTTP/1.1\r\nHost: " + target + b"\r\n\r\n")
            self.assertEqual((head.method, head.authority, head.path, head.query), (b"CONNECT", target, b"", None))

    def test_what_is_no_authority_is_refused(self) -> None:
        """Without a port, a URL, a path, with a user."""
        for target in (b"a.test", b"a.test:", b"a.test:0", b"a.test:65536", b"http://a.test:80/", b"/", b"*", b"u@a.test:443", b":443",
                       b"a.test:443/", b"a.test:+443", b"a.test:443,b.test:443"):
            error = self.assertRaises(BadRequest, self.parse, b"CONNECT " + target + b" HTTP/1.1\r\nHost: a.test\r\n\r\n")
            self.assertEqual(error.answer, 400, target)

    def test_other_methods_are_as_ever(self) -> None:
        """Whole URLs are; a bare authority is for CONNECT alone."""
        self.assertEqual(self.parse(b"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n").path, b"/x")
        self.assertRaises(BadRequest, self.parse, b"GET a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n")
