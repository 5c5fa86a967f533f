"""Rate limits of a virtual host: a gate that counts what each user sends and answers 429 to what is too much.

The answer (RFC 6585 section 4) says when to come again (Retry-After) and what the limit is, by RateLimit and RateLimit-Policy
(draft-ietf-httpapi-ratelimit-headers) and, where asked for, by the older X-RateLimit fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.security.addresses import Prefixes, number_of
from voltgw.security.rates import Pace, Store
from voltgw.security.users import shown
from voltgw.values.reason import Reason
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from voltgw.config.objects.route import RouteSpec, RouteType
    from voltgw.errors import Place
    from voltgw.security.users import UserOf
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import Field

#: The response flag of a request that is one too many.
FLAG: Final = "RL"
ALLOWED, REFUSED, REPORTED, EXEMPT = "allowed", "refused", "reported", "exempt"


class Telling(NamedTuple):
    """What clients are told of a limit beside Retry-After: on a refusal, on every answer, and in the older form."""

    refused: bool = True
    always: bool = False
    x_fields: bool = False


class Limiter:
    """One limit of one virtual host: who is counted, how much is allowed, what has come of it."""

    __slots__ = (
        "_burst", "_interval", "_line", "_policy", "allowed", "blocking_page", "exempt", "exempted", "find_place", "name",
        "refused", "report_only", "reported", "store", "telling", "text", "user_of",
    )

    def __init__(
        self, name: str, store: Store, user_of: UserOf, who: str, exempt: Prefixes | None, *, report_only: bool,
        telling: Telling, find_place: Callable[[], Place], blocking_page: bytes = b"",
    ) -> None:
        self.name = name                    # "namespace/name" of the rate_limiter
        self.store = store
        self.user_of = user_of
        self.exempt = exempt
        self.report_only = report_only
        self.telling = telling
        self.find_place = find_place
        self.blocking_page = blocking_page  # HTML for those that are refused altogether, b"" = the usual
        self.text = f"{store.pace.text}, by {who}" + (" (report only)" if report_only else "")
        self.allowed = self.refused = self.reported = self.exempted = 0
        short = name.rpartition("/")[2].encode("ascii", "replace").replace(b"%", b"")
        pace = store.pace
        self._burst, self._interval = pace.burst, pace.interval_s
        self._policy = b"ratelimit-policy", b'"%b";q=%d;w=%d' % (short, pace.burst, ceil(pace.burst * pace.interval_s))
        self._line = b'"%b";r=%%d;t=%%d' % short

    def counts_on(self, before: Limiter) -> None:
        """It follows `before`, which had its name: what users owe is theirs still if the limit is the same."""
        self.allowed, self.refused = before.allowed, before.refused
        self.reported, self.exempted = before.reported, before.exempted
        if before.store.pace == self.store.pace and before.store.most == self.store.most and before.text == self.text:
            self.store = before.store

    def excused(self, exchange: Exchange) -> bool:
        """Whether the client is one of those that are not counted."""
        return self.exempt is not None and self.exempt.holds(number_of(exchange.client_address))

    def said(self, late: float) -> list[Field]:
        """The fields that tell a client where it stands; `late` is what the store has said."""
        interval = self._interval
        # How long until all of it is there again; of a refusal, until the next one is.
        if late > 0.0:
            left, reset = 0, ceil(late)
        else:
            left = int(-late / interval + 1e-6)
            reset = ceil((self._burst - 1 - left) * interval)
        found: list[Field] = [self._policy, (b"ratelimit", self._line % (left, reset))]
        if self.telling.x_fields:
            found += [(b"x-ratelimit-limit", b"%d" % self._burst), (b"x-ratelimit-remaining", b"%d" % left),
                      (b"x-ratelimit-reset", b"%d" % reset)]
        return found

    def refusal(self, late: float) -> Reply:
        """The answer to a request that comes `late` seconds too early."""
        fields: list[Field] = [(b"retry-after", b"%d" % max(1, ceil(late)))]
        if self.telling.refused or self.telling.always:
            fields += self.said(late)
        if self.blocking_page and self.store.pace.block_s:
            fields.append((b"content-type", b"text/html; charset=utf-8"))
            return Reply(429, fields, self.blocking_page, flag=FLAG, detail=f"rate_limit: {self.name}")
        return Reply(429, fields, flag=FLAG, detail=f"rate_limit: {self.name}", negotiate=True)


class Limits:
    """All limits that hold for some requests of a virtual host; `for_rule` finds those of rules that have their own.

    A request takes from each of them, or from none if one refuses it.
    """

    name: Final = "rate limits"

    def __init__(
        self, limiters: Sequence[Limiter], for_rule: Callable[[RouteType, str, RouteSpec], Limits | None] | None = None,
        everything: Sequence[Limiter] = (),
    ) -> None:
        """`limiters` hold for every request; `everything` are these and those of some rules."""
        self.limiters = tuple(limiters)
        self.all = tuple(everything or limiters)
        self._for_rule = for_rule
        self.judge = rate_limit(self.limiters)

    @property
    def text(self) -> str:
        """What they are, in words."""
        return "; ".join(f"{limiter.name}: {limiter.text}" for limiter in self.limiters) or (
            "none but those of some routes or rules")

    @property
    def answer_filter(self) -> Callable[[Exchange], None] | None:
        """Answers say where a client stands, if a limit asks for it."""
        return tell if any(limiter.telling.always for limiter in self.limiters) else None

    def for_rule(self, rule: RouteType, namespace: str, spec: RouteSpec) -> Limits | None:
        """The limits of one rule."""
        found = self if self._for_rule is None else self._for_rule(rule, namespace, spec)
        return found if found is not None and found.limiters else None

    def rehearse(self, exchange: Exchange) -> tuple[Reply | None, Reason]:
        """What a request would get now; nothing is counted."""
        steps: list[Reason] = []
        refusal: Reply | None = None
        for limiter in self.limiters:
            about = f"rate_limiter {limiter.name}"
            if limiter.excused(exchange):
                steps.append(Reason(
                    about, "exempt", "the client's address is one of those that are not counted", limiter.find_place()))
                continue
            user = limiter.user_of(exchange)
            late = limiter.store.peek(user, exchange.t_start)
            who = f"user {shown(user)}, {limiter.text}"
            if late <= 0.0:
                left = int(-late / limiter.store.pace.interval_s + 1e-6)
                steps.append(Reason(about, "allows", f"{who}; {left} more could come at once", limiter.find_place()))
                continue
            steps.append(Reason(about, "would refuse" if limiter.report_only else "refuses",
                                f"{who}; the next may come in {late:.3g} s", limiter.find_place()))
            if refusal is None and not limiter.report_only:
                refusal = limiter.refusal(late)
        outcome = "let pass" if refusal is None else "refused"
        why = "no limit is reached" if refusal is None else refusal.detail
        return refusal, Reason(self.name, outcome, why, None, tuple(steps))

    def verdicts(self) -> Iterable[tuple[str, str, int]]:
        """What they have said: limiter, verdict, how often."""
        for limiter in self.all:
            for verdict, count in ((ALLOWED, limiter.allowed), (REFUSED, limiter.refused), (REPORTED, limiter.reported),
                                   (EXEMPT, limiter.exempted)):
                if count:
                    yield limiter.name, verdict, count


def rate_limit(limiters: Sequence[Limiter]) -> Callable[[Exchange], Reply | None]:
    """The filter of some limits."""
    if len(limiters) != 1:
        return _several(tuple(limiters))
    limiter = limiters[0]
    take, user_of, exempt = limiter.store.take, limiter.user_of, limiter.exempt
    tells = limiter.telling.always

    def judge(exchange: Exchange) -> Reply | None:
        if exempt is not None and exempt.holds(number_of(exchange.client_address)):
            limiter.exempted += 1
            return None
        late = take(user_of(exchange), exchange.t_start)
        if late <= 0.0:
            limiter.allowed += 1
            if tells:
                exchange.quota = limiter.said(late)
            return None
        return _too_many(limiter, exchange, late)

    return judge


def _several(limiters: tuple[Limiter, ...]) -> Callable[[Exchange], Reply | None]:
    def judge(exchange: Exchange) -> Reply | None:
        now = exchange.t_start
        asked = []
        for limiter in limiters:
            if limiter.excused(exchange):
                limiter.exempted += 1
                continue
            user = limiter.user_of(exchange)
            if not limiter.report_only and limiter.store.peek(user, now) > 0.0:
                return _too_many(limiter, exchange, limiter.store.take(user, now))
            asked.append((limiter, user))
        tightest: tuple[float, Limiter, float] | None = None
        for limiter, user in asked:
            late = limiter.store.take(user, now)
            if late > 0.0:
                _too_many(limiter, exchange, late)      # it only reports
                continue
            limiter.allowed += 1
            left = -late / limiter.store.pace.interval_s
            if limiter.telling.always and (tightest is None or left < tightest[0]):
                tightest = left, limiter, late
        if tightest is not None:
            exchange.quota = tightest[1].said(tightest[2])
        return None

    return judge


def _too_many(limiter: Limiter, exchange: Exchange, late: float) -> Reply | None:
    user = shown(limiter.user_of(exchange))
    if limiter.report_only:
        limiter.reported += 1
        exchange.limit = f"{limiter.name} (report only: refused) {user}"
        return None
    limiter.refused += 1
    exchange.limit = f"{limiter.name} {user}"
    return limiter.refusal(late)


def tell(exchange: Exchange) -> None:
    """The response filter of routes whose clients are told where they stand."""
    said = getattr(exchange, "quota", None)
    if said is not None and exchange.response is not None:
        exchange.response.fields.extend(said)


def pace_of(total: int, unit_s: float, periods: int, times: int, *, strict: bool, block_s: float) -> Pace:
    """The pace that a RateLimitValue means: `total` in `periods` units, `times` that at once."""
    return Pace(total, unit_s * periods, total * times, strict, block_s)
