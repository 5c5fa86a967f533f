"""Packet rules that bring the connections of an inside network to a listener of ours, whatever they are meant for.

The rules are a table of their own (``inet voltgw``) in the network namespace of the inside network, which is replaced as a
whole and removed at the end; other tables are never looked at. TPROXY also needs a routing rule by which marked packets count
as our own; rule and route carry our mark of origin. What is meant for an address of this host is left alone: our VIPs are such.
"""

from __future__ import annotations

import errno
import shutil
import socket
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from voltgw.net.addresses import Netlink, netlink
from voltgw.net.namespaces import inside
from voltgw.net.original import Transparent
from voltgw.wire.rtnetlink import (
    CREATE,
    DELROUTE,
    DELRULE,
    EXCL,
    NEWROUTE,
    NEWRULE,
    REPLACE,
    local_route_request,
    rule_request,
    table_request,
)

#: Our table.
TABLE: Final = "voltgw"
#: The mark of packets that TPROXY has taken, the routing table that is for them, and where its rule stands among others.
MARK: Final = 0x7667
ROUTES: Final = 7667
PRIORITY: Final = 7667
#: nft(8) has so long; it takes some milliseconds.
NFT_TIMEOUT_S: Final = 5.0
#: Where Debian keeps nft, although an ordinary user's PATH does not look there.
_SBIN: Final = ("/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft")
_NETLINK_NETFILTER: Final = 12              # linux/netlink.h
_LOOPBACK: Final = 1                        # the number of lo in every namespace
_GONE: Final = frozenset((errno.ENOENT, errno.ESRCH, errno.ENODEV))


class CannotCapture(Exception):
    """The rules cannot be had; the message says why and what to do about it."""


class Capture(NamedTuple):
    """Connections that come by `device` ("" = any but loopback) in a network namespace ("" = our own) go to `port` of ours.

    `ports` are the ranges (first, last) of destination ports that are captured, () = all. Both IP versions are.
    """

    netns: str
    device: str
    mode: Transparent
    port: int
    ports: tuple[tuple[int, int], ...] = ()


def ruleset(captures: Iterable[Capture]) -> str:
    """What nft(8) reads to have the rules of one network namespace, in place of those that it has of us."""
    captures = list(captures)
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{",
             '    comment "made by voltgw, removed when it ends"']
    by_tproxy = [one for one in captures if one.mode == "tproxy"]
    by_redirect = [one for one in captures if one.mode == "redirect"]
    if by_tproxy:
        lines += ["    chain by_tproxy {", "        type filter hook prerouting priority mangle; policy accept;",
                  f"        meta l4proto tcp socket transparent 1 meta mark set {MARK:#x} accept",
                  "        fib daddr type { local, broadcast, anycast, multicast } return"]
        for one in by_tproxy:
            for version in ("ip", "ip6"):
                family = "ipv4" if version == "ip" else "ipv6"
                lines.append(f"        {_from(one)}meta nfproto {family} {_to(one)}tproxy {version} to :{one.port} "
                             f"meta mark set {MARK:#x} accept")
        lines.append("    }")
    if by_redirect:
        lines += ["    chain by_redirect {", "        type nat hook prerouting priority dstnat; policy accept;",
                  "        fib daddr type { local, broadcast, anycast, multicast } return"]
        lines += [f"        {_from(one)}{_to(one)}redirect to :{one.port}" for one in by_redirect]
        lines.append("    }")
    return "\n".join([*lines, "}", ""])


def routing(captures: Iterable[Capture]) -> list[str]:
    """The commands of ip(8) that TPROXY needs beside the rules, in one network namespace; none without TPROXY."""
    if all(one.mode != "tproxy" for one in captures):
        return []
    return [command.format(version) for version in ("-4", "-6") for command in (
        f"ip {{}} route replace local default dev lo table {ROUTES}",
        f"ip {{}} rule add fwmark {MARK:#x} lookup {ROUTES} priority {PRIORITY}")]


def _from(one: Capture) -> str:
    return f'iifname "{one.device}" ' if one.device else 'iifname != "lo" '


def _to(one: Capture) -> str:
    if not one.ports:
        return "meta l4proto tcp "
    listed = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in one.ports)
    return f"tcp dport {{ {listed} }} "


def check(netns: str, captures: Sequence[Capture]) -> None:
    """Ask the kernel whether it would take the rules; nothing changes. Raises `CannotCapture`."""
    _nft(netns, ruleset(captures), "--check")


def install(netns: str, captures: Sequence[Capture]) -> None:
    """Have exactly these rules in a network namespace, at once. Raises `CannotCapture`."""
    try:
        with netlink(netns) as talk:
            if any(one.mode == "tproxy" for one in captures):
                for family in (socket.AF_INET, socket.AF_INET6):
                    _route(talk, family)
            else:
                _no_route(talk)
    except OSError as error:
        if captures or error.errno not in _GONE:
            hint = "; its loopback interface lo is down" if error.errno == errno.ENETDOWN else ""
            raise CannotCapture(f"routing of captured packets{_place(netns)}: {_words(error)}{hint}") from error
    _nft(netns, ruleset(captures) if captures else f"table inet {TABLE}\ndelete table inet {TABLE}\n")


def installed(netns: str) -> bool:
    """Whether our table is there (somebody may have flushed them all). Raises OSError."""
    talk = Netlink(netns, _NETLINK_NETFILTER)
    try:
        talk.ask(lambda number: table_request(number, TABLE))
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise
    finally:
        talk.close()
    return True


def _route(talk: Netlink, family: int) -> None:
    talk.ask(lambda number: local_route_request(NEWROUTE, CREATE | REPLACE, number, family, ROUTES, _LOOPBACK))
    try:
        talk.ask(lambda number: rule_request(NEWRULE, CREATE | EXCL, number, family, MARK, ROUTES, PRIORITY))
    except OSError as error:
        if error.errno != errno.EEXIST:     # of ours, from before
            raise


def _no_route(talk: Netlink) -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        for ask in ((lambda number: rule_request(DELRULE, 0, number, family, MARK, ROUTES, PRIORITY)),  # noqa: B023
                    (lambda number: local_route_request(DELROUTE, 0, number, family, ROUTES, _LOOPBACK))):  # noqa: B023
            try:
                talk.ask(ask)
            except OSError as error:
                if error.errno not in _GONE:
                    raise


def _nft(netns: str, script: str, *options: str) -> None:
    program = shutil.which("nft") or next(filter(shutil.which, _SBIN), None)
    if program is None:
        raise CannotCapture("nft is not installed (Debian: apt install nftables); or set `gateway: {packet_rules: untouched}`, "
                            "and install by yourself what `voltgw rules FILE` prints")
    try:
        with inside(netns):                 # the new process is in the network of the thread that makes it
            process = subprocess.Popen([program, *options, "-f", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise CannotCapture(f"nft cannot be run{_place(netns)}: {_words(error)}") from error
    try:
        _, said = process.communicate(script, timeout=NFT_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise CannotCapture(f"nft{_place(netns)} did not end within {NFT_TIMEOUT_S:g} s") from error
    finally:
        with suppress(OSError):
            if process.poll() is None:
                process.kill()
    if process.returncode:
        first = next((line for line in said.splitlines() if line.strip()), f"exit status {process.returncode}")
        hint = "; it takes CAP_NET_ADMIN" if "not permitted" in said else ""
        raise CannotCapture(f"nft refuses the packet rules{_place(netns)}: {first}{hint}")


def _place(netns: str) -> str:
    return f" in network namespace {netns}" if netns else ""


def _words(error: OSError) -> str:
    return (error.strerror or str(error) or errno.errorcode.get(error.errno or 0, "")).lower()
