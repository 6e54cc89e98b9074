from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import importlib, os, pkgutil, sys
platform, hidden = sys.argv[1], sys.argv[2].split(",")

# What the harness needs from others is imported under the true platform: only our own modules are on trial.
import click, jinja2, pytest, msgspec, multiprocess, multiprocess.connection, psutil, rich.console, rich.table
import rich.progress, asyncio, subprocess, selectors, tempfile, shutil, multiprocessing.connection, ctypes.util
import xml.etree.ElementTree, tomllib, logging.handlers, urllib.request, sqlite3, tarfile, zipfile, http.client
import hypothesis.stateful, mcp.server.lowlevel, mcp.server.stdio, starlette.requests

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
for name in hidden:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hide())
sys.platform = platform
if platform == "win32":
    os.name = "nt"
for name in sys.argv[3].split(","):
    if hasattr(os, name):
        delattr(os, name)

import harness
failed = []
for module in pkgutil.walk_packages(harness.__path__, "harness.", onerror=failed.append):
    if module.name.startswith("harness.engines.ptrace") or "._data" in module.name:
        continue
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except BaseException as error:
        failed.append(f"{module.name}: {type(error).__name__}: {error}")
print("\\n".join(failed))
print("harness.sandbox.command" in sys.modules, "harness.engines.timed" in sys.modules)
"""

WINDOWS = (
    "win32",
    "fcntl,resource,pwd,grp,termios,tty,pty,syslog",
    "fork,setsid,getuid,geteuid,getpgid,getpgrp,killpg,pidfd_open,mkfifo,mknod,waitid,setns,unshare,"
    "waitid_result,P_PID,P_PIDFD,WNOHANG,WEXITED,WNOWAIT,O_NOFOLLOW,O_NONBLOCK,O_CLOEXEC,uname,getloadavg,"
    "sched_getaffinity,posix_spawn,register_at_fork,O_DIRECTORY,O_TMPFILE,O_SYNC,O_DSYNC,fchmod,fchown,chown,"
    "lchown,pread,pwrite,preadv,pwritev,readv,writev,sendfile,copy_file_range,memfd_create,eventfd,splice",
)
MACOS = (
    "darwin",
    "",
    "pidfd_open,setns,unshare,P_PIDFD,O_TMPFILE,copy_file_range,memfd_create,eventfd,splice,"
    "sched_getaffinity,posix_fadvise",
)


@pytest.mark.parametrize(("platform", "modules", "functions"), [WINDOWS, MACOS], ids=["windows", "macos"])
def test_everything_but_the_ptrace_engine_imports(platform: str, modules: str, functions: str) -> None:
    """Hide what another system lacks, then import every module of the project."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, platform, modules, functions],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    assert done.returncode == 0, done.stderr[-2000:]
    assert lines == ["True True"]
