"""Low ports for a gateway that has given up root: asked for at `voltgw.binder`, which was started before."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import voltgw
from voltgw.net.passing import receive_frame, send_frame
from voltgw.net.sockets import CannotListen
from voltgw.values.network import HOST, Network

#: Opening a socket takes some microseconds; a binder that does not answer is given up.
_ANSWER_S: Final = 5.0


class Binder:
    """The way to the process that opens sockets below 1024 as `uid` and `gid`. Raises OSError when it cannot be started."""

    def __init__(self, uid: int, gid: int) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.settimeout(_ANSWER_S)
        paths = os.pathsep.join(filter(None, (str(Path(voltgw.__file__).parent.parent), os.environ.get("PYTHONPATH"))))
        with theirs:
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "voltgw.binder", str(theirs.fileno()), str(uid), str(gid)],
                    stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), env={**os.environ, "PYTHONPATH": paths})
            except BaseException:
                ours.close()
                raise
        self._sock: socket.socket | None = ours

    def stop(self) -> None:
        """It is not needed any more."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self.process.wait(_ANSWER_S)

    def able(self, make: Callable[..., socket.socket], kind: str) -> Callable[..., socket.socket]:
        """`make` (`listening_socket` or `datagram_socket`, by `kind`), which asks the binder where we have no right."""
        def made(address: str | None, port: int, *, network: Network = HOST, device: str = "", freebind: bool = False,
                 reuse_port: bool = False) -> socket.socket:
            try:
                return make(address, port, network=network, device=device, freebind=freebind, reuse_port=reuse_port)
            except CannotListen as error:
                if error.errno != errno.EACCES or network.apart or device or self._sock is None:
                    raise
                return self._ask(error, kind=kind, address=address, port=port, freebind=freebind, reuse_port=reuse_port)

        return made

    def _ask(self, refused: CannotListen, **what: Any) -> socket.socket:
        assert self._sock is not None       # the caller has looked
        try:
            send_frame(self._sock, json.dumps(what).encode())
            data, fds = receive_frame(self._sock, 65_536)
        except (OSError, ValueError) as error:
            self._sock.close()
            self._sock = None               # an answer that comes late would be taken for that of another question
            raise refused from error
        if fds:
            sock = socket.socket(fileno=fds[0])
            sock.setblocking(False)
            return sock
        said = json.loads(data)
        raise CannotListen(int(said["errno"]), str(said["place"]), str(said["hint"]))
