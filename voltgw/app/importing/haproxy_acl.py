"""HAProxy's conditions: ``acl`` lines, anonymous ones in braces, ``!``, ``or``; as alternatives of matches."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from voltgw.app.importing.haproxy_words import Line, Section
from voltgw.app.importing.model import Condition, Match
from voltgw.app.importing.narrowing import MAX_ALTERNATIVES, METHODS, all_of, none_of
from voltgw.app.importing.words import whole

#: What is predefined.
_PREDEFINED: Final = {
    "TRUE": ["always_true"], "FALSE": ["always_false"], "LOCALHOST": ["src", "127.0.0.1/8"],
    "METH_GET": ["method", "GET", "HEAD"],
    "METH_POST": ["method", "POST"], "METH_PUT": ["method", "PUT"], "METH_DELETE": ["method", "DELETE"],
    "METH_HEAD": ["method", "HEAD"], "METH_OPTIONS": ["method", "OPTIONS"], "METH_CONNECT": ["method", "CONNECT"],
    "METH_TRACE": ["method", "TRACE"], "HTTP": ["always_true"], "HTTP_1.1": ["always_true"],
    "HTTP_URL_SLASH": ["path_beg", "/"],
    "HTTP_URL_ABS": ["always_false"]}
_SUFFIXES: Final = {"beg": "beg", "dir": "dir", "dom": "dom", "end": "end", "reg": "reg", "sub": "sub", "len": "len",
                    "str": "str"}


class Alternative(NamedTuple):
    """One way to hold: a match, prefixes of which the client's address is one (None = any), whether it must be none of them.

    `names` are TLS server names, for relays that are chosen by them.
    """

    match: Match
    sources: tuple[str, ...] | None = None
    outside: bool = False
    names: tuple[str, ...] = ()


class Acls:
    """The conditions of one frontend or backend; `secure` says whether its clients come by TLS (None = not known)."""

    def __init__(self, section: Section, secure: bool | None, values_of: Callable[[str, Line], list[str]]) -> None:
        self._lines: dict[str, list[list[str]]] = {}
        self.lines = section.all("acl")
        for each in self.lines:
            if len(each.args) > 1:
                self._lines.setdefault(each.args[0], []).append(each.args[1:])
        self._secure = secure
        self._values_of = values_of

    def alternatives(self, words: Sequence[str] | None, inverted: bool, line: Line) -> list[Alternative]:
        """How a condition can hold; an empty list: never. Raises ValueError where it cannot be said."""
        if words is None:
            return [Alternative(Match())]
        made: list[Alternative] = []
        groups = self._groups(list(words))
        if inverted:
            if len(groups) != 1 or len(groups[0]) != 1:
                raise ValueError("`unless` with more than one condition")
            terms, negative = groups[0][0]
            groups = [[(terms, not negative)]]
        for group in groups:
            made += self._group(group, line)
        if len(made) > MAX_ALTERNATIVES:
            raise ValueError("it has too many alternatives")
        return made

    def _groups(self, words: list[str]) -> list[list[tuple[list[list[str]], bool]]]:
        """Alternatives ("or") of conditions ("and"), each as the tests of which one is enough, and whether it is negated."""
        groups: list[list[tuple[list[list[str]], bool]]] = [[]]
        index = 0
        while index < len(words):
            word = words[index]
            index += 1
            if word in ("or", "||"):
                groups.append([])
                continue
            negative = False
            while word.startswith("!"):
                negative, word = not negative, word[1:]
                if not word and index < len(words):
                    word = words[index]
                    index += 1
            if word == "{":
                if "}" not in words[index:]:
                    raise ValueError("a brace is never closed")
                end = words.index("}", index)
                tests = [words[index:end]]
                index = end + 1
            elif word in self._lines:
                tests = self._lines[word]
            elif word in _PREDEFINED:
                tests = [_PREDEFINED[word]]
            else:
                raise ValueError(f"there is no acl {word!r}")
            groups[-1].append((tests, negative))
        return groups

    def _group(self, group: list[tuple[list[list[str]], bool]], line: Line) -> list[Alternative]:
        parts: list[list[Match]] = []
        sources: tuple[str, ...] | None = None
        outside = False
        names: tuple[str, ...] = ()
        for tests, negative in group:
            if all(test and test[0].split(",")[0] in ("src", "req.src") for test in tests):
                if sources is not None:
                    raise ValueError("two conditions on the client's address")
                sources = tuple(value for test in tests for value in self._prefixes(test, line))
                outside = negative
                continue
            if all(test and test[0].partition("_reg")[0] in ("req.ssl_sni", "req_ssl_sni") for test in tests):
                if negative:
                    raise ValueError("a server name that is none of some")
                names += tuple(name for test in tests for name in _server_names(self._arguments(test, line)))
                continue
            parts.append(self._part(tests, negative, line))
        return [Alternative(match, sources, outside, names) for match in all_of(parts)]

    def _arguments(self, test: list[str], line: Line) -> tuple[str, bool, str, list[str]]:
        """Of a test: what it looks at, whether case matters not, how it compares, with what."""
        fetch, ignore_case, how, values = test[0], False, "", []
        index = 1
        while index < len(test):
            word = test[index]
            if word == "-i":
                ignore_case = True
            elif word == "-m":
                index += 1
                how = test[index] if index < len(test) else ""
            elif word == "-f":
                index += 1
                values += self._values_of(test[index] if index < len(test) else "", line)
            elif word == "--":
                values += test[index + 1:]
                break
            elif word in ("-n", "-u", "-M"):
                raise ValueError(f"the flag {word}")
            else:
                values.append(word)
            index += 1
        return fetch, ignore_case, how, values

    def _prefixes(self, test: list[str], line: Line) -> list[str]:
        made = []
        for value in self._arguments(test, line)[3]:
            made.append(str(ipaddress.ip_network(value, strict=False)))
        return made

    def _part(self, tests: list[list[str]], negative: bool, line: Line) -> list[Match]:
        made: list[Match] = []
        for test in tests:
            made += self._test(test, line)
        if not negative:
            return made
        return none_of(made)

    def _test(self, test: list[str], line: Line) -> list[Match]:
        fetch, ignore_case, how, values = self._arguments(test, line)
        name, _, rest = fetch.partition("(")
        argument, _, converters = rest.partition(")")
        if not rest and "," in name:
            name, _, converters = name.partition(",")
        converters = converters.strip(",")
        for suffix in _SUFFIXES:
            if name.endswith(f"_{suffix}") and name not in ("req.body_len",):
                name, how = name.removesuffix(f"_{suffix}"), suffix
        name = name.removeprefix("req.") if name != "req.ssl_sni" else name
        ported = False
        for converter in [each for each in re.split(r",(?![^(]*\))", converters) if each]:
            if converter == "lower":
                ignore_case = True
            elif converter.replace(" ", "") in ("field(1,:)", "host_only") and argument.lower() == "host":
                ported = True
            else:
                raise ValueError(f"the converter {converter}")
        if name in ("always_true", "always_false"):
            return [Match()] if name == "always_true" else []
        if name == "ssl_fc":
            if self._secure is None:
                raise ValueError("whether the client came by TLS")
            return [Match()] if self._secure else []
        if name == "method":
            chosen = tuple(sorted(METHODS.intersection(value.upper() for value in values)))
            return [Match(methods=chosen)] if chosen else []
        if name in ("path", "url", "uri"):
            return [_path(how, value, ignore_case, name) for value in values]
        if name in ("hdr", "fhdr"):
            return [Match(headers=(each,)) for each in _conditions(argument or "host", how, values, ignore_case, ported)]
        if name in ("ssl_fc_sni",):
            return [Match(headers=(each,)) for each in _conditions("host", how, values, True, True)]
        if name in ("cook",):
            return [Match(cookies=(each,)) for each in _conditions(argument, how, values, ignore_case, False)]
        if name in ("url_param", "urlp"):
            return [Match(query=(each,)) for each in _conditions(argument, how, values, ignore_case, False)]
        raise ValueError(f"no rule can ask for {fetch}")


def _server_names(arguments: tuple[str, bool, str, list[str]]) -> list[str]:
    fetch, _, how, values = arguments
    if how in ("", "str") and "_reg" not in fetch and "_end" not in fetch:
        return [value.lower() for value in values]
    if how == "end" and all(value.startswith(".") for value in values):
        return [f"*{value.lower()}" for value in values]
    raise ValueError("a server name is a whole one, or a suffix")


def _path(how: str, value: str, ignore_case: bool, name: str) -> Match:
    if name != "path" and how not in ("beg", "reg", "dir", "end", "sub"):
        raise ValueError("the whole URL: ask for its path")
    escaped = re.escape(value)
    if not ignore_case:
        if how in ("", "str"):
            return Match("exact", value)
        if how == "beg":
            return Match("prefix", value)
    patterns = {"": f"^{escaped}$", "str": f"^{escaped}$", "beg": f"^{escaped}", "end": f"{escaped}$", "sub": escaped,
                "reg": value,
                "dir": f"(?:^|/){re.escape(value.strip('/'))}(?:/|$)"}
    if how not in patterns:
        raise ValueError(f"a path that is compared by {how}")
    return Match("regex", whole(patterns[how], ignore_case=ignore_case))


def _conditions(name: str, how: str, values: list[str], ignore_case: bool, ported: bool) -> list[Condition]:
    """The conditions of which one is enough. `ported`: a port behind a host does not count."""
    host = name.lower() == "host"
    if how in ("found", "bool") or not values:
        return [Condition(name, "there")]
    made = []
    for value in values:
        escaped, port = re.escape(value), "(?::[0-9]+)?" if ported else ""
        if how in ("", "str"):
            if (not ignore_case or host) and not ported:
                made.append(Condition(name, "exact", value.lower() if host else value))
                continue
            pattern = f"^{escaped}{port}$"
        elif how == "reg":
            pattern = value
        else:
            pattern = {"beg": f"^{escaped}", "end": f"{escaped}{port}$", "sub": escaped,
                       "dom": rf"^(?:.*[.:/?])?{re.escape(value.strip('.'))}(?:[.:/?].*)?$",
                       "dir": rf"^(?:.*/)?{re.escape(value.strip('/'))}(?:/.*)?$"}.get(how, "")
            if not pattern:
                raise ValueError(f"a value that is compared by {how}")
        made.append(Condition(name, "regex", whole(pattern, ignore_case=ignore_case and not host)))
    return made
