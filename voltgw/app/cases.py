"""A table of requests and what is expected of them, and claims about all requests: the file of ``voltgw test``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from dataclasses import field as part
from typing import TYPE_CHECKING, Any, Final

from voltgw.app.claims import ClaimError, read_claim
from voltgw.app.explain import Explainer
from voltgw.app.prove import Outcome, Verdict, prove
from voltgw.app.question import QuestionError, read_question
from voltgw.config.compound import ListOf, MapOf
from voltgw.config.one_document import place_of, read_one
from voltgw.config.schema import Nested, Rule, field, message, plan_of
from voltgw.config.types import Number, Text
from voltgw.config.values import FrozenMap
from voltgw.errors import ConfigError, ConfigErrors, Place

if TYPE_CHECKING:
    from voltgw.app.build import Runtime
    from voltgw.app.explain import Explanation
    from voltgw.app.rehearsal import Head

#: How far a share may be from the one that is expected: half of the last digit of ``33.3%``.
_SHARE_ERROR: Final = 0.0005001
#: Who refuses a request that passes.
NOBODY: Final = "nobody"


@message
class Expected:
    """What is expected of one request; what is not said may be anything."""

    listener: str | None = field(Text(least=1), "The listener that takes it.", example="127.0.0.1:8080")
    virtual_host: str | None = field(Text(), "Its virtual host; \"\" is none.", example="default/shop")
    route: str | None = field(Text(), "Its route: the object's name, or that and the rule's index.", example="shop/0")
    cluster: str | None = field(Text(), "The one cluster to which all such requests go.", example="shop")
    clusters: FrozenMap[str, str] = field(
        MapOf(Text(least=1), Text(least=1)), "The share of each cluster.", example="{v1: 95%, v2: 5%}")
    status: int | None = field(Number(100, 599), "Status of the gateway's own answer; such a request is not forwarded.")
    flag: str | None = field(Text(), "Response flag of the gateway's own answer.", example="NR")
    refused_by: str | None = field(
        Text(least=1), "The rule, limit or method that refuses it, or ``nobody``. The namespace or the rule may be left out.",
        example="edge/no-admin")
    target: str | None = field(Text(least=1), "Path and query as the endpoint gets them.")
    headers: FrozenMap[str, str] = field(MapOf(Text(least=1), Text()), "Fields that the endpoint gets, with their values.")
    no_headers: tuple[str, ...] = field(ListOf(Text(least=1)), "Fields that the endpoint does not get.")
    answer_headers: FrozenMap[str, str] = field(
        MapOf(Text(least=1), Text()), "Fields that the client gets; of a forwarded request, on a plain 200.")
    no_answer_headers: tuple[str, ...] = field(ListOf(Text(least=1)), "Fields that the client does not get.")

    def rules(self) -> Iterable[Rule]:
        """Shares are numbers."""
        for name, text in self.clusters.items():
            try:
                _share(text)
            except ValueError:
                yield Rule("clusters", "VG0110", f"the share of {name}, {text!r}, is not a number between 0 and 1, or 0% "
                           "and 100%")


#: What may be expected, for the documentation.
EXPECTATIONS: Final = plan_of(Expected).decls


@message
class Case:
    """One request and what is expected of it."""

    name: str | None = field(Text(least=1), "What it is about.", absent="the request")
    request: str = field(
        Text(least=1), "METHOD and URL; ``- tcp://ADDRESS:PORT`` for a connection.", required=True,
        example="GET http://shop.example.com/cart")
    headers: FrozenMap[str, str] = field(MapOf(Text(least=1), Text()), "Fields of the request.")
    from_: str | None = field(Text(least=1), "The client's address.")
    listener: str | None = field(Text(least=1), "The listener, where the URL does not tell it.")
    expect: Expected = field(Nested(Expected), "What is expected.", required=True)


@message
class Claimed:
    """A sentence about all requests."""

    claim: str = field(Text(least=1), "The sentence.", required=True)


@message
class Cases:
    """The file."""

    cases: tuple[Case, ...] = field(ListOf(Nested(Case)), "Requests, one by one.")
    prove: tuple[Claimed, ...] = field(ListOf(Nested(Claimed, scalar="claim")), "What holds for all requests.")

    def rules(self) -> Iterable[Rule]:
        """A file that says nothing tests nothing."""
        if not self.cases and not self.prove:
            yield Rule("", "VG0105", "there are neither `cases` nor claims to `prove`")


@dataclass(slots=True)
class Result:
    """What became of one case or claim; `wrong` says what is not as it should be, nothing when all is well."""

    kind: str                               # "case" or "claim"
    name: str
    place: Place
    wrong: list[str] = part(default_factory=list)
    verdict: Verdict | None = None
    explanation: Explanation | None = None

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""
        return not self.wrong


def read_cases(path: str) -> Cases:
    """The cases of a file. Raises `ConfigErrors`."""
    return read_one(path, Cases, "`cases` and `prove`")


def check_cases(runtime: Runtime, cases: Cases, path: str) -> list[Result]:
    """What became of every case and claim. Raises `ConfigErrors` for those that cannot be understood."""
    problems: list[ConfigError] = []
    checks: list[Callable[[], Result]] = []
    explainer = Explainer(runtime)

    def understood(place: Place, make: Callable[[], Callable[[], Result]]) -> None:
        try:
            checks.append(make())
        except (QuestionError, ClaimError) as error:
            problems.append(ConfigError("VG0110", place, str(error)))

    for case in cases.cases:
        understood(place_of(path, case), lambda case=case: _case(explainer, case, path))          # type: ignore[misc]
    for claimed in cases.prove:
        understood(place_of(path, claimed), lambda claimed=claimed: _claim(runtime, claimed, path))   # type: ignore[misc]
    if problems:
        raise ConfigErrors(tuple(problems))
    return [check() for check in checks]


# -- one case ----------------------------------------------------------------------------------------------------------

def _case(explainer: Explainer, case: Case, path: str) -> Callable[[], Result]:
    method, _, url = case.request.partition(" ")
    headers = [f"{name}: {value}" for name, value in case.headers.items()]
    question = read_question(method, url.strip(), headers, case.from_ or "", case.listener or "")

    def check() -> Result:
        explanation = explainer.explain(question)
        return Result("case", case.name or case.request, place_of(path, case), list(_wrong(case.expect, explanation)),
                      explanation=explanation)

    return check


def _refuses(label: str, expected: str) -> bool:
    """Whether ``default/edge/no-admin`` is meant by ``edge/no-admin``, ``default/edge`` or ``edge``, or is it."""
    if expected == NOBODY or not label:
        return expected == (label or NOBODY)
    parts, wanted = label.split("/"), expected.split("/")
    return any(parts[start:start + len(wanted)] == wanted for start in (0, 1))


def _wrong(expected: Expected, got: Explanation) -> Iterable[str]:
    """What is not as expected."""
    if expected.listener is not None and got.listener != expected.listener:
        yield _differs("listener", expected.listener, got.listener or "none")
    if expected.virtual_host is not None and not _named(got.virtual_host, expected.virtual_host):
        yield _differs("virtual host", expected.virtual_host or "none", got.virtual_host or "none")
    if expected.route is not None and expected.route not in (got.route, got.route.rpartition("/")[0]):
        yield _differs("route", expected.route or "none", got.route or "none")
    shares = {name: share for name, share in got.shares.items() if share}
    if expected.cluster is not None and not (
            all(_named(name, expected.cluster) for name in shares) if shares else not expected.cluster):
        yield _differs("cluster", expected.cluster or "none", _shown(shares))
    if expected.clusters and not _same_shares(expected.clusters, got.shares):
        yield _differs("clusters", ", ".join(f"{name} {share}" for name, share in expected.clusters.items()), _shown(shares))
    if expected.status is not None and got.status != expected.status:
        yield _differs("status", str(expected.status), str(got.status) if got.status is not None else f"it is {got.outcome}")
    if expected.flag is not None and got.flag != expected.flag:
        yield _differs("flag", expected.flag or "none", got.flag or "none")
    if expected.refused_by is not None and not _refuses(got.refused_by, expected.refused_by):
        yield _differs("refused by", expected.refused_by, got.refused_by or NOBODY)
    if expected.target is not None and got.target != expected.target:
        yield _differs("target", expected.target, got.target or f"it is {got.outcome}")
    yield from _wrong_fields("header", expected.headers, expected.no_headers, got.sent, got.outcome)
    yield from _wrong_fields("answer header", expected.answer_headers, expected.no_answer_headers, got.told, got.outcome)


def _wrong_fields(
    what: str, wanted: FrozenMap[str, str], unwanted: tuple[str, ...], head: Head | None, outcome: str,
) -> Iterable[str]:
    if head is None:
        if wanted or unwanted:
            yield f"{what}s are expected, but there is no such message: it is {outcome}"
        return
    for name, value in wanted.items():
        values = [found for key, found in head.fields if key.lower() == name.lower()]
        if value not in values:
            yield _differs(f"{what} {name}", repr(value), ", ".join(map(repr, values)) or "it is not there")
    for name in unwanted:
        values = [found for key, found in head.fields if key.lower() == name.lower()]
        if values:
            yield _differs(f"{what} {name}", "none", ", ".join(map(repr, values)))


def _differs(what: str, expected: str, got: str) -> str:
    return f"{what}: expected {expected}, got {got}"


def _named(full_name: str, name: str) -> bool:
    return full_name == name or ("/" not in name and full_name.partition("/")[2] == name)


def _same_shares(expected: FrozenMap[str, str], got: dict[str, float]) -> bool:
    left = {name: share for name, share in got.items() if share}
    for name, text in expected.items():
        share = sum(left.pop(full) for full in list(left) if _named(full, name))
        if abs(share - _share(text)) > _SHARE_ERROR:
            return False
    return not left


def _share(text: str) -> float:
    """A share that somebody wrote. Raises ValueError."""
    number = float(text.removesuffix("%").strip()) / (100 if text.endswith("%") else 1)
    if not 0 <= number <= 1:
        raise ValueError(text)
    return number


def _shown(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items()) or "none"


# -- one claim ---------------------------------------------------------------------------------------------------------

def _claim(runtime: Runtime, claimed: Claimed, path: str) -> Callable[[], Result]:
    claim = read_claim(claimed.claim, runtime)

    def check() -> Result:
        verdict = prove(runtime, claim)
        result = Result("claim", claimed.claim, place_of(path, claimed), verdict=verdict)
        if verdict.example is not None:
            example = verdict.example
            fields = "".join(f" -H '{each}'" for each in example.headers)
            result.wrong.append(f"refuted by {example.method} {example.url}{fields} at {example.listener}: {example.goes}")
        elif verdict.outcome is Outcome.OPEN:
            result.wrong += [f"neither proved nor refuted: {why}" for why in verdict.open]
        return result

    return check


def plain_result(result: Result) -> dict[str, Any]:
    """A result as plain data, for JSON."""
    plain: dict[str, Any] = {"kind": result.kind, "name": result.name, "place": str(result.place), "ok": result.ok,
                             "wrong": result.wrong}
    if result.explanation is not None:
        plain["explanation"] = result.explanation.plain()
    verdict = result.verdict
    if verdict is not None:
        example = verdict.example
        plain |= {"outcome": verdict.outcome.value, "looked_at": verdict.looked_at, "notes": verdict.notes,
                  "example": None if example is None else {**example._asdict(), "headers": list(example.headers)}}
    return plain
