"""Running the writer once, in directories of its own, and telling what was expected and what was observed."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from harness.export.parts.tracer import Writer

PROGRAMS = "/usr/local/bin:/usr/bin:/bin"
LIMIT_S = 60  # for the set-up, and for the writer
Damage = Callable[[dict[str, bytes], list[str], int], list[str]]


class CannotRunError(Exception):
    """Why nothing can be run here; one line."""


class ChangedError(Exception):
    """Why nothing can be said: what runs here is not what ran when the file was made; one line."""


def main(
    case: dict[str, Any], make_writer: Callable[[str, str], Writer], damage: Damage, arguments: list[str]
) -> int:
    """Run the writer and tell; return the exit code."""
    parser = argparse.ArgumentParser(
        description="exit code 1: reproduced, 0: not reproduced, 3: changed, so nothing is said, 2: cannot run here"
    )
    parser.add_argument(
        "--undisturbed", action="store_true", help="run the writer with no fault, in no given order"
    )
    parser.add_argument("--keep", action="store_true", help="keep the state directory, and say where it is")
    parser.add_argument("--operations", action="store_true", help="print what the writer's threads did, in order")
    options = parser.parse_args(arguments)
    if options.undisturbed:
        case["environment"].pop("TORNWRITE_TOOLS", "")  # nobody is there to say anything in turn
    base = os.path.realpath(tempfile.mkdtemp(prefix="repro-"))
    try:
        writer = Writer(f"{base}/state") if options.undisturbed else make_writer(f"{base}/state", f"{base}/output")
        exit_code = case["exit_codes"]["undisturbed" if options.undisturbed else "here"]
        return reproduce(case, writer, damage, base, exit_code, options.operations)
    except KeyboardInterrupt:
        return 130
    except ChangedError as error:
        print(f"CHANGED: {error}")
        return 3
    except Exception as error:  # an error of this program must not pass for a reproduction
        print(
            f"cannot run here: {'' if isinstance(error, CannotRunError) else type(error).__name__ + ': '}{error}"
        )
        return 2
    finally:
        if options.keep:
            print(f"kept: {base}/state")
        else:
            shutil.rmtree(base, ignore_errors=True)


def reproduce(case: dict[str, Any], writer: Writer, damage: Damage, base: str, as_made: int, show: bool) -> int:
    """Set up, run, look at what is left, and tell; ``as_made`` is the exit code when this file was made."""
    values = prepare(case, base)
    environment = environment_of(case, values, base)
    if case["set_up"]:
        set_up(command_of(case["set_up"], values, environment), environment, base)
    command = command_of(case["run"], values, environment)
    if case["instances"]:
        command = case["instances"](command, base)
    signal.signal(signal.SIGALRM, too_late)
    signal.alarm(LIMIT_S)
    try:
        writer.start(command, f"{base}/cwd", environment, f"{base}/output")
        status = writer.run()
    finally:
        signal.alarm(0)
        writer.kill()
        writer.run()
    exit_code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
    saved = [
        found["id"]
        for line in read(f"{base}/output").split("\n")
        for found in [re.search(case["saved"], line)]
        if found
    ]
    wrong = damage(files_of(writer.root), saved, exit_code)
    for line in writer.done if show else ():
        print(line)
    how = f"died of signal {os.WTERMSIG(status)}" if exit_code < 0 else f"ended with exit code {exit_code}"
    how = "was stopped by this program" if writer.stopped_it else how
    print(f"the writer, pid {writer.pid}, {how}" + (f": {writer.struck}" if writer.struck else ""))
    if (exit_code > 0 or writer.stopped_it) and (words := last_words(read(f"{base}/output.errors"))):
        print(f"its last words: {words}")
    print(f"expected: {case['expected']}")
    return tell(writer, wrong, exit_code, as_made)


def tell(writer: Writer, wrong: list[str], exit_code: int, as_made: int) -> int:
    """Say what was observed and what that means; return the exit code."""
    missed, struck = writer.missed(), writer.strike is not None and bool(writer.struck)
    otherwise = exit_code != as_made and not struck and not writer.stopped_it
    changed = [missed] if missed else []
    if otherwise:
        how = f"exit code {as_made}" if as_made >= 0 else "a signal"
        changed.append(f"the writer ended with {how} when this file was made")
    elif not writer.touched and not missed:
        changed.append("the writer did nothing in its state directory")
    for line in wrong or (["as expected"] if writer.touched and not otherwise and not writer.stopped_it else []):
        print(f"observed: {line}")
    print(f"CHANGED: {'; '.join(changed)}" if changed else "REPRODUCED" if wrong else "not reproduced")
    if missed and not otherwise and writer.touched:
        print(writer.advice)
    return 3 if changed else 1 if wrong else 0


def last_words(errors: str) -> str:
    """Return the last line that tells of an error, or else the last line at all; escaped."""
    lines = [line for line in errors.split("\n") if line.strip()]
    return ascii([*lines[-1:], *(line for line in lines if "Error" in line)][-1][:200]) if lines else ""


def set_up(command: list[str], environment: dict[str, str], base: str) -> None:
    """Run what comes before the writer."""
    done = subprocess.run(
        command, cwd=f"{base}/cwd", env=environment, capture_output=True, timeout=LIMIT_S, check=False
    )
    if done.returncode:
        words = last_words(done.stderr.decode("utf-8", "replace"))
        how = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise ChangedError(f"the set-up ended with {how}" + (f"; its last words: {words}" if words else ""))


def prepare(case: dict[str, Any], base: str) -> dict[str, str]:
    """Make the directories and put the sources into them; return what words in braces stand for."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise CannotRunError("needs Linux on x86_64")
    values = {"dir": f"{base}/state", "target": f"{base}/target", "workload": f"{base}/workload.json"}
    values["python"] = this_python()
    values["package"] = case["package"]() if case["package"] else ""
    for name in ("state", "target", "cwd", "home", "tmp"):
        os.mkdir(os.path.join(base, name))
    files = {f"target/{name}": text for name, text in case["sources"].items()}
    for name, text in {**files, "workload.json": json.dumps(case["workload"])}.items():
        os.makedirs(os.path.dirname(os.path.join(base, name)), exist_ok=True)
        with open(os.path.join(base, name), "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        os.chmod(stream.name, 0o755)
    return values


def this_python() -> str:
    """Return the interpreter itself: no link, no virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def several(command: list[str], base: str, number: int, way: str) -> list[str]:
    """Return the command that starts so many of the writer on one state, and waits for all."""
    programs = [{"argv": command, "environment": {"TORNWRITE_INSTANCE": str(each)}} for each in range(number)]
    with open(f"{base}/instances.json", "w", encoding="utf-8") as stream:
        json.dump(programs, stream)
    return [this_python(), "-BEsS", f"{base}/target/several.py", f"{base}/instances.json", "", way]


def environment_of(case: dict[str, Any], values: dict[str, str], base: str) -> dict[str, str]:
    """Return the writer's whole environment: it inherits nothing but where programs are."""
    own = {"HOME": f"{base}/home", "TMPDIR": f"{base}/tmp", "LANG": "C.UTF-8", "TZ": "UTC", "UV_USE_IO_URING": "0"}
    python = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    path = f"{os.path.dirname(values['python'])}:{PROGRAMS}"
    if "node" in (*case["run"][:1], *case["set_up"][:1]):
        asked = [shutil.which("node") or "node", "-p", "process.execPath"]  # itself: what is found may be a shim
        node = subprocess.run(asked, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout.strip()
        path = f"{os.path.dirname(node)}:{path}"
    return {
        "PATH": path,
        **own,
        **python,
        **{name: fill(text, values) for name, text in case["environment"].items()},
    }


def command_of(words: list[str], values: dict[str, str], environment: dict[str, str]) -> list[str]:
    """Return a command with its words in braces filled in, and its program as an absolute path."""
    program, *rest = (fill(word, values) for word in words)
    found = shutil.which(program, path=environment["PATH"])
    if found is None:
        raise CannotRunError(f"needs the program {program!a}, which is not there")
    return [found, *rest]


def fill(text: str, values: dict[str, str]) -> str:
    """Return a text with its words in braces filled in."""
    return re.sub(r"\{([a-z_]+)\}", lambda found: values.get(found[1], found[0]), text)


def pypi_package(name: str, version: str) -> str:
    """Return the directory in which a published package is installed for this interpreter."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return package_elsewhere(name, version)
    print(f"{name} {found.version!a}" + ("" if found.version == version else f"; the finding is of {version}"))
    return os.path.realpath(str(found.locate_file("")))


def npm_package(name: str, version: str) -> str:
    """Return the directory in whose node_modules a published package is: the working directory, or this file's."""
    for base in (os.getcwd(), os.path.dirname(os.path.abspath(__file__))):
        manifest = os.path.join(base, "node_modules", *name.split("/"), "package.json")
        if os.path.exists(manifest):
            found = json.loads(read(manifest)).get("version")
            print(f"{name} {found!a}" + ("" if found == version else f"; the finding is of {version}"))
            return base
    return package_elsewhere(name, version)


def package_elsewhere(name: str, version: str) -> str:
    """Return the directory that the environment names instead."""
    if "TORNWRITE_PACKAGE" in os.environ:
        return os.environ["TORNWRITE_PACKAGE"]
    raise CannotRunError(f"{name} {version} is not installed; the install line stands at the top of this file")


def files_of(root: str) -> dict[str, bytes]:
    """Return what stands in the state directory."""
    files = {}
    for here, _, names in os.walk(root):
        for path in (os.path.join(here, name) for name in sorted(names)):
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as stream:
                    files[os.path.relpath(path, root)] = stream.read()
    return files


def read(path: str) -> str:
    """Return a text file."""
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def too_late(*_: Any) -> None:
    """The writer takes too long."""
    raise CannotRunError(f"the writer did not end within {LIMIT_S} s")
