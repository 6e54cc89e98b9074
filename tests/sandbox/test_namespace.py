from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harness.sandbox import namespace
from harness.sandbox.machine import filesystem, machine
from harness.sandbox.namespace import NamespaceError, bind_private, private_mounts_available
from tests.forked_child import in_a_child

linux = pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces")


@linux
@pytest.mark.real
def test_two_processes_see_their_own_directory_at_one_path(tmp_path: Path) -> None:
    if reason := private_mounts_available():
        pytest.skip(reason)
    canonical = tmp_path / "canonical"
    canonical.mkdir()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)

    def look(base: str) -> str:
        bind_private(str(tmp_path / base), str(canonical))
        (canonical / "written").touch()
        return (canonical / "who").read_text() + os.path.realpath(canonical / "who")

    for name in ("one", "two"):
        assert in_a_child(lambda name=name: look(name)) == f"{name}{os.path.realpath(canonical / 'who')}"
        assert (tmp_path / name / "written").exists()
    assert list(canonical.iterdir()) == []


@linux
@pytest.mark.real
def test_an_ordinary_user_gets_one_or_a_reason(tmp_path: Path) -> None:
    """With rights dropped the self-test still answers, in words, and never raises."""
    import ctypes  # noqa: PLC0415

    def ask() -> str:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable again, as a process that was never root is
        private_mounts_available.cache_clear()
        return f"answer {private_mounts_available()!r}"

    assert in_a_child(ask).startswith("answer ")


@linux
@pytest.mark.real
def test_a_refusal_names_the_step(tmp_path: Path) -> None:
    text = in_a_child(lambda: bind_private(str(tmp_path / "missing"), str(tmp_path)) or "bound")
    assert text.startswith("NamespaceError: ")
    assert "\n" not in text


def test_other_systems_say_that_they_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace.sys, "platform", "darwin")
    private_mounts_available.cache_clear()
    try:
        assert private_mounts_available() == "no mount namespaces on darwin"
        with pytest.raises(NamespaceError):
            bind_private("/a", "/b")
    finally:
        private_mounts_available.cache_clear()


def test_machine_facts_are_plain_and_without_identity(tmp_path: Path) -> None:
    import json  # noqa: PLC0415

    facts = machine(str(tmp_path))
    text = json.dumps(facts)
    assert facts["cpus"] >= 1 and facts["kernel"]
    assert str(tmp_path) not in text
    assert os.uname().nodename not in facts.values()


@linux
def test_the_file_system_of_a_path_is_that_of_the_nearest_mount() -> None:
    assert filesystem("/proc/self")["type"] == "proc"
    assert filesystem("/proc/self/status")["type"] == "proc"
    assert filesystem("/")["type"] not in ("", "unknown", "proc")
