"""A gRPC server and client by grpcio, run by the Python that has it; the messages are plain octets, so nothing is generated.

``server [KEY CERTIFICATE]``: listens on a free port of 127.0.0.1, which it prints, with TLS if it has files of a key and a
certificate. ``client PORT``: makes calls of every kind and prints JSON of
what came; ``flaky PORT``: makes calls that fail at first. It is a program of its own because grpcio is not in the interpreter that the tests run on.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc  # type: ignore[import-not-found,import-untyped,unused-ignore]  # only in the interpreter that runs this file

_failures = [0]
_calls: dict[bytes, int] = {}
_given_up: list[bool] = []


def _unary(request: bytes, context: Any) -> bytes:
    """Echo, with what the call says of itself."""
    context.set_trailing_metadata((("x-served", "1"), ("x-raw-bin", b"\0\xff")))
    left = context.time_remaining()
    return b"%b|%d" % (request, -1 if left is None else round(left))


def _fail(request: bytes, context: Any) -> bytes:
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: \u00e4 100%")
    return b""


def _unsteady(request: bytes, context: Any) -> bytes:
    """The first call fails in a way that asks for another."""
    _failures[0] += 1
    if _failures[0] == 1:
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
    return b"%d" % _failures[0]


def _flaky(request: bytes, context: Any) -> bytes:
    """Every second call of a name fails with the code that is asked for."""
    _calls[request] = _calls.get(request, 0) + 1
    if _calls[request] % 2:
        context.abort(next(each for each in grpc.StatusCode if each.value[0] == int(request)), "once more, please")
    return b"%d" % _calls[request]


def _left(request: bytes, context: Any) -> bytes:
    """Waits until the call's deadline has passed or the client has gone, and tells whoever asks later."""
    gone = threading.Event()
    context.add_callback(gone.set)
    _given_up.append(gone.wait(20.0))
    return b""


def _told(request: bytes, context: Any) -> bytes:
    return b"%d" % len(_given_up)


def _slow(request: bytes, context: Any) -> bytes:
    time.sleep(3.0)
    return request


def _count(request: bytes, context: Any) -> Iterator[bytes]:
    for number in range(int(request)):
        yield b"%d" % number


def _sum(requests: Iterator[bytes], context: Any) -> bytes:
    return b"%d" % sum(len(request) for request in requests)


def _echo(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    for request in requests:
        yield request.upper()


def _check(request: bytes, context: Any) -> bytes:
    """The health of a service (grpc.health.v1): the request is field 1, a string, the answer field 1, a number."""
    name = request[2:].decode()
    if name == "slow":
        time.sleep(3.0)
    elif name not in ("", "up", "down"):
        context.abort(grpc.StatusCode.NOT_FOUND, "never heard of it")
    return b"\x08\x02" if name == "down" else b"\x08\x01"


def serve(files: list[str]) -> None:
    """Serve until the standard input ends."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", {
        "Unary": grpc.unary_unary_rpc_method_handler(_unary), "Fail": grpc.unary_unary_rpc_method_handler(_fail),
        "Unsteady": grpc.unary_unary_rpc_method_handler(_unsteady), "Slow": grpc.unary_unary_rpc_method_handler(_slow),
        "Flaky": grpc.unary_unary_rpc_method_handler(_flaky), "Left": grpc.unary_unary_rpc_method_handler(_left),
        "Told": grpc.unary_unary_rpc_method_handler(_told),
        "Count": grpc.unary_stream_rpc_method_handler(_count), "Sum": grpc.stream_unary_rpc_method_handler(_sum),
        "Echo": grpc.stream_stream_rpc_method_handler(_echo),
    }), grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(_check)})))
    if files:
        with open(files[0], "rb") as key, open(files[1], "rb") as certificate:
            credentials = grpc.ssl_server_credentials(((key.read(), certificate.read()),))
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.start()
    sys.stdin.read()
    server.stop(0).wait()


def call(port: int) -> dict[str, Any]:
    """Every kind of call."""
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=(("grpc.enable_retries", 0),))
    found: dict[str, Any] = {}

    def status(error: Any) -> list[str]:
        return [error.code().name, error.details()]

    reply, done = channel.unary_unary("/test.Echo/Unary").with_call(b"hello", timeout=20.0)
    found["unary"] = reply.decode()
    found["trailers"] = {key: value.hex() if isinstance(value, bytes) else value for key, value in done.trailing_metadata()}
    large = b"x" * 3_000_000
    found["large"] = channel.unary_unary("/test.Echo/Unary")(large, timeout=20.0) == large + b"|20"
    found["count"] = len(list(channel.unary_stream("/test.Echo/Count")(b"500", timeout=20.0)))
    found["sum"] = channel.stream_unary("/test.Echo/Sum")((b"x" * 1000 for _ in range(500)), timeout=20.0).decode()

    # Each message is only sent once the one before has come back: nothing may wait for the end of a stream.
    turn = threading.Semaphore(1)

    def questions() -> Iterator[bytes]:
        for number in range(20):
            turn.acquire()
            yield b"q%d" % number

    answers = []
    for answer in channel.stream_stream("/test.Echo/Echo")(questions(), timeout=20.0):
        answers.append(answer.decode())
        turn.release()
    found["echo"] = answers
    for name, method, timeout_s in (("fail", "/test.Echo/Fail", 20.0), ("unknown", "/test.Echo/Nothing", 20.0),
                                    ("slow", "/test.Echo/Slow", 0.5), ("ours", "/refused.Service/Method", 20.0),
                                    ("nowhere", "/nowhere.Service/Method", 20.0)):
        try:
            channel.unary_unary(method)(b"", timeout=timeout_s)
        except grpc.RpcError as error:
            found[name] = status(error)
    try:                                    # answered while most of it is still to be sent
        channel.stream_unary("/refused.Service/Method")((b"x" * 100_000 for _ in range(100)), timeout=20.0)
    except grpc.RpcError as error:
        found["early"] = status(error)
    found["unsteady"] = channel.unary_unary("/test.Echo/Unsteady")(b"", timeout=20.0).decode()
    return found


def flaky(port: int) -> dict[str, Any]:
    """Calls that fail the first time, by their codes; and one that its client gives up."""
    channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=(("grpc.enable_retries", 0),))
    found: dict[str, Any] = {}
    for code in grpc.StatusCode:
        if code.value[0]:
            try:
                found[code.name] = channel.unary_unary("/test.Echo/Flaky")(b"%d" % code.value[0], timeout=20.0).decode()
            except grpc.RpcError as error:
                found[code.name] = error.code().name
    call = channel.unary_unary("/test.Echo/Left").future(b"", timeout=20.0)
    time.sleep(0.3)
    call.cancel()
    try:
        channel.unary_unary("/test.Echo/Left")(b"", timeout=0.3)
    except grpc.RpcError as error:
        found["deadline"] = error.code().name
    end = time.monotonic() + 10.0
    while time.monotonic() < end and found.get("told") != "2":
        found["told"] = channel.unary_unary("/test.Echo/Told")(b"", timeout=20.0).decode()
        time.sleep(0.05)
    return found


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(sys.argv[2:])
    else:
        kinds = {"client": call, "flaky": flaky}
        sys.stdout.write(json.dumps(kinds[sys.argv[1]](int(sys.argv[2]))) + "\n")
