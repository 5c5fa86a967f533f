"""Who may send requests, by what they can prove: the gate of a virtual host or route that asks for credentials.

It stands before the service policies, which may ask who has been proven (`Exchange.user`). Fields that tell endpoints of the
user are taken out of every request that comes in, whether it is asked for credentials or not: nobody can make them up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.errors import NOWHERE, Place
from voltgw.routing.filters.cors import is_preflight
from voltgw.security.places import each_of
from voltgw.security.proofs import ACCEPTED, FLAG, Accepted, Denied
from voltgw.values.identity import Proof, User
from voltgw.values.reason import Reason
from voltgw.values.reply import Reply

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from voltgw.config.objects.policies import CorsPolicy
    from voltgw.config.objects.route import RouteSpec, RouteType
    from voltgw.security.jwt import KeySource
    from voltgw.security.proofs import Method, Verdict
    from voltgw.values.exchange import Exchange
    from voltgw.values.head import Field, RequestHead

#: And for one that was let pass although it should not have been, where it is only reported.
REPORTED: Final = "reported"
#: How long a client may be kept from asking again when nobody can judge its credential, in seconds.
_RETRY_AFTER: Final = b"5"


class Row(NamedTuple):
    """One count for the metrics."""

    method: str
    result: str
    requests: int


class Results:
    """How often each kind of credential was accepted or refused, and why; it is kept over reloads. Reasons are few."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}

    def count(self, method: str, result: str) -> None:
        """One more."""
        key = (method, result)
        self.counts[key] = self.counts.get(key, 0) + 1

    def rows(self) -> Iterable[Row]:
        """All of them."""
        for (method, result), count in sorted(self.counts.items()):
            yield Row(method, result, count)


class Terms(NamedTuple):
    """What is asked of requests.

    `methods` are asked in their order: all of them, or with `any_of` until one is good. `after` is asked when they are
    content, whatever they are. `user_header` tells endpoints the user's name. `find_place`
    finds where all that is asked for. With `preflights` nothing is asked of a browser's preflight, which has no credentials and
    which the CORS policy of the route answers.
    """

    methods: tuple[Method, ...] = ()
    after: Method | None = None
    any_of: bool = False
    report_only: bool = False
    user_header: bytes | None = None
    find_place: Callable[[], Place] = lambda: NOWHERE
    preflights: bool = False


class Authentication:
    """A gate: see `voltgw.routing.route.Guard`. `owned` are the fields that only we may write."""

    name: Final = "authentication"
    answer_filter = None                    # answers of endpoints are not touched

    def __init__(
        self, terms: Terms, owned: frozenset[bytes], results: Results,
        overriding: Callable[[RouteType, str, RouteSpec], Terms | None] | None = None, cors: CorsPolicy | None = None,
    ) -> None:
        """`overriding` gives what a rule asks for itself, None where it says nothing; `cors` is the policy of the host."""
        self.terms = terms
        self.owned = owned
        self.results = results
        self._overriding = overriding
        self._cors = cors
        self.sources: dict[KeySource, None] = {     # where keys of tokens come from, those of routes included
            source: None for method in terms.methods if (source := getattr(method, "keys", None)) is not None}
        self.judge = authentication(self)

    @property
    def hide(self) -> Callable[[RequestHead], None] | None:
        """Takes credentials out of the query of a request that somebody else has refused; None where they stand elsewhere."""
        hides = [hide for method in self.terms.methods if (hide := getattr(method, "hide", None)) is not None]
        return each_of(hides) if hides else None

    @property
    def text(self) -> str:
        """What it does, in words."""
        terms = self.terms
        asked = (" or " if terms.any_of else " and ").join(method.text for method in terms.methods)
        if terms.after is not None:
            asked = f"{asked}, then {terms.after.text}" if asked else terms.after.text
        if not asked:
            return "asks for nothing" + (f", takes out {_names(self.owned)}" if self.owned else "")
        return asked + (" (report only)" if terms.report_only else "")

    @property
    def place(self) -> Place:
        """Where it is asked for."""
        return self.terms.find_place()

    def verdicts(self) -> Iterable[tuple[str, str, int]]:
        """Its results have metrics of their own."""
        return ()

    def for_rule(self, rule: RouteType, namespace: str, spec: RouteSpec) -> Authentication | None:
        """What the rule or its route object asks for itself; otherwise what the virtual host does."""
        own = self._overriding(rule, namespace, spec) if self._overriding is not None else None
        forward = rule.route_destination
        cors = forward.cors_policy if forward is not None and forward.cors_policy is not None else self._cors
        if own is None:
            own = self.terms
        own = own._replace(preflights=cors is not None and not cors.disabled)
        if own == self.terms and (own.methods or own.after is not None):
            return self
        if not own.methods and own.after is None and not self.owned:
            return None
        made = Authentication(own, self.owned, self.results)
        self.sources.update(made.sources)
        return made

    def rehearse(self, exchange: Exchange) -> tuple[Reply | None, Reason]:
        """The verdict and why; nothing is counted or remembered."""
        terms, head = self.terms, exchange.request
        _strip(head, self.owned)
        if terms.preflights and is_preflight(head):
            why = "a preflight has no credentials; the CORS policy answers it"
            return None, Reason(self.name, "not asked for", why, self.place)
        steps: list[Reason] = []
        accepted: list[Accepted] = []
        denied: Denied | None = None
        for method in terms.methods:
            verdict, unknown = method.rehearse(exchange)
            steps.append(_step(method, verdict, unknown))
            if verdict is None:
                continue
            if isinstance(verdict, Accepted):
                accepted.append(verdict)
                if terms.any_of:
                    break
            elif denied is None or _tells_more(verdict, denied):
                denied = verdict
                if not terms.any_of:
                    break
        if denied is not None and (not terms.any_of or not accepted):
            reply = self._refuse(exchange, denied)
            if reply is None:
                return None, Reason(self.name, "let pass", f"it only reports: {denied.by} {denied.reason}",
                                    self.place, tuple(steps))
            return reply, Reason(self.name, f"refused with {reply.status}", f"{denied.by} {denied.reason}: {denied.detail}",
                                 self.place, tuple(steps))
        self._let_in(exchange, accepted)
        if terms.after is not None:
            verdict, unknown = terms.after.rehearse(exchange)
            steps.append(_step(terms.after, verdict, unknown))
        self._passed(exchange)
        who = exchange.user
        why = "" if who is None else f"{who.by} proves {who.name!r}"
        return None, Reason(self.name, "let pass" if steps else "not asked for", why, self.place, tuple(steps))

    # -- what `judge` leaves to us -------------------------------------------------------------------------------------

    def go_on(
        self, exchange: Exchange, index: int, accepted: list[Accepted], denied: Denied | None,
    ) -> Reply | None | Deferred[Reply | None]:
        """Ask the methods from `index` on; `denied` is the most telling refusal so far."""
        terms = self.terms
        methods = terms.methods
        while index < len(methods):
            verdict = methods[index].check(exchange)
            index += 1
            if isinstance(verdict, Accepted):
                accepted.append(verdict)
                self.results.count(verdict.user.by, ACCEPTED)
                if terms.any_of:
                    break
            elif verdict is None:
                continue
            elif isinstance(verdict, Denied):
                if denied is None or _tells_more(verdict, denied):
                    denied = verdict
                if not terms.any_of:
                    return self.denied(exchange, verdict)
            else:
                return verdict.addCallback(self.told, exchange, index, accepted, denied)
        if denied is not None and not accepted:
            return self.denied(exchange, denied)
        if accepted:
            self._let_in(exchange, accepted)
        if terms.after is None:
            self._passed(exchange)
            return None
        last = terms.after.check(exchange)
        if last is None or isinstance(last, Accepted | Denied):
            return self._at_last(last, exchange)
        return last.addCallback(self._at_last, exchange)

    def told(
        self, verdict: Verdict, exchange: Exchange, index: int, accepted: list[Accepted], denied: Denied | None,
    ) -> Reply | None | Deferred[Reply | None]:
        """A method has made up its mind."""
        terms = self.terms
        if isinstance(verdict, Accepted):
            accepted.append(verdict)
            self.results.count(verdict.user.by, ACCEPTED)
            return self.go_on(exchange, len(terms.methods) if terms.any_of else index, accepted, denied)
        if verdict is None:
            return self.go_on(exchange, index, accepted, denied)
        if not terms.any_of:
            return self.denied(exchange, verdict)
        return self.go_on(exchange, index, accepted, verdict if denied is None or _tells_more(verdict, denied) else denied)

    def _at_last(self, verdict: Verdict, exchange: Exchange) -> Reply | None:
        if verdict is None:
            self._passed(exchange)
            return None
        if isinstance(verdict, Denied):
            return self.denied(exchange, verdict)
        self.results.count(verdict.user.by, ACCEPTED)
        before = exchange.user
        self._let_in(exchange, [verdict] if before is None else [Accepted(before), verdict])
        self._passed(exchange)
        return None

    def _passed(self, exchange: Exchange) -> None:
        terms = self.terms
        for method in (*terms.methods, *(() if terms.after is None else (terms.after,))):
            if method.take_out is not None:
                method.take_out(exchange.request)

    def _let_in(self, exchange: Exchange, accepted: Sequence[Accepted]) -> None:
        """Say in the exchange, and in the fields of the request, who has been proven."""
        if not accepted:
            return
        first = accepted[0]
        if len(accepted) == 1:
            exchange.proof = first.proof
            user, fields = first.user, first.fields
        else:
            user = _both([one.user for one in accepted])
            exchange.proof = Proof(user, user.by)
            fields = tuple(field for one in accepted for field in one.fields)
        self.tell(exchange.request, user, fields)

    def tell(self, head: RequestHead, user: User, fields: Sequence[Field]) -> None:
        """Tell the endpoint of the user."""
        mine = self.terms.user_header
        if mine is not None and user.name:
            value = user.name.encode("utf-8", "replace")
            # a field has no white space around it: an endpoint would take " root" for "root"
            if value == value.strip() and all(32 <= byte != 127 for byte in value):
                fields = (*fields, (mine, value))
        if fields:
            names = {name for name, _ in fields}
            head.fields = [*(field for field in head.fields if field[0] not in names), *fields]

    def denied(self, exchange: Exchange, denied: Denied) -> Reply | None:
        """Refuse, or only say so."""
        self.results.count(denied.by, denied.reason)
        reply = self._refuse(exchange, denied)
        if reply is None:
            self.results.count(denied.by, REPORTED)
        self._passed(exchange)              # one that is refused is logged, too, and its credential may be nearly a good one
        return reply

    def _refuse(self, exchange: Exchange, denied: Denied) -> Reply | None:
        said = f"{denied.by} {denied.reason}"
        if self.terms.report_only or denied.passes:
            # what was proven before somebody could not be asked stays proven
            exchange.proof = Proof(exchange.user, f"{said} ({'let pass' if denied.passes else 'report only'})")
            return None
        exchange.proof = Proof(None, said)
        if denied.reply is not None:
            return denied.reply
        if self.terms.any_of and denied.missing:        # RFC 9110 11.6.1: the client may choose
            return refusal(denied, [method.challenge for method in self.terms.methods])
        return refusal(denied, (denied.challenge,))


def refusal(denied: Denied, challenges: Iterable[bytes | None]) -> Reply:
    """The answer to a client that has proven nothing: it hears less than the log."""
    fields: list[Field] = [(b"www-authenticate", challenge) for challenge in challenges if challenge is not None]
    if denied.status == 503:
        fields.append((b"retry-after", _RETRY_AFTER))
    fields.append((b"cache-control", b"no-store"))
    return Reply(denied.status, fields, flag=FLAG, detail=f"authentication: {denied.by} {denied.reason}", negotiate=True)


def authentication(gate: Authentication) -> Callable[[Exchange], Reply | None | Deferred[Reply | None]]:
    """The filter of a gate."""
    terms, owned, counts = gate.terms, gate.owned, gate.results.counts
    only = terms.methods[0].check if len(terms.methods) == 1 and terms.after is None else None
    take_out = terms.methods[0].take_out if only is not None else None
    tells, preflights = terms.user_header is not None, terms.preflights

    def judge(exchange: Exchange) -> Reply | None | Deferred[Reply | None]:
        head = exchange.request
        if owned:
            for name, _ in head.fields:
                if name in owned:
                    _strip(head, owned)
                    break
        if preflights and head.method == b"OPTIONS" and is_preflight(head):
            return None
        if only is None:
            return gate.go_on(exchange, 0, [], None)
        verdict = only(exchange)
        if type(verdict) is Accepted:               # the usual case, in line
            exchange.proof = verdict.proof
            key = verdict.counted
            counts[key] = counts.get(key, 0) + 1
            if tells or verdict.fields:
                gate.tell(head, verdict.user, verdict.fields)
            if take_out is not None:
                take_out(head)
            return None
        if verdict is None:
            return None
        if isinstance(verdict, Denied):
            return gate.denied(exchange, verdict)
        assert not isinstance(verdict, Accepted)
        return verdict.addCallback(gate.told, exchange, 1, [], None)

    return judge


def _tells_more(one: Denied, other: Denied) -> bool:
    """A client that has tried something wants to hear of that."""
    return other.missing and not one.missing


def _strip(head: RequestHead, owned: frozenset[bytes]) -> None:
    head.fields = [field for field in head.fields if field[0] not in owned]


def _both(users: Sequence[User]) -> User:
    """Several proofs of one request: the first name that there is, and all claims."""
    claims = {name: value for user in reversed(users) for name, value in user.claims.items()}
    return User(next((user.name for user in users if user.name), ""), "+".join(user.by for user in users), claims)


def _step(method: Method, verdict: Verdict, unknown: str) -> Reason:
    if verdict is None:
        return Reason(method.by, "not asked for", unknown or method.text)
    if isinstance(verdict, Denied):
        return Reason(method.by, f"refuses: {verdict.reason}", verdict.detail or method.text)
    return Reason(method.by, "accepts" if not unknown else "would accept", f"but not known is {unknown}" if unknown
                  else f"it proves {verdict.user.name!r}")


def _names(owned: frozenset[bytes]) -> str:
    return ", ".join(sorted(name.decode("ascii") for name in owned))

