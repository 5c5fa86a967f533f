"""Where an address is and whose it is, by databases in MaxMind's format (the ``geo`` extra: `maxminddb`).

Any database of that format does: GeoLite2 and GeoIP2 City, Country and ASN, DB-IP, IPinfo and what an operator makes himself.
What is looked up is remembered for as long as the database is the same.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from importlib import import_module
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, NamedTuple

from voltgw.security.addresses import number_of

#: Addresses that are remembered.
MAX_REMEMBERED: Final = 65536
#: Larger files are none of which we could keep a copy.
MAX_FILE_BYTES: Final = 1 << 30
#: So much is copied in one step: half a millisecond, where the file is in the page cache.
_COPY_BYTES: Final = 1 << 20
_PREFIX: Final = "COUNTRY_"


class Location(NamedTuple):
    """What is known of an address; "" and 0 = nothing. `country` is the code of ISO 3166-1, such as ``FR``."""

    country: str = ""
    region: str = ""
    city: str = ""
    asn: int = 0
    organisation: str = ""


_NOWHERE: Final = Location()


#: The labels that a client has, each only where it is known.
CLIENT_LABELS: Final = ("geoip.ves.io/country", "geoip.ves.io/region", "geoip.ves.io/city", "geoip.ves.io/asn")


def labels_of(found: Location) -> dict[str, str]:
    """The labels of a client who is there. Characters that labels do not have stand as ``-``."""
    values = (found.country, found.region, found.city, str(found.asn) if found.asn else "")
    return {name: "".join(each if each.isascii() and (each.isalnum() or each in "_.-") else "-" for each in value)
            for name, value in zip(CLIENT_LABELS, values, strict=True) if value}


class Stamp(NamedTuple):
    """By which it is seen that a file is another one."""

    inode: int
    size: int
    modified_ns: int


class Database:
    """One open database. Raises ValueError, with the reason, for a file that is none.

    It is a copy of the file in memory that nobody else has: one that is cut short in place cannot harm us.
    """

    path: str
    stamp: Stamp
    kind: str
    built_at: int

    def __init__(self, path: str) -> None:
        for _ in self._opening(path):
            pass

    @classmethod
    def opening(cls, path: str) -> Generator[None, None, Database]:
        """The same, some megabytes at a time."""
        made = cls.__new__(cls)
        yield from made._opening(path)
        return made

    def _opening(self, path: str) -> Generator[None, None, None]:
        try:
            maxminddb: Any = import_module("maxminddb")
        except ImportError:
            raise ValueError("reading it takes the package maxminddb: pip install voltgw[geo]") from None
        self.path = path
        try:
            with open(path, "rb") as file:
                found = os.fstat(file.fileno())
                self.stamp = Stamp(found.st_ino, found.st_size, found.st_mtime_ns)
                if found.st_size > MAX_FILE_BYTES:
                    raise ValueError(f"{path} has {found.st_size} bytes; {MAX_FILE_BYTES} are the most")
                copy = os.memfd_create("voltgw-geo", os.MFD_CLOEXEC)
                try:
                    while os.sendfile(copy, file.fileno(), None, _COPY_BYTES):
                        yield
                    self._reader = maxminddb.open_database(f"/proc/self/fd/{copy}", maxminddb.MODE_AUTO)
                finally:
                    os.close(copy)
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
        except maxminddb.InvalidDatabaseError as error:
            raise ValueError(f"{path} is no database in MaxMind's format: {error}") from error
        metadata = self._reader.metadata()
        self.kind = str(metadata.database_type)
        self.built_at = int(metadata.build_epoch)
        self._only_4 = metadata.ip_version == 4

    def find(self, address: IPv4Address | IPv6Address) -> Any:
        """The record of an address; None = there is none. Raises ValueError where the file is damaged there."""
        if address.version == 6 and self._only_4:
            return None
        try:
            return self._reader.get(address)
        except (ValueError, RuntimeError) as error:         # of the package: InvalidDatabaseError is a RuntimeError
            raise ValueError(f"{self.path} is damaged at {address}: {error}") from error


class Geo:
    """The databases of a gateway; each may be replaced at any time with `swap`."""

    def __init__(self, databases: tuple[Database, ...]) -> None:
        self.databases = databases
        self.problem = ""                   # why a newer file is not used, or what is wrong with one that is
        self._known: dict[str, Location] = {}

    def __repr__(self) -> str:
        return f"<Geo {', '.join(each.kind for each in self.databases)}>"

    def swap(self, databases: tuple[Database, ...]) -> None:
        """Ask these from now on."""
        self.databases = databases
        self.problem = ""
        self._known = {}

    def find(self, address: str) -> Location:
        """What is known of a client's address, as the data plane writes it."""
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= MAX_REMEMBERED:
                self._known = {}
            known = self._known[address] = self._look(address)
        return known

    def _look(self, text: str) -> Location:
        version, number = number_of(text)
        if not version:
            return _NOWHERE
        address = IPv4Address(number) if version == 4 else IPv6Address(number)
        merged: dict[str, Any] = {}
        for database in self.databases:
            try:
                found = database.find(address)
            except ValueError as error:     # what it says elsewhere holds; of this client nothing is known
                self.problem = str(error)
                continue
            if isinstance(found, dict):
                merged = {**found, **merged}
        return _location(merged)


def _location(found: dict[str, Any]) -> Location:
    """Of a record with the fields that MaxMind's databases have, or with the flat ones of others."""
    country = found.get("country") or found.get("registered_country") or ""
    code = country.get("iso_code", "") if isinstance(country, dict) else found.get("country_code") or country
    regions = found.get("subdivisions")
    region = regions[0] if isinstance(regions, list) and regions else found.get("region", "")
    return Location(
        str(code).upper()[:2], _name(region), _name(found.get("city", "")),
        _asn(found.get("autonomous_system_number", found.get("asn", 0))),
        str(found.get("autonomous_system_organization", found.get("as_name", "")))[:100])


def _name(value: Any) -> str:
    if isinstance(value, dict):
        names = value.get("names")
        value = names.get("en", "") if isinstance(names, dict) else value.get("iso_code", "")
    return value[:100] if isinstance(value, str) else ""


def _asn(value: Any) -> int:
    if isinstance(value, str):
        value = value.upper().removeprefix("AS")
        return int(value) if value.isdecimal() else 0
    return value if isinstance(value, int) and value > 0 else 0


def country_code(text: str) -> str:
    """The code that a value of the object model means: ``COUNTRY_FR`` is FR, ``COUNTRY_NONE`` "" (not known).

    Raises ValueError for what is no country.
    """
    code = text.upper().removeprefix(_PREFIX)
    if code == "NONE":
        return ""
    if len(code) != 2 or not code.isascii() or not code.isalpha():
        raise ValueError(f"{text!r} is no country: write COUNTRY_ and the two letters of ISO 3166-1, such as COUNTRY_FR")
    return code


def changed(databases: tuple[Database, ...]) -> bool:
    """Whether one of the files is another one now. One that is not there is not: it is being replaced."""
    for each in databases:
        try:
            found = os.stat(each.path)
        except OSError:
            continue
        if Stamp(found.st_ino, found.st_size, found.st_mtime_ns) != each.stamp:
            return True
    return False
