"""Access logs as a configuration wants them: what an operator finds in each file after the same requests."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its stubs are a package of their own
from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config
from tests.app.running import GatewayCase
from tests.observe.making import START, WALL, a_connection, an_exchange
from voltgw.app.access_logs import About, lines_of
from voltgw.errors import ConfigErrors
from voltgw.observe.access_schema import access_schema

_HOSTS = """
objects:
- kind: virtual_host
  metadata: {{name: shop}}
  spec: {{domains: [shop.example], proxy: HTTP_PROXY, advertise_policies: [p], routes: [r]}}
- kind: virtual_host
  metadata: {{name: quiet}}
  spec: {{domains: [quiet.example], proxy: HTTP_PROXY, advertise_policies: [p], routes: [r], voltgw: {{no_access_log: {quiet}}}}}
- {{kind: advertise_policy, metadata: {{name: p}}, spec: {{address: 127.0.0.1, port: {port}}}}}
- kind: route
  metadata: {{name: r}}
  spec:
    routes:
    - {{match: [{{path: {{prefix: /bad}}}}], route_direct_response: {{response_code: 503, response_body: bad}}}}
    - {{match: [{{path: {{prefix: /}}}}], route_direct_response: {{response_code: 200, response_body: ok}}}}
"""
_LOGS = """
gateway:
  admin: {port: 0}
  access_log:
  - {path: all.log, headers: {request: [referer, authorization, x-session-token], hashed: [authorization], hash_key: "string:///c2VjcmV0"}}
  - {path: errors.log, format: text, only: {status: [5xx], hosts: [shop]}}
  - {path: combined.log, format: combined, client_addresses: network}
  - {path: own.log, template: '{rsp_code} {vh_name} "{target}"', sample: {2xx: 0}}
  - {path: sampled.log, sample: {2xx: 0}}
"""


class SeveralLogsTests(GatewayCase):
    async def test_each_has_its_own(self) -> None:
        """The same requests: all, errors of one host, Combined without addresses, a template, a sample; and none of a quiet host."""
        self.file.write_text(_LOGS + _HOSTS.format(port=self.port, quiet="true"))
        gateway = self.make()
        gateway.privilegedStartService()
        gateway.startService()
        await self.warm()
        for host, target in (("shop.example", "/ok?token=geheim"), ("quiet.example", "/bad"), ("shop.example", "/bad"),
                             ("other.example", "/")):
            peer = await self.client(self.port)
            peer.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nReferer: https://a/?token=geheim\r\nAuthorization: Basic eA==\r\n"
                      "X-Session-Token: geheim\r\nConnection: close\r\n\r\n".encode())
            await self.until(partial(getattr, peer, "lost"))
        self.advance(0.5)
        whole = [json.loads(line) for line in self.lines("all.log")]
        self.assertEqual([(each["rsp_code"], each["vh_name"]) for each in whole], [("200", "shop"), ("503", "shop"), ("404", "")])
        headers = whole[0]["req_headers"]
        self.assertEqual((headers["referer"], headers["x-session-token"]), ("https://a/?token=***", "***"))
        self.assertRegex(headers["authorization"], r"\A[0-9a-f]{16}\Z")
        self.assertNotIn("rsp_headers", whole[0])
        (error,) = self.lines("errors.log")
        self.assertIn('"GET /bad HTTP/1.1" 503', error)
        combined = self.lines("combined.log")
        self.assertEqual(len(combined), 3)
        self.assertRegex(combined[0], r'\A127\.0\.0\.0 - - \[[^]]+\] "GET /ok\?token=\*\*\* HTTP/1\.1" 200 \d+ "https://a/\?token=\*\*\*" "-"\Z')
        self.assertEqual(self.lines("own.log"), ['503 shop "/bad"', '404 - "/"'])
        self.assertEqual([json.loads(line)["sample_rate"] for line in self.lines("sampled.log")], ["1.000000"] * 2)
        self.assertNotIn("geheim", "".join(path.read_text() for path in self.folder.glob("*.log")))
        facts = gateway.logs.view()["access_log"]
        self.assertEqual([(Path(each["log"]).name, each["lines"], each["left_out"]) for each in facts["logs"]], [
            ("all.log", 3, 0), ("errors.log", 1, 2), ("combined.log", 3, 0), ("own.log", 2, 1), ("sampled.log", 2, 1)])

        self.file.write_text(_LOGS + _HOSTS.format(port=self.port, quiet="false"))
        self.assertTrue((await gateway.reload())["ok"])
        peer = await self.client(self.port)
        peer.send(b"GET / HTTP/1.1\r\nHost: quiet.example\r\nConnection: close\r\n\r\n")
        await self.until(lambda: peer.lost)
        self.advance(0.5)
        self.assertEqual(json.loads(self.lines("all.log")[-1])["vh_name"], "quiet")

    def lines(self, name: str) -> list[str]:
        """What stands in a log."""
        return (self.folder / name).read_text().splitlines()


class SchemaTests(SynchronousTestCase):
    """`voltgw schema access-log` is what log readers may count on."""

    def setUp(self) -> None:
        schema = access_schema()
        Draft202012Validator.check_schema(schema)
        self.validator = Draft202012Validator(schema)

    def lines(self, more: str = "") -> Any:
        """What makes the lines of a log of such a configuration."""
        (wanted,) = config(f"gateway: {{access_log: {{path: x.log{more}}}}}").gateway.access_log
        return lines_of(wanted, About("paris", "edge-1", lambda exchange: (), lambda address: ("FR", "", "", 0, "")))

    def test_real_lines(self) -> None:
        """Of requests and connections, with whatever may stand in them besides."""
        exchange, record = an_exchange(fields=[(b"referer", b"x")]), a_connection()
        for more in ("", ", headers: {request: [referer], response: [x]}", ", explain: 1", ", client_addresses: network"):
            lines = self.lines(more)
            for line in (lines.http(exchange, WALL - START), lines.connection(record, WALL - START)):
                self.assertEqual([error.message for error in self.validator.iter_errors(json.loads(line))], [])
            exchange.grpc_status, exchange.rollout, record.rollout, record.slowed_s = b"14", "x candidate", "x baseline", 0.5

    def test_what_is_no_line(self) -> None:
        """A key that is missing, a number that is text, and a record that is neither."""
        good = json.loads(self.lines().http(an_exchange(), WALL - START))
        for wrong in ({**good, "rsp_code": 200}, {**good, "duration_s": "1"}, {key: good[key] for key in good if key != "req_id"},
                      {**good, "connection_state": "CLOSED"}, {}):
            self.assertFalse(self.validator.is_valid(wrong))


class MistakeTests(SynchronousTestCase):
    def problems(self, log: str) -> list[str]:
        """What is wrong with such a log."""
        errors = self.assertRaises(ConfigErrors, config, f"gateway: {{access_log: {log}}}")
        return [f"{problem.place.column} {problem.message}" for problem in errors.problems]

    def test_mistakes(self) -> None:
        """Each is told where it stands, in words that help."""
        for log, words in (
            ("{path: x, template: '{methud}'}", 'there is no field {methud}; did you mean "method"?'),
            ("{path: x, template: '{method}', format: text}", "a template is a format of its own"),
            ("{path: x, format: common, headers: {request: [referer]}}", "{request_header:referer}"),
            ("{path: x, headers: {request: [Cookie]}}", "Cookie holds credentials"),
            ("{path: x, headers: {response: [set-cookie]}}", "set-cookie holds credentials"),
            ("{path: x, headers: {request: [a], hashed: [b]}}", "neither `request` nor `response`"),
            ("{path: x, template: '{request_header:authorization}'}", "authorization holds credentials"),
            ("{path: x, client_addresses: network, explain: 0.1}", "names client addresses"),
            ("{path: x, client_addresses: network, headers: {request: [x-real-ip]}}", "x-real-ip holds client addresses"),
            ("{path: x, client_addresses: network, template: '{request_header:x-real-ip}'}", "x-real-ip holds client addresses"),
            ("{path: x, only: {status: [6xx]}}", "neither a status"),
            ("{path: x, sample: {5xx: 0.1}}", "is none of"),
        ):
            (problem,) = self.problems(log)
            self.assertIn(words, problem, log)
