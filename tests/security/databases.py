"""Databases in MaxMind's format that tests make themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet  # type: ignore[import-untyped]  # there are stubs, of an older one

#: Where addresses of the documentation are said to be.
PLACES = {"192.0.2.0/25": "FR", "192.0.2.128/25": "DE", "10.0.0.0/16": "US", "2001:db8::/32": "FR"}
#: And whose they are.
SYSTEMS = {"192.0.2.0/24": 64500, "10.0.0.0/8": 64501, "2001:db8::/32": 64502}


def written(path: Path, records: Mapping[str, Any], kind: str) -> Path:
    """A database with these records by prefix."""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type=kind)
    for prefix, record in records.items():
        writer.insert_network(IPSet([prefix]), record)
    writer.to_db_file(str(path))
    return path


def places(path: Path, found: Mapping[str, str] = PLACES) -> Path:
    """Countries, with a region and a city of each."""
    return written(path, {prefix: {
        "country": {"iso_code": code}, "subdivisions": [{"iso_code": "X", "names": {"en": f"{code} region"}}],
        "city": {"names": {"en": f"{code} city"}}} for prefix, code in found.items()}, "Test-City")


def systems(path: Path, found: Mapping[str, int] = SYSTEMS) -> Path:
    """Autonomous systems."""
    return written(path, {prefix: {"autonomous_system_number": number, "autonomous_system_organization": f"Net {number}"}
                          for prefix, number in found.items()}, "Test-ASN")
