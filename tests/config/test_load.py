"""Files to configurations: our own form, object files of every dialect, includes, defaults, variables."""

from __future__ import annotations

import json
import os
import pickle

from twisted.trial.unittest import SynchronousTestCase

from tests.config.making import GOOD, codes, lines, loaded, problems, text, write
from voltgw.config.gateway import OnDangling
from voltgw.config.load import Cache, load, load_checked, load_text
from voltgw.config.logs import LogFormat, LogLevel
from voltgw.config.objects.advertise_policy import AdvertisePolicySpec
from voltgw.config.objects.endpoint import EndpointSpec
from voltgw.config.values import Ref
from voltgw.errors import ConfigErrors, Place

ENDPOINT = "metadata: {name: a}\nspec: {ip: 192.0.2.1, port: 80}\n"


class OwnFormTests(SynchronousTestCase):
    def test_the_whole_example_loads(self) -> None:
        """Every kind that is acted on, without a word of complaint."""
        config = loaded(GOOD)
        self.assertEqual(config.warnings, ())
        self.assertEqual({kind: len(objects) for kind, objects in config.objects.items()}, {
            "virtual_host": 1, "advertise_policy": 1, "route": 1, "cluster": 2, "endpoint": 3, "healthcheck": 1, "site": 1})

    def test_objects_stand_in_the_order_of_the_file(self) -> None:
        """Routes may depend on it one day, people do already."""
        self.assertEqual([name for _, name in loaded(GOOD).of("endpoint")], ["shop-1", "shop-2", "canary-1"])

    def test_the_gateway_part(self) -> None:
        """Every field, paths joined with the file's folder."""
        config = load_text(text("""
            gateway:
              site: paris
              admin: {unix: admin.sock}
              access_log: {path: logs/access.log, format: text}
              log_level: debug
              monitor: {address: 0.0.0.0, port: 9902}
              port_map: {80: 8080, 443: 8443}
              on_dangling: serve_503
              drain_timeout: 1m
              max_connections: 100
        """), folder="/etc/voltgw")
        gateway = config.gateway
        self.assertEqual((gateway.site_name, gateway.log_level, gateway.on_dangling, gateway.drain_timeout_s,
                          gateway.max_connections), ("paris", LogLevel.DEBUG, OnDangling.SERVE_503, 60.0, 100))
        assert gateway.admin is not None and gateway.monitor is not None
        self.assertEqual(gateway.admin.unix, "/etc/voltgw/admin.sock")
        (log,) = gateway.access_log
        self.assertEqual((log.path, log.format), ("/etc/voltgw/logs/access.log", LogFormat.TEXT))
        self.assertEqual((gateway.monitor.address, gateway.monitor.port), ("0.0.0.0", 9902))
        self.assertEqual([gateway.bound_port(port) for port in (80, 443, 8000)], [8080, 8443, 8000])

    def test_standard_output_is_no_path(self) -> None:
        """``-`` stays as it is, also alone."""
        for source in ("gateway: {access_log: '-'}", "gateway: {access_log: {path: '-'}}"):
            (log,) = loaded(source).gateway.access_log
            assert log is not None
            self.assertEqual(log.path, "-")

    def test_nothing_at_all(self) -> None:
        """An empty file is a gateway that does nothing."""
        for source in ("", "# nothing\n", "---\n", "{}", "objects:\n", "objects: []\ngateway:\nload_balancers: ~\n"):
            config = loaded(source)
            self.assertEqual((config.objects, config.gateway.site_name), ({}, "local"), source)

    def test_unknown_parts(self) -> None:
        """With a suggestion, or with all there are."""
        found = problems("gatewy: {}\n")
        self.assertEqual((lines(found), found[0].hint), (['1:1 VG0101 unknown field "gatewy"'], 'did you mean "gateway"?'))
        self.assertIn("load_balancers", problems("zzz: {}\n")[0].hint)

    def test_what_is_no_configuration(self) -> None:
        """A word, a list of words, a wrong part."""
        for source, code in (("hello", "VG0102"), ("- hello", "VG0102"), ("objects: {a: b}", "VG0102"), ("gateway: []", "VG0102"),
                             ("objects: [1]", "VG0102"), ("include: {}", "VG0105"), ("defaults: []", "VG0102")):
            self.assertEqual(codes(problems(source)), [code], source)

    def test_an_admin_socket_has_no_port(self) -> None:
        """Either or."""
        self.assertEqual(codes(problems("gateway: {admin: {unix: a, port: 1}}")), ["VG0106"])
        self.assertEqual(codes(problems("gateway: {admin: {unix: a, address: 127.0.0.1}}")), ["VG0106"])
        token = "string:///MDEyMzQ1Njc4OWFiY2RlZg=="
        for admin in (
            "{address: 10.0.0.1}", "{tokens: [{name: a, token: 'string:///c2hvcnQ='}]}", "{users: [{user: root}]}",
            "{clients: [{name: a}]}", "{unix: a, clients: [{name: a}]}", f"{{address: 0.0.0.0, tokens: [{{name: a, token: '{token}'}}]}}",
            f"{{tokens: [{{name: a, token: '{token}'}}, {{name: a, token: '{token}'}}]}}",
        ):
            self.assertEqual(codes(problems(f"gateway: {{admin: {admin}}}")), ["VG0106"], admin)
        self.assertEqual(problems(f"gateway: {{admin: {{tokens: [{{name: a, token: '{token}', role: operate}}]}}}}"), ())


class DialectTests(SynchronousTestCase):
    def one(self, source: str) -> object:
        """The spec of the only object of a file below a folder ``endpoint/``."""
        folder = write(self.mktemp(), {"main.yaml": "include: [endpoint/*]", "endpoint/x.yaml": source})
        config = load(folder / "main.yaml", environ={})
        ((_, objects),) = config.objects.items()
        (one,) = objects.values()
        return one.spec

    def test_one_object_as_vesctl_takes_it(self) -> None:
        """Metadata and spec, no kind; resource_version null."""
        self.assertEqual(self.one(f"{ENDPOINT}resource_version: null\n"), EndpointSpec(ip="192.0.2.1", port=80))

    def test_what_vesctl_gets(self) -> None:
        """Read-only parts are taken and forgotten."""
        self.assertEqual(self.one("""
            create_form: null
            replace_form: null
            metadata: {name: a, namespace: n, uid: 5f, labels: {}, annotations: {}, description: "", disable: false}
            system_metadata: {uid: 5f, creation_timestamp: "2020-11-15T00:00:00Z", tenant: acme, owner_view: null}
            spec: {gc_spec: {ip: 192.0.2.1, port: 80}}
            status: [{metadata: {publish: STATUS_PUBLISH}, conditions: []}]
            referring_objects: [{kind: cluster, name: a}]
            deleted_referred_objects: []
            disabled_referred_objects: []
            resource_version: "1234"
        """), EndpointSpec(ip="192.0.2.1", port=80))

    def test_a_list_answer(self) -> None:
        """``{items: []}`` has none; an item has its name beside its spec."""
        folder = write(self.mktemp(), {
            "main.yaml": "include: [endpoints/]",
            "endpoints/none.json": '{"items": []}',
            "endpoints/two.json": json.dumps({"items": [
                {"tenant": "acme", "namespace": "n", "name": "a", "uid": "1", "description": "", "disabled": False, "labels": {},
                 "owner_view": None, "get_spec": {"ip": "192.0.2.1", "port": 80}},
                {"namespace": "n", "name": "b", "disabled": True, "get_spec": {"ip": "192.0.2.2", "port": 80}},
            ], "errors": []}).replace(', "errors": []', "")})
        config = load(folder / "main.yaml", environ={})
        self.assertEqual(list(config.objects["endpoint"]), [("n", "a"), ("n", "b")])
        self.assertEqual(list(config.of("endpoint")), [("n", "a")])

    def test_json_with_camel_case(self) -> None:
        """As the gateway's own JSON marshaller writes it."""
        self.assertEqual(self.one('{"metadata": {"name": "a"}, "spec": {"dnsName": "a.b", "port": "443", "healthCheckPort": 8443}}'),
                         EndpointSpec(dns_name="a.b", port=443, health_check_port=8443))

    def test_nulls_everywhere(self) -> None:
        """Null lists, maps, members of groups, and the key without a value."""
        self.assertEqual(self.one("""
            metadata: {name: a, labels: null, annotations: ~}
            spec:
              where: null
              ip: 192.0.2.1
              dns_name: null
              ? service_info
              snat_pool:
              port: 80
        """), EndpointSpec(ip="192.0.2.1", port=80))

    def test_terraform_turned_to_yaml(self) -> None:
        """Blocks around oneofs, true for an empty message, false for none of it."""
        self.assertEqual(self.one("metadata: {name: a}\nspec: {endpoint_address: {dns_name: a.b}, port: 80, "
                                  "snat_pool: {no_snat_pool: true}}\n"),
                         self.one("metadata: {name: a}\nspec: {dns_name: a.b, port: 80, snat_pool: {no_snat_pool: {}}}\n"))

    def test_a_stream_of_objects(self) -> None:
        """Each with its kind."""
        config = loaded("kind: endpoint\n" + ENDPOINT + "---\nkind: advertise_policy\nmetadata: {name: p}\nspec: {port: 1}\n")
        self.assertEqual(config.of(EndpointSpec)["default", "a"].spec.port, 80)
        self.assertEqual(config.of(AdvertisePolicySpec)["default", "p"].spec.port, 1)

    def test_a_list_of_objects(self) -> None:
        """As some tools print them."""
        self.assertEqual(list(loaded("- {kind: endpoint, metadata: {name: a}, spec: {ip: 192.0.2.1, port: 80}}\n").of("endpoint")),
                         [("default", "a")])

    def test_plural_kinds(self) -> None:
        """The API's plural, and one that a person would write."""
        for kind in ("advertise_policys", "advertise_policies", "advertise-policies", "ves.io.schema.advertise_policy.Object"):
            self.assertEqual(list(loaded(f"{{kind: {kind}, metadata: {{name: a}}, spec: {{port: 1}}}}").objects), ["advertise_policy"])

    def test_an_object_without_a_kind(self) -> None:
        """The hint names the three ways to say it."""
        found = problems(ENDPOINT)
        self.assertEqual(codes(found), ["VG0105"])
        self.assertIn("folder", found[0].hint)

    def test_an_unknown_kind(self) -> None:
        """Only typing errors are unknown."""
        found = problems("kind: virtual-hosst\nmetadata: {name: a}\n")
        self.assertEqual((lines(found), found[0].hint), (['1:7 VG0108 unknown kind "virtual-hosst"'],
                                                         'did you mean "virtual_host"?'))

    def test_a_kind_that_is_known_only(self) -> None:
        """A named warning; the object is kept."""
        config = loaded("kind: tunnel\nmetadata: {name: a}\nspec: {fleet_label: x}\n")
        self.assertEqual([one.code for one in config.warnings], ["VG0117"])
        self.assertIn('kind "tunnel"', config.warnings[0].message)
        self.assertIn(("default", "a"), config.objects["tunnel"])

    def test_an_object_without_a_name(self) -> None:
        """It could not be referred to."""
        for source in ("kind: endpoint\nspec: {ip: 192.0.2.1, port: 80}\n",
                       "kind: endpoint\nmetadata: {}\nspec: {ip: 192.0.2.1, port: 80}\n"):
            self.assertEqual(codes(problems(source)), ["VG0105"], source)

    def test_unknown_parts_of_an_object(self) -> None:
        """With a suggestion."""
        found = problems("kind: endpoint\nmetadta: {name: a}\nspec: {ip: 192.0.2.1, port: 80}\n")
        self.assertEqual((lines(found)[0], found[0].hint), ('2:1 VG0101 unknown field "metadta" in an object',
                                                            'did you mean "metadata"?'))

    def test_the_same_object_twice(self) -> None:
        """Both places are told; another namespace is another object."""
        found = problems("kind: endpoint\n" + ENDPOINT + "---\nkind: endpoint\n" + ENDPOINT)
        self.assertEqual(lines(found), ['6:18 VG0109 endpoint "a" exists already'])
        self.assertEqual(found[0].related, (("the first one", Place("voltgw.yaml", 2, 18)),))
        loaded("kind: endpoint\n" + ENDPOINT + "---\nkind: endpoint\n" + ENDPOINT.replace("name: a", "name: a, namespace: b"))


class VariableTests(SynchronousTestCase):
    def test_they_act_in_our_own_files(self) -> None:
        """In plain and quoted scalars, with defaults, escaped."""
        config = loaded("""
            gateway: {site: "${SITE}", log_level: "${LEVEL:-debug}", access_log: "${DIR:-/var/log}/$${x}.log"}
            objects:
            - kind: endpoint
              metadata: {name: a}
              spec: {ip: "${IP}", port: "${PORT}"}
        """, {"SITE": "paris", "IP": "192.0.2.1", "PORT": "8080"})
        self.assertEqual((config.gateway.site, config.gateway.log_level), ("paris", LogLevel.DEBUG))
        self.assertEqual(config.gateway.access_log[0].path, "/var/log/${x}.log")
        self.assertEqual(config.of("endpoint")["default", "a"].spec, EndpointSpec(ip="192.0.2.1", port=8080))

    def test_unset_without_default(self) -> None:
        """The place is that of the value; an empty default is one."""
        found = problems("gateway:\n  site: ${SITE}\n")
        self.assertEqual(lines(found), ["2:9 VG0008 the environment variable SITE is not set"])
        (log,) = loaded("gateway: {access_log: {path: '${FILE:-}'}}").gateway.access_log
        assert log is not None
        self.assertIsNone(log.path)

    def test_unfinished(self) -> None:
        """A brace without its other half is told rather than passed on."""
        self.assertEqual(codes(problems("gateway: {site: '${SITE'}")), ["VG0008"])
        self.assertEqual(codes(problems("gateway: {site: '${1}'}")), ["VG0008"])

    def test_they_do_not_act_in_object_files(self) -> None:
        """Such a file comes from elsewhere and means what it says."""
        found = problems("kind: endpoint\nmetadata: {name: a}\nspec: {dns_name: '${HOME}', port: 80}\n", {"HOME": "x"})
        self.assertEqual(codes(found), ["VG0110"])

    def test_keys_are_not_replaced(self) -> None:
        """Only values are."""
        config = loaded("objects:\n- kind: endpoint\n  metadata: {name: a, labels: {'${X}': '${X}'}}\n"
                        "  spec: {ip: 192.0.2.1, port: 80}\n", {"X": "y"})
        self.assertEqual(list(config.of("endpoint")["default", "a"].metadata.labels.values()), ["y"])


class DefaultsTests(SynchronousTestCase):
    def test_they_are_laid_under_every_object(self) -> None:
        """Also of included files; what an object says itself wins."""
        folder = write(self.mktemp(), {
            "main.yaml": """
                defaults:
                  cluster: {connection_timeout: 1s, circuit_breaker: {connection_limit: 5}, http2_options: {enabled: false}}
                include: [more.yaml]
            """,
            "more.yaml": """
                objects:
                - {kind: cluster, metadata: {name: a}}
                - {kind: cluster, metadata: {name: b}, spec: {connection_timeout: 2000, circuit_breaker: {retries: 1}}}
                - {kind: cluster, metadata: {name: c}, spec: {auto_http_config: {}}}
            """})
        clusters = load(folder / "main.yaml", environ={}).of("cluster")
        a, b, c = (clusters["default", name].spec for name in "abc")
        assert a.circuit_breaker is not None and b.circuit_breaker is not None
        self.assertEqual((a.connection_timeout_s, b.connection_timeout_s), (1.0, 2.0))
        self.assertEqual((a.circuit_breaker.connection_limit, a.circuit_breaker.retries), (5, None))
        self.assertEqual((b.circuit_breaker.connection_limit, b.circuit_breaker.retries), (5, 1))
        self.assertIsNotNone(a.http2_options)
        self.assertIsNone(c.http2_options)

    def test_those_of_a_route_are_for_each_rule(self) -> None:
        """A route object is a list of rules; a rule that redirects has no use for a time limit."""
        config = loaded("""
            defaults: {route: {route_destination: {timeout: 7s}, request_headers_to_add: [{name: x-a, value: b}]}}
            objects:
            - kind: route
              metadata: {name: a}
              spec:
                routes:
                - route_destination: {destinations: [{cluster: c}]}
                - route_destination: {destinations: [{cluster: c}], timeout: 1s}
                - route_redirect: {path_redirect: /}
        """)
        rules = config.of("route")["default", "a"].spec.routes
        self.assertEqual([rule.route_destination and rule.route_destination.timeout_s for rule in rules], [7.0, 1.0, None])
        self.assertEqual([len(rule.request_headers_to_add) for rule in rules], [1, 1, 1])

    def test_mistakes_in_them(self) -> None:
        """At their own place; they may stand in the main file only."""
        found = problems("defaults:\n  cluster: {conection_timeout: 1}\n  clustr: {}\n")
        self.assertEqual([(one.code, one.place.line) for one in found], [("VG0101", 2), ("VG0108", 3)])
        folder = write(self.mktemp(), {"main.yaml": "include: [a.yaml]", "a.yaml": "defaults: {cluster: {}}"})
        with self.assertRaises(ConfigErrors) as caught:
            load(folder / "main.yaml", environ={})
        self.assertEqual(codes(caught.exception.problems), ["VG0101"])


class IncludeTests(SynchronousTestCase):
    def objects(self, folder: os.PathLike[str], cache: Cache | None = None) -> list[tuple[str, str, str]]:
        """Kind, namespace and name of all objects of a folder's main file."""
        config = load(os.path.join(folder, "main.yaml"), environ={}, cache=cache)
        return sorted((kind, *key) for kind, objects in config.objects.items() for key in objects)

    def test_files_patterns_and_folders(self) -> None:
        """Relative to the including file; backups and hidden files are none of ours."""
        folder = write(self.mktemp(), {
            "main.yaml": "include: [one/a.yaml, 'two/*.yaml', three]",
            "one/a.yaml": "kind: endpoint\n" + ENDPOINT,
            "two/b.yaml": "kind: endpoint\n" + ENDPOINT.replace("name: a", "name: b"),
            "two/.hidden.yaml": "nonsense", "two/c.yaml~": "nonsense", "two/#d.yaml": "nonsense", "two/e.txt": "nonsense",
            "three/deep/endpoint/f.yml": ENDPOINT.replace("name: a", "name: f"),
            "three/.git/g.yaml": "nonsense",
        })
        self.assertEqual(self.objects(folder), [("endpoint", "default", name) for name in "abf"])

    def test_kind_of_the_entry_and_of_the_folder(self) -> None:
        """For files that do not say it; a file that does wins."""
        folder = write(self.mktemp(), {
            "main.yaml": "include: [{kind: endpoint, path: x.yaml}, routes/r.yaml, advertise_policies/p.yaml]",
            "x.yaml": ENDPOINT,
            "routes/r.yaml": "metadata: {name: r}\nspec: {routes: [{route_direct_response: {response_code: 404}}]}\n",
            "advertise_policies/p.yaml": "kind: endpoint\n" + ENDPOINT.replace("name: a", "name: p"),
        })
        self.assertEqual(self.objects(folder), [("endpoint", "default", "a"), ("endpoint", "default", "p"), ("route", "default", "r")])

    def test_namespaces_from_folders(self) -> None:
        """That of the team, not that of the kind; an object that says its own wins."""
        folder = write(self.mktemp(), {
            "main.yaml": "include: [{path: 'teams/*/', namespace: from-folder}, {path: x.yaml, namespace: fixed, kind: endpoint}]",
            "teams/shop/a.yaml": "kind: endpoint\n" + ENDPOINT,
            "teams/blog/endpoint/b.yaml": ENDPOINT.replace("name: a", "name: b"),
            "teams/blog/c.yaml": "kind: endpoint\n" + ENDPOINT.replace("name: a", "name: c, namespace: own"),
            "x.yaml": ENDPOINT,
        })
        self.assertEqual(self.objects(folder), [("endpoint", "blog", "b"), ("endpoint", "fixed", "a"), ("endpoint", "own", "c"),
                                                ("endpoint", "shop", "a")])

    def test_nested_and_mutual_includes(self) -> None:
        """Each file is read once."""
        folder = write(self.mktemp(), {
            "main.yaml": "include: [a/one.yaml, main.yaml]", "a/one.yaml": "include: [two.yaml, ../main.yaml]",
            "a/two.yaml": "include: one.yaml\nobjects: [{kind: endpoint, metadata: {name: a}, spec: {ip: 192.0.2.1, port: 1}}]"})
        self.assertEqual(self.objects(folder), [("endpoint", "default", "a")])

    def test_what_is_not_there(self) -> None:
        """A path is an error, a pattern without a match a warning; both at the entry."""
        folder = write(self.mktemp(), {"main.yaml": "include:\n- nope.yaml\n- 'nope/*.yaml'\n"})
        with self.assertRaises(ConfigErrors) as caught:
            load(folder / "main.yaml", environ={})
        self.assertEqual([(one.code, one.place.line, one.severity.value) for one in caught.exception.problems],
                         [("VG0002", 2, "error"), ("VG0007", 3, "warning")])

    def test_places_have_the_path_as_one_would_type_it(self) -> None:
        """Relative to where the command was given."""
        folder = write(self.mktemp(), {"main.yaml": "include: [sub/a.yaml]", "sub/a.yaml": "kind: nope\nmetadata: {name: a}\n"})
        with self.assertRaises(ConfigErrors) as caught:
            load(os.path.relpath(folder / "main.yaml"), environ={})
        self.assertEqual(caught.exception.problems[0].place, Place(os.path.relpath(folder / "sub/a.yaml"), 1, 7))
        self.assertEqual(caught.exception.problems[0].source, "kind: nope")

    def test_a_main_file_that_is_not_there(self) -> None:
        """No traceback, a place without a line."""
        with self.assertRaises(ConfigErrors) as caught:
            load("nowhere/voltgw.yaml", environ={})
        self.assertEqual(caught.exception.problems[0].place, Place("nowhere/voltgw.yaml"))

    def test_several_main_files(self) -> None:
        """They are one configuration; its parts may stand in one of them only."""
        folder = write(self.mktemp(), {"a.yaml": "gateway: {site: x}\n", "b.yaml": "objects: [{kind: tunnel, metadata: {name: f}}]\n",
                                       "c.yaml": "gateway: {site: y}\n"})
        config = load([folder / "a.yaml", folder / "b.yaml"], environ={})
        self.assertEqual((config.gateway.site, list(config.objects)), ("x", ["tunnel"]))
        with self.assertRaises(ConfigErrors) as caught:
            load([folder / "a.yaml", folder / "c.yaml"], environ={})
        self.assertEqual(codes(caught.exception.problems), ["VG0109"])

    def test_the_last_good_objects_stay(self) -> None:
        """With ``on_error: keep_last`` a broken or missing file is a warning, once it was good."""
        folder = write(self.mktemp(), {"main.yaml": "include: [{path: a.yaml, on_error: keep_last}]",
                                       "a.yaml": "kind: endpoint\n" + ENDPOINT})
        cache = Cache()
        self.assertEqual(self.objects(folder, cache), [("endpoint", "default", "a")])
        write(os.fspath(folder), {"a.yaml": "kind: endpoint\nmetadata: {name: a}\nspec: {ip: x, port: 80}\n"})
        config = load(folder / "main.yaml", environ={}, cache=cache)
        self.assertEqual([(one.code, one.severity.value) for one in config.warnings], [("VG0110", "warning")])
        self.assertEqual(config.of("endpoint")["default", "a"].spec.ip, "192.0.2.1")
        (folder / "a.yaml").unlink()
        self.assertEqual(self.objects(folder, cache), [("endpoint", "default", "a")])
        self.assertRaises(ConfigErrors, load, folder / "main.yaml", environ={})


class FindTests(SynchronousTestCase):
    def test_the_referrers_namespace_then_the_homes_of_the_kind(self) -> None:
        """A site lives in ``system``; a route only where it is."""
        config = loaded("""
            objects:
            - {kind: site, metadata: {name: paris, namespace: system}}
            - {kind: site, metadata: {name: rome, namespace: shop}}
            - {kind: route, metadata: {name: r, namespace: shared}, spec: {routes: [{route_redirect: {}}]}}
        """)
        self.assertEqual(getattr(config.find("site", Ref(None, "paris"), "shop"), "namespace", None), "system")
        self.assertEqual(getattr(config.find("site", Ref(None, "rome"), "shop"), "namespace", None), "shop")
        self.assertIsNone(config.find("site", Ref(None, "rome"), "other"))
        self.assertIsNone(config.find("route", Ref(None, "r"), "shop"))
        self.assertIsNotNone(config.find("route", Ref("shared", "r"), "shop"))
        self.assertIsNone(config.find("site", Ref("shop", "paris"), "shop"))

    def test_disabled_objects_are_out_of_service(self) -> None:
        """They are kept, but neither found nor listed."""
        config = loaded("objects: [{kind: cluster, metadata: {name: c, disable: true}}]")
        self.assertEqual(len(config.objects["cluster"]), 1)
        self.assertEqual(len(config.of("cluster")), 0)
        self.assertIsNone(config.find("cluster", Ref(None, "c"), "default"))

    def test_the_own_site(self) -> None:
        """The object that `gateway.site` names, wherever sites live; made up where there is none."""
        self.assertIsNone(loaded("").site)
        site = loaded(GOOD).site
        assert site is not None
        self.assertEqual(site.spec.outside_vip, "192.0.2.1")

    def test_where(self) -> None:
        """Absent and the own site are here; other sites are not, nor what is not acted on yet."""
        config = loaded("""
            gateway: {site: paris}
            objects:
            - {kind: endpoint, metadata: {name: a}, spec: {ip: 192.0.2.1, port: 1}}
            - {kind: endpoint, metadata: {name: b}, spec: {ip: 192.0.2.1, port: 1, where: {site: {ref: [paris]}}}}
            - {kind: endpoint, metadata: {name: c}, spec: {ip: 192.0.2.1, port: 1, where: {site: {ref: [system/rome]}}}}
            - {kind: endpoint, metadata: {name: d}, spec: {ip: 192.0.2.1, port: 1, where: {virtual_site: {ref: [all]}}}}
            - {kind: endpoint, metadata: {name: e}, spec: {ip: 192.0.2.1, port: 1, where: {}}}
        """)
        here = [config.here(one.spec.where, one.namespace) for one in config.of("endpoint").values()]
        self.assertEqual(here, [True, True, False, False, True])


class DigestTests(SynchronousTestCase):
    def test_it_changes_with_all_that_was_read(self) -> None:
        """The file, a file it refers to, a variable it looks at; not with what it does not look at."""
        folder = write(self.mktemp(), {
            "main.yaml": "gateway: {site: '${SITE}'}\nobjects: [{kind: route, metadata: {name: r}, spec: {routes: "
                         "[{route_direct_response: {response_body_encoded: 'file:page'}}]}}]\n", "page": "hello"})
        main = folder / "main.yaml"
        first = load(main, environ={"SITE": "a", "OTHER": "1"})
        self.assertEqual(load(main, environ={"SITE": "a", "OTHER": "2"}).digest, first.digest)
        self.assertNotEqual(load(main, environ={"SITE": "b"}).digest, first.digest)
        (folder / "page").write_text("changed")
        second = load(main, environ={"SITE": "a"})
        self.assertNotEqual(second.digest, first.digest)
        self.assertNotEqual(second.of("route")["default", "r"], first.of("route")["default", "r"])
        main.write_text(main.read_text() + "# a comment\n")
        self.assertNotEqual(load(main, environ={"SITE": "a"}).digest, second.digest)


class CheckedTests(SynchronousTestCase):
    def test_the_rules_between_objects_are_in_it(self) -> None:
        """`load` reads, `load_checked` also judges."""
        folder = write(self.mktemp(), {"main.yaml": "objects: [{kind: cluster, metadata: {name: c}, spec: {endpoints: [nope]}}]"})
        load(folder / "main.yaml", environ={})
        with self.assertRaises(ConfigErrors) as caught:
            load_checked(folder / "main.yaml", environ={})
        self.assertEqual(codes(caught.exception.problems), ["VG0107"])

    def test_a_good_configuration_has_no_warnings(self) -> None:
        """Of either sort."""
        folder = write(self.mktemp(), {"main.yaml": GOOD})
        self.assertEqual(load_checked(folder / "main.yaml", environ={}).warnings, ())


class ProcessBoundaryTests(SynchronousTestCase):
    def test_a_configuration_can_be_sent_to_another_process(self) -> None:
        """Workers get it so; values and places arrive."""
        config = loaded(GOOD)
        copy = pickle.loads(pickle.dumps(config))
        self.assertEqual(copy.objects, config.objects)
        self.assertEqual((copy.gateway, copy.digest), (config.gateway, config.digest))
        ref = copy.of("virtual_host")["default", "shop"].spec.routes[0]
        self.assertEqual((ref.place.line, ref.place.column), (10, 21))
