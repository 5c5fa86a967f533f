"""What can go wrong between us and a CA, as exceptions that say whether and when another try makes sense."""

from __future__ import annotations

from typing import Final

#: Problem types (RFC 8555 6.7) begin so; what follows is the type's own name.
URN: Final = "urn:ietf:params:acme:error:"


class AcmeError(Exception):
    """A try came to nothing; the message is for the operator.

    `retry_after_s` is what the CA asks us to wait (seconds), None = it says nothing. `everywhere`: the CA means all of our
    orders, not only this one.
    """

    everywhere = False

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unreachable(AcmeError):
    """There was no answer: no connection, no valid certificate, no end in time."""

    everywhere = True


class Garbled(AcmeError):
    """There was an answer, but none that RFC 8555 allows: too large, no JSON, fields missing or of another kind."""

    everywhere = True


class Refused(AcmeError):
    """The CA answers with a problem document (RFC 7807), or with an order or authorization that has become invalid.

    `type` is the name behind `URN` ("rateLimited"), "" for another kind of problem.
    """

    def __init__(self, message: str, retry_after_s: float | None = None, type: str = "", status: int = 0) -> None:
        super().__init__(message, retry_after_s)
        self.type = type
        self.status = status
        self.everywhere = type == "rateLimited" and retry_after_s is not None or status == 503


class Unusable(AcmeError):
    """What was issued cannot be served: another key, other names, or dates by which it is not valid now."""


class NotKept(AcmeError):
    """The disk did not take what has to outlive us; without it no order is made."""

    everywhere = True
