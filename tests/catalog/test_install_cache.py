"""The install cache: whole or not there, one installer at a time, reasons in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harness.catalog import ManifestError, NotAvailableError, Package, install, install_package, load_target
from harness.catalog.cache import MARKER_NAME, cache_directory, find_installed, slot
from harness.catalog.installer import explain_failure, install_environment, npm_command
from harness.catalog.lock import LockTimeoutError, locked
from harness.sandbox.command import CommandResult

PACKAGE = Package(registry="pypi", name="sample-writer", version="1.0")
LATEST = Package(registry="pypi", name="sample-writer", version="latest")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORNWRITE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "targets"


class FakeIndex:
    """Stands for pip: puts one file where a package goes."""

    def __init__(self, newest: str = "1.0", before: Callable[[], None] = lambda: None) -> None:
        self.newest = newest
        self.before = before
        self.calls = 0

    def __call__(self, package: Package, directory: str, timeout_s: float) -> str:
        self.calls += 1
        self.before()
        os.mkdir(os.path.join(directory, "site"))
        Path(directory, "site", "writer.py").write_text("x = 1\n", encoding="utf-8")
        return self.newest if package.version == "latest" else package.version


def left_behind(cache: Path) -> list[str]:
    return [name for name in os.listdir(cache) if "building" in name or name.endswith(".tmp")]


def test_a_package_is_installed_once(cache: Path) -> None:
    index = FakeIndex()
    first = install_package(PACKAGE, fetcher=index)
    again = install_package(PACKAGE, fetcher=index)
    assert (first.fresh, again.fresh, index.calls) == (True, False, 1)
    assert first.directory == os.path.join(slot(PACKAGE), "site") == find_installed(PACKAGE).directory
    assert os.path.exists(os.path.join(first.directory, "writer.py"))
    assert not left_behind(cache)


def test_latest_is_a_pointer_to_the_version_that_was_newest(cache: Path) -> None:
    first = install_package(LATEST, fetcher=FakeIndex("1.0"))
    assert first.version == "1.0"
    assert find_installed(PACKAGE).directory == first.directory
    kept = install_package(LATEST, fetcher=FakeIndex("2.0"))
    assert kept.version == "1.0"
    asked = install_package(LATEST, refresh=True, fetcher=FakeIndex("2.0"))
    assert asked.version == "2.0" == find_installed(LATEST).version
    assert find_installed(PACKAGE).version == "1.0"


def test_a_failed_install_leaves_nothing(cache: Path) -> None:
    def fails() -> None:
        raise NotAvailableError("the package index cannot be reached")

    with pytest.raises(NotAvailableError, match="cannot be reached"):
        install_package(PACKAGE, fetcher=FakeIndex(before=fails))
    assert not left_behind(cache)
    with pytest.raises(NotAvailableError, match="is not installed"):
        find_installed(PACKAGE)
    assert install_package(PACKAGE, fetcher=FakeIndex()).fresh


@pytest.mark.parametrize("marker", [b"", b"{", b"\xff", b'{"format_version": 1}'])
def test_without_a_whole_marker_a_package_is_not_there(marker: bytes) -> None:
    install_package(PACKAGE, fetcher=FakeIndex())
    Path(slot(PACKAGE), MARKER_NAME).write_bytes(marker)
    with pytest.raises(NotAvailableError):
        find_installed(PACKAGE)
    assert install_package(PACKAGE, fetcher=FakeIndex()).fresh
    assert find_installed(PACKAGE).version == "1.0"


def test_an_installation_for_another_python_is_not_used() -> None:
    install_package(PACKAGE, fetcher=FakeIndex())
    path = Path(slot(PACKAGE), MARKER_NAME)
    marker = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode({**marker, "runtime": "cpython-27-amiga"}))
    with pytest.raises(NotAvailableError):
        find_installed(PACKAGE)


def test_two_installers_do_not_meet(cache: Path) -> None:
    inside: list[int] = []
    overlap: list[int] = []

    def slowly() -> None:
        inside.append(1)
        overlap.append(len(inside))
        time.sleep(0.2)
        inside.pop()

    index = FakeIndex(before=slowly)
    threads = [
        threading.Thread(target=install_package, args=(PACKAGE,), kwargs={"fetcher": index}) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (index.calls, overlap) == (1, [1])
    assert not left_behind(cache)


def test_waiting_for_another_installer_ends(cache: Path) -> None:
    cache.mkdir(parents=True)
    path = str(cache / ".sample-writer.lock")
    with locked(path, 1.0):
        with pytest.raises(LockTimeoutError), locked(path, 0.2):
            pass
        with pytest.raises(NotAvailableError, match=r"another installer has been at it for 0\.2 s"):
            install_package(PACKAGE, timeout_s=0.2, fetcher=FakeIndex())
    assert install_package(PACKAGE, timeout_s=0.2, fetcher=FakeIndex()).fresh


KILLED = """
import sys, time
from harness.catalog import Package, install_package
def fetch(package, directory, timeout_s):
    open(directory + "/half", "w").close()
    print("inside", flush=True)
    time.sleep(60)
install_package(Package(registry="pypi", name="sample-writer", version="1.0"), fetcher=fetch)
"""


@pytest.mark.real
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_installer_leaves_no_lock_and_its_rest_is_removed(cache: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"inside\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert left_behind(cache)
    assert install_package(PACKAGE, timeout_s=5.0, fetcher=FakeIndex()).fresh
    assert not left_behind(cache)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("TORNWRITE_CACHE", str(tmp_path / "file"))
    with pytest.raises(NotAvailableError, match="cannot be installed into the cache: "):
        install_package(PACKAGE, fetcher=FakeIndex())


def test_a_version_that_the_target_does_not_have_is_a_usage_error() -> None:
    with pytest.raises(
        ManifestError, match=r"target 'fork_session' has no version '0\.1\.7'; did you mean '0\.1\.72'"
    ):
        install(load_target("fork_session"), "0.1.7")
    assert install(load_target("reference")) == ()


def test_the_cache_has_the_place_each_platform_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    assert cache_directory({}, "linux") == os.path.join("/home/me", ".cache", "tornwrite")
    assert cache_directory({"XDG_CACHE_HOME": os.path.abspath("/x")}, "linux") == os.path.abspath("/x/tornwrite")
    assert cache_directory({"XDG_CACHE_HOME": "relative"}, "linux") == os.path.join(
        "/home/me", ".cache", "tornwrite"
    )
    assert cache_directory({}, "darwin") == os.path.join("/home/me", "Library", "Caches", "tornwrite")
    assert cache_directory({"LOCALAPPDATA": "L"}, "win32") == os.path.join("L", "tornwrite", "Cache")
    assert cache_directory({"TORNWRITE_CACHE": "/chosen"}, "win32") == os.path.abspath("/chosen")


def test_pip_keeps_the_user_s_indexes_and_loses_what_diverts_it() -> None:
    inherited = {"PIP_INDEX_URL": "u", "PIP_CERT": "c", "HTTPS_PROXY": "p", "PIP_TARGET": "t", "PYTHONPATH": "x"}
    assert install_environment(inherited) == {"PIP_INDEX_URL": "u", "PIP_CERT": "c", "HTTPS_PROXY": "p"}


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (CommandResult(exit_code=1, stderr=b"ERROR: No matching distribution found for x"), "has no such version"),
        (
            CommandResult(exit_code=1, stderr=b"Max retries exceeded with url: https://u:pw@host/"),
            "cannot be reached",
        ),
        (CommandResult(exit_code=1, stderr=b"OSError: [Errno 28] No space left on device"), "no space left"),
        (CommandResult(signal=9, timed_out=True), "not done after 7 s"),
        (CommandResult(signal=9), "ended with signal 9"),
        (CommandResult(exit_code=3, stderr=b"\xff boom"), "ended with exit code 3"),
        (CommandResult(not_started="pip: no such file"), "pip: no such file"),
    ],
)
def test_a_failure_is_explained_without_the_installer_s_words(result: CommandResult, reason: str) -> None:
    line = explain_failure(PACKAGE, result, 7.0)
    assert line.startswith("sample-writer@1.0 cannot be installed: ")
    assert reason in line
    assert "host" not in line and line.isprintable()


def test_without_node_an_npm_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.catalog.installer.real_node", lambda: None)
    with pytest.raises(NotAvailableError, match="needs Node"):
        npm_command(Package(registry="npm", name="lowdb", version="1.0.0"), "/nowhere")


def wheel(directory: Path, version: str) -> None:
    """Write the smallest wheel there can be."""
    info = f"sample_writer-{version}.dist-info"
    directory.mkdir(exist_ok=True)
    with zipfile.ZipFile(directory / f"sample_writer-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr("sample_writer.py", f"VERSION = '{version}'\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: sample-writer\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.real
def test_pip_installs_a_wheel_of_the_user_s_own_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(tmp_path / "wheels", "1.0")
    wheel(tmp_path / "wheels", "1.5")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    installed = install_package(PACKAGE)
    assert Path(installed.directory, "sample_writer.py").read_text(encoding="utf-8") == "VERSION = '1.0'\n"
    assert install_package(LATEST).version == "1.5"
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(NotAvailableError, match="has no such version"):
        install_package(msgspec.structs.replace(PACKAGE, version="9.9"))
