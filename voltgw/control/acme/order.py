"""One certificate from the CA: an order, a challenge met for each name, the request, the chain (RFC 8555 7.4).

An order that was under way when the process ended is taken up again, so that a restart asks for nothing new.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from voltgw.control.acme.keys import looked_at, new_key, request_for
from voltgw.control.acme.problems import AcmeError, Garbled, Refused, Unreachable
from voltgw.values.tls import KeyPair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voltgw.control.acme.challenges.kinds import Kind, Responder
    from voltgw.control.acme.client import Client
    from voltgw.control.acme.messages import Authorization, Challenge, Order
    from voltgw.control.acme.store import State

#: Between two looks at what the CA is busy with (seconds), where it does not say.
_LOOK_S: Final = 2.0
#: Bounds of what it may say: a look more often than that is a burden, and a longer wait is for the next try.
_LEAST_LOOK_S: Final = 1.0
_MOST_LOOK_S: Final = 30.0
#: Longest wait for one step of an order (seconds).
STEP_S: Final = 180.0


class Tools(NamedTuple):
    """What an order is worked with."""

    client: Client
    kind: Kind
    respond: Responder
    key_kind: str                           # "ecdsa" or "rsa"
    sleep: Callable[[float], Awaitable[object]]
    monotonic: Callable[[], float]
    wall: Callable[[], float]
    keep: Callable[[], None]                # the state has changed; raises `NotKept`
    may_order: Callable[[], None]           # a new order is about to be made; raises `AcmeError` where there were too many


async def obtain(state: State, directory: str, tools: Tools) -> KeyPair:
    """A certificate for `state.names`. `state` has its order while it is under way. Raises `AcmeError`."""
    order = await _order(state, directory, tools)
    try:
        for url in order.authorizations if order.status == "pending" else ():
            await _authorize(url, state.names, tools)
        order = await _until(order, tools, "ready", "valid")
        if order.status == "ready":
            order = await tools.client.finalize(order, request_for(state.names, state.key.encode()))
            order = await _until(order, tools, "valid")
        if not order.certificate:
            raise Garbled(f"the order {order.url} is done, but names no certificate")
        chain = await tools.client.certificate(order)
        key = state.key.encode()
        looked_at(chain, key, state.names, tools.wall())
    except Unreachable:
        raise                               # the order may still be good
    except AcmeError as error:
        if not (isinstance(error, Refused) and error.everywhere):
            _forget(state)
        raise
    _forget(state)
    return KeyPair(chain, key)


async def _order(state: State, directory: str, tools: Tools) -> Order:
    """The one under way, or a new one."""
    if state.order and state.order_directory == directory and state.key:
        try:
            order, _ = await tools.client.order(state.order)
        except Refused as error:
            if error.everywhere:
                raise
        else:
            if order.status != "invalid":
                return order
    tools.may_order()
    state.key = new_key(tools.key_kind).decode("ascii")
    order = await tools.client.new_order(state.names)
    state.order, state.order_directory = order.url, directory
    tools.keep()                            # before anything is asked of the CA that could not be asked again
    return order


def _forget(state: State) -> None:
    state.order = state.order_directory = state.key = ""


async def _authorize(url: str, names: Sequence[str], tools: Tools) -> None:
    """Show that one of `names` is ours. A challenge about any other name is not answered: nobody has asked for it here."""
    authorization, _ = await tools.client.authorization(url)
    if authorization.name not in {name.removeprefix("*.") for name in names}:
        raise Garbled(f"the CA asks for a proof about {authorization.name}, for which no certificate was ordered")
    if authorization.status == "valid":
        return                              # the CA remembers
    if authorization.status != "pending":
        raise _denied(authorization)
    kind = tools.kind
    challenge = next((one for one in authorization.challenges if one.type == kind.name), None)
    if challenge is None:
        offered = ", ".join(one.type for one in authorization.challenges) or "none"
        raise Refused(f"the CA offers no {kind.name} challenge for {authorization.name}, but {offered}", type="unsupported")
    if not challenge.token:
        raise Garbled(f"the challenge {challenge.url} has no token")
    with _presented(authorization, challenge, tools):
        if challenge.status == "pending":
            await tools.client.meet(challenge)
        end = tools.monotonic() + STEP_S
        while True:
            authorization, wait_s = await tools.client.authorization(url)
            if authorization.status == "valid":
                return
            if authorization.status != "pending":
                raise _denied(authorization)
            await _pause(wait_s, end, tools, f"the CA has not looked at {authorization.name} within {STEP_S:g} s")


@contextmanager
def _presented(authorization: Authorization, challenge: Challenge, tools: Tools) -> Iterator[None]:
    """The challenge is answered while this lasts."""
    told = tools.client.key.authorization(challenge.token)
    tools.kind.present(tools.respond, authorization.name, challenge.token, told)
    try:
        yield
    finally:
        tools.kind.withdraw(tools.respond, authorization.name, challenge.token)


async def _until(order: Order, tools: Tools, *statuses: str) -> Order:
    """Look until the order has one of these statuses."""
    end = tools.monotonic() + STEP_S
    wait_s: float | None = 0.0
    while order.status not in statuses:
        if order.status == "invalid":
            raise Refused(f"the CA has made the order invalid{': ' if order.problem else ''}{order.problem}", type="invalid")
        if wait_s != 0.0:
            await _pause(wait_s, end, tools, f"the order is still {order.status} after {STEP_S:g} s")
        order, wait_s = await tools.client.order(order.url)
        wait_s = wait_s or _LOOK_S
    return order


async def _pause(wait_s: float | None, end: float, tools: Tools, too_late: str) -> None:
    """Wait as long as the CA asks for. Raises `Unreachable` when that goes beyond `end`: the order itself is still good."""
    wait = _LOOK_S if wait_s is None else min(max(wait_s, _LEAST_LOOK_S), _MOST_LOOK_S)
    if tools.monotonic() + wait > end:
        raise Unreachable(too_late)
    await tools.sleep(wait)


def _denied(authorization: Authorization) -> Refused:
    why = authorization.problem
    return Refused(f"the CA does not believe that {authorization.name} is ours ({authorization.status})"
                   f"{': ' if why else ''}{why}", type="unauthorized")
