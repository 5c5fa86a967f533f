"""Where clients are, by databases: what policies and limits make of it, and databases that are none."""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from unittest.mock import patch

import maxminddb
from twisted.trial.unittest import SynchronousTestCase

from tests.security.databases import PLACES, SYSTEMS, places, systems, written
from tests.security.making import asks, chain_of, host, service_policy, serving, verdict
from voltgw.errors import ConfigErrors
from voltgw.security.geo import MAX_REMEMBERED, Database, Geo, Location, changed, country_code
from voltgw.security.users import user_of


class GeoCase(SynchronousTestCase):
    """Two databases."""

    def setUp(self) -> None:
        """Make them."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.places, self.systems = places(self.folder / "city.mmdb"), systems(self.folder / "asn.mmdb")
        self.gateway = f"geo: {{database: {self.places}, asn_database: {self.systems}}}"

    def geo(self) -> Geo:
        """Both, open."""
        return Geo((Database(str(self.places)), Database(str(self.systems))))


class DatabaseTests(GeoCase):
    """`Geo`."""

    def test_every_address(self) -> None:
        """What is known of it, in each way of writing it."""
        geo = self.geo()
        for text in ("192.0.2.1", "192.0.2.129", "10.0.3.4", "10.9.0.1", "203.0.113.1", "2001:db8::7"):
            address = ip_address(text)
            country = next((code for prefix, code in PLACES.items() if address in ip_network(prefix)), "")
            number = next((number for prefix, number in SYSTEMS.items() if address in ip_network(prefix)), 0)
            found = geo.find(text)
            self.assertEqual((found.country, found.asn), (country, number), text)
            if address.version == 4:
                self.assertEqual(geo.find(f"::ffff:{text}"), found)
        self.assertEqual(geo.find("192.0.2.1"), Location("FR", "FR region", "FR city", 64500, "Net 64500"))
        self.assertEqual(geo.find("2001:db8::7%eth0"), geo.find("2001:db8::7"))
        self.assertEqual([geo.find(text) for text in ("", "unix", "1.2.3")], [Location()] * 3)

    def test_flat_records(self) -> None:
        """Databases of others have other fields; what is no text or number is nothing."""
        path = written(self.folder / "flat.mmdb", {
            "192.0.2.0/24": {"country_code": "fr", "region": "ARA", "city": "Lyon", "asn": "AS64500", "as_name": "Net"},
            "192.0.3.0/24": {"country": "DE", "city": 7, "asn": "none"}}, "Flat")
        geo = Geo((Database(str(path)),))
        self.assertEqual(geo.find("192.0.2.1"), Location("FR", "ARA", "Lyon", 64500, "Net"))
        self.assertEqual(geo.find("192.0.3.1"), Location("DE", "", "", 0, ""))

    def test_what_is_remembered_is_bounded(self) -> None:
        """A flood of addresses does not grow it without end."""
        geo = self.geo()
        for number in range(MAX_REMEMBERED + 10):
            geo.find(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        self.assertLessEqual(len(geo._known), MAX_REMEMBERED)

    def test_a_large_file_is_copied_in_steps(self) -> None:
        """A reload opens databases between requests; one that is given up leaves no descriptor."""
        padded = self.folder / "large.mmdb"
        data = self.places.read_bytes()
        padded.write_bytes(b"\0" * (3 << 20) + data)       # the metadata stand at the end; it is no database any more
        before = len(os.listdir("/proc/self/fd"))
        steps = Database.opening(str(padded))
        for _ in range(3):
            next(steps)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before + 2)
        steps.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        steps = Database.opening(str(self.places))
        next(steps)
        with self.assertRaises(StopIteration) as done:
            next(steps)
        self.assertEqual(done.exception.value.find(ip_address("192.0.2.1")), Database(str(self.places)).find(
            ip_address("192.0.2.1")))

    def test_files_that_are_none(self) -> None:
        """Not there, empty, of another kind, cut short: an error that says which and why."""
        whole = self.places.read_bytes()
        for name, data, why in (("none", None, "No such file"), ("empty", b"", "is no database"), ("text", b"hello\n" * 99, "is no database"),
                                ("cut", whole[:len(whole) // 2], "is no database")):
            path = self.folder / name
            if data is not None:
                path.write_bytes(data)
            error = self.assertRaises(ValueError, Database, str(path))
            self.assertIn(why, str(error))
            self.assertIn(str(path), str(error))

    def test_a_file_that_is_damaged(self) -> None:
        """Clients whose records cannot be read are from nowhere, and it is said; those of others are as they were."""
        geo = self.geo()

        class Reader:
            """Asks the real one, but for one address."""

            def __init__(self, reader: Any) -> None:
                self._reader = reader

            def get(self, address: Any) -> Any:
                """As the package does."""
                if str(address) == "192.0.2.1":
                    raise maxminddb.InvalidDatabaseError("bad data")
                return self._reader.get(address)

        for database in geo.databases:
            database._reader = Reader(database._reader)
        self.assertEqual(geo.find("192.0.2.1"), Location("", "", "", 0, ""))
        self.assertIn("is damaged at 192.0.2.1", geo.problem)
        self.assertEqual(geo.find("192.0.2.200").country, "DE")

    def test_a_file_that_is_cut_short_in_place(self) -> None:
        """What was read stays whole."""
        geo = self.geo()
        os.truncate(self.places, 0)
        self.assertEqual(geo.find("192.0.2.1").country, "FR")

    def test_without_the_package(self) -> None:
        """It is said how to get it."""
        with patch.dict(sys.modules, {"maxminddb": None}):
            self.assertIn("voltgw[geo]", str(self.assertRaises(ValueError, Database, str(self.places))))

    def test_a_newer_file(self) -> None:
        """It is seen, and swapped in under whoever asks; one that is away for a moment is not a change."""
        geo = self.geo()
        self.assertFalse(changed(geo.databases))
        self.assertEqual(geo.find("192.0.2.1").country, "FR")
        self.places.unlink()
        self.assertFalse(changed(geo.databases))
        places(self.places, {"192.0.2.0/24": "JP"})
        self.assertTrue(changed(geo.databases))
        geo.swap((Database(str(self.places)),))
        self.assertEqual(geo.find("192.0.2.1").country, "JP")

    def test_countries(self) -> None:
        """As the object model writes them, and none else."""
        self.assertEqual([country_code(text) for text in ("COUNTRY_FR", "fr", "COUNTRY_NONE")], ["FR", "FR", ""])
        for text in ("COUNTRY_", "FRANCE", "F1", ""):
            self.assertRaises(ValueError, country_code, text)


class PolicyTests(GeoCase):
    """Policies that ask where a client is."""

    def said(self, policy: dict[str, Any], *more: str, gateway: str | None = None) -> dict[str, str]:
        """The verdict for an address of each kind."""
        chain = chain_of(serving(
            host(active_service_policies={"policies": ["p"]}), service_policy("p", policy), *more,
            gateway=self.gateway if gateway is None else gateway))
        return {address: verdict(chain, asks(address=address)) for address in ("192.0.2.1", "192.0.2.200", "10.1.0.1", "203.0.113.1")}

    def test_autonomous_systems(self) -> None:
        """By number and by set, in rules and in lists; a client of none is in none."""
        nets = service_policy("nets", {"as_numbers": [64501]}, "bgp_asn_set")
        specs: tuple[dict[str, Any], ...] = ({"asn_list": {"as_numbers": [64501]}}, {"asn_matcher": {"asn_sets": [{"name": "nets"}]}})
        for spec in specs:
            policy = {"rule_list": {"rules": [{"metadata": {"name": "r"}, "spec": {"action": "ALLOW", **spec}}]}}
            self.assertEqual(self.said(policy, nets), {
                "192.0.2.1": "deny", "192.0.2.200": "deny", "10.1.0.1": "allow", "203.0.113.1": "deny"})
        lists: tuple[dict[str, Any], ...] = ({"asn_list": {"as_numbers": [64501]}}, {"asn_set": [{"name": "nets"}]})
        for listed in lists:
            policy = {"deny_list": listed | {"default_action_allow": {}}}
            self.assertEqual(self.said(policy, nets), {
                "192.0.2.1": "allow", "192.0.2.200": "allow", "10.1.0.1": "deny", "203.0.113.1": "allow"})

    def test_countries(self) -> None:
        """One of a list is enough, beside prefixes; COUNTRY_NONE is whoever is not known."""
        policy = {"allow_list": {"country_list": ["COUNTRY_FR"], "prefix_list": {"prefixes": ["203.0.113.0/24"]}, "default_action_deny": {}}}
        self.assertEqual(self.said(policy), {"192.0.2.1": "allow", "192.0.2.200": "deny", "10.1.0.1": "deny", "203.0.113.1": "allow"})
        policy = {"deny_list": {"country_list": ["COUNTRY_NONE", "COUNTRY_DE"], "default_action_allow": {}}}
        self.assertEqual(self.said(policy), {"192.0.2.1": "allow", "192.0.2.200": "deny", "10.1.0.1": "deny", "203.0.113.1": "deny"})

    def test_labels_of_clients(self) -> None:
        """A selector sees the country, region, city and network; other labels no client has, which is an error."""
        for text, allowed in (("geoip.ves.io/country in (FR, US)", {"192.0.2.1"}), ("geoip.ves.io/asn = 64500", {"192.0.2.1", "192.0.2.200"}),
                              ("geoip.ves.io/city = FR-city", {"192.0.2.1"}), ("!geoip.ves.io/country", {"10.1.0.1", "203.0.113.1"}),
                              ("geoip.ves.io/region", {"192.0.2.1", "192.0.2.200"})):
            policy = {"rule_list": {"rules": [{"metadata": {"name": "r"}, "spec": {"action": "ALLOW", "client_selector": {"expressions": [text]}}}]}}
            self.assertEqual({address for address, said in self.said(policy).items() if said == "allow"}, allowed, text)
        policy = {"rule_list": {"rules": [{"metadata": {"name": "r"}, "spec": {"action": "ALLOW", "client_selector": {"expressions": ["app=x"]}}}]}}
        self.assertIn("clients have no label app", self.assertRaises(ConfigErrors, self.said, policy).problems[0].message)

    def test_why(self) -> None:
        """The verdict says what was seen."""
        made = serving(host(active_service_policies={"policies": ["p"]}), service_policy("p", {"deny_list": {"country_list": ["COUNTRY_FR"]}}),
                       gateway=self.gateway)
        reply = chain_of(made).judge(asks())
        assert reply is not None
        self.assertIn("country FR", str(chain_of(made).rehearse(asks())))

    def test_a_set_that_changes(self) -> None:
        """A reload that changes a bgp_asn_set judges by the new one, whether a rule of the policy, one by reference or a list
        names it."""
        rule = {"action": "ALLOW", "asn_matcher": {"asn_sets": ["nets"]}}
        for policy, more in (({"rule_list": {"rules": [{"metadata": {"name": "r"}, "spec": rule}]}}, ()),
                             ({"rules": ["r"]}, (service_policy("r", rule, "service_policy_rule"),)),
                             ({"allow_list": {"asn_set": ["nets"]}}, ())):
            parts = (host(active_service_policies={"policies": ["p"]}), service_policy("p", policy), *more)
            made = serving(*parts, service_policy("nets", {"as_numbers": [64500]}, "bgp_asn_set"), gateway=self.gateway)
            after = serving(*parts, service_policy("nets", {"as_numbers": [64501]}, "bgp_asn_set"), gateway=self.gateway,
                            previous=made)
            said = [[verdict(chain_of(each), asks(address=address)) for address in ("192.0.2.1", "10.0.0.1")]
                    for each in (made, after)]
            self.assertEqual(said, [["allow", "deny"], ["deny", "allow"]], policy)

    def test_another_database(self) -> None:
        """A reload that names another file judges by that one."""
        other = systems(self.folder / "other.mmdb", {"10.0.0.0/8": 64500})
        parts = (host(active_service_policies={"policies": ["p"]}),
                 service_policy("p", {"allow_list": {"asn_list": {"as_numbers": [64500]}}}))
        made = serving(*parts, gateway=self.gateway)
        after = serving(*parts, gateway=f"geo: {{asn_database: {other}}}", previous=made)
        said = [[verdict(chain_of(each), asks(address=address)) for address in ("192.0.2.1", "10.0.0.1")]
                for each in (made, after)]
        self.assertEqual(said, [["allow", "deny"], ["deny", "allow"]])

    def test_no_database(self) -> None:
        """Nobody could keep such a rule: an error at its place, as is a database that is none, and a country that is none."""
        policy = {"deny_list": {"country_list": ["COUNTRY_FR"]}}
        error = self.assertRaises(ConfigErrors, self.said, policy, gateway="")
        self.assertIn("there is none", error.problems[0].message)
        self.assertIn("gateway: {geo:", error.problems[0].hint)
        error = self.assertRaises(ConfigErrors, self.said, policy, gateway=f"geo: {{database: {self.folder}/none.mmdb}}")
        self.assertIn("gateway.geo", error.problems[0].message)
        error = self.assertRaises(ConfigErrors, self.said, {"deny_list": {"country_list": ["FRANCE"]}})
        self.assertIn("no country", error.problems[0].message)
        error = self.assertRaises(ConfigErrors, self.said, {"deny_list": {"asn_set": [{"name": "nobody"}]}})
        self.assertIn("nobody", error.problems[0].message)

    def test_users(self) -> None:
        """Limits can be for all of a network or a country together; of whom nothing is known, the address counts."""
        geo = self.geo()
        for name, known in (("client_asn", ("asn", 64500)), ("client_country", ("country", "FR")), ("client_region", ("region", "FR", "FR region")),
                            ("client_city", ("city", "FR", "FR region", "FR city"))):
            made = serving(service_policy("u", {"rules": [{name: {}}]}, "user_identification"))
            (rule,) = made.config.of("user_identification").values()
            user = user_of(rule.spec.rules_, geo)
            self.assertEqual((user(asks()), user(asks(address="203.0.113.1"))), (known, "203.0.113.1"))
            self.assertEqual(user_of(rule.spec.rules_)(asks()), "192.0.2.1")

    def test_a_newer_database(self) -> None:
        """Policies that were built before ask it."""
        made = serving(host(active_service_policies={"policies": ["p"]}),
                       service_policy("p", {"deny_list": {"country_list": ["COUNTRY_FR"], "default_action_allow": {}}}), gateway=self.gateway)
        chain = chain_of(made)
        self.assertEqual(verdict(chain, asks()), "deny")
        assert made.geo is not None
        made.geo.swap((Database(str(places(self.folder / "new.mmdb", {"192.0.2.0/24": "JP"}))),))
        self.assertEqual(verdict(chain, asks()), "allow")
