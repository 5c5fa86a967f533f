"""Adds and removes cookies of requests and responses (objects.md 3.5).

Order: the route's additions, the route's removals, the virtual host's additions, its removals; all of them after the edits of
headers. In a response each Set-Cookie field is one cookie, and stays one.

A cookie that is added to a request is left alone where the client sent one of that name, unless it says `overwrite`. One that
is added to a response likewise where the origin sets it; with `overwrite`, its value and the attributes that are given take
the place of the origin's, and those that are not given (`ignore_…`) stay as the origin has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from voltgw.routing.filters.variables import compile_value
from voltgw.routing.problems import at

if TYPE_CHECKING:
    from voltgw.config.objects.headers import CookieManipulationOptionType, CookieValueOption, SetCookieValueOption
    from voltgw.routing.filters.headers import Edit
    from voltgw.routing.filters.variables import Render
    from voltgw.values.exchange import Exchange

#: What one level (a route, then its host) adds to and removes from requests, or responses.
RequestLevel: TypeAlias = "tuple[Sequence[CookieValueOption], Sequence[str]]"
ResponseLevel: TypeAlias = "tuple[Sequence[SetCookieValueOption], Sequence[str]]"

_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: What a value may not hold: it would end the cookie, or begin another one.
_not_in_cookie: Final = re.compile(rb"[\x00-\x20\",;\\\x7f]").sub
#: Where a cookie may begin in a Cookie line.
_BEGIN: Final = rb"(?:\A|;)[ \t]*"
_ENDS: Final = re.compile(rb"[\x00-\x1f;\x7f]")


# -- requests ----------------------------------------------------------------------------------------------------------

class _Plan:
    """The net effect on requests: `drop` are cookies whose own values go, `add` come always, `lack` where they are missing."""

    def __init__(self, levels: Sequence[RequestLevel]) -> None:
        self.drop: set[bytes] = set()
        self.add: dict[bytes, bytes | Render] = {}
        self.lack: dict[bytes, bytes | Render] = {}
        for additions, removals in levels:
            for number, option in enumerate(additions):
                with at("request_cookies_to_add", number):
                    name = _name_in(option)
                    value = _value(option, response=False)
                if option.overwrite:
                    self.forget(name)
                    self.drop.add(name)
                    self.add[name] = value
                elif name in self.drop:
                    self.add.setdefault(name, value)        # the client's own is gone, so only ours can be there
                else:
                    self.lack.setdefault(name, value)
            for number, text in enumerate(removals):
                with at("request_cookies_to_remove", number):
                    name = _name(text)
                self.forget(name)
                self.drop.add(name)

    def forget(self, name: bytes) -> None:
        """Nothing of ours is added under this name any more."""
        self.add.pop(name, None)
        self.lack.pop(name, None)


def request_cookies(*levels: RequestLevel) -> tuple[Edit, ...]:
    """The filter for requests as a tuple of one, or of none when there is nothing to do. Raises ValueError."""
    plan = _Plan(levels)
    if not plan.drop and not plan.lack:
        return ()
    always, lacking = _prepared(plan.add), _prepared(plan.lack)
    drop = frozenset(plan.drop)
    find = _finder(plan.lack).findall
    remove = re.compile(_BEGIN + _any_of(drop) + rb"[ \t]*=[^;]*").subn if drop else None

    def edit(exchange: Exchange) -> None:
        fields = exchange.request.fields
        line = b""
        places: list[int] = []
        for index, (name, value) in enumerate(fields):
            if name == b"cookie":
                line = b"%b; %b" % (line, value) if places else value
                places.append(index)
        new: list[bytes] = []
        for _, pair, render in always:
            new.append(pair if render is None else pair + render(exchange))
        for key, pair, render in lacking:
            if key not in line or key not in find(line):        # most lines do not hold it at all, which is quickly seen
                new.append(pair if render is None else pair + render(exchange))
        gone = 0
        if remove is not None:
            rest, gone = remove(b"", line)
            if gone:
                line = rest.lstrip(b"; \t")
        if not gone and not new:
            return                              # what could be added is there, and nothing is to go
        if line:
            new.insert(0, line)
        if new:
            field = (b"cookie", b"; ".join(new))
            if len(places) == 1:
                fields[places[0]] = field
                return
            fields.append(field)
        for index in reversed(places):
            del fields[index]

    return (edit,)


def _any_of(names: Iterable[bytes]) -> bytes:
    return b"(?:%b)" % b"|".join(re.escape(name) for name in sorted(names))


def _finder(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """Finds those of `names` that a Cookie line has. It begins only at a semicolon and never turns back, so it is linear."""
    return re.compile(_BEGIN + b"(" + _any_of(names) + rb")[ \t]*=")


def _prepared(cookies: Mapping[bytes, bytes | Render]) -> list[tuple[bytes, bytes, Render | None]]:
    """Each with its name, the text of the pair so far, and what gives the rest of it."""
    return [(name, b"%b=%b" % (name, value), None) if isinstance(value, bytes) else (name, name + b"=", value)
            for name, value in cookies.items()]


# -- responses ---------------------------------------------------------------------------------------------------------

class _Added(NamedTuple):
    """One cookie of a response: `value` None = only the origin's own is changed.

    `attributes` are those that are given, each behind a semicolon; `clear` takes the origin's of the same names out.
    """

    name: bytes
    value: bytes | Render | None
    attributes: bytes
    clear: re.Pattern[bytes] | None
    overwrite: bool


def response_cookies(
    *levels: ResponseLevel, modify: Sequence[CookieManipulationOptionType] = (),
) -> tuple[Edit, ...]:
    """The same for responses; `modify` says at last which attributes cookies of some names shall have (cookies_to_modify)."""
    steps: list[_Added | bytes] = []            # bytes: the name of a cookie that is removed
    for additions, removals in levels:
        for number, option in enumerate(additions):
            with at("response_cookies_to_add", number):
                steps.append(_added(option))
        for number, text in enumerate(removals):
            with at("response_cookies_to_remove", number):
                steps.append(_name(text))
    for number, changed in enumerate(modify):
        with at("cookies_to_modify", number):
            steps.append(_modified(changed))
    if not steps:
        return ()
    changes = [step for step in steps if not isinstance(step, bytes) and step.value is None and step.overwrite]
    if len(changes) == len(steps) and len({step.name for step in changes}) == len(changes):
        return (_changing({step.name: step for step in changes}),)
    # By far the most responses set none of these cookies; what becomes of them is known now, unless a value depends on the
    # exchange.
    fixed = all(isinstance(step, bytes) or step.value is None or isinstance(step.value, bytes) for step in steps)
    ready = tuple((b"set-cookie", line) for line in _lines([], steps, None)) if fixed else None
    names = {step if isinstance(step, bytes) else step.name for step in steps}
    is_ours = re.compile(rb"[ \t]*" + _any_of(names) + rb"[ \t]*=").match

    def edit(exchange: Exchange) -> None:
        response = exchange.response
        assert response is not None             # response filters run on responses
        fields = response.fields
        ours: list[bytes] = []
        for name, value in fields:
            if name == b"set-cookie" and is_ours(value):
                ours.append(value)
        if ours:
            fields[:] = [field for field in fields if field[0] != b"set-cookie" or not is_ours(field[1])]
        elif ready is not None:
            fields += ready
            return
        fields += [(b"set-cookie", line) for line in _lines(ours, steps, exchange)]

    return (edit,)


def _changing(by_name: Mapping[bytes, _Added]) -> Edit:
    """The edit where cookies that are set anyway get other attributes, and nothing else is asked for."""
    def edit(exchange: Exchange) -> None:
        response = exchange.response
        assert response is not None             # response filters run on responses
        fields = response.fields
        for index, (name, line) in enumerate(fields):
            if name == b"set-cookie":
                step = by_name.get(line.partition(b"=")[0].strip(b" \t"))
                if step is not None:
                    pair, sign, rest = line.partition(b";")
                    if rest and step.clear is not None:
                        rest = step.clear.sub(b"", sign + rest)
                    fields[index] = (name, pair + rest + step.attributes)

    return edit


def _lines(lines: list[bytes], steps: Sequence[_Added | bytes], exchange: Exchange | None) -> list[bytes]:
    """The Set-Cookie values after every step; `exchange` None where no value needs it."""
    for step in steps:
        if isinstance(step, bytes):
            lines = [line for line in lines if _set_name(line) != step]
            continue
        value = step.value
        if value is not None and not isinstance(value, bytes):
            assert exchange is not None         # only fixed values are worked out without one
            value = value(exchange)
        mine = [index for index, line in enumerate(lines) if _set_name(line) == step.name]
        if not mine:
            if value is not None:
                lines = [*lines, b"%b=%b%b" % (step.name, value, step.attributes)]
        elif step.overwrite:
            lines = [_changed(line, value, step) if index in mine else line for index, line in enumerate(lines)]
    return lines


def _set_name(line: bytes) -> bytes:
    return line.partition(b"=")[0].strip(b" \t")


def _changed(line: bytes, value: bytes | None, step: _Added) -> bytes:
    """A Set-Cookie of the origin with another value (None = its own) and some other attributes."""
    pair, sign, rest = line.partition(b";")
    if value is not None:
        pair = b"%b=%b" % (step.name, value)
    kept = sign + rest
    if step.clear is not None:
        kept = step.clear.sub(b"", kept)
    return pair + kept + step.attributes


def _added(option: SetCookieValueOption) -> _Added:
    own: list[tuple[str, str | None]] = []
    if option.add_domain is not None:
        own.append(("Domain", _attribute("add_domain", option.add_domain)))
    if option.add_path is not None:
        own.append(("Path", _attribute("add_path", option.add_path)))
    if option.add_expiry is not None:
        own.append(("Expires", _attribute("add_expiry", option.add_expiry)))
    text, clear = _attributes([*own, *_shared(option, option.add_partitioned)])
    value = None if option.ignore_value else _value(option, response=True)
    return _Added(_name_in(option), value, text, clear, option.overwrite)


def _modified(option: CookieManipulationOptionType) -> _Added:
    """Only attributes of a cookie that is set anyway."""
    text, clear = _attributes(_shared(option))
    return _Added(_name_in(option), None, text, clear, True)


def _shared(
    option: SetCookieValueOption | CookieManipulationOptionType, partitioned: bool = False,
) -> list[tuple[str, str | None]]:
    """The attributes that both of them may ask for, with one that only the first may."""
    found: list[tuple[str, str | None]] = []
    if option.max_age_value_s is not None:
        found.append(("Max-Age", f"{option.max_age_value_s:.0f}"))
    if option.add_secure:
        found.append(("Secure", None))
    if option.add_httponly:
        found.append(("HttpOnly", None))
    if partitioned:
        found.append(("Partitioned", None))
    for chosen, text in ((option.samesite_strict, "Strict"), (option.samesite_lax, "Lax"), (option.samesite_none, "None")):
        if chosen:
            found.append(("SameSite", text))
    return found


def _attributes(said: Sequence[tuple[str, str | None]]) -> tuple[bytes, re.Pattern[bytes] | None]:
    """Their text, each behind a semicolon, and what takes others of the same names out of a line."""
    if not said:
        return b"", None
    names = [name.lower().encode("ascii") for name, _ in said]
    clear = re.compile(rb";[ \t]*" + _any_of(names) + rb"[ \t]*(?:=[^;]*)?(?=;|\Z)", re.IGNORECASE)
    return b"".join(b"; " + (name if text is None else f"{name}={text}").encode("utf-8") for name, text in said), clear


# -- both --------------------------------------------------------------------------------------------------------------

def _value(option: CookieValueOption | SetCookieValueOption, *, response: bool) -> bytes | Render:
    """The value of a cookie. One with variables is percent-encoded where it would not stay one cookie."""
    value = compile_value(option.value, option.secret_value, response=response)
    if isinstance(value, bytes):
        if _ENDS.search(value) is not None:
            with at("value" if option.secret_value is None else "secret_value"):
                raise ValueError("the value of a cookie may hold neither a semicolon nor control characters")
        return value
    return _encoded(value)


def _encoded(render: Render) -> Render:
    return lambda exchange: _not_in_cookie(_percent, render(exchange))


def _percent(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]


def _name(text: str) -> bytes:
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not the name of a cookie")
    return text.encode("ascii")


def _name_in(option: CookieValueOption | SetCookieValueOption | CookieManipulationOptionType) -> bytes:
    with at("name"):
        return _name(option.name)


def _attribute(field: str, text: str) -> str:
    if ";" in text or not text.isprintable():
        with at(field):
            raise ValueError("an attribute of a cookie may hold neither a semicolon nor control characters")
    return text
