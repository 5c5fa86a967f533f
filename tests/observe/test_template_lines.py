"""Lines by a template: what each field says, and what no value can do to a line."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.settings import examples
from tests.observe.making import START, WALL, a_connection, an_exchange
from voltgw.config.log_template import COMBINED, COMMON, MAX_TEMPLATE, TEMPLATE_FIELDS, parse
from voltgw.observe.anonymous import network_of
from voltgw.observe.headers import Headers
from voltgw.observe.json_lines import JsonLines
from voltgw.observe.template_lines import FUNCTIONS, TemplateLines
from voltgw.values.trace import Trace

OFFSET: Final = WALL - START
#: The grammar of a Combined line, as readers of Apache's logs have it: a quoted string ends at the first quote that no backslash hides.
COMBINED_LINE: Final = re.compile(
    r'(\S+) (\S+) (\S+) \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] '
    r'"((?:[^"\\]|\\.)*)" (\d{1,3}) (\d+|-) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"\n').fullmatch


def unescaped(text: str) -> bytes:
    """What an escaped value says."""
    return re.sub(rb"\\(x[0-9a-f]{2}|.)", lambda found: bytes.fromhex(found[1][1:].decode()) if len(found[1]) > 1 else found[1],
                  text.encode("ascii"))


class TemplateTests(SynchronousTestCase):
    def line(self, template: str, record: Any = None, **options: Any) -> str:
        lines = TemplateLines(parse(template), site="paris", hostname="edge-1", **options)
        record = an_exchange() if record is None else record
        return lines.connection(record, OFFSET) if hasattr(record, "t_upstream_connected") else lines.http(record, OFFSET)

    def test_common_and_combined(self) -> None:
        """As Apache would write it."""
        exchange = an_exchange(b"/cart?page=2", fields=[(b"user-agent", b"curl/8.5.0"), (b"referer", b"https://shop.example/")])
        common = '203.0.113.10 - - [28/Mar/2022:23:09:53 +0000] "GET /cart?page=2 HTTP/1.1" 200 223'
        self.assertEqual(self.line(COMMON, exchange), f"{common}\n")
        self.assertEqual(self.line(COMBINED, exchange), f'{common} "https://shop.example/" "curl/8.5.0"\n')

    def test_a_connection_in_combined(self) -> None:
        """It has no request, and is a line of the grammar all the same."""
        found = COMBINED_LINE(self.line(COMBINED, a_connection()))
        assert found is not None
        self.assertEqual(found[5], "- - -")

    @given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80), st.text(max_size=40))
    @examples(300)
    def test_no_value_can_forge_a_line(self, agent: bytes, referer: bytes, path: bytes, user: str) -> None:
        """Whatever clients send, there is one line feed, at the end; each value is where it belongs, and can be read back."""
        exchange = an_exchange(b"/", fields=[(b"user-agent", agent), (b"referer", referer)])
        exchange.request.path = b"/" + path.replace(b";", b"")
        exchange.proof = Proof(user)        # type: ignore[assignment]
        line = self.line(COMBINED, exchange)
        self.assertTrue(line.isascii() and line[:-1].isprintable(), line)
        found = COMBINED_LINE(line)
        assert found is not None, line
        self.assertEqual((found[1], found[6], found[7]), ("203.0.113.10", "200", "223"))
        self.assertEqual(unescaped(found[5]).partition(b" ")[0], b"GET")
        if agent and b"=" not in agent:
            self.assertEqual(unescaped(found[9]), agent.decode("utf-8", "backslashreplace").encode())

    def test_fields_say_what_json_says(self) -> None:
        """A field has one name and one meaning in every format."""
        exchange = an_exchange(b"/cart;jsessionid=7?page=2&token=secret", b"/cart;jsessionid=7")
        exchange.request.forwarding = [(b"x-forwarded-for", b"198.51.100.7")]
        exchange.policy, exchange.limit, exchange.rollout = "default/edge/no-admin", "default/per-user 192.0.2.7", "default/shop candidate"
        exchange.grpc_status = b"14"
        exchange.trace = Trace(b"0af7651916cd43dd8448eb211c80319c", 0xF067AA0BA902B7, b"b7ad6b7169203331", True)
        other = an_exchange()
        other.client_address, other.route, other.endpoint, other.response = "198.51.100.9", None, None, None
        found: tuple[str, str, str, int, str] = ("FR", "Auvergne", "Lyon", 64500, "EXAMPLE")
        for anonymous in (False, True):
            shown: Any = network_of if anonymous else str
            json_lines = JsonLines("paris", "edge-1", "site-local-vn", lambda address: found, anonymous)
            template = "|".join(f'"{{{name}}}"' for name in TEMPLATE_FIELDS if name in self.of_json())
            names = [name for name in TEMPLATE_FIELDS if name in self.of_json()]
            records: list[Any] = [exchange, other, a_connection()]
            for record in records:
                connection = hasattr(record, "t_upstream_connected")
                said = json.loads(json_lines.connection(record, OFFSET) if connection else json_lines.http(record, OFFSET))
                line = self.line(template, record, find=lambda address: found, shown=shown)
                values = dict(zip(names, (each.strip('"') for each in line[:-1].split("|")), strict=True))
                for name, value in values.items():
                    if name == "duration_s":
                        self.assertAlmostEqual(float(value), said[name])
                    elif name in said or value != "-":
                        default = "0" if name == "rsp_code" else ""
                        self.assertEqual(value, str(said.get(name, default)) or "-", (name, anonymous))

    def of_json(self) -> set[str]:
        """Names of template fields that JSON records may have."""
        exchange = an_exchange()
        exchange.grpc_status, exchange.rollout = b"0", "x"
        exchange.trace = Trace(b"0" * 32, 1, b"0" * 16, True)
        return {*json.loads(JsonLines("", "", "", lambda address: ("", "", "", 0, "")).http(exchange, OFFSET))}

    def test_every_field_has_a_function(self) -> None:
        """What the configuration takes can be written, and nothing else can."""
        self.assertEqual(set(FUNCTIONS), set(TEMPLATE_FIELDS))

    def test_fields_for_reading(self) -> None:
        """Those that JSON has not."""
        self.assertEqual(self.line("{time_unix} {target} {endpoint} {virtual_host} {duration_ms} {upstream_ms} {{{method}}}"),
                         "1648508993.748 /cart 10.0.0.5:9001 default/shop 1 1 {GET}\n")

    def test_header_fields(self) -> None:
        """By their names; what looks like a secret is not written."""
        exchange = an_exchange(fields=[(b"accept", b"a"), (b"accept", b'b"'), (b"x-api-key", b"geheim")])
        assert exchange.response is not None
        exchange.response.fields.append((b"content-type", b"text/html"))
        self.assertEqual(self.line('"{request_header:Accept}" {request_header:x-api-key} {response_header:content-type} {response_header:x}',
                                   exchange), '"a, b\\"" *** text/html -\n')

    def test_outside_quotes(self) -> None:
        """A space in a value cannot make two fields of one, and nothing is ``-``."""
        exchange = an_exchange(fields=[(b"user-agent", b"a b\tc")])
        self.assertEqual(self.line('{user_agent} "{user_agent}" {auth_user} "{auth_user}"', exchange), 'a\\x20b\\x09c "a b\\x09c" - "-"\n')

    def test_long_values(self) -> None:
        """No client fills the disk with long names."""
        exchange = an_exchange(fields=[(b"user-agent", b"x" * 60_000)])
        self.assertLess(len(self.line(COMBINED, exchange)), 3000)

    def test_what_is_no_template(self) -> None:
        """It is refused in words that help."""
        for template, words in (
            ("{methud}", 'there is no field {methud}; did you mean "method"?'), ("{}", "there is no field {}"), ("text", "1 to 128 fields"),
            ("{method", "stands alone; write {{"), ("method}", "stands alone; write }}"), ("{method:x}", "there is no field"),
            ("{request_header}", "{request_header:referer}"), ("{request_header:a b}", "names no header field"),
            ("{method}\n", "one line of printable"), ("{method}" * 129, "1 to 128 fields"), ("x" * (MAX_TEMPLATE + 1), "longer than"),
        ):
            self.assertIn(words, str(self.assertRaises(ValueError, parse, template)))

    def test_addresses_of_which_only_the_network_is_written(self) -> None:
        """Wherever the client's address stands."""
        exchange = an_exchange()
        exchange.request.forwarding = [(b"x-forwarded-for", b"198.51.100.7, 2001:db8:1:2::3, unknown")]
        exchange.limit = "default/per-user 203.0.113.10"
        self.assertEqual(self.line('{src_ip} {user} "{x_forwarded_for}" "{rate_limit}"', exchange, shown=network_of),
                         '203.0.113.0 IP-203.0.113.0 "198.51.100.0, 2001:db8:1::" "default/per-user 203.0.113.0"\n')
        self.assertEqual(network_of("::ffff:203.0.113.10"), "203.0.113.0")

    def test_hashed(self) -> None:
        """Equal values have equal hashes by one key, and others by another."""
        fields = [(b"authorization", b"Basic x")]
        one, two = (Headers(["authorization"], [], ["Authorization"], key).value(b"authorization", fields) for key in (b"k" * 16, b"l" * 16))
        self.assertNotEqual(one, two)
        self.assertRegex(one, r"\A[0-9a-f]{16}\Z")
        self.assertEqual(one, Headers(["authorization"], [], ["authorization"], b"k" * 16).value(b"authorization", fields))


class Proof:
    """A credential of somebody."""

    said = "basic"

    def __init__(self, name: str) -> None:
        self.user = self
        self.name = name


