"""One table of policies for Squid and for voltgw: both say the same of the same requests, and the origin sees the same of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests import certificates
from tests.integration.forwarding import Proxied, connector, site
from tests.integration.gateway import PATIENCE_S, free_port
from tests.servers import nginx, require, squid

#: The table in our words...
_OURS: Final = {
    "never": "{deny_list: {http_list: [{exact_value: a.test, path_prefix_value: /secret}, {exact_value: a.test, path_exact_value: "
             "/exact}, {exact_value: b.test, path_regex_value: '/v[0-9]+/.*'}, {suffix_value: denied.test, any_path: {}}, "
             "{regex_value: 'tracker[0-9]+\\.test', any_path: {}}], tls_list: [{suffix_value: denied.test}, {exact_value: "
             "c.test}, {regex_value: 'tracker[0-9]+\\.test'}], dest_list: [{prefixes: [127.0.0.66/32]}], "
             "default_action_next_policy: {}}}",
    "some": "{allow_list: {http_list: [{suffix_value: test, any_path: {}}], tls_list: [{suffix_value: test}], "
            "default_action_deny: {}}}",
}
#: ...and in Squid's.
_SQUIDS: Final = r"""
acl tunnel method CONNECT
acl tunnel_ports port 443 TUNNELS
acl safe port 80 443 1025-65535
acl inside dst 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 100.64.0.0/10
acl urls url_regex ^http://a\.test(:[0-9]+)?/secret ^http://a\.test(:[0-9]+)?/exact$ ^http://b\.test(:[0-9]+)?/v[0-9]+/
acl denied dstdomain .denied.test
acl trackers dstdom_regex ^tracker[0-9]+\.test$
acl no_tls dstdomain c.test
acl nobody dst 127.0.0.66
acl ours dstdomain .test
http_access deny !safe
http_access deny tunnel !tunnel_ports
http_access deny inside
http_access deny urls
http_access deny denied
http_access deny trackers
http_access deny tunnel no_tls
http_access deny nobody
http_access allow ours
http_access deny all
"""
_HOSTS: Final = {
    **dict.fromkeys(("a.test", "b.test", "c.test", "denied.test", "www.denied.test", "notdenied.test", "tracker7.test",
                     "tracker.test", "other.example", "xtracker7.test"), "127.0.0.1"),
    "inside.test": "10.0.0.1", "meta.test": "169.254.169.254", "nobody.test": "127.0.0.66"}


class SquidTests(SynchronousTestCase):
    maxDiff = None

    def setUp(self) -> None:
        self.log = Path(self.mktemp()).resolve()
        self.plain = nginx(self, f'access_log {self.log} "combined"; location / {{ return 200 "origin"; }}')
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        one = certificates.server(*_HOSTS, ca="lab")
        (folder / "cert.pem").write_bytes(one.certificate)
        (folder / "key.pem").write_bytes(one.key)
        (folder / "ca.pem").write_bytes(certificates.authority("lab").certificate)
        self.ca = folder / "ca.pem"
        self.secure = nginx(self, f'ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem; '
                            'location / { return 200 "origin"; }', ssl=True)
        port = free_port()
        self.ours = Proxied(
            self, site(connector(port, voltgw=f"connect_ports: '443,{self.secure.port}'"), _OURS), port,
            {name: [address] for name, address in _HOSTS.items()})
        self.theirs = squid(self, _SQUIDS.replace("TUNNELS", str(self.secure.port)), _HOSTS)

    def verdict(self, proxy: int, url: str) -> str:
        """``through`` (the origin has answered), ``refused`` (the proxy has), or what else came.

        A name that is denied to TLS on a port where something else might be spoken is refused when the hello is heard.
        """
        done = subprocess.run(
            [require("curl"), "-sS", "-m", "10", "-x", f"http://127.0.0.1:{proxy}", "--path-as-is", "--cacert", str(self.ca),
             "-w", "\n%{http_code} %{http_connect}", url], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        body, _, codes = done.stdout.rpartition("\n")
        status, connect = codes.split()
        if status == "200" and body == "origin":
            return "through"
        if "403" in (status, connect) or "alert access denied" in done.stderr:
            return "refused"
        return f"{codes}: {done.stderr}"

    def cases(self) -> dict[str, str]:
        """URLs with the verdict that the table means."""
        plain, secure = self.plain.port, self.secure.port
        found = {}
        for name, paths in (
                ("a.test", {"/": 1, "/secret": 0, "/secret/x": 0, "/secretive": 0, "/exact": 0, "/exactly": 1, "/Secret": 1,
                            "/x?y=/secret": 1}),
                ("b.test", {"/": 1, "/v1/x": 0, "/v12/": 0, "/v/x": 1, "/secret": 1, "/w1/x": 1}),
                ("c.test", {"/": 1}), ("denied.test", {"/": 0}), ("www.denied.test", {"/": 0}), ("notdenied.test", {"/": 1}),
                ("tracker7.test", {"/": 0}), ("tracker.test", {"/": 1}), ("xtracker7.test", {"/": 1}),
                ("other.example", {"/": 0}), ("inside.test", {"/": 0}), ("meta.test", {"/": 0}), ("nobody.test", {"/": 0}),
                ("10.0.0.1", {"/": 0}), ("169.254.169.254", {"/": 0})):
            for path, good in paths.items():
                found[f"http://{name}:{plain}{path}"] = "through" if good else "refused"
        for name, good in (("a.test", 1), ("b.test", 1), ("c.test", 0), ("denied.test", 0), ("www.denied.test", 0),
                           ("notdenied.test", 1), ("tracker7.test", 0), ("other.example", 0), ("inside.test", 0)):
            found[f"https://{name}:{secure}/"] = "through" if good else "refused"
        for port in (22, 25):
            found[f"https://a.test:{port}/"] = found[f"http://a.test:{port}/"] = "refused"
        return found

    def test_the_same_verdicts(self) -> None:
        """Names, suffixes, patterns, paths, ports, resolved addresses, in plain text and by CONNECT."""
        cases = self.cases()
        self.assertGreaterEqual(len(cases), 40)
        ours = {url: self.verdict(self.ours.port, url) for url in cases}
        seen = self.log.read_text(encoding="utf-8").count("\n")
        theirs = {url: self.verdict(self.theirs.port, url) for url in cases}
        self.assertEqual(ours, cases)
        self.assertEqual(theirs, cases)
        self.assertEqual(self.log.read_text(encoding="utf-8").count("\n"), 2 * seen)
