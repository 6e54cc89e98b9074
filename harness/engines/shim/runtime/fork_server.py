"""A Python that has loaded the shim and what a target imports, and forks once per trial.

``python FLAGS fork_server.py DESCRIPTOR KIND WHAT WORD…``. Orders come as marshalled dictionaries behind their length,
and so do the answers: ``{"ready": reason}`` once, ``{"pid": n}`` for a trial, ``{"status": n}`` when it is to be
reaped. Imported are only modules of the standard library and of installed packages: what is the target's own is run by
each trial, unless the program asks for more: its function ``before_forks`` is called once, with the words of its first
run. What changes a file or starts a thread when it is imported cannot be preloaded; then nothing is.
"""

import ast
import atexit
import gc
import importlib.util
import io
import marshal
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
if False:  # for readers and type checkers: importing it would be time of every start
    import typing

_LENGTH = struct.Struct("<I")
_VERSION = 2
_NEVER = frozenset(("antigravity", "this", "__future__", "__main__"))


class Control:
    """The connection to the engine."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = READ(self.descriptor, size - len(data))
            if not part:
                os._exit(0)  # the engine is gone, and nobody else needs a fork server
            data += part
        return data

    def receive(self) -> "dict[str, typing.Any]":
        """Return the next order; the process ends when there is none any more."""
        (size,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        order: "dict[str, typing.Any]" = marshal.loads(self._exactly(size))
        return order

    def send(self, answer: "dict[str, typing.Any]") -> None:
        """Send an answer."""
        raw = marshal.dumps(answer, _VERSION)
        WRITE(self.descriptor, _LENGTH.pack(len(raw)) + raw)


def is_shared(name: str, beside: str) -> bool:
    """Whether a module belongs to the standard library or to an installed package, and not to the target."""
    if name in _NEVER or any(os.path.exists(os.path.join(beside, name + end)) for end in ("", ".py")):
        return False
    if name in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    origin = (spec.origin or "") if spec is not None else ""
    return "site-packages" in origin or "dist-packages" in origin


def imported(source: bytes, beside: str) -> "list[str]":
    """Return the shared modules that a program names in its import statements."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.append(node.module)
    return [name for name in dict.fromkeys(names) if is_shared(name.split(".")[0], beside)]


def preload(source: bytes, beside: str) -> str:
    """Import what the program will; return why that cannot be done, or ""."""
    for name in imported(source, beside):
        try:
            __import__(name)
        except Exception:
            continue
        if LINK.early:
            return "importing %s changes files" % name
    return ""


def asks_for_more(source: bytes) -> bool:
    """Whether a program has something to load before it is forked."""
    body = ast.parse(source).body
    return any(isinstance(node, ast.FunctionDef) and node.name == "before_forks" for node in body)


def load_more(program: "typing.Any", words: "list[str]") -> None:
    """Let the program load what it has to."""
    names = {"__name__": "before_forks", "__file__": program.co_filename}
    try:
        exec(program, names)
        names["before_forks"](words)
    except Exception:  # each trial meets it again, where it is seen
        pass


def why_not() -> str:
    """Return why a process that has loaded this cannot be forked, or ""."""
    if LINK.early:
        return "what it loads changes files"
    threads = sys.modules.get("threading")
    if threads is not None and threads.active_count() > 1:
        return "importing its modules starts a thread"
    return ""


def leave(code: int) -> None:
    """End as an interpreter does, but for taking apart what it had before the fork: that would touch all of it."""
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    atexit._run_exitfuncs()
    for item in gc.get_objects():  # what is frozen is not among them
        if isinstance(item, (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)):
            try:
                item.flush()
            except (OSError, ValueError):
                continue
    os._exit(code)


def become(order: "dict[str, typing.Any]", program: "typing.Any", much: bool) -> None:
    """Be the target of one trial: a session, an environment and standard streams of its own.

    ``much``: more was loaded than a program's own end would be quick with.
    """
    os.setsid()
    CLOSE(CONTROL.descriptor)
    for name, fd, flags in (("in", 0, os.O_RDONLY), ("out", 1, os.O_WRONLY), ("err", 2, os.O_WRONLY)):
        opened = OPEN(order[name], flags)
        DUP2(opened, fd)
        if opened > 2:
            CLOSE(opened)
    for name in [name for name in os.environ if name not in order["env"]]:
        del os.environ[name]
    for name, value in order["env"].items():
        if os.environ.get(name) != value:  # most are the server's own
            os.environ[name] = value
    os.chdir(order["cwd"])
    LINK.connect()
    try:
        boot.start(order["kind"], order["what"], list(order["rest"]), program)
    except SystemExit as ended:
        if not much or not isinstance(ended.code, int):
            raise
        leave(ended.code & 0xFF)


def main() -> None:
    """Load, say so, and fork until the engine goes away."""
    kind, what = sys.argv[2:4]
    source = what.encode() if kind == "-c" else b""
    beside = os.getcwd()
    if kind == "file":
        beside = os.path.dirname(os.path.realpath(what))
        with open(what, "rb") as stream:
            source = stream.read()
    try:
        program = compile(source, what if kind == "file" else "<string>", "exec")
        reason = preload(source, beside)
        much = asks_for_more(source)
        if much and not reason:
            load_more(program, sys.argv[4:])
        reason = reason or why_not()
    except (SyntaxError, ValueError) as error:
        reason = "it does not compile (%s)" % error
    CONTROL.send({"ready": reason})
    gc.collect()
    gc.freeze()
    while True:
        order = CONTROL.receive()
        if "reap" in order:
            pid, status = os.waitpid(order["reap"], 0 if order["wait"] else os.WNOHANG)
            CONTROL.send({"status": status if pid else None})
            continue
        pid = FORK()
        if pid == 0:
            break
        CONTROL.send({"pid": pid})
    become(order, program, much)


if __name__ == "__main__":
    READ, WRITE, OPEN, CLOSE, DUP2, FORK = os.read, os.write, os.open, os.close, os.dup2, os.fork
    CONTROL = Control(int(sys.argv[1]))
    if sys.path and os.path.abspath(sys.path[0]) == HERE:
        del sys.path[0]
    sys.path.insert(0, HERE)
    import boot  # type: ignore[import-not-found]
    from tornwrite_shim import install

    del sys.path[0]
    LINK = install(connect=False)
    main()
