"""HAProxy's configuration: frontends with their rules in order, backends with theirs behind them."""

from __future__ import annotations

import base64
import glob
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from voltgw.app.importing.haproxy_acl import Acls, Alternative
from voltgw.app.importing.haproxy_pools import pool
from voltgw.app.importing.haproxy_rules import backend_name, fixed_backends, redirection, replaced, reply, value
from voltgw.app.importing.haproxy_words import Line, Section, read
from voltgw.app.importing.model import (
    Certificates,
    Edit,
    Forward,
    Gateway,
    Host,
    Listen,
    Match,
    Place,
    Reply,
    Rule,
    UnreadableError,
    Verdict,
)
from voltgw.app.importing.narrowing import all_of, narrowed
from voltgw.app.importing.words import Files, rewrite, seconds

#: Lines of frontends and backends that change no answer, or that voltgw does anyway.
_IGNORED: Final = frozenset((
    "acl", "bind", "mode", "option", "timeout", "maxconn", "fullconn", "backlog", "log", "log-format", "log-format-sd",
    "error-log-format",
    "log-tag", "no log", "no option", "unique-id-format", "unique-id-header", "balance", "server", "default-server",
    "server-template",
    "cookie", "hash-type", "http-check", "tcp-check", "http-reuse", "retries", "description", "id", "capture",
    "default_backend",
    "use_backend", "http-request", "http-response", "http-after-response", "redirect", "compression", "monitor-uri", "monitor",
    "stick-table", "stick", "tcp-request", "tcp-response", "enabled", "load-server-state-from-file", "email-alert",
    "max-keep-alive-queue", "dispatch-timeout", "declare", "rate-limit", "grace", "clitcpka-cnt", "srvtcpka-cnt", "source",
    "external-check", "retry-on", "errorloc", "no use-server", "balance-seed", "http-send-name-header"))
_VERSIONS: Final = {"TLSv1.0": "TLSv1_0", "TLSv1.1": "TLSv1_1", "TLSv1.2": "TLSv1_2", "TLSv1.3": "TLSv1_3"}
#: Rules of ``http-request`` that only count, log, wait or prepare variables.
_QUIET: Final = frozenset(("capture", "set-log-level", "set-nice", "set-tos", "set-mark", "disable-l7-retry",
                           "set-priority-class",
                           "normalize-uri", "wait-for-handshake", "wait-for-body"))


def translate(names: list[str]) -> Gateway:
    """The configuration in some files, in their order. Raises UnreadableError."""
    sections, files = read(names)
    if not sections:
        raise UnreadableError(Place(names[0], 1, 1), "no section stands here")
    return _HAProxy(sections, files).translate()


class _Change(NamedTuple):
    """A change of the rules that forward, and when it is made."""

    alternatives: list[Alternative]
    make: Callable[[Rule], None]
    line: Line


class _HAProxy:
    """One configuration."""

    def __init__(self, sections: list[Section], files: Files) -> None:
        self.gateway = Gateway()
        self.notes = self.gateway.notes
        self.files = files
        self.sections = sections
        self.backends = {each.name: each for each in sections if each.kind in ("backend", "listen")}
        self.userlists = {each.name: each for each in sections if each.kind == "userlist"}
        merged = [line for each in sections if each.kind == "global" for line in each.lines]
        self.settings = Section("global", "", sections[0].place, merged)
        self.pools: dict[str, str | None] = {}

    def translate(self) -> Gateway:
        """Every frontend of it, and the backends that they use."""
        for section in self.sections:
            if section.kind in ("frontend", "listen"):
                self._unknown(section)
                self._frontend(section)
            elif section.kind == "backend":
                self._unknown(section)
            elif section.kind in ("program", "fcgi-app", "log-forward", "cache"):
                self.notes.left_out(section.place, f"{section.kind} {section.name}", "voltgw has nothing like it")
        return self.gateway

    def _unknown(self, section: Section) -> None:
        for each in section.lines:
            if each.name in ("stats", "errorfile", "errorfiles"):
                self.notes.left_out(each.place, each.text(), "the admin interface shows statistics" if each.name == "stats" else
                                    "write bodies of errors with `custom_errors` of the virtual host")
            elif each.name not in _IGNORED:
                self.notes.left_out(each.place, each.text(), "voltgw has nothing of this name")

    def absolute(self, path: str) -> str:
        """A certificate's path."""
        return self.files.absolute(os.path.join(self.settings.word("crt-base"), path))

    def ca_absolute(self, path: str) -> str:
        """A trust store's path."""
        return self.files.absolute(os.path.join(self.settings.word("ca-base"), path))

    def values(self, name: str, line: Line) -> list[str]:
        """The values in a file, one a line. Raises ValueError."""
        try:
            text = self.files.read(self.files.absolute(name), line.place)
        except UnreadableError as error:
            raise ValueError(str(error)) from None
        self.files.done()
        found = [each.strip() for each in text.splitlines() if each.strip() and not each.lstrip().startswith("#")]
        self.files.count(line.place, len(found))
        return found

    def pool(self, name: str) -> str | None:
        """The pool of a backend, None where it has no server."""
        if name not in self.pools:
            section = self.backends.get(name)
            verify_none = self.settings.word("ssl-server-verify") == "none"
            self.pools[name] = None if section is None else pool(
                self.gateway, section, self.absolute, self.ca_absolute, verify_none=verify_none)
        return self.pools[name]

    # -- frontends ----------------------------------------------------------------------------------------------------

    def _frontend(self, section: Section) -> None:
        mode = section.word("mode") or "tcp"
        by_scheme: dict[bool, tuple[list[Listen], Certificates | None, bool, bool]] = {}
        for line in section.all("bind"):
            self._bind(section, line, by_scheme)
        if not by_scheme:
            if section.kind == "frontend":
                self.notes.left_out(section.place, f"frontend {section.name}", "it has no bind")
            return
        for secure, (listens, tls, strict, http2) in by_scheme.items():
            name = section.name + "-tls" * (secure and len(by_scheme) > 1)
            host = Host(self.gateway.free_name(name), ["*"], listens, kind="http", tls=tls, default=secure and not strict,
                        remark=f"{section.place}")
            if mode == "tcp":
                self._relay(section, host)
                continue
            host.http2_only = http2 and not secure
            self._settings(section, host)
            host.rules = list(self._rules(section, host, secure))
            if not host.rules or host.rules[-1].matches:
                host.rules.append(Rule([], Reply(503)))
            self.gateway.hosts.append(host)

    def _bind(self, section: Section, line: Line,
              by_scheme: dict[bool, tuple[list[Listen], Certificates | None, bool, bool]]) -> None:
        options = line.args[1:]
        facts = {word: options[index + 1] if index + 1 < len(options) else "" for index, word in enumerate(options)}
        secure = "ssl" in options
        listens, tls, strict, http2 = by_scheme.setdefault(secure, ([], Certificates() if secure else None, False, False))
        proxied = ("0.0.0.0/0", "::/0") if "accept-proxy" in options else ()
        for text in line.args[0].split(",") if line.args else ():
            for listen in self._addresses(text, line):
                listen = replace(listen, proxied=proxied)
                if listen not in listens:
                    listens.append(listen)
        if tls is not None:
            for index, word in enumerate(options):
                if word == "crt" and index + 1 < len(options):
                    self._certificate(tls, options[index + 1], line)
                elif word == "crt-list":
                    self.notes.left_out(line.place, "crt-list", "name each certificate")
            verify, ca = facts.get("verify", "none"), facts.get("ca-file", "")
            if verify != "none" and ca:
                tls.client_ca, tls.client_optional = self.ca_absolute(ca), verify == "optional"
            words = [*self.settings.all("ssl-default-bind-options")[-1:], line]
            for each in words:
                for index, word in enumerate(each.args):
                    if word in ("ssl-min-ver", "ssl-max-ver") and each.args[index + 1:]:
                        version = _VERSIONS.get(each.args[index + 1])
                        if word == "ssl-min-ver":
                            tls.least = version if version != "TLSv1_2" else None
                        else:
                            tls.most = version if version != "TLSv1_3" else None
        if "strict-sni" in options:
            self.notes.differs(line.place, "strict-sni", "who asks for another name is shown the first certificate")
        by_scheme[secure] = (listens, tls, strict or "strict-sni" in options, http2 or facts.get("proto") == "h2")

    def _addresses(self, text: str, line: Line) -> Iterator[Listen]:
        text = text.removeprefix("ipv4@").removeprefix("ipv6@").removeprefix("tcp@")
        if text.startswith(("/", "unix@")):
            yield Listen(0, unix=text.removeprefix("unix@"))
            return
        found = re.fullmatch(r"(\[[^\]]*\]|.*):(\d+)(?:-(\d+))?", text)
        if found is None or text.startswith(("quic", "fd@", "abns@")):
            self.notes.left_out(line.place, line.text(), "an address is host:port or a path")
            return
        address: str | None = found[1].strip("[]")
        if address in ("", "*", "0.0.0.0", "::"):
            address = None
        first, last = int(found[2]), int(found[3] or found[2])
        for port in range(first, min(last, first + 255) + 1):
            yield Listen(port, address)

    def _certificate(self, tls: Certificates, text: str, line: Line) -> None:
        path = self.absolute(text)
        names = sorted(each for each in glob.glob(os.path.join(path, "*")) if each.endswith((".pem", ".crt"))) if (
            os.path.isdir(path)) else [path]
        if not names:
            self.notes.left_out(line.place, f"crt {text}", "no certificate stands in this folder")
        for name in names[:32]:
            own = next((key for key in (f"{name}.key", f"{os.path.splitext(name)[0]}.key") if os.path.exists(key)), name)
            tls.pairs.append((name, own))

    def _settings(self, section: Section, host: Host) -> None:
        host.idle_timeout_s = self._timeout(section, "server")
        keep = self._timeout(section, "http-keep-alive")
        host.keep_alive_s = min(600.0, keep) if keep is not None else None
        algorithms = section.last("compression", "algo")
        if algorithms is not None and "gzip" in algorithms.args:
            host.compress = ("gzip",)
            types = section.last("compression", "type")
            host.compress_types = tuple(dict.fromkeys(types.args[1:])) if types is not None else ()

    def _timeout(self, section: Section, name: str) -> float | None:
        text = section.word("timeout", name)
        try:
            return min(seconds(text, "ms"), 3600.0) if text else None
        except ValueError:
            self.notes.left_out(section.place, f"timeout {name} {text}", "this is no time")
            return None

    # -- relays -------------------------------------------------------------------------------------------------------

    def _relay(self, section: Section, host: Host) -> None:
        acls = Acls(section, host.tls is not None, self.values)
        chosen: dict[str, list[str]] = {}
        host.kind, host.domains = "tcp", []
        host.idle_timeout_s = self._timeout(section, "server") or self._timeout(section, "client")
        for line in section.all("tcp-request"):
            words, when, inverted = line.split()
            if words[:1] == ["inspect-delay"] or "accept" in words:
                continue
            if words[:2] in (["connection", "reject"], ["content", "reject"]):
                try:
                    for each in acls.alternatives(when, inverted, line):
                        if each.match != Match() or each.names:
                            raise ValueError("relays are judged by the client's address")
                        host.verdicts.append(Verdict(None, each.sources or (), False, each.outside))
                except ValueError as error:
                    self.notes.left_out(line.place, line.text(), str(error))
            else:
                self.notes.left_out(line.place, line.text(), "write a `service_policy` or a `rate_limiter`")
        for line in section.all("use_backend"):
            words, when, inverted = line.split()
            try:
                for each in acls.alternatives(when, inverted, line):
                    if each.match != Match() or each.sources is not None or inverted or not each.names:
                        raise ValueError("relays are chosen by server name")
                    chosen.setdefault(words[0], []).extend(each.names)
            except (ValueError, IndexError) as error:
                self.notes.left_out(line.place, line.text(), str(error))
        default = section.word("default_backend") or (section.name if section.kind == "listen" else "")
        if host.verdicts:
            host.verdicts.append(Verdict(None, (), True))
        for backend, names in chosen.items():
            used = self.pool(backend)
            if used is None:
                self.notes.left_out(section.place, f"backend {backend}", "it has no server")
                continue
            self.gateway.hosts.append(Host(
                self.gateway.free_name(f"{section.name}-{backend}"), names, host.listens,
                [Rule([], Forward([(used, None)]))], "sni",
                host.tls, idle_timeout_s=host.idle_timeout_s, verdicts=list(host.verdicts), remark=f"{section.place}"))
        used = self.pool(default) if default else None
        if used is not None:
            host.rules = [Rule([], Forward([(used, None)]))]
            if chosen:
                host.kind, host.domains, host.default = "sni", ["default.invalid"], True
            self.gateway.hosts.append(host)
        elif not chosen or default:
            self.notes.left_out(section.place, f"{section.kind} {section.name}", "it has no server")

    # -- rules --------------------------------------------------------------------------------------------------------

    def _rules(self, section: Section, host: Host, secure: bool) -> Iterator[Rule]:
        """What a frontend answers itself, then what its backends do, in order."""
        acls = Acls(section, secure, self.values)
        monitor = section.last("monitor-uri")
        if monitor is not None and monitor.args:
            yield Rule([Match("exact", monitor.args[0])], Reply(
                200, "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n", "text/html"))
        edits: list[_Change] = []
        yield from self._requests(section, host, acls, edits)
        forwards: list[Rule] = []
        for line in section.all("use_backend"):
            words, when, inverted = line.split()
            try:
                names = fixed_backends(words[0], self.backends, self.values, line) if words else {}
                alternatives = acls.alternatives(when, inverted, line)
                if any(each.sources is not None or each.names for each in alternatives):
                    raise ValueError("routes are not chosen by the client's address")
                for name, match in names.items():
                    forwards += self._backend(backend_name(name), [each.match for each in alternatives], match, line,
                                              secure, host)
            except (ValueError, IndexError) as error:
                self.notes.left_out(line.place, line.text(), str(error))
        default = section.last("default_backend")
        if default is not None and default.args:
            forwards += self._backend(default.args[0], [Match()], [Match()], default, secure, host)
        elif section.kind == "listen":
            forwards += self._backend(section.name, [Match()], [Match()], Line("listen", [section.name], section.place),
                                      secure, host)
        yield from self._edited(forwards, edits, section)

    def _backend(self, name: str, matches: list[Match], more: list[Match], line: Line, secure: bool, host: Host) -> list[Rule]:
        """The rules by which requests go to a backend, with those that the backend has itself."""
        section = self.backends.get(name)
        if section is None:
            self.notes.left_out(line.place, line.text(), f"there is no backend {name!r}")
            return []
        if not matches:
            return []
        base = narrowed(Rule([] if Match() in matches else matches, Reply(503)), more)
        if base is None:
            return []
        entries = base.matches or [Match()]
        edits: list[_Change] = []
        used = self.pool(name)
        holder = Host(name, [], [])
        own = list(self._requests(section, holder, Acls(section, secure, self.values),
                                  edits)) if section.kind == "backend" else []
        forward: Forward | Reply = Reply(503) if used is None else Forward([(used, None)])
        if isinstance(forward, Forward):
            self._retries(section, forward)
        made = []
        for rule in own:
            try:
                joined = narrowed(rule, entries)
            except ValueError as error:
                self.notes.left_out(line.place, f"a rule of backend {name}", str(error))
                continue
            if joined is not None:
                made.append(joined)
        if not own or own[-1].matches:
            made += self._edited([Rule(base.matches, forward)], edits, section)
        try:
            host.verdicts += [Verdict(match, each.prefixes, each.allow, each.inverted) for each in holder.verdicts
                              for match in all_of([[each.match or Match()], entries])]
        except ValueError as error:
            self.notes.left_out(section.place, f"http-request of backend {name}", f"{error}; answered 403 until then")
            for rule in made:
                rule.close()
        host.verdicts += [Verdict(match, (), True) for match in entries]
        return made

    def _retries(self, section: Section, forward: Forward) -> None:
        line = section.last("retry-on")
        if line is None:
            return
        found = {"conn-failure": "connect-failure", "empty-response": "reset", "response-timeout": "reset",
                 "junk-response": "reset",
                 "all-retryable-errors": "gateway-error", "500": "5xx", "502": "gateway-error", "503": "gateway-error",
                 "504": "gateway-error"}
        forward.retry_on = tuple(dict.fromkeys(found[word] for word in line.args if word in found))
        text = section.word("retries")
        forward.retries = int(text) if text.isdigit() else 3

    def _requests(self, section: Section, host: Host, acls: Acls,
                  edits: list[_Change]) -> Iterator[Rule]:
        """The rules of ``http-request``, ``redirect`` and ``http-response``: answers are yielded, edits are kept."""
        for line in section.lines:
            if line.name not in ("http-request", "http-response", "http-after-response", "redirect", "tcp-request"):
                continue
            words, when, inverted = line.split()
            if line.name == "redirect":
                words = ["redirect", *words]
            verb = words[0] if words else ""
            if line.name == "tcp-request" or verb in _QUIET or verb.startswith(("track-sc", "sc-", "set-var", "unset-var")):
                if verb.startswith("track-sc") or line.name == "tcp-request" and "reject" in words:
                    self.notes.left_out(line.place, line.text(),
                                        "limit requests with a `rate_limiter`, clients with a `service_policy`")
                continue
            try:
                if verb == "auth":
                    self._users(line, words, when, inverted, acls, edits)
                    continue
                alternatives = acls.alternatives(when, inverted, line)
                if not alternatives:
                    continue
                if line.name in ("http-response", "http-after-response"):
                    self._response(line, words, alternatives, edits)
                    continue
                yield from self._request(line, verb, words, alternatives, host, edits)
            except (ValueError, IndexError) as error:
                refuses = "nobody is refused by it until you write a rule: " * (verb in ("deny", "tarpit", "reject",
                                                                                         "silent-drop"))
                self.notes.left_out(line.place, line.text(), refuses + (str(error) or "this cannot be said"))

    def _request(self, line: Line, verb: str, words: list[str], alternatives: list[Alternative], host: Host,
                 edits: list[_Change]) -> Iterator[Rule]:
        by_source = any(each.sources is not None for each in alternatives)
        matches = [] if any(each.match == Match() for each in alternatives) else [each.match for each in alternatives]
        if verb in ("deny", "tarpit", "reject", "allow"):
            if verb == "reject":
                self.notes.differs(line.place, line.text(), "the connection is not cut: the answer is 403")
            status = int(words[words.index("deny_status") + 1]) if "deny_status" in words else 500 if verb == "tarpit" else 403
            if by_source or verb == "allow":
                if status != 403 and verb != "allow":
                    self.notes.differs(line.place, line.text(), "who is refused by address is answered 403")
                for each in alternatives:
                    host.verdicts.append(Verdict(each.match if each.match != Match() else None, each.sources or (),
                                                 verb == "allow",
                                                 each.outside))
                return
            yield Rule(matches, Reply(status))
            self._allowed(host, alternatives)
            return
        if by_source:
            raise ValueError("only `deny` and `allow` look at the client's address")
        if verb == "redirect":
            yield Rule(matches, redirection(words[1:]))
            self._allowed(host, alternatives)
        elif verb == "return":
            yield Rule(matches, reply(words[1:]))
            self._allowed(host, alternatives)
        elif verb in ("set-header", "add-header", "del-header"):
            name = words[1]
            text = None if verb == "del-header" else value(words[2])
            if name.lower() == "host" and text is not None:
                if "%" in text:
                    raise ValueError("Host is the client's, a fixed one, or the endpoint's")
                edits.append(_Change(alternatives, lambda rule: _host(rule, text), line))
            else:
                edit = Edit(name, text, verb == "add-header")
                edits.append(_Change(alternatives, lambda rule: rule.request.append(edit), line))
        elif verb in ("set-path", "replace-path", "set-query", "replace-uri", "set-uri"):
            change = replaced(verb, words[1:])
            found = verb.startswith("replace")
            edits.append(_Change(alternatives, lambda rule: self._path(rule, change, found, line), line))
        else:
            raise ValueError("voltgw has nothing of this name")

    def _allowed(self, host: Host, alternatives: list[Alternative]) -> None:
        """What is answered before an address is looked at is not refused by it."""
        host.verdicts += [Verdict(each.match if each.match != Match() else None, (), True) for each in alternatives]

    def _response(self, line: Line, words: list[str], alternatives: list[Alternative],
                  edits: list[_Change]) -> None:
        if words[0] not in ("set-header", "add-header", "del-header"):
            raise ValueError("of answers only headers are edited")
        edit = Edit(words[1], None if words[0] == "del-header" else value(words[2], answer=True), words[0] == "add-header")
        edits.append(_Change(alternatives, lambda rule: rule.response.append(edit), line))

    def _path(self, rule: Rule, change: tuple[str, str] | str, found: bool, line: Line) -> None:
        """Have a rule change its path, or its query; `found`: the whole path, where a pattern is found in it."""
        if not isinstance(rule.action, Forward):
            return
        if isinstance(change, str):
            rule.action.query = change
            return
        starts = [match.path if match.how in ("prefix", "segments", "exact") else "" for match in rule.matches]
        try:
            rule.action.regex_rewrite = rewrite(*change, starts) if found else change
        except ValueError as error:
            self.notes.left_out(line.place, line.text(), str(error))

    def _users(self, line: Line, words: list[str], when: list[str] | None, inverted: bool, acls: Acls,
               edits: list[_Change]) -> None:
        text = " ".join(when or [])
        found = re.search(r"!\s*\{\s*http_auth(?:_group)?\((\w+)\)[^}]*\}", text)
        named = next((name for name in re.findall(r"!\s*(\w+)", text) if any(
            args[:1] == [name] and "http_auth" in " ".join(args[1:]) for args in (each.args for each in acls.lines))), None)
        userlist = found[1] if found else None
        if userlist is None and named is not None:
            args = next(each.args for each in acls.lines if each.args[0] == named)
            listed = re.search(r"http_auth(?:_group)?\((\w+)\)", " ".join(args))
            userlist = listed[1] if listed else None
        if userlist is None or userlist not in self.userlists or inverted:
            raise ValueError("users are asked for where `!{ http_auth(LIST) }` says so")
        rest = text.replace(found[0], " ") if found else re.sub(rf"!\s*{named}\b", " ", text)
        alternatives = acls.alternatives(rest.split() or None, False, line)
        realm = words[words.index("realm") + 1] if "realm" in words else None
        users = self._passwords(self.userlists[userlist])

        def asked(rule: Rule) -> None:
            rule.users, rule.realm = users, realm

        edits.append(_Change(alternatives, asked, line))

    def _passwords(self, userlist: Section) -> str:
        lines = []
        for each in userlist.all("user"):
            if len(each.args) >= 3 and each.args[1] == "password":
                lines.append(f"{each.args[0]}:{each.args[2]}")
            elif len(each.args) >= 3 and each.args[1] == "insecure-password":
                digest = base64.b64encode(hashlib.sha1(each.args[2].encode(), usedforsecurity=False).digest()).decode()
                lines.append(f"{each.args[0]}:{{SHA}}{digest}")
        return "string:///" + base64.b64encode("\n".join(lines).encode()).decode()

    def _edited(self, rules: list[Rule], edits: list[_Change],
                section: Section) -> list[Rule]:
        """Rules with the edits; one that depends on a condition makes two of a rule."""
        for change in edits:
            made: list[Rule] = []
            for rule in rules:
                if any(each.match == Match() and each.sources is None for each in change.alternatives):
                    change.make(rule)
                    made.append(rule)
                    continue
                try:
                    if any(each.sources is not None for each in change.alternatives):
                        raise ValueError("edits do not look at the client's address")
                    special = narrowed(rule, [each.match for each in change.alternatives])
                except ValueError as error:
                    self.notes.left_out(change.line.place, change.line.text(), f"for some requests: {error}")
                    special = None
                if special is not None:
                    change.make(special)
                    made.append(special)
                made.append(rule)
            rules = made
            if len(rules) > 512:
                raise UnreadableError(section.place, "its conditions make more than 512 rules")
        return rules


def _host(rule: Rule, text: str) -> None:
    if isinstance(rule.action, Forward):
        rule.action.host = text
