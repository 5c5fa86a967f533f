"""What a CA answers, read into values (RFC 8555 7.1); whatever it may have written, nothing of it is trusted unread."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from voltgw.control.acme.problems import URN, Garbled, Refused

#: Longest text of a CA that goes on into logs and pages.
MOST_TEXT: Final = 500
#: Authorizations that an order may have: as many as a virtual host has domains, and some.
MOST_PARTS: Final = 100
#: Most that a Retry-After is believed (seconds). CAs speak of hours; a week is their longest window.
MOST_WAIT_S: Final = 7 * 24 * 3600.0

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")


class Answer(NamedTuple):
    """One HTTP answer, whole. `headers` has lower-case names; `url` is whom we asked."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes


class Directory(NamedTuple):
    """Where a CA takes what (RFC 8555 7.1.1)."""

    new_nonce: str
    new_account: str
    new_order: str
    terms: str = ""                         # where its terms of service stand
    binding: bool = False                   # accounts need an external account binding


class Challenge(NamedTuple):
    """One way to show that a name is ours (RFC 8555 8)."""

    type: str
    url: str
    status: str
    token: str = ""                         # "" for kinds that have none
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Authorization:
    """What a CA knows about a name and us (RFC 8555 7.1.4)."""

    name: str
    status: str
    challenges: tuple[Challenge, ...]

    @property
    def problem(self) -> str:
        """Why it became invalid, as far as the CA says."""
        return next((one.problem for one in self.challenges if one.problem), "")


@dataclass(frozen=True, slots=True)
class Order:
    """A request for a certificate (RFC 8555 7.1.3)."""

    url: str
    status: str
    authorizations: tuple[str, ...]
    finalize: str
    certificate: str = ""
    problem: str = ""


def location(answer: Answer) -> str:
    """Where that which was made stands from now on (RFC 8555 7.3, 7.4). Raises `Garbled`."""
    url = answer.headers.get("location", "")
    if len(url) > 2048 or not url.isascii() or not url.isprintable() or " " in url or not _https(url):
        raise Garbled(f"{answer.url} answers without a Location that is an https URL")
    return url


def read_directory(answer: Answer) -> Directory:
    """Raises `Garbled`."""
    said = _object(answer)
    meta = said.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    terms = meta.get("termsOfService")
    return Directory(
        _url(said, "newNonce", answer), _url(said, "newAccount", answer), _url(said, "newOrder", answer),
        words(terms) if isinstance(terms, str) else "", meta.get("externalAccountRequired") is True)


def read_order(answer: Answer, url: str) -> Order:
    """The order at `url`. Raises `Garbled`."""
    said = _object(answer)
    parts = said.get("authorizations")
    if not isinstance(parts, list) or len(parts) > MOST_PARTS:
        raise Garbled(f"{answer.url} answers with an order that has no list of authorizations")
    return Order(
        _checked(url, answer), _text(said, "status", answer), tuple(_checked(part, answer) for part in parts),
        _url(said, "finalize", answer), _url(said, "certificate", answer) if "certificate" in said else "",
        problem_words(said.get("error")))


def read_authorization(answer: Answer) -> Authorization:
    """Raises `Garbled`."""
    said = _object(answer)
    identifier, challenges = said.get("identifier"), said.get("challenges")
    if not isinstance(identifier, dict) or not isinstance(challenges, list) or len(challenges) > MOST_PARTS:
        raise Garbled(f"{answer.url} answers with what is no authorization")
    found = []
    for one in challenges:
        if not isinstance(one, dict):
            raise Garbled(f"{answer.url} answers with what is no authorization")
        token = one.get("token", "")
        if not isinstance(token, str) or token and not _TOKEN.fullmatch(token):
            raise Garbled(f"{answer.url} answers with a token that is none: {words(str(token))!r}")
        status = one.get("status", "pending")
        found.append(Challenge(
            _text(one, "type", answer), _url(one, "url", answer), status if isinstance(status, str) else "pending", token,
            problem_words(one.get("error"))))
    return Authorization(_text(identifier, "value", answer).lower(), _text(said, "status", answer), tuple(found))


def refusal(answer: Answer, wall: float) -> Refused:
    """What a status of 400 or above means; `wall` (seconds since the epoch) tells a date of Retry-After."""
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        said = None
    kind = said.get("type") if isinstance(said, dict) else None
    type = kind.removeprefix(URN) if isinstance(kind, str) and kind.startswith(URN) else ""
    told = problem_words(said) or f"{urlsplit(answer.url).netloc} answers {answer.status}"
    return Refused(told, retry_after_s(answer, wall), words(type), answer.status)


def retry_after_s(answer: Answer, wall: float) -> float | None:
    """Retry-After in seconds from now (RFC 9110 10.2.3), at most `MOST_WAIT_S`; None = it is absent or cannot be read."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), MOST_WAIT_S)
    if not text:
        return None
    try:
        return min(max(parsedate_to_datetime(text).timestamp() - wall, 0.0), MOST_WAIT_S)
    except (ValueError, OverflowError):
        return None


def problem_words(problem: object, deeper: bool = True) -> str:
    """A problem document in one line, with its subproblems, which have none (RFC 8555 6.7.1); "" for what is none."""
    if not isinstance(problem, dict):
        return ""
    kind, detail = problem.get("type"), problem.get("detail")
    type = kind.removeprefix(URN) if isinstance(kind, str) else ""
    parts = [type, detail if isinstance(detail, str) else ""]
    inner = problem.get("subproblems")
    for one in inner[:3] if deeper and isinstance(inner, list) else ():
        parts.append(problem_words(one, deeper=False))
    return words(": ".join(part for part in parts if part))


def words(text: str) -> str:
    """What a stranger wrote, as it may stand in a log: printable, and not long."""
    text = text if len(text) <= MOST_TEXT else text[:MOST_TEXT - 3] + "..."
    return text if text.isprintable() else "".join(one if one.isprintable() else " " for one in text)


def _object(answer: Answer) -> dict[str, Any]:
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"{answer.url} answers with what is no JSON") from error
    if not isinstance(said, dict):
        raise Garbled(f"{answer.url} answers with JSON that is no object")
    return said


def _text(said: dict[str, Any], name: str, answer: Answer) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not value:
        raise Garbled(f"{answer.url} answers without {name!r}")
    return words(value)


def _url(said: dict[str, Any], name: str, answer: Answer) -> str:
    return _checked(said.get(name), answer, name)


def _checked(url: object, answer: Answer, name: str = "url") -> str:
    """A URL that may be asked: RFC 8555 6.1 allows nothing but https, and whoever answers does not send us elsewhere."""
    if not isinstance(url, str) or len(url) > 2048 or not url.isascii() or not url.isprintable() or " " in url:
        raise Garbled(f"{answer.url} answers with a {name} that is no URL")
    if not _https(url):
        raise Garbled(f"{answer.url} answers with a {name} that is no https URL: {words(url)}")
    return url


def _https(url: str) -> bool:
    """Whether it leads to a host by https, and to a port if it names one; a user in it would be told to that host."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:                      # half an IPv6 address, a port that is none
        return False
