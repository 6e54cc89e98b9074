"""Starts a Python program with the shim, whatever the interpreter's own flags: ``python FLAGS boot.py KIND WHAT ARG…``.

``KIND`` is ``file``, ``-c`` or ``-m``. For -I, -S and -E, which keep PYTHONPATH and ``sitecustomize`` out.
"""

import os
import sys

if False:  # for readers and type checkers: importing it would be time of every start
    import typing

HERE = os.path.dirname(os.path.abspath(__file__))


def namespace(name: str) -> "dict[str, object]":
    """Put a fresh ``__main__`` in the place of this one and return its names."""
    main = type(sys)("__main__")
    builtins = sys.modules[
        "builtins"
    ]  # the module, as in every __main__; what an imported module has is its dictionary
    main.__dict__.update(__builtins__=builtins, __file__=name, __cached__=None)
    sys.modules["__main__"] = main
    return main.__dict__


def run(kind: str, what: str, rest: "list[str]", program: "typing.Any" = None) -> None:
    """Run the program as the interpreter would have; ``program`` is what it compiles to, where that is known."""
    if kind == "-m":
        import runpy

        sys.argv = ["-m", *rest]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    if kind == "-c":
        sys.argv = ["-c", *rest]
        names = namespace("<string>")
        del names["__file__"], names["__cached__"]
        exec(program or compile(what, "<string>", "exec"), names)
        return
    sys.argv = [what, *rest]
    if os.path.isdir(what):
        import runpy

        runpy.run_path(what, run_name="__main__")
        return
    if program is None:
        try:
            with open(what, "rb") as stream:
                program = compile(stream.read(), what, "exec")
        except OSError as error:
            sys.stderr.write(f"{sys.executable}: can't open file {os.path.abspath(what)!r}: {error.args[:2]}\n")
            sys.exit(2)
    exec(program, namespace(what))


def start(kind: str, what: str, rest: "list[str]", program: "typing.Any" = None) -> None:
    """Put the program's own directory on the path, unless flags say otherwise, and run it."""
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        first = {"file": os.path.dirname(os.path.realpath(what)), "-m": os.getcwd()}.get(kind, "")
        sys.path.insert(0, first)
    run(kind, what, rest, program)


def main() -> None:
    """Load the shim, unless ``sitecustomize`` has, and run the program."""
    kind, what, *rest = sys.argv[1:]
    if sys.path and os.path.abspath(sys.path[0]) == HERE:
        del sys.path[0]
    if "tornwrite_shim" not in sys.modules:
        import time

        began = time.monotonic_ns()
        sys.path.insert(0, HERE)
        from tornwrite_shim import install

        del sys.path[0]
        install(began=began)
    start(kind, what, rest)


if __name__ == "__main__":
    main()
