"""A Python that has loaded what a target imports, and forks once per trial.

``python FLAGS fork_server.py DESCRIPTOR shim|traced KIND WHAT WORD…``. Orders come as marshalled dictionaries behind
their length, and so do the answers: ``{"ready": reason}`` once, ``{"pid": n}`` for a trial, ``{"status": n}`` when it
is to be reaped. Imported are only modules of the standard library and of installed packages. What is the target's own
is compiled once and run by each trial, unless the program asks for more: its function ``before_forks`` is called once,
with the words of its first run. What changes a file or starts a thread when it is imported cannot be preloaded; then
nothing is. Where trials are traced, neither can what prints, keeps a file open or has threads that Python knows nothing
of. A trial is watched by the shim, or traced: then it waits until its tracer has it, and installs the filter that it is
given.
"""

import _socket
import ast
import atexit
import gc
import importlib.machinery
import importlib.util
import io
import marshal
import os
import signal
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
if False:  # for readers and type checkers: importing it would be time of every start
    import types
    import typing

_LENGTH = struct.Struct("<I")
_REPORT = struct.Struct("ii")
_VERSION = 2
_NEVER = frozenset(("antigravity", "this", "__future__", "__main__"))
_WHERE = frozenset(
    [("sys", each) for each in ("path", "meta_path", "path_hooks", "modules")] + [("site", "addsitedir")]
)
"""What decides which module an import finds."""
_CHANGES = frozenset(
    ("append", "clear", "extend", "insert", "pop", "remove", "reverse", "setdefault", "sort", "update")
)
_MOST_MODULES = 500
"""Modules of the target that are looked at, at most."""
_INTERRUPTED = -1
"""In the place of an exit code: an interpreter that Ctrl+C has ended dies of the signal."""
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _MODE_FILTER = 38, 22, 2


class Control:
    """The connection to the engine."""

    def __init__(self, descriptor: int) -> None:
        self.socket = _socket.socket(fileno=descriptor)
        self.descriptor = descriptor
        self.passed: "list[int]" = []
        """Descriptors that came with the last order."""

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part, ancillary, _, _ = self.socket.recvmsg(size - len(data), 64, _socket.MSG_CMSG_CLOEXEC)
            if not part:
                os._exit(0)  # the engine is gone, and nobody else needs a fork server
            for _, _, raw in ancillary:
                self.passed += struct.unpack("%di" % (len(raw) // 4), raw)
            data += part
        return data

    def receive(self) -> "dict[str, typing.Any]":
        """Return the next order; the process ends when there is none any more."""
        self.passed = []
        (size,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        order: "dict[str, typing.Any]" = marshal.loads(self._exactly(size))
        return order

    def send(self, answer: "dict[str, typing.Any]") -> None:
        """Send an answer."""
        raw = marshal.dumps(answer, _VERSION)
        self.socket.sendall(_LENGTH.pack(len(raw)) + raw)


class Shimmed:
    """Trials that the shim reports of."""

    def __init__(self) -> None:
        from tornwrite_shim import install

        self._link = install(connect=False)

    @property
    def early(self) -> bool:
        """Whether what was loaded has changed files."""
        return bool(self._link.early)

    def enter(self, order: "dict[str, typing.Any]", passed: "list[int]") -> None:
        """Take the standard streams and the surroundings of a trial, and tell the engine of it."""
        del passed
        for name, fd, flags in (("in", 0, os.O_RDONLY), ("out", 1, os.O_WRONLY), ("err", 2, os.O_WRONLY)):
            opened = OPEN(order[name], flags)
            DUP2(opened, fd)
            if opened > 2:
                CLOSE(opened)
        surround(order["env"])
        os.chdir(order["cwd"])
        self._link.connect()


class Traced:
    """Trials that a tracer holds before their first step. ``early`` is seen from outside."""

    early = False

    def __init__(self) -> None:
        import ctypes

        self._ctypes = ctypes
        self._libc = ctypes.CDLL(None, use_errno=True)

    def enter(self, order: "dict[str, typing.Any]", passed: "list[int]") -> None:
        """Wait until the tracer is there; take streams and surroundings; install the filter."""
        *streams, report, gate = passed
        if not READ(gate, 1):
            os._exit(126)
        for fd, opened in enumerate(streams):
            DUP2(opened, fd)
            CLOSE(opened)
        CLOSE(gate)
        os.umask(0o022)
        surround(order["env"])
        sys.orig_argv = order["argv"]
        step = 0
        try:
            os.chdir(order["cwd"])
            step = 1
            self._install(order["filter"])
        except OSError as error:
            WRITE(report, _REPORT.pack(step, error.errno or 0))
            os._exit(127)
        CLOSE(report)

    def _install(self, code: bytes) -> None:
        buffer = self._ctypes.create_string_buffer(code, len(code))
        program = struct.pack("HP", len(code) // 8, self._ctypes.addressof(buffer))
        for request in ((_SET_NO_NEW_PRIVS, 1, 0), (_SET_SECCOMP, _MODE_FILTER, program)):
            if self._libc.prctl(*request, 0, 0):
                number = self._ctypes.get_errno()
                raise OSError(number, os.strerror(number))


def surround(environment: "dict[str, str]") -> None:
    """Make the environment of this process that of a trial."""
    for name in [name for name in os.environ if name not in environment]:
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:  # most are the server's own
            os.environ[name] = value


class Loader:
    """Loads what a program, and what is its own beside it, will import; keeps what is its own compiled."""

    def __init__(self, beside: str) -> None:
        self._beside = beside
        self._compiled: "dict[str, tuple[int, int, types.CodeType]]" = {}
        self._seen: "set[str]" = set()
        self.shared: "list[str]" = []
        """The shared modules that are named in import statements."""
        self.moves = False
        """Whether one of the sources looks at where modules come from: it may have others in mind than the shared."""

    def look_at(self, source: bytes) -> None:
        """Collect what a source names, and what the target's own modules among that name."""
        tree = ast.parse(source)
        self.moves = self.moves or _moves(tree)
        for name in _named(tree):
            if name in self._seen or len(self._seen) > _MOST_MODULES:
                continue
            self._seen.add(name)
            own = self._own(name.split(".")[0])
            if own is None:
                if is_shared(name.split(".")[0], self._beside):
                    self.shared.append(name)
                continue
            for path in own:
                self._compile(path)

    def _own(self, name: str) -> "list[str] | None":
        """Return the files of a module that lies beside the program; ``None`` where none does."""
        base = os.path.join(self._beside, name)
        if os.path.isdir(base):
            names = sorted(each for each in os.listdir(base) if each.endswith(".py"))
            return [os.path.join(base, each) for each in names]
        return [base + ".py"] if os.path.exists(base + ".py") else None

    def _compile(self, path: str) -> None:
        try:
            with open(path, "rb") as stream:
                info, source = os.fstat(stream.fileno()), stream.read()
            code = compile(source, path, "exec", dont_inherit=True)
        except (OSError, SyntaxError, ValueError):
            return  # each trial meets it
        self._compiled[path] = (info.st_mtime_ns, info.st_size, code)
        self.look_at(source)

    def lend(self) -> None:
        """Have the import of a source file take what was compiled of it, while it is the same file."""
        compiled = self._compiled
        from_source = importlib.machinery.SourceFileLoader.get_code

        def get_code(loader: "typing.Any", name: str) -> "types.CodeType | None":
            path = loader.get_filename(name)
            known = compiled.get(path)
            if known is not None:
                info = os.stat(path)
                if (info.st_mtime_ns, info.st_size) == known[:2]:
                    return known[2]
            return from_source(loader, name)

        importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]


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


def _moves(tree: ast.AST) -> bool:
    """Whether a source may change what an import finds: a copy of its own before the shared one, say."""
    for node in ast.walk(tree):
        changed: "list[ast.AST | None]" = []
        called = isinstance(node, ast.Attribute) and node.attr in _CHANGES
        if called or (isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)):
            changed = [node.value]  # type: ignore[attr-defined]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):  # another name for it, or another one in its place
            changed = [node.value, *(node.targets if isinstance(node, ast.Assign) else [node.target])]
        elif isinstance(node, ast.AugAssign):
            changed = [node.target]
        elif isinstance(node, ast.ImportFrom) and any((node.module, each.name) in _WHERE for each in node.names):
            return True
        if any(_dotted(each) in _WHERE for each in changed) or _dotted(node) == ("site", "addsitedir"):
            return True
    return False


def _dotted(node: "ast.AST | None") -> "tuple[str, str]":
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id, node.attr
    return "", ""


def _named(tree: ast.AST) -> "list[str]":
    """Return the modules that a source names in its import statements."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.append(node.module)
    return list(dict.fromkeys(names))


def preload(source: bytes, beside: str) -> str:
    """Import what the program will; return why that cannot be done, or ""."""
    loader = Loader(beside)
    loader.look_at(source)
    if loader.moves and not asks_for_more(source):  # who asks knows what is loaded before
        return "it changes where its modules come from"
    for name in loader.shared:
        try:
            __import__(name)
        except Exception:
            continue
        if WATCH.early:
            return "importing %s changes files" % name
    loader.lend()
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


def why_not(descriptors: int) -> str:
    """Return why a process that has loaded this cannot be forked, or "". ``descriptors``: how many it had before."""
    if WATCH.early:
        return "what it loads changes files"
    threads = sys.modules.get("threading")
    strictly = isinstance(WATCH, Traced)
    if (threads is not None and threads.active_count() > 1) or (strictly and _count("task") > 1):
        return "importing its modules starts a thread"
    if strictly and _count("fd") > descriptors:
        return "what it loads keeps a file open"
    return ""


def _count(what: str) -> int:
    """Return how many descriptors or threads this process has; 0 where the system does not say."""
    try:
        return len(os.listdir("/proc/self/" + what))
    except OSError:
        return 0


def leave(code: int) -> None:
    """End as an interpreter does, but for taking apart what it had before the fork: that would touch all of it.

    What the program itself made is taken apart: its modules, and then the files that nothing has closed.
    """
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            continue
    for name in reversed(list(sys.modules)):
        if name not in LOADED or name == "__main__":
            module = sys.modules.pop(name)
            if isinstance(module, type(sys)):
                _empty(module.__dict__)
    gc.collect()
    for item in gc.get_objects():  # what is frozen is not among them
        if isinstance(item, (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)):
            try:
                item.flush()
            except (OSError, ValueError):
                continue
    if code == _INTERRUPTED:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


def _empty(names: "dict[str, typing.Any]") -> None:
    """Let go of what a module holds, as an interpreter does: names stay, for finalizers that look at them."""
    for hidden in (True, False):
        for name in list(names):
            if name != "__builtins__" and (name[:1] == "_" and name[1:2] != "_") is hidden:
                names[name] = None


def become(order: "dict[str, typing.Any]", program: "typing.Any") -> None:
    """Be the target of one trial: a session, an environment and standard streams of its own; never returns."""
    os.setsid()
    passed = CONTROL.passed
    CLOSE(CONTROL.descriptor)
    WATCH.enter(order, passed)
    code = 0
    try:
        boot.start(order["kind"], order["what"], list(order["rest"]), program)
    except SystemExit as ended:
        if ended.code is not None and not isinstance(ended.code, int):
            raise
        code = (ended.code or 0) & 0xFF
    except BaseException as error:
        code, trace = _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1, error.__traceback__
        while trace is not None and os.path.dirname(trace.tb_frame.f_code.co_filename) == HERE:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        trace = None
    leave(code)  # after what was raised is gone: it holds what the program's functions held


def reaped(order: "dict[str, typing.Any]") -> "dict[str, typing.Any]":
    """Reap a trial; return how it ended, if it has, and the processor time that it took."""
    pid, status, used = os.wait4(order["reap"], 0 if order["wait"] else os.WNOHANG)
    return {"status": status if pid else None, "cpu_s": used.ru_utime + used.ru_stime}


def main() -> None:
    """Load, say so, and fork until the engine goes away."""
    kind, what = sys.argv[3:5]
    source = what.encode() if kind == "-c" else b""
    beside = os.getcwd()
    descriptors = _count("fd")
    if kind == "file":
        beside = os.path.dirname(os.path.realpath(what))
        with open(what, "rb") as stream:
            source = stream.read()
    try:
        program = compile(source, what if kind == "file" else "<string>", "exec")
        reason = preload(source, beside)
        if not reason and asks_for_more(source):
            load_more(program, sys.argv[5:])
        reason = reason or why_not(descriptors)
    except (SyntaxError, ValueError) as error:
        reason = "it does not compile (%s)" % error
    sys.stdout.flush()  # what was printed has to be seen now, or each trial prints it again
    sys.stderr.flush()
    CONTROL.send({"ready": reason})
    LOADED.update(sys.modules)
    gc.collect()
    gc.freeze()
    while True:
        order = CONTROL.receive()
        if "reap" in order:
            CONTROL.send(reaped(order))
            continue
        pid = FORK()
        if pid == 0:
            break
        for descriptor in CONTROL.passed:
            CLOSE(descriptor)
        CONTROL.send({"pid": pid})
    become(order, program)


if __name__ == "__main__":
    READ, WRITE, OPEN, CLOSE, DUP2, FORK = os.read, os.write, os.open, os.close, os.dup2, os.fork
    LOADED: "set[str]" = set()
    CONTROL = Control(int(sys.argv[1]))
    if sys.path and os.path.abspath(sys.path[0]) == HERE:
        del sys.path[0]
    sys.path.insert(0, HERE)
    import boot  # type: ignore[import-not-found]

    WATCH = Shimmed() if sys.argv[2] == "shim" else Traced()
    del sys.path[0]
    main()
