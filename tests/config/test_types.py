"""How single values are read, through the fields of real objects."""

from __future__ import annotations

import base64

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import lines, loaded, problems, write
from voltgw.config.objects.cluster import LoadbalancerAlgorithm
from voltgw.config.values import Range, Ref, Secret


def spec(kind: str, fields: str) -> str:
    """A file with one object, its spec in flow style on line 1 beginning at column 50."""
    return f"{{kind: {kind}, metadata: {{name: x}}, spec: {{{fields}}}}}"


class FieldCase(SynchronousTestCase):
    """Reads one object."""

    def value(self, kind: str, fields: str, attribute: str) -> object:
        """The value of an attribute of the object's spec."""
        one = loaded(spec(kind, fields)).objects[kind]["default", "x"].spec
        return getattr(one, attribute)

    def wrong(self, kind: str, fields: str) -> tuple[str, str, str]:
        """Code, message and hint of the first error."""
        found = [one for one in problems(spec(kind, fields)) if one.severity.value == "error"]
        self.assertTrue(found, fields)
        return found[0].code, found[0].message, found[0].hint


class TextTests(FieldCase):
    def test_what_is_written_is_what_is_meant(self) -> None:
        """Country codes, octal-looking and clock-looking text, numbers."""
        one = loaded("{kind: endpoint, metadata: {name: x, labels: {a: NO, b: 010, c: 22:22, d: true, e: 1.0}}, "
                     "spec: {ip: 1.1.1.1, port: 80}}")
        self.assertEqual(one.objects["endpoint"]["default", "x"].metadata.labels,
                         {"a": "NO", "b": "010", "c": "22:22", "d": "true", "e": "1.0"})

    def test_limits_are_counted_in_characters(self) -> None:
        """The limit itself is allowed."""
        self.assertEqual(self.value("virtual_host", f"domains: [a], server_name: {'ä' * 8096}", "server_name"), "ä" * 8096)
        self.assertEqual(self.wrong("virtual_host", f"domains: [a], server_name: {'a' * 8097}")[0], "VG0103")

    def test_a_mapping_where_text_is_meant(self) -> None:
        """Told in words."""
        code, message, _ = self.wrong("endpoint", "dns_name: {a: b}, port: 1")
        self.assertEqual((code, message), ("VG0102", "expected text (host name), found a mapping"))

    def test_a_form_that_is_not_kept(self) -> None:
        """The reason comes from the form."""
        code, message, _ = self.wrong("endpoint", "ip: 1.2.3, port: 1")
        self.assertEqual((code, message), ("VG0110", "'1.2.3' is not an IPv4 or IPv6 address"))

    def test_the_empty_text_is_absent_outside_of_groups(self) -> None:
        """As protobuf has it."""
        self.assertIsNone(self.value("route", "routes: [{route_redirect: {host_redirect: ''}}]", "voltgw"))
        one = loaded(spec("route", "routes: [{route_redirect: {host_redirect: ''}}]"))
        redirect = one.of("route")["default", "x"].spec.routes[0].route_redirect
        assert redirect is not None
        self.assertIsNone(redirect.host_redirect)


class NumberTests(FieldCase):
    def test_every_spelling(self) -> None:
        """Decimal, hexadecimal, octal after 0o, quoted (gRPC gateways), with an exponent if it is whole."""
        for text, expected in (("80", 80), ("0x50", 80), ("0o120", 80), ("'443'", 443), ("1e3", 1000), ("80.0", 80), ("010", 10)):
            self.assertEqual(self.value("endpoint", f"ip: 1.1.1.1, port: {text}", "port"), expected, text)

    def test_what_is_no_number(self) -> None:
        """Words, clock times, fractions, lists."""
        for text in ("eighty", "22:22", "1.5", "[80]", "true", "''", "1_000", "٣"):
            self.assertEqual(self.wrong("endpoint", f"ip: 1.1.1.1, port: {text}")[0], "VG0102", text)

    def test_limits(self) -> None:
        """The message has both ends."""
        self.assertEqual(self.wrong("endpoint", "ip: 1.1.1.1, port: 65536")[:2], ("VG0103", "65536 is outside 0 to 65535"))
        self.assertEqual(self.wrong("endpoint", "ip: 1.1.1.1, port: -1")[:2], ("VG0103", "-1 is outside 0 to 65535"))

    def test_gaps(self) -> None:
        """Jitter is 0 or 10 to 50."""
        rest = "tcp_health_check: {}, interval: 1, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 1"
        for text, expected in (("0", 0), ("10", 10), ("50", 50)):
            self.assertEqual(self.value("healthcheck", f"{rest}, jitter_percent: {text}", "jitter_percent"), expected)
        for text in ("5", "51"):
            self.assertEqual(self.wrong("healthcheck", f"{rest}, jitter_percent: {text}")[0], "VG0103")


class FlagTests(FieldCase):
    def test_true_and_false(self) -> None:
        """In the spellings of YAML's core schema."""
        for text, expected in (("true", True), ("True", True), ("FALSE", False), ("'true'", True)):
            self.assertIs(self.value("virtual_host", f"domains: [a], disable_default_error_pages: {text}",
                                     "disable_default_error_pages"), expected)

    def test_words_that_other_yaml_takes_for_booleans(self) -> None:
        """They are words, and the hint says so."""
        for text in ("yes", "no", "on", "off"):
            code, _, hint = self.wrong("virtual_host", f"domains: [a], disable_default_error_pages: {text}")
            self.assertEqual(code, "VG0102")
            self.assertIn("only true and false", hint)

    def test_a_number_is_no_boolean(self) -> None:
        """Not even 1."""
        self.assertEqual(self.wrong("virtual_host", "domains: [a], disable_default_error_pages: 1")[0], "VG0102")


class PresenceTests(FieldCase):
    def test_being_there_is_the_meaning(self) -> None:
        """``{}`` and Terraform's ``true``; null and ``false`` are absent."""
        for text, expected in (("{}", True), ("true", True), ("false", False), ("null", False), ("~", False)):
            self.assertIs(self.value("virtual_host", f"domains: [a], no_challenge: {text}", "no_challenge"), expected, text)

    def test_nothing_can_be_said_inside(self) -> None:
        """A field in it is told by its own place."""
        self.assertEqual(lines(problems("kind: virtual_host\nmetadata: {name: x}\nspec:\n  domains: [a]\n  no_challenge: {a: 1}\n")),
                         ['5:18 VG0101 unknown field "a": nothing can be said inside this one'])

    def test_a_list_is_no_message(self) -> None:
        """Not even an empty one."""
        self.assertEqual(self.wrong("virtual_host", "domains: [a], no_challenge: []")[0], "VG0102")


class DurationTests(FieldCase):
    def test_plain_numbers_are_in_the_models_unit(self) -> None:
        """Milliseconds at a cluster, seconds at a health check."""
        self.assertEqual(self.value("cluster", "connection_timeout: 500", "connection_timeout_s"), 0.5)
        rest = "tcp_health_check: {}, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 1"
        self.assertEqual(self.value("healthcheck", f"{rest}, interval: 5", "interval_s"), 5.0)

    def test_a_unit_is_always_accepted(self) -> None:
        """And limits are compared as durations."""
        self.assertEqual(self.value("cluster", "connection_timeout: 10m", "connection_timeout_s"), 600.0)
        self.assertEqual(self.wrong("cluster", "connection_timeout: 11m")[:2], ("VG0103", "11m is outside 0 to 600000 ms"))

    def test_zero_means_the_default(self) -> None:
        """There is no way to say an explicit zero time limit."""
        self.assertIsNone(self.value("cluster", "connection_timeout: 0", "connection_timeout_s"))
        self.assertIsNone(self.value("virtual_host", "domains: [a], slow_ddos_mitigation: {request_headers_timeout: 0}",
                                     "js_challenge"))

    def test_zero_means_zero_where_the_model_says_so(self) -> None:
        """A cookie's life of 0 is that of the browser."""
        one = loaded(spec("route", "routes: [{route_destination: {destinations: [{cluster: [{name: a}]}], hash_policy: "
                                   "[{cookie: {name: c, ttl: 0}}, {cookie: {name: d}}]}}]"))
        destination = one.of("route")["default", "x"].spec.routes[0].route_destination
        assert destination is not None
        self.assertEqual([policy.cookie and policy.cookie.ttl_s for policy in destination.hash_policy], [0.0, None])

    def test_what_is_no_duration(self) -> None:
        """The message names the field's unit."""
        code, message, _ = self.wrong("cluster", "connection_timeout: soon")
        self.assertEqual(code, "VG0111")
        self.assertIn("milliseconds", message)

    def test_minus_one_where_it_means_never(self) -> None:
        """CORS answers that must not be kept."""
        one = loaded(spec("virtual_host", "domains: [a], cors_policy: {maximum_age: -1}"))
        policy = one.of("virtual_host")["default", "x"].spec.cors_policy
        assert policy is not None
        self.assertEqual(policy.maximum_age_s, -1.0)


class SizeTests(FieldCase):
    def test_plain_numbers_are_in_the_models_unit(self) -> None:
        """KiB for request heads, bytes for bodies."""
        self.assertEqual(self.value("virtual_host", "domains: [a], max_request_header_size: 60", "max_request_header_size_bytes"),
                         61440)
        self.assertEqual(self.value("virtual_host", "domains: [a], max_request_header_size: 64KiB",
                                    "max_request_header_size_bytes"), 65536)
        self.assertEqual(self.wrong("virtual_host", "domains: [a], max_request_header_size: 97")[0], "VG0103")
        self.assertEqual(self.wrong("virtual_host", "domains: [a], max_request_header_size: lots")[0], "VG0111")


class ChoiceTests(FieldCase):
    def test_the_models_spellings(self) -> None:
        """Absent is the first; the wire's numbers are taken too."""
        self.assertIs(self.value("cluster", "loadbalancer_algorithm: RANDOM", "loadbalancer_algorithm"),
                      LoadbalancerAlgorithm.RANDOM)
        self.assertIs(self.value("cluster", "", "loadbalancer_algorithm"), LoadbalancerAlgorithm.ROUND_ROBIN)
        self.assertIs(self.value("cluster", "loadbalancer_algorithm: 3", "loadbalancer_algorithm"), LoadbalancerAlgorithm.RANDOM)

    def test_unknown_spellings_are_errors(self) -> None:
        """Terraform took the first value for them, silently."""
        code, message, hint = self.wrong("cluster", "loadbalancer_algorithm: ROUND ROBIN")
        self.assertEqual(code, "VG0104")
        self.assertIn('"ROUND ROBIN" is none of ROUND_ROBIN, LEAST_REQUEST', message)
        self.assertEqual(hint, 'did you mean "ROUND_ROBIN"?')
        self.assertEqual(self.wrong("cluster", "loadbalancer_algorithm: 9")[0], "VG0104")


class ReferenceTests(FieldCase):
    def test_every_spelling(self) -> None:
        """A name, a name with its namespace, a mapping, with or without the list around it."""
        for text, expected in (
            ("[{name: a}]", Ref(None, "a")), ("[{tenant: acme, namespace: n, name: a}]", Ref("n", "a", tenant="acme")),
            ("[a]", Ref(None, "a")), ("a", Ref(None, "a")), ("n/a", Ref("n", "a")), ("{namespace: n, name: a}", Ref("n", "a")),
            ("[{kind: endpoint, uid: null, tenant: null, namespace: null, name: a}]", Ref(None, "a")),
            ("[{kind: ves.io.schema.endpoint.Object, name: a}]", Ref(None, "a")), ("[{namespace: '', name: a}]", Ref(None, "a")),
        ):
            self.assertEqual(self.value("cluster", f"endpoints: {text}", "endpoints"), (expected,), text)

    def test_each_knows_its_place(self) -> None:
        """That of the name."""
        one = loaded("kind: cluster\nmetadata: {name: x}\nspec:\n  endpoints:\n  - name: a\n  - {namespace: n, name: b}\n  - c\n")
        places = [ref.place for ref in one.of("cluster")["default", "x"].spec.endpoints]
        self.assertEqual([(place.line, place.column) for place in places], [(5, 11), (6, 26), (7, 5)])

    def test_what_is_no_reference(self) -> None:
        """No name, the wrong kind, unknown parts, two where one is meant."""
        for text, code in (("[{namespace: n}]", "VG0105"), ("[{kind: route, name: a}]", "VG0104"), ("[{nam: a}]", "VG0101"),
                           ("[[a, b]]", "VG0102"), ("[{name: a, name: b}]", "VG0005"), ("['a b']", "VG0110"), ("[a/b/c]", "VG0110"),
                           ("[null]", "VG0102"), ("[{name: null}]", "VG0105"), ("[{name: [a]}]", "VG0102")):
            self.assertEqual(self.wrong("cluster", f"endpoints: {text}")[0], code, text)


class RangeTests(FieldCase):
    def test_ports(self) -> None:
        """In the order written."""
        self.assertEqual(self.value("advertise_policy", "port_ranges: '80, 443,8080-8191'", "port_ranges"),
                         (Range(80, 80), Range(443, 443), Range(8080, 8191)))

    def test_what_are_no_ports(self) -> None:
        """Words, empty parts, backwards, overlaps, too many."""
        for text, code in (("http", "VG0110"), ("'80,'", "VG0110"), ("90-80", "VG0110"), ("0", "VG0110"), ("65536", "VG0110"),
                           ("'80-90,85'", "VG0113"), ("1-1025", "VG0103"), ("'" + "1," * 300 + "1'", "VG0103")):
            self.assertEqual(self.wrong("advertise_policy", f"port_ranges: {text}")[0], code, text)
        self.assertEqual(len(loaded(spec("advertise_policy", "port_ranges: 1-1024")).of("advertise_policy")
                             ["default", "x"].spec.ports), 1024)

    def test_statuses(self) -> None:
        """Single ones and ranges."""
        rest = "interval: 1, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 1"
        one = loaded(spec("healthcheck", f"http_health_check: {{path: /, expected_status_codes: ['200', 204-206]}}, {rest}"))
        check = one.of("healthcheck")["default", "x"].spec.http_health_check
        assert check is not None
        self.assertEqual(check.expected_status_codes, (Range(200, 200), Range(204, 206)))
        for text in ("99", "600", "2xx", "300-200"):
            self.assertEqual(self.wrong("healthcheck", f"http_health_check: {{path: /, expected_status_codes: ['{text}']}}, "
                                        f"{rest}")[0], "VG0110", text)


class ContentTests(FieldCase):
    def body(self, url: str, folder: str = ".", environ: dict[str, str] | None = None) -> bytes | None:
        """A direct response's body."""
        one = loaded(spec("route", f"routes: [{{route_direct_response: {{response_body_encoded: '{url}'}}}}]"), environ, folder)
        answer = one.of("route")["default", "x"].spec.routes[0].route_direct_response
        assert answer is not None
        return answer.response_body_encoded

    def refused(self, url: str) -> str:
        """The code of the error."""
        return self.wrong("route", f"routes: [{{route_direct_response: {{response_body_encoded: '{url}'}}}}]")[0]

    def test_base64(self) -> None:
        """The usual way; line ends inside do no harm."""
        self.assertEqual(self.body("string:///" + base64.b64encode(b"not here").decode()), b"not here")
        self.assertEqual(self.body("string:///bm90 IGhlcmU="), b"not here")

    def test_a_file(self) -> None:
        """Relative to the file it is named in."""
        folder = self.mktemp()
        write(folder, {"page.html": "hello"})
        self.assertEqual(self.body("file:page.html", folder), b"hello")

    def test_a_variable(self) -> None:
        """Also in object files, since it is asked for by name."""
        self.assertEqual(self.body("env:PAGE", environ={"PAGE": "hi"}), b"hi")

    def test_what_cannot_be_read(self) -> None:
        """Nothing is fetched from a network; a path alone is not taken for text."""
        for url, code in (("string:///not base64!", "VG0110"), ("file:missing.html", "VG0002"), ("env:UNSET", "VG0008"),
                          ("http://example.com/a", "VG0110"), ("a/b.html", "VG0110"), ("string:///" + "A" * 65536, "VG0103")):
            self.assertEqual(self.refused(url), code, url)

    def test_secrets_are_not_shown(self) -> None:
        """Neither in values nor in messages."""
        one = loaded(spec("virtual_host", "domains: [a], request_headers_to_add: [{name: x-key, secret_value: "
                                          "{clear_secret_info: {url: 'string:///aHVudGVyMg=='}}}]"))
        edit = one.of("virtual_host")["default", "x"].spec.request_headers_to_add[0]
        assert edit.secret_value is not None and edit.secret_value.clear_secret_info is not None
        self.assertEqual(edit.secret_value.clear_secret_info.url, Secret(b"hunter2"))
        self.assertNotIn("hunter2", repr(one.objects))

    def test_hexadecimal_bytes(self) -> None:
        """Payloads of TCP health checks."""
        rest = "interval: 1, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 1"
        one = loaded(spec("healthcheck", f"tcp_health_check: {{send_payload: 50494e47, expected_response: '504f'}}, {rest}"))
        check = one.of("healthcheck")["default", "x"].spec.tcp_health_check
        assert check is not None
        self.assertEqual((check.send_payload, check.expected_response), (b"PING", b"PO"))
        self.assertEqual(self.wrong("healthcheck", f"tcp_health_check: {{send_payload: PING}}, {rest}")[0], "VG0110")
        self.assertEqual(self.wrong("healthcheck", f"tcp_health_check: {{send_payload: '{'00' * 1025}'}}, {rest}")[0], "VG0103")


class CompoundTests(FieldCase):
    def test_lists(self) -> None:
        """Too long, twice the same, an empty item, no list at all."""
        for text, code in ((f"[{', '.join(f'h{n}' for n in range(34))}]", "VG0103"), ("[a, b, a]", "VG0113"), ("[a, ]", ""),
                           ("[a, null]", "VG0102"), ("a", "VG0102"), ("{a: b}", "VG0102")):
            found = [one.code for one in problems(spec("virtual_host", f"domains: {text}")) if one.severity.value == "error"]
            self.assertEqual(found[:1], [code] if code else [], text)

    def test_two_items_that_only_look_different(self) -> None:
        """They are compared as they were read."""
        self.assertEqual(self.wrong("virtual_host", "domains: [Shop.com, shop.com.]")[0], "VG0113")

    def test_maps(self) -> None:
        """Keys have a type too; null values are absent."""
        self.assertEqual(self.value("virtual_host", "domains: [a], custom_errors: {404: string:///eA==, 5: null}", "custom_errors"),
                         {404: b"x"})
        for text in ("{999: string:///eA==}", "{2: string:///eA==}", "{200: string:///eA==}"):
            self.assertEqual(self.wrong("virtual_host", f"domains: [a], custom_errors: {text}")[0], "VG0103", text)
        self.assertEqual(self.wrong("virtual_host", "domains: [a], custom_errors: [1]")[0], "VG0102")
        many = ", ".join(f"{n}: string:///eA==" for n in range(400, 417))
        self.assertEqual(self.wrong("virtual_host", f"domains: [a], custom_errors: {{{many}}}")[0], "VG0103")
