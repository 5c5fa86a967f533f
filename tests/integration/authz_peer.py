"""An authorizer of Envoy's ext_authz over gRPC, by grpcio; run by the Python that has it, and reads messages by itself.

It listens on a free port of 127.0.0.1, which it says. What a request's header ``x-verdict`` says is its verdict: ``ok``, ``deny``,
``plain`` (denied without an answer), ``fail`` (an error of gRPC), ``garbage``, ``stall``. With ``ok`` the header ``x-seen`` has JSON of
what it was asked.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent import futures
from typing import Any

import grpc  # type: ignore[import-not-found,import-untyped,unused-ignore]  # only in the interpreter that runs this file


def read(data: bytes) -> list[tuple[int, Any]]:
    """Fields of a message, one octet after the other."""
    found: list[tuple[int, Any]] = []
    octets = iter(data)

    def number(first: int | None = None) -> int:
        value = shift = 0
        octet = next(octets) if first is None else first
        while True:
            value += (octet % 128) << shift
            if octet < 128:
                return value
            shift += 7
            octet = next(octets)

    for first in octets:
        key = number(first)
        if key % 8 == 0:
            found.append((key // 8, number()))
        elif key % 8 == 2:
            found.append((key // 8, bytes(next(octets) for _ in range(number()))))
        else:
            raise SystemExit(f"wire type {key % 8}")
    return found


def one(data: bytes, *path: int) -> Any:
    """What stands at a path of field numbers, None = nothing."""
    value: Any = data
    for step in path:
        value = next((inner for field, inner in read(value) if field == step), None)
        if value is None:
            return None
    return value


def field(number: int, value: bytes) -> bytes:
    """A field with fewer than 2^14 octets."""
    size = len(value)
    return bytes([number * 8 + 2]) + (bytes([size]) if size < 128 else bytes([size % 128 + 128, size // 128])) + value


def header(name: str, value: str) -> bytes:
    """A HeaderValueOption."""
    return field(1, field(1, name.encode()) + field(2, value.encode()))


def check(request: bytes, context: Any) -> bytes:
    """The verdict."""
    http = one(request, 1, 4, 2)
    headers = {one(pair, 1).decode(): (one(pair, 2) or b"").decode() for number, pair in read(http) if number == 3}
    verdict = headers.get("x-verdict", "deny")
    if verdict == "ok":
        source = one(request, 1, 1, 1, 1)
        seen = {"method": one(http, 2), "path": one(http, 4), "host": one(http, 5), "scheme": one(http, 6), "protocol": one(http, 10),
                "size": one(http, 9), "source": one(source, 2), "principal": one(request, 1, 1, 4), "pseudo": headers.get(":path", ""),
                "cookie": headers.get("cookie", "")}
        text = json.dumps({name: value.decode() if isinstance(value, bytes) else value for name, value in seen.items()})
        return field(1, b"") + field(3, field(2, header("x-seen", text)) + field(2, header("x-user", "ada"))
                                     + field(5, b"x-drop") + field(6, header("set-cookie", "s=1")))
    if verdict == "deny":
        return field(1, bytes([8, 7])) + field(2, field(1, bytes([8, 145, 3])) + field(2, header("x-why", "because")) + field(3, b"go away"))
    if verdict == "plain":
        return field(1, bytes([8, 16]))
    if verdict == "fail":
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
    if verdict == "stall":
        time.sleep(3)
    return b"\xff\xff\xff"


def main() -> None:
    """Serve until standard input ends."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    handler = grpc.unary_unary_rpc_method_handler(check)        # without serializers: octets
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", {"Check": handler}),))
    sys.stdout.write(f"{server.add_insecure_port('127.0.0.1:0')}\n")
    sys.stdout.flush()
    server.start()
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main()
