"""Where the two sides of an HTTP/1.1 exchange stand."""

from __future__ import annotations

from typing import Final

# -- the client's connection, seen from the client's bytes -------------------------------------------------------------
READY: Final = 0            # between requests, or in the middle of a head
ASKING: Final = 1           # a filter has yet to decide
DIALING: Final = 2          # an endpoint has yet to accept, and the request body is not complete
BODY: Final = 3             # the request body is coming
SENT: Final = 4             # the request is complete; its answer is awaited or on its way
LINGER: Final = 5           # answered early: the rest of the body is thrown away, then we close
CLOSED: Final = 6
BUFFERING: Final = 7        # the request body is read whole before an endpoint is chosen

# -- the endpoint's connection: what the bytes that come next mean -----------------------------------------------------
IDLE: Final = 0             # in the pool: none may come
HEAD: Final = 1             # (the rest of) a response head
LENGTH: Final = 2           # a body of known length
CHUNKS: Final = 3           # a chunked body
CLOSING: Final = 4          # a body that ends with the connection
OVER: Final = 5             # nothing: this connection is done with
