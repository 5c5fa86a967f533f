"""What setup.cfg cannot say: with ``VOLTGW_COMPILE=1`` the hot modules become C by mypyc, and the calls of OpenSSL by cffi.
See docs/howto/compiled.rst.

Without it nothing is compiled, and no compiler is needed.
"""

from __future__ import annotations

import os
import re
import runpy
import sys
from pathlib import Path
from typing import Any

from setuptools import setup

HERE = Path(__file__).resolve().parent

#: The way of a request from the socket to its line in the log, and those of connections, datagrams and names beside it. Each of
#: them runs as it stands, too. `*` is every module of a room but those in `LEFT`.
HOT = {
    "values": "counters exchange head record reply",
    "wire": "*",
    "net": "announced closing connected connector correspondence datagrams deadlines instead listener loop outgoing "
           "pacing portions sniff sockets sources splice stream tls/connection tls/handshakes tls/stream",
    "routing": "actions conditions cookies filters/cors filters/fields filters/headers filters/variables hashing hosts index "
               "route split tracing zone",
    "cluster": "attempts chooser cluster endpoint ewma schedulers/random schedulers/round_robin slowstart spread",
    "proxy": "*",
    "dns": "cookies desk rates responder",
    "observe": "access json_lines lines outputs sampling timings",
    "app": "journal",
}
#: Why not: a class that something refers to weakly; types that a compiled module evaluates before they are there; functions in
#: functions, which would each be a cycle of references; what is not hot.
LEFT = {
    "proxy/announced_udp", "proxy/certified", "proxy/factory", "proxy/hashed",
    "proxy/forward/capturing", "proxy/forward/dynamic", "proxy/forward/factory", "proxy/forward/gate", "proxy/forward/host",
    "proxy/forward/interception", "proxy/forward/logins", "proxy/forward/lookup", "proxy/forward/origins",
    "proxy/forward/outside", "proxy/forward/settings",
    "wire/h2handler", "wire/otlp", "wire/protobuf", "wire/rtnetlink", "wire/tracecontext",
}


def modules() -> list[str]:
    """The paths of the hot modules, from here."""
    found = []
    for room, names in HOT.items():
        folder = HERE / "voltgw" / room
        chosen = sorted(folder.rglob("*.py")) if names == "*" else [folder / f"{name}.py" for name in names.split()]
        found += [path for path in chosen if path.name != "__init__.py"
                  and path.relative_to(folder.parent).with_suffix("").as_posix() not in LEFT]
    return [path.relative_to(HERE).as_posix() for path in found]


def extensions() -> list[Any]:
    """All in one shared library, which the extension of each module opens; ``VOLTGW_COMPILE_LEVEL`` is the C compiler's -O."""
    from mypyc.build import mypycify

    level = os.environ.get("VOLTGW_COMPILE_LEVEL", "3")
    paths = modules()
    return [*mypycify(paths, opt_level=level, debug_level="0" if level == "0" else "1", multi_file=True,
                      separate=[(paths, "voltgw_hot")]), binding()]


def binding(folder: str = "build") -> Any:
    """The functions of OpenSSL that voltgw declares, as C calls them; the C file is made in `folder`.

    To build it needs neither headers nor the library, and nothing is linked. `voltgw_open` looks for libssl by the name by
    which it is looked for without a compiler, and for every function in that and in what it needs: an interpreter that
    brings an OpenSSL of its own does not come between. Those of `libssl.CLEARING` empty the queue of errors first.
    """
    from cffi import FFI

    said = runpy.run_path(str(HERE / "voltgw/net/tls/libssl.py"))
    names = re.findall(r"^(?!typedef)\w[^(\n]*?(\w+)\(", said["DECLARATIONS"], re.MULTILINE)
    before = "voltgw_ERR_clear_error(), "
    lines = ["#include <dlfcn.h>", "#include <stddef.h>", "#include <stdint.h>", said["DECLARATIONS"]]
    lines += [f"static __typeof__({name}) *voltgw_{name};" for name in names]
    lines += ["static int voltgw_open(void) {",
              f'    void *found = dlopen("{said["LIBSSL"]}", RTLD_NOW);', "    if (!found) return -1;"]
    lines += [f'    if (!(*(void **) &voltgw_{name} = dlsym(found, "{name}"))) return -1;' for name in names]
    lines += ["    return 0;", "}"]
    lines += [f"#define {name}(...) ({before if name in said['CLEARING'] else ''}voltgw_{name}(__VA_ARGS__))" for name in names]
    ffi = FFI()
    ffi.cdef(said["DECLARATIONS"] + "int voltgw_open(void);")
    ffi.set_source(said["COMPILED"], "\n".join(lines), extra_compile_args=["-O2"])
    return ffi.distutils_extension(folder, verbose=False)


# pip asks first what a build needs (egg_info), and has not installed it then; and it asks what it will be called (dist_info).
# mypyc must run once: of what it finds in the cache of a run before it forgets which of its own C files that needs.
wanted = os.environ.get("VOLTGW_COMPILE") == "1" and not {"egg_info", "dist_info"} & set(sys.argv)
setup(ext_modules=extensions() if wanted else [], options={"build_ext": {"parallel": os.cpu_count()}})
