"""HAProxy's backends as pools of servers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from voltgw.app.importing.haproxy_words import Line, Section
from voltgw.app.importing.model import MIXED, Check, Gateway, Pool, Secure, Server
from voltgw.app.importing.words import seconds

#: Options of servers that change no answer.
_IGNORED: Final = frozenset((
    "maxqueue", "minconn", "slowstart", "on-marked-down", "on-marked-up", "observe", "error-limit", "init-addr", "resolvers",
    "resolve-prefer", "pool-max-conn", "pool-purge-delay", "pool-low-conn", "max-reuse", "fastinter", "downinter", "id",
    "enabled",
    "check", "non-stick", "tfo", "ciphers", "ciphersuites", "force-tlsv12", "force-tlsv13", "ssl-min-ver", "ssl-max-ver",
    "no-tls-tickets", "sigalgs", "shard", "log-proto", "ws", "redir-none", "inter", "rise", "fall", "cookie", "maxconn",
    "alpn", "check-alpn", "check-sni", "no-ssl-reuse", "verifyhost", "check-ssl", "no-check", "no-backup", "npn", "namespace"))
#: Those with a word behind them.
_WITH_WORD: Final = frozenset((
    "maxqueue", "minconn", "slowstart", "on-marked-down", "on-marked-up", "observe", "error-limit", "init-addr", "resolvers",
    "resolve-prefer", "pool-max-conn", "pool-purge-delay", "pool-low-conn", "max-reuse", "fastinter", "downinter", "id",
    "ciphers",
    "ciphersuites", "ssl-min-ver", "ssl-max-ver", "sigalgs", "shard", "log-proto", "ws", "inter", "rise", "fall", "cookie",
    "maxconn", "alpn", "check-alpn", "check-sni", "verifyhost", "npn", "namespace", "weight", "verify", "ca-file", "crt", "sni",
    "proto", "check-proto", "port", "addr", "agent-port", "agent-addr", "agent-inter", "source", "redir", "track", "crl-file"))
_ALGORITHMS: Final = {"roundrobin": "ROUND_ROBIN", "static-rr": "ROUND_ROBIN", "leastconn": "LEAST_REQUEST", "random": "RANDOM",
                      "source": "RING_HASH"}


def pool(gateway: Gateway, section: Section, absolute: Callable[[str], str], ca_absolute: Callable[[str], str], *,
         verify_none: bool) -> str | None:
    """The name of the pool of a backend, None where it has no server."""
    notes = gateway.notes
    made = Pool(section.name)
    _algorithm(gateway, section, made)
    own = [each for each in section.lines if each.name == "default-server"]
    inherited = [each for each in section.defaults.lines if each.name == "default-server"] if section.defaults else []
    defaults = [arg for each in (*inherited, *own) for arg in each.args]
    checked: list[dict[str, str]] = []
    for line in section.all("server"):
        if len(line.args) < 2:
            notes.left_out(line.place, line.text(), "a server has a name and an address")
            continue
        facts = {**_facts(defaults, line, gateway, quiet=True), **_facts(line.args[2:], line, gateway)}
        if "disabled" in facts:
            continue
        server = _address(line.args[1])
        if server is None:
            notes.left_out(line.place, line.text(), "an address is host:port or a path")
            continue
        if made.servers and ("ssl" in facts) is not (made.tls is not None):
            notes.left_out(line.place, line.text(), MIXED)
            continue
        if facts.get("weight", "").isdigit():
            server.weight = int(facts["weight"])
        server.backup = "backup" in facts
        made.servers.append(server)
        if "check" in facts and "no-check" not in facts:
            checked.append(facts)
        if "ssl" in facts:
            made.tls = _secure(gateway, line, facts, ca_absolute, verify_none)
        if facts.get("proto") == "h2" or facts.get("alpn", "").startswith("h2"):
            made.http2 = True
        versions = [2 if each.startswith("send-proxy-v2") else 1 for each in facts if each.startswith("send-proxy")]
        made.proxy_protocol = versions[0] if versions else None
    for line in section.all("server-template"):
        notes.left_out(line.place, line.text(), "an endpoint with a DNS name has all addresses of the name as members")
    if not made.servers:
        return None
    if checked:
        made.check = _check(gateway, section, checked[0])
    wait = section.word("timeout", "connect")
    if wait:
        made.connect_timeout_s = _time(wait, 5.0)
    return gateway.add_pool(made)


def _algorithm(gateway: Gateway, section: Section, made: Pool) -> None:
    line = section.last("balance")
    word = line.args[0] if line is not None and line.args else "roundrobin"
    header = re.fullmatch(r"hdr\(([^)]+)\)", word)
    if header is not None:
        made.algorithm, made.hashed = "RING_HASH", ("header", header[1])
    elif word in _ALGORITHMS:
        made.algorithm = _ALGORITHMS[word]
        made.hashed = ("source", "") if word == "source" else None
    elif line is not None:
        gateway.notes.left_out(line.place, line.text(),
                               "hashed is a header, a cookie or the client's address; all serve in turn")
    if made.hashed is not None and line is not None:
        gateway.notes.differs(line.place, line.text(),
                              "equal keys keep to one endpoint, though not to the same one as with HAProxy")
    cookie = section.last("cookie")
    if cookie is not None and cookie.args and section.all("cookie"):
        made.cookie = cookie.args[0]
        gateway.notes.differs(cookie.place, cookie.text(),
                              "the cookie is the gateway's own and signed: clients are given one anew")
    for each in section.all("stick-table", "stick"):
        gateway.notes.left_out(each.place, each.text(), "pin clients by a cookie (`affinity`) or by `hash_policy`")


def _facts(args: list[str], line: Line, gateway: Gateway, *, quiet: bool = False) -> dict[str, str]:
    made: dict[str, str] = {}
    index = 0
    while index < len(args):
        word = args[index]
        index += 1
        text = ""
        if word in _WITH_WORD and index < len(args):
            text = args[index]
            index += 1
        made[word] = text
        if word not in _IGNORED and not quiet and word not in (
                "weight", "backup", "disabled", "ssl", "verify", "ca-file", "crt", "sni",
                "proto") and not word.startswith("send-proxy"):
            gateway.notes.left_out(line.place, f"{word} {text}".strip(),
                                   f"of server {line.args[0]}: endpoints have nothing like it")
    return made


def _address(text: str) -> Server | None:
    text = text.removeprefix("ipv4@").removeprefix("ipv6@")
    if text.startswith(("/", "unix@")):
        return Server(text.removeprefix("unix@"), unix=True)
    found = re.fullmatch(r"\[?([0-9A-Fa-f:]{2,}|[^:\[\]]+)\]?(?::\+?(\d{1,5}))?", text)
    if found is None:
        return None
    return Server(found[1], int(found[2]) if found[2] else 80)


def _secure(gateway: Gateway, line: Line, facts: dict[str, str], absolute: Callable[[str], str], verify_none: bool) -> Secure:
    verify = facts.get("verify", "none" if verify_none else "required") != "none"
    ca = facts.get("ca-file", "")
    made = Secure(verify, absolute(ca) if ca and not ca.startswith("@") else None, "")
    sni = facts.get("sni", "")
    fixed = re.fullmatch(r"str\(([^)]+)\)", sni)
    if fixed is not None:
        made.sni = fixed[1].strip("'\"")
    elif re.match(r"(?:req\.)?hdr\(host\)", sni) or sni == "ssl_fc_sni":
        made.host_as_sni = True
    elif sni:
        gateway.notes.left_out(line.place, f"sni {sni}", "the server name is a fixed one, or Host")
    if facts.get("crt"):
        made.certificate = made.key = absolute(facts["crt"])
    if facts.get("verifyhost"):
        made.sni = made.sni or facts["verifyhost"]
    return made


def _check(gateway: Gateway, section: Section, facts: dict[str, str]) -> Check:
    made = Check(interval_s=_time(facts.get("inter", ""), 2.0), rise=_count(facts.get("rise", ""), 2),
                 fall=_count(facts.get("fall", ""), 3))
    made.timeout_s = _time(section.word("timeout", "check"), made.interval_s)
    asked = section.last("option", "httpchk")
    if asked is not None:
        words = asked.args[1:]
        method, path = ("OPTIONS", "/") if not words else ("GET", words[0]) if words[0].startswith("/") else (
            words[0], words[1] if len(words) > 1 else "/")
        rest = " ".join(words[2:])
        host = re.search(r"[Hh]ost:\s*([^\s\\]+)", rest)
        made.host = host[1] if host else None
        sent = section.last("http-check", "send")
        if sent is not None:
            named = dict(zip(sent.args[1::2], sent.args[2::2], strict=False))
            method, path = named.get("meth", method), named.get("uri", path)
            hosts = re.search(r"\bhdr [Hh]ost (\S+)", " ".join(sent.args))
            made.host = hosts[1] if hosts else made.host
        if method.upper() not in ("GET", "HEAD") and (words or sent is not None):
            gateway.notes.differs(asked.place, asked.text(), "probes ask by GET")
        made.path, made.statuses = path, ("200-399",)
    expected = section.last("http-check", "expect")
    if expected is not None:
        words = expected.args[1:]
        if len(words) == 2 and words[0] == "status" and re.fullmatch(r"\d{3}(-\d{3})?(,\d{3}(-\d{3})?)*", words[1]):
            made.statuses = tuple(words[1].split(","))
        else:
            gateway.notes.left_out(expected.place, expected.text(), "write `expected_response`, or a list of statuses")
    for name in ("mysql-check", "pgsql-check", "redis-check", "smtpchk", "ldap-check", "ssl-hello-chk", "tcp-check",
                 "external-check"):
        other = section.last("option", name)
        if other is not None and name not in ("tcp-check", "ssl-hello-chk"):
            gateway.notes.differs(other.place, other.text(), "probes connect and ask nothing")
    return made


def _time(text: str, default_s: float) -> float:
    try:
        return seconds(text, "ms") if text else default_s
    except ValueError:
        return default_s


def _count(text: str, default: int) -> int:
    return int(text) if text.isdigit() else default
