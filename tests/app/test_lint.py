"""What is allowed but hardly meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.app.making import config
from tests.config.making import lines
from tests.config.pem import TODAY, certificate_pem, key_pem, new_key, url
from voltgw.app.dry import dry_build
from voltgw.app.lint import lint
from voltgw.errors import ConfigError, Severity

KEY, OTHER = new_key(), new_key()

BASE = """\
objects:
- {kind: advertise_policy, metadata: {name: p}, spec: {address: 127.0.0.1, port: 8080}}
- {kind: cluster, metadata: {name: c}, spec: {endpoints: [e]}}
- {kind: cluster, metadata: {name: d}, spec: {endpoints: [e], health_checks: [h]}}
- {kind: endpoint, metadata: {name: e}, spec: {ip: 192.0.2.1, port: 80}}
- {kind: healthcheck, metadata: {name: h}, spec: {tcp_health_check: {}, interval: 5, timeout: 1, healthy_threshold: 1, unhealthy_threshold: 1}}
"""


def host(fields: str = "", name: str = "a") -> str:
    """A virtual host on the one policy, with the route `r`."""
    return (f"- {{kind: virtual_host, metadata: {{name: {name}}}, spec: {{domains: [{name}.example], advertise_policies: [p], "
            f"routes: [r]{fields and ', ' + fields}}}}}\n")


def route(*rules: str, more: str = "") -> str:
    """The route `r`; the rules begin in column 63."""
    return f"- {{kind: route, metadata: {{name: r}}, spec: {{{more}{more and ', '}routes: [{', '.join(rules)}]}}}}\n"


def forward(fields: str = "", match: str = "", more: str = "") -> str:
    """A rule that forwards to the cluster `c`."""
    return (f"{{{match and f'match: [{match}], '}route_destination: {{destinations: [{{cluster: c}}]{fields and ', ' + fields}}}"
            f"{more and ', ' + more}}}")


def found(*objects: str, head: str = "") -> tuple[ConfigError, ...]:
    """What lint says of a configuration that loads."""
    made = config(head + BASE + "".join(objects))
    return lint(made, dry_build(made), TODAY)


def told(*objects: str, head: str = "") -> list[str]:
    """The same as lines."""
    return lines(found(*objects, head=head))


class RuleTests(SynchronousTestCase):
    def test_nothing_to_say(self) -> None:
        """A plain configuration."""
        self.assertEqual(told(host(), route(forward())), [])

    def test_rules_that_are_never_reached(self) -> None:
        """The words are those of the routing room, in the order of the file."""
        (line,) = told(host(), route(forward(), forward(match="{path: {prefix: /a/}}")))
        self.assertTrue(line.startswith("W 8:"), line)
        self.assertIn("VG0303 rule r/1 of virtual_host default/a is never reached", line)

    def test_a_route_object_of_two_hosts(self) -> None:
        """What is true of each host is told of each; what is true of the object, once."""
        twice = told(host(), host(name="b"), route(forward(), forward()))
        self.assertEqual(["default/a" in line or "default/b" in line for line in twice], [True, True])
        policy = 'retry_policy: {retry_condition: [5xx]}'
        once = told(host(), host(name="b"), route(forward(policy, "{http_method: POST}")))
        self.assertEqual(len(once), 1)

    def test_domains_that_are_never_chosen(self) -> None:
        """On one listener."""
        made = [f"- {{kind: virtual_host, metadata: {{name: {name}}}, spec: {{domains: ['{domain}'], advertise_policies: [p], routes: [r]}}}}\n"
                for name, domain in (("a", "*.shop.example"), ("b", "*-x.shop.example"), ("c", "*.shop.example:8080"))]
        self.assertFalse(found(*made[:2], route(forward())))
        (problem,) = found(*made, route(forward()))
        self.assertEqual(problem.code, "VG0304")
        self.assertIn("domain *.shop.example of virtual_host default/a", problem.message)


class RetryTests(SynchronousTestCase):
    def codes(self, policy: str, match: str = "", more: str = "", of_host: str = "") -> list[str]:
        """The codes of a rule with a retry policy."""
        return [one.code for one in found(host(of_host), route(forward(policy, match, more)))]

    def test_retries_that_never_happen(self) -> None:
        """Conditions after which the endpoint may have acted, and methods that are not idempotent, without the permission."""
        on = "retry_policy: {retry_condition: [%s]}"
        post, allowed = "{http_method: POST}", "voltgw: {retry_non_idempotent: true}"
        for policy, match, more, expected in (
            (on % "5xx", post, "", ["VG0406"]), (on % "connect-failure", post, "", []), (on % "5xx, refused-stream", post, "", ["VG0406"]),
            (on % "reset", "{http_method: POST}, {http_method: PATCH}", "", ["VG0406"]), (on % "5xx", "{http_method: POST}, {http_method: GET}", "", []),
            (on % "5xx", "", "", []), (on % "5xx", "{path: {prefix: /}}", "", []), (on % "5xx", post, allowed, []),
            ("retry_policy: {retry_on: 5xx}", post, "", ["VG0406"]), ("retry_policy: {retry_condition: [5xx], num_retries: 0}", post, "", []),
            ("", post, "", []),
        ):
            self.assertEqual(self.codes(policy, match, more), expected, (policy, match, more))
        self.assertEqual(self.codes("", post, of_host=on % "5xx"), ["VG0406"])
        self.assertEqual(self.codes("", post, of_host=(on % "5xx") + ", " + allowed), [])

    def test_what_it_says(self) -> None:
        """Which conditions, which methods, where the policy stands."""
        (problem,) = found(host("retry_policy: {retry_condition: [reset, 5xx]}"), route(forward("", "{http_method: POST}")))
        self.assertEqual(problem.message, "retries on 5xx, reset never happen here: the rule takes POST only, which may do something a "
                         "second time")
        self.assertEqual([(words, place.line) for words, place in problem.related], [("the retry policy", 7)])
        self.assertEqual((problem.place.line, problem.severity), (8, Severity.WARNING))

    def test_two_of_one_request_at_a_time(self) -> None:
        """Where a slow try goes on beside the next one, also for POST."""
        policy = "retry_policy: {retry_condition: [5xx], per_try_timeout: 100}"
        both = "voltgw: {retry_non_idempotent: true, hedge_on_per_try_timeout: true}"
        for match, more, expected in (("", both, ["VG0407"]), ("{http_method: POST}", both, ["VG0407"]), ("{http_method: GET}", both, []),
                                      ("", "voltgw: {hedge_on_per_try_timeout: true}", [])):
            self.assertEqual(self.codes(policy, match, more), expected, (match, more))
        self.assertEqual(self.codes("retry_policy: {retry_condition: [5xx]}", "", both), [])

    def test_limits_that_end_a_try_before_its_own(self) -> None:
        """The rule's time limit under the host's policy, and silence under either."""
        on = "retry_policy: {retry_condition: [connect-failure], per_try_timeout: 2000}"
        for fields, of_host, expected in (
            ("timeout: 1000", on, ["VG0208"]), ("timeout: 2000", on, ["VG0208"]), ("timeout: 3000", on, []), ("", on, []),
            ("", f"{on}, idle_timeout: 1000", ["VG0208"]), (on, "idle_timeout: 2000", ["VG0208"]), (on, "idle_timeout: 3000", []),
        ):
            self.assertEqual(self.codes(fields, of_host=of_host), expected, (fields, of_host))


class StandByTests(SynchronousTestCase):
    def codes(self, destinations: str) -> list[str]:
        """The codes of a rule with these destinations."""
        return [one.code for one in found(host(), route(f"{{route_destination: {{destinations: [{destinations}]}}}}"))]

    def test_priorities_without_health(self) -> None:
        """Those that others stand by for need a check; the last ones need none, since nobody comes after them."""
        for destinations, expected in (
            ("{cluster: c, weight: 1, priority: 1}, {cluster: d, weight: 1, priority: 2}", ["VG0408"]),
            ("{cluster: d, weight: 1, priority: 1}, {cluster: c, weight: 1, priority: 2}", []),
            ("{cluster: d, weight: 1, priority: 1}, {cluster: c, weight: 1, priority: 0}", []),
            ("{cluster: c, weight: 1, priority: 1}, {cluster: d, weight: 1}", ["VG0408"]),
            ("{cluster: c, weight: 1}, {cluster: d, weight: 1}", []), ("{cluster: c, priority: 1}, {cluster: d, priority: 2}", ["VG0408"]),
            ("{cluster: c, weight: 0, priority: 1}, {cluster: d, weight: 1, priority: 2}, {cluster: c, weight: 1, priority: 3}", []),
            ("{cluster: c, priority: 1}", []),
        ):
            self.assertEqual(self.codes(destinations), expected, destinations)

    def test_pools_of_a_view(self) -> None:
        """The place is that of the pool in the load balancer."""
        balancer = ("- {kind: http_loadbalancer, metadata: {name: x}, spec: {domains: [x.example], do_not_advertise: {}, default_route_pools: "
                    "[{pool: q, weight: 1, priority: 1}, {cluster: d, weight: 1, priority: 2}]}}\n")
        pool = "- {kind: origin_pool, metadata: {name: q}, spec: {origin_servers: [{public_ip: {ip: 192.0.2.7}}], port: 80}}\n"
        (problem,) = found(balancer, pool)
        self.assertEqual((problem.code, problem.place.line, problem.place.column), ("VG0408", 7, 123))


class LostTests(SynchronousTestCase):
    def test_what_is_lost_with_the_process(self) -> None:
        """The last good objects of an include."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "more.yaml").write_text("objects: []\n")
        head = f"include: [{{path: {folder.resolve() / 'more.yaml'}, on_error: keep_last}}]\n"
        (problem,) = found(head=head)
        self.assertEqual((problem.code, problem.place.line), ("VG0409", 1))
        self.assertEqual(found(head=head.replace(", on_error: keep_last", "")), ())


class FetchedTests(SynchronousTestCase):
    def codes(self, listen: int, challenge: str, *more: str) -> list[str]:
        """What is said of a host with a fetched certificate on this port."""
        head = ("gateway: {data_dir: x, acme: {directory: 'https://ca.example/dir', agree_to_terms: true, challenge: "
                f"{challenge}}}}}\nload_balancers:\n- {{name: s, protocol: https, listen: {listen}, domains: [s.example], "
                "tls: {auto_cert: true}, origins: ['192.0.2.1:80']}\n")
        return [one.code for one in found(*more, head=head)]

    def test_where_the_ca_comes(self) -> None:
        """Port 443 for tls-alpn-01, a plain listener on port 80 for http-01; other kinds are nobody's guess."""
        self.assertEqual(self.codes(443, "tls-alpn-01"), [])
        self.assertEqual(self.codes(8443, "tls-alpn-01"), ["VG0413"])
        self.assertEqual(self.codes(443, "http-01"), ["VG0413"])
        plain = ("- {kind: virtual_host, metadata: {name: p80}, spec: {domains: [p.example], advertise_policies: [p80], routes: [p80]}}\n"
                 "- {kind: advertise_policy, metadata: {name: p80}, spec: {address: 127.0.0.1, port: 80}}\n"
                 "- {kind: route, metadata: {name: p80}, spec: {routes: [{route_direct_response: {response_code: 200}}]}}\n")
        self.assertEqual(self.codes(443, "http-01", plain), [])


class TracingTests(SynchronousTestCase):
    def test_traces_that_nobody_keeps(self) -> None:
        """Each place that asks for some, until the gateway says where they go."""
        said = "voltgw: {tracing: {sample: 1}}"
        objects = host(said), route(forward(more=said), more=said)
        self.assertEqual([(each.code, each.place.line) for each in found(*objects)], [("VG0415", 7), ("VG0415", 8), ("VG0415", 8)])
        self.assertEqual(told(*objects, head="gateway: {tracing: http://127.0.0.1:4318/v1/traces}\n"), [])


class CertificateTests(SynchronousTestCase):
    def certificate(self, names: list[str], *, key: object = None, ends: int = 90, chain: bytes | None = None) -> str:
        """A certificate object `k`."""
        data = certificate_pem(names, KEY, ends=ends) if chain is None else chain
        pem = key_pem(KEY if key is None else OTHER)
        return (f"- {{kind: certificate, metadata: {{name: k}}, spec: {{certificate_url: '{url(data)}', private_key: "
                f"{{clear_secret_info: {{url: '{url(pem)}'}}}}}}}}\n")

    def balancer(self, domains: str, tls: str = "tls_cert_params: {certificates: [k]}") -> str:
        """A load balancer that shows it."""
        return (f"- {{kind: http_loadbalancer, metadata: {{name: x}}, spec: {{domains: [{domains}], do_not_advertise: {{}}, default_route_pools: "
                f"[{{cluster: c}}], https: {{{tls}}}}}}}\n")

    def test_one_that_is_well(self) -> None:
        """Nothing to say."""
        self.assertEqual(told(self.certificate(["x.example", "*.shop.example"]), self.balancer("x.example, '*.shop.example'")), [])

    def test_domains_that_no_certificate_covers(self) -> None:
        """Once for a host, at the first of them."""
        (problem,) = found(self.certificate(["x.example"]), self.balancer("x.example, y.example, z.example"))
        self.assertEqual(problem.message, 'no certificate of virtual_host "ves-io-http-loadbalancer-x" covers y.example (nor 1 more of its '
                         "domains): the names are x.example")
        self.assertEqual((problem.code, problem.place.line, problem.severity), ("VG0401", 8, Severity.WARNING))

    def test_dates(self) -> None:
        """At the certificate, whoever uses it."""
        self.assertEqual([(one.code, one.place.line, one.severity) for one in found(self.certificate(["x.example"], ends=-1))],
                         [("VG0402", 7, Severity.WARNING)])
        self.assertEqual([one.code for one in found(self.certificate(["x.example"], ends=20))], ["VG0403"])

    def test_keys(self) -> None:
        """At the key, as an error."""
        (problem,) = found(self.certificate(["x.example"], key=OTHER))
        self.assertEqual((problem.code, problem.severity), ("VG0404", Severity.ERROR))
        self.assertGreater(problem.place.column, found(self.certificate([], chain=b"x"))[0].place.column)

    def test_what_is_no_certificate(self) -> None:
        """An error, and nothing is said of the domains."""
        self.assertEqual([(one.code, one.severity) for one in found(self.certificate([], chain=b"x"), self.balancer("x.example"))],
                         [("VG0405", Severity.ERROR)])

    def test_a_key_that_somebody_else_holds(self) -> None:
        """It cannot be compared."""
        sealed = (f"- {{kind: certificate, metadata: {{name: k}}, spec: {{certificate_url: '{url(certificate_pem(['x.example'], KEY))}', "
                  "private_key: {blindfold_secret_info: {location: 'string:///YQ=='}}}}\n")
        self.assertEqual(told(sealed), [])

    def test_certificates_that_stand_in_the_view(self) -> None:
        """Or in a policy or cluster: their place is where their bytes are."""
        inline = (f"tls_parameters: {{tls_certificates: [{{certificate_url: '{url(certificate_pem(['x.example'], KEY, ends=-2))}', private_key: "
                  f"{{clear_secret_info: {{url: '{url(key_pem(OTHER))}'}}}}}}]}}")
        self.assertEqual([(one.code, one.place.line) for one in found(self.balancer("y.example", inline))],
                         [("VG0404", 7), ("VG0401", 7), ("VG0402", 7)])

    def test_a_disabled_load_balancer(self) -> None:
        """Its domains are nobody's concern."""
        off = self.balancer("y.example").replace("{name: x}", "{name: x, disable: true}")
        self.assertEqual(told(self.certificate(["x.example"]), off), [])

    def test_the_library_is_not_loaded_for_nothing(self) -> None:
        """Most files have no certificate, and should not wait for it."""
        path = Path(self.mktemp()).resolve()
        path.write_text(BASE + host() + route(forward()))
        script = ("import sys\nfrom voltgw.cli.main import main\n"
                  f"status = main(['check', {str(path)!r}])\n"
                  "print(status, 'voltgw.config.certificates' in sys.modules)")
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
        self.assertTrue(done.stdout.endswith("\n0 False\n"), done.stdout)
