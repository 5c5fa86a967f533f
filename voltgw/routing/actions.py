"""What a route does with a request that it takes: redirect it, answer it, or change its target before it is sent on."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from voltgw.routing.problems import at
from voltgw.routing.regex.pattern import Rewrite
from voltgw.values.reply import Reply
from voltgw.wire.path import BadTarget, literal_path, literal_query, normal_path, written_path

if TYPE_CHECKING:
    from voltgw.config.objects.route import RouteDestinationList, RouteDirectResponse, RouteRedirect
    from voltgw.routing.match import Clause
    from voltgw.values.head import Field, RequestHead

Answer: TypeAlias = "Callable[[RequestHead, Asked], Reply]"
TargetRewrite: TypeAlias = "Callable[[RequestHead], bytes]"

_DEFAULT_PORTS: Final = {b"http": 80, b"https": 443}
_AUTHORITY: Final = re.compile(r"(?:[A-Za-z0-9\-._~]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_not_in_url: Final = re.compile(rb"[^\x21-\x7e]").sub
_dots: Final = re.compile(rb"%2[Ee]").sub
_HTML: Final = re.compile(rb"\s*<(?:!doctype\s+html|html|head|body|h[1-6]|p|div)\b", re.IGNORECASE)


class Asked(Protocol):
    """What an answer may know besides the head: an `Exchange` has it."""

    @property
    def scheme(self) -> bytes:
        """By what scheme the client asked, ``http`` or ``https``."""


# -- redirects ---------------------------------------------------------------------------------------------------------

def redirect(spec: RouteRedirect, clause: Clause, *, normalised: bool = True) -> Answer:
    """The redirect of objects.md 5.5 for requests that match by `clause`. Raises ValueError.

    A host that is kept keeps the port that the client named, unless the scheme changes: no port speaks both. The Location is
    an absolute URL of printable ASCII whatever the request held, so it can neither add a header nor lead to another host.
    """
    return _Redirect(spec, clause, normalised).answer


class _Redirect:
    """A redirect. `_wanted` is the scheme that it leads to, b"" = the one by which the client asked."""

    __slots__ = ("_host", "_port", "_status", "_target", "_wanted")

    def __init__(self, spec: RouteRedirect, clause: Clause, normalised: bool) -> None:
        status = spec.response_code or 301
        if not 300 <= status <= 399 or status == 304:
            with at("response_code"):
                raise ValueError(f"{status} does not redirect; 301, 302, 303, 307 and 308 do")
        wanted = (spec.proto_redirect or "incoming-proto").encode("ascii")
        port = spec.port_redirect or None
        host: bytes | None = None
        if spec.host_redirect:
            with at("host_redirect"):
                host = _authority(spec.host_redirect)
            if port is not None and re.search(rb":[0-9]+\Z", host):
                host = host.rpartition(b":")[0]     # port_redirect says it more exactly
        self._status = status
        self._wanted = b"" if wanted == b"incoming-proto" else wanted
        self._port = port
        self._host = host
        self._target = _redirect_target(spec, clause, normalised)

    def answer(self, head: RequestHead, asked: Asked) -> Reply:
        """The redirect of one request."""
        try:
            path = self._target(head)
        except BadTarget:
            return Reply(400, flag="DPE", detail="path_rewrite_escape", negotiate=True)
        scheme = self._wanted or asked.scheme
        authority = self._host
        shown_port = self._port
        if authority is None:
            authority = head.host
            if shown_port is None and scheme == asked.scheme:
                shown_port = head.port
        if not authority:                       # HTTP/1.0 without Host: all that can be said is a path
            location = b"/." + path if path.startswith(b"//") else path
        elif shown_port is None or shown_port == _DEFAULT_PORTS.get(scheme):
            location = b"%b://%b%b" % (scheme, authority, path)
        else:
            location = b"%b://%b:%d%b" % (scheme, authority, shown_port, path)
        return Reply(self._status, [(b"location", _not_in_url(_escape, location))])


def _redirect_target(spec: RouteRedirect, clause: Clause, normalised: bool) -> TargetRewrite:
    """Path, query and fragment of the new location."""
    change_query = _query_rewrite(
        replace=spec.replace_params, remove=spec.remove_all_params or spec.all_params, name="replace_params")
    if spec.path_redirect:
        with at("path_redirect"):
            text, hash_mark, fragment = spec.path_redirect.partition("#")
            text, mark, query_text = text.partition("?")
            path = normal_path(literal_path(text))
            own_query = literal_query(query_text) if mark else None
            end = (hash_mark + fragment).encode("utf-8")
        if own_query is not None:               # it brings a query of its own
            return _Target(_Fixed(path), _QueryRewrite(own_query), end).of
        return _Target(_Fixed(path), change_query, end).of
    change_path: _PathRewrite | None = None
    if spec.prefix_rewrite:
        with at("prefix_rewrite"):
            change_path = _Prefix(spec.prefix_rewrite, clause, normalised)
    return _Target(change_path, change_query).of


# -- direct responses --------------------------------------------------------------------------------------------------

def direct_response(spec: RouteDirectResponse, most_bytes: int | None = None) -> Answer:
    """The answer of objects.md 5.6; a body over `most_bytes` (None = no such limit) is refused. Raises ValueError."""
    status = spec.response_code or 200
    if not 200 <= status <= 599:
        with at("response_code"):
            raise ValueError(f"{status} ends no request; a direct response has a status from 200 to 599")
    if spec.response_body_encoded is not None:
        name, body = "response_body_encoded", spec.response_body_encoded
    else:
        name, body = "response_body", _literal_body(spec.response_body or "")
    if most_bytes is not None and len(body) > most_bytes:
        with at(name):
            raise ValueError(f"the body has {len(body)} bytes; max_direct_response_body_size allows {most_bytes}")
    return _Direct(status, [(b"content-type", _content_type(body))] if body else [], body).answer


class _Direct:
    """An answer that is always the same."""

    __slots__ = ("_body", "_fields", "_status")

    def __init__(self, status: int, fields: list[Field], body: bytes) -> None:
        self._status = status
        self._fields = fields
        self._body = body

    def answer(self, head: RequestHead, asked: Asked) -> Reply:
        """The answer to one request."""
        return Reply(self._status, self._fields.copy(), self._body)


def _literal_body(text: str) -> bytes:
    """The bytes of ``response_body``: real files also have the ``string:///`` form there (objects.md 1.4)."""
    encoded = text.removeprefix("string:///")
    if encoded != text:
        try:
            return base64.b64decode(encoded, validate=True)
        except ValueError:
            pass                                # it only looks like one
    return text.encode("utf-8")


def _content_type(body: bytes) -> bytes:
    """What a body that says nothing of itself is likely to be; a response header edit can say otherwise."""
    if _HTML.match(body):
        return b"text/html; charset=utf-8"
    if body.lstrip()[:1] in (b"{", b"["):
        try:
            json.loads(body)
        except ValueError:
            pass                                # it only looks like JSON
        else:
            return b"application/json"
    return b"text/plain; charset=utf-8"


# -- what is sent on ---------------------------------------------------------------------------------------------------

def target_rewrite(spec: RouteDestinationList, clause: Clause, *, normalised: bool = True) -> TargetRewrite | None:
    """The target for the endpoint, for requests that match by `clause`; None when it stays as it is. Raises ValueError.

    The function raises `BadTarget` when the new path would leave the prefix that was put in, or the root.
    """
    change_path: _PathRewrite | None = None
    if spec.prefix_rewrite:
        with at("prefix_rewrite"):
            change_path = _Prefix(spec.prefix_rewrite, clause, normalised)
    elif spec.regex_rewrite is not None:
        with at("regex_rewrite"):
            rewrite = Rewrite(spec.regex_rewrite.pattern, spec.regex_rewrite.substitution or "")
        change_path = _ByRegex(rewrite, normalised)
    change_query: _QueryRewrite | None = None
    if spec.query_params is not None:
        with at("query_params"):
            change_query = _query_rewrite(
                replace=spec.query_params.replace_params, remove=spec.query_params.remove_all_params,
                name="replace_params")
    if change_path is None and change_query is None:
        return None
    return _Target(change_path, change_query).of


class _PathRewrite:
    """What becomes of a path."""

    __slots__ = ()

    def of(self, path: bytes) -> bytes:
        """The new one. Raises `BadTarget` where it may not be sent."""
        raise NotImplementedError


class _QueryRewrite:
    """What becomes of a query: always the same, None = it goes."""

    __slots__ = ("query",)

    def __init__(self, query: bytes | None) -> None:
        self.query = query


class _Target:
    """Path and query as two rewrites leave them (None = as they are), and what always stands behind them."""

    __slots__ = ("_end", "_path", "_query")

    def __init__(self, path: _PathRewrite | None, query: _QueryRewrite | None, end: bytes = b"") -> None:
        self._path = path
        self._query = query
        self._end = end

    def of(self, head: RequestHead) -> bytes:
        """The target of one request. Raises `BadTarget` where it may not be sent."""
        path = head.path if self._path is None else self._path.of(head.path)
        query = head.query if self._query is None else self._query.query
        return path + self._end if query is None else b"%b?%b%b" % (path, query, self._end)


def host_rewrite(spec: RouteDestinationList) -> bytes | None:
    """The Host to send, None to leave it. Raises ValueError."""
    if not spec.host_rewrite:
        return None
    with at("host_rewrite"):
        if spec.auto_host_rewrite:
            raise ValueError("host_rewrite and auto_host_rewrite exclude each other")
        return _authority(spec.host_rewrite)


class _Fixed(_PathRewrite):
    """Always the same path."""

    __slots__ = ("_new",)

    def __init__(self, new: bytes) -> None:
        self._new = new

    def of(self, path: bytes) -> bytes:
        return self._new


class _Prefix(_PathRewrite):
    """Puts `text` in the place of what `clause` matched."""

    __slots__ = ("_floor", "_new", "_normalised", "_replaced", "_segments")

    def __init__(self, text: str, clause: Clause, normalised: bool) -> None:
        if not text.startswith("/"):
            raise BadTarget("must begin with a slash")
        new = normal_path(literal_path(text))
        self._new = new
        self._replaced = clause.replaced
        self._segments = clause.segments
        self._normalised = normalised
        self._floor = sum(map(bool, new.split(b"/")))   # segments that stay, though more may be added to the last one

    def of(self, path: bytes) -> bytes:
        new = self._new
        replaced = self._replaced
        if replaced is None:
            return new
        rest = path[replaced:]
        if self._segments and rest:
            # Whole segments were matched, so whole segments are put together: neither "//" nor a word of two halves.
            if new.endswith(b"/"):
                rest = rest.removeprefix(b"/")
            elif not rest.startswith(b"/"):
                rest = b"/" + rest
        path = new + rest
        normal = normal_path(path, above_root=False)
        _stay_below(path, self._floor)
        return normal if self._normalised else path


def _stay_below(path: bytes, floor: int) -> None:
    """Refuse a path whose dot segments take away any of its first `floor` segments, even if it comes back to others.

    Empty segments do not count, since some servers drop them before they resolve dot segments: what is not refused stays below
    the prefix in both readings.
    """
    if b"/." not in path and b"/%2" not in path:
        return                                  # no segment begins with a dot
    depth = 0
    for segment in _dots(b".", path).split(b"/"):
        if segment == b"..":
            depth -= 1
            if depth < floor:
                raise BadTarget("leads out of the prefix that was put in" if floor else "leads above the root")
        elif segment not in (b"", b"."):
            depth += 1


class _ByRegex(_PathRewrite):
    """What a regex makes of it."""

    __slots__ = ("_normalised", "_rewrite")

    def __init__(self, rewrite: Rewrite, normalised: bool) -> None:
        self._rewrite = rewrite
        self._normalised = normalised

    def of(self, path: bytes) -> bytes:
        path = self._rewrite(path)
        normal = normal_path(path, above_root=False)
        _stay_below(path, 0)
        return normal if self._normalised else written_path(path)


def _query_rewrite(*, replace: str | None, remove: bool, name: str) -> _QueryRewrite | None:
    if replace:
        with at(name):
            return _QueryRewrite(literal_query(replace.removeprefix("?")))
    return _QueryRewrite(None) if remove else None


def _authority(text: str) -> bytes:
    if _AUTHORITY.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a host name or address with an optional port")
    return text.encode("ascii")


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
