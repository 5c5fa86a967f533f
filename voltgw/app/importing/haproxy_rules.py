"""What HAProxy's rules do: redirects, answers, values of headers, changed paths, backends that a map names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from voltgw.app.importing.haproxy_words import Line, Section
from voltgw.app.importing.model import Condition, Match, Redirect, Reply
from voltgw.app.importing.words import whole

_FETCHES: Final[Mapping[str, str]] = {
    "src": "CLIENT_ADDRESS", "dst": "LOCAL_ADDRESS", "dst_port": "LOCAL_PORT", "src_port": "PEER_PORT", "path": "PATH",
    "method": "METHOD", "ssl_fc_sni": "SNI", "query": "QUERY", "unique-id": "REQUEST_ID", "ssl_fc_protocol": "TLS_VERSION",
    "ssl_fc_cipher": "TLS_CIPHER", "uuid": "REQUEST_ID", "uuid()": "REQUEST_ID", "req.hdr(host)": "HOST", "hdr(host)": "HOST"}
_ALIASES: Final[Mapping[str, str]] = {"ci": "CLIENT_ADDRESS", "cp": "PEER_PORT", "fi": "LOCAL_ADDRESS", "fp": "LOCAL_PORT",
                                      "HM": "METHOD", "HP": "PATH", "HQ": "QUERY", "ID": "REQUEST_ID", "ST": "STATUS"}
_FORMAT: Final = re.compile(r"%\[([^\]]*)\]|%(?:\{[^}]*\})?([A-Za-z]{2,3})\b|%%|%")
#: A location that is fixed, or has the request's own path at its end.
_LOCATION: Final = re.compile(
    r"(?:(https?)://([^/%]+|%\[(?:req\.)?hdr\(host\)\]))?(/[^%]*)?(%\[(?:capture\.req\.uri|pathq|url|path|uri)\])?")
#: A backend that a map names by Host.
_BY_MAP: Final = re.compile(
    r"%\[(?:req\.)?hdr\(host\)(?:,lower)?(?:,field\(1,:\))?(?:,lower)?,map(_dom|_str)?\(([^,)]+)(?:,([^)]+))?\)\]")


def value(text: str, *, answer: bool = False) -> str:
    """A log format with our names for its variables. Raises ValueError."""
    def variable(found: re.Match[str]) -> str:
        if found[0] in ("%%", "%"):
            return "%%"
        if found[1] is not None:
            fetch = re.sub(r",lower$", "", found[1].strip())
            header = re.fullmatch(r"(?:req\.|cap\.req\.)?f?hdr\(([A-Za-z0-9-]+)\)", fetch)
            name = _FETCHES.get(fetch)
            if name is None and header is not None:
                return f"%REQ({header[1].lower()})%"
            literal = re.fullmatch(r"str\(([^)]*)\)", fetch)
            if literal is not None:
                return literal[1].replace("%", "%%")
        else:
            name = _ALIASES.get(found[2])
        if name is None or name == "STATUS" and not answer:
            raise ValueError(f"the variable {found[0]} has no counterpart")
        return f"%{name}%"

    return _FORMAT.sub(variable, text)


def redirection(words: list[str]) -> Redirect:
    """``redirect scheme|prefix|location``. Raises ValueError."""
    facts = dict(zip(words[::2], words[1::2], strict=False)) if "drop-query" not in words and "append-slash" not in words else {
        word: words[index + 1] if index + 1 < len(words) else "" for index, word in enumerate(words)}
    made = Redirect(int(facts.get("code", "302")))
    made.keep_query = "drop-query" not in words
    if "scheme" in facts:
        made.scheme = facts["scheme"]
        if made.scheme not in ("http", "https"):
            raise ValueError("the scheme of a redirect is http or https")
        return made
    if "prefix" in facts:
        found = re.fullmatch(r"(https?)://([^/%]+)(/.*?)?/?", facts["prefix"])
        if found is not None and "%" not in (found[3] or ""):
            made.scheme, made.host = found[1], found[2]
            made.prefix = found[3].rstrip("/") + "/" if found[3] else None
            return made
        if re.fullmatch(r"/[^%]*", facts["prefix"]):
            made.prefix = facts["prefix"].rstrip("/") + "/"
            return made
        raise ValueError("the prefix of a redirect is fixed")
    text = facts.get("location", "")
    found = _LOCATION.fullmatch(text)
    if found is None or not text:
        raise ValueError("the location of a redirect is fixed, or has the request's own path at its end")
    made.scheme = found[1]
    made.host = found[2] if found[2] and not found[2].startswith("%") else None
    if found[4] is None:
        made.path, made.keep_query = found[3] or "/", False
    elif found[3] not in (None, ""):
        raise ValueError("the location of a redirect is fixed, or has the request's own path at its end")
    else:
        made.keep_query = "path]" not in found[4]
    return made


def reply(words: list[str]) -> Reply:
    """``return status N content-type T string S``. Raises ValueError."""
    facts = dict(zip(words[::2], words[1::2], strict=False))
    if any(each in facts for each in ("file", "lf-file", "errorfile", "errorfiles", "hdr")):
        raise ValueError("write the body into `response_body_encoded: file:...`")
    text = facts.get("string", facts.get("lf-string", ""))
    if "lf-string" in facts and "%" in text:
        raise ValueError("a body has no variables")
    return Reply(int(facts.get("status", "200")), text, facts.get("content-type"))


def replaced(verb: str, words: list[str]) -> tuple[str, str] | str:
    """The rewrite of the path, or the text of the query. Raises ValueError.

    HAProxy replaces the whole path wherever the pattern of ``replace-path`` is found in it.
    """
    if verb == "set-query":
        if "%" in words[0]:
            raise ValueError("a query has no variables")
        return words[0]
    if verb in ("replace-path", "replace-uri"):
        pattern, text = words[0], words[1]
        if verb == "replace-uri" and not pattern.startswith(("^/", "/")):
            raise ValueError("say replace-path, which leaves scheme and host alone")
        if "%[" in text:
            raise ValueError("a new path has no variables but those of its pattern")
        whole(pattern)
        return pattern, text                        # `words.rewrite` makes the rest of it, which depends on the rule
    found = re.fullmatch(r"%\[path,regsub\(\"?([^,\"]*)\"?,\"?([^,\")]*)\"?\)\]", words[0])
    if found is not None:
        whole(found[1])
        return found[1], found[2]
    prefix = re.fullmatch(r"(/[^%]*)?%\[path\]", words[0])
    if prefix is not None:
        return "^", (prefix[1] or "").rstrip("/") if not (prefix[1] or "").endswith("//") else prefix[1]
    if "%" in words[0]:
        raise ValueError("a new path is fixed, or the request's own behind a fixed one")
    return "^.*$", words[0]


def fixed_backends(
    word: str, backends: Mapping[str, Section], values_of: Callable[[str, Line], list[str]], line: Line,
) -> dict[str, list[Match]]:
    """The backends that ``use_backend`` may mean, with what must hold for each. Raises ValueError."""
    if "%" not in word:
        return {word: [Match()]}
    found = _BY_MAP.fullmatch(word)
    if found is None or found[1] == "_dom":
        raise ValueError("a backend is fixed, or found by Host in a map")
    chosen: dict[str, list[Match]] = {}
    for text in values_of(found[2], line):
        parts = text.split()
        if len(parts) == 2:
            chosen.setdefault(parts[1], []).append(Match(headers=(Condition(
                "host", "regex", re.escape(parts[0].lower()) + "(?::[0-9]+)?"),)))
    if found[3]:
        chosen.setdefault(found[3], []).append(Match())
    return chosen


def backend_name(text: str) -> str:
    """The name of a backend without quotes."""
    return text.strip("'\"")
