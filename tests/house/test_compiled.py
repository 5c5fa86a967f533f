"""What is compiled, and what the compiler (mypyc) gets wrong and no hot module may do. See docs/adr/0023."""

from __future__ import annotations

import ast
import re
import runpy
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from voltgw.net.tls import libssl

ROOT = Path(__file__).resolve().parent.parent.parent

#: Names whose value is their own, however often it is asked for.
_HARMLESS = frozenset(("len", "min", "max"))


@cache
def setup() -> dict[str, Any]:
    """The names of setup.py."""
    with mock.patch("setuptools.setup"):
        return runpy.run_path(str(ROOT / "setup.py"))


@cache
def trees() -> dict[str, ast.Module]:
    """The hot modules by their paths."""
    return {path: ast.parse((ROOT / path).read_text(encoding="utf-8")) for path in setup()["modules"]()}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """All of them, methods too."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def owns(node: ast.AST, given: set[str]) -> bool:
    """Whether this makes C data that somebody must hold; `given` are names for which somebody else does."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or "ffi" not in ast.unparse(node.func.value):
        return False
    if node.func.attr == "from_buffer":
        return not (isinstance(node.args[0], ast.Name) and node.args[0].id in given)
    return node.func.attr in {"new", "new_handle", "gc", "callback"}


class ListTests(SynchronousTestCase):
    def test_they_are_there(self) -> None:
        """Every module that is named exists, those that are left out as well."""
        self.assertGreater(len(trees()), 100)
        for name in setup()["LEFT"]:
            self.assertTrue((ROOT / "voltgw" / f"{name}.py").is_file(), name)
            self.assertNotIn(f"voltgw/{name}.py", trees())

    def test_the_same_compiler(self) -> None:
        """Tests and wheels are made by the same mypyc."""
        parser = ConfigParser()
        parser.read(ROOT / "setup.cfg", encoding="utf-8")
        tested = parser["options.extras_require"]["test"].split("\n")
        for needed in runpy.run_path(str(ROOT / "tools" / "build_backend.py"))["_COMPILERS"]:
            self.assertIn(needed, tested)

    def test_all_that_is_declared_is_looked_for(self) -> None:
        """The calls of OpenSSL: setup.py finds every function in the declarations that cffi finds in them."""
        made = setup()["binding"](self.mktemp())
        self.assertEqual(made.name, libssl.COMPILED)
        text = Path(made.sources[0]).read_text(encoding="utf-8")
        called = set(re.findall(r"^_cffi_f_(\w+)\(", text, re.MULTILINE)) - {"voltgw_open"}
        self.assertGreater(len(called), 90)
        self.assertEqual(set(re.findall(r'= dlsym\(found, "(\w+)"\)', text)), called)
        made_of = re.findall(r"^#define (\w+)\(\.\.\.\) \((voltgw_ERR_clear_error\(\), )?voltgw_\1\(__VA_ARGS__\)\)$", text, re.MULTILINE)
        self.assertEqual({name for name, _ in made_of}, called)
        self.assertEqual({name for name, clearing in made_of if clearing}, set(libssl.CLEARING))

    def test_mypyc_runs_once_for_a_wheel(self) -> None:
        """A second run, by what it finds in its cache, leaves C files of its own out: a library that cannot be loaded."""
        for command, compiles in (("egg_info", False), ("dist_info", False), ("bdist_wheel", True), ("build_ext", True)):
            made: list[Any] = []
            with (mock.patch("setuptools.setup", lambda made=made, **said: made.append(said["ext_modules"])),
                  mock.patch("mypyc.build.mypycify", return_value=["compiled"]), mock.patch.dict("os.environ", VOLTGW_COMPILE="1"),
                  mock.patch("sys.argv", ["setup.py", command])):
                runpy.run_path(str(ROOT / "setup.py"))
            self.assertEqual("compiled" in made[0], compiles, command)

    def test_sources_can_be_built(self) -> None:
        """A source distribution has the backend that pyproject.toml names: setuptools does not put it there by itself."""
        system = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
        listed = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
        for folder in system["backend-path"]:
            self.assertIn(f"include {folder}/{system['build-backend']}.py", listed)


class HazardTests(SynchronousTestCase):
    """Each of these was met, and changed what the compiled program did."""

    def test_bounds_of_slices(self) -> None:
        """No call stands in a slice: it would be made twice (`data[:sock.recv_into(data)]`)."""
        found = [f"{path}:{node.lineno}" for path, tree in trees().items() for node in ast.walk(tree)
                 if isinstance(node, ast.Slice) for bound in (node.lower, node.upper) if bound is not None
                 for call in ast.walk(bound) if isinstance(call, ast.Call) and ast.unparse(call.func) not in _HARMLESS]
        self.assertEqual(found, [])

    def test_functions_in_functions(self) -> None:
        """There are none: each would be a cycle of references, which only the collector frees."""
        found = [f"{path}:{inner.lineno}" for path, tree in trees().items() for outer in functions(tree)
                 for inner in functions(outer) if inner is not outer]
        self.assertEqual(found, [])

    def test_names_of_exceptions(self) -> None:
        """A name is bound to exceptions of one type in a function: another one would be refused with a TypeError."""
        found = []
        for path, tree in trees().items():
            for function in functions(tree):
                types: dict[str, set[str]] = {}
                for node in ast.walk(function):
                    if isinstance(node, ast.ExceptHandler) and node.name is not None and node.type is not None:
                        types.setdefault(node.name, set()).add(ast.unparse(node.type))
                found += [f"{path}:{function.lineno} {name}" for name, several in types.items() if len(several) > 1]
        self.assertEqual(found, [])

    def test_c_data(self) -> None:
        """No name is the only holder of C data: behind its last use it is gone, and a pointer into the data leads nowhere.

        What `from_buffer` makes of an argument may have one: the caller has the bytes.
        """
        found = []
        for path, tree in trees().items():
            for function in functions(tree):
                given = {argument.arg for argument in function.args.args}
                for node in ast.walk(function):
                    if not isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) or node.value is None:
                        continue
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    if all(isinstance(target, ast.Attribute) for target in targets):
                        continue
                    found += [f"{path}:{node.lineno}" for call in ast.walk(node.value) if owns(call, given)]
        self.assertEqual(found, [])

    def test_slots(self) -> None:
        """Nobody asks a class for its `__slots__`: a compiled one has none (`voltgw.values.compiling.slots_of`)."""
        found = [f"{path}:{node.lineno}" for path in (ROOT / "voltgw").rglob("*.py") if path.name != "compiling.py"
                 for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                 if isinstance(node, ast.Attribute) and node.attr == "__slots__"]
        self.assertEqual([each for each in found if "nginx_values" not in each and "acme/store" not in each], [])
