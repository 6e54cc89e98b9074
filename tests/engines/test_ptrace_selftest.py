"""The self-test traces something; where that is not possible it says why."""

from __future__ import annotations

import errno
import platform
import sys
from collections.abc import Iterator

import pytest

from harness.engines.ptrace import selftest


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    selftest.why_not_available.cache_clear()
    yield
    selftest.why_not_available.cache_clear()


def test_other_systems_and_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "x86_64" in selftest.why_not_available() and "aarch64" in selftest.why_not_available()
    selftest.why_not_available.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert selftest.why_not_available() == "needs Linux; this is darwin"


def refuse(number: int) -> object:
    def ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> None:
        raise OSError(number, "refused")

    return ptrace


@pytest.mark.real
@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EPERM, "forbids tracing"), (errno.ENOSYS, "does not exist here")]
)
def test_a_system_that_refuses(monkeypatch: pytest.MonkeyPatch, number: int, reason: str) -> None:
    monkeypatch.setattr("harness.engines.ptrace.abi.ptrace", refuse(number))
    assert reason in selftest.why_not_available()


@pytest.mark.real
def test_a_system_without_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engines.ptrace.launch.install_filter", lambda code: errno.EINVAL)
    assert "seccomp" in selftest.why_not_available()


@pytest.mark.real
def test_tracing_without_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engines.ptrace.launch.install_filter", lambda code: 0)
    assert "no effect" in selftest.why_not_available()


@pytest.mark.real
def test_a_system_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    import time  # noqa: PLC0415

    monkeypatch.setattr(selftest, "_DEADLINE_S", 0.2)
    monkeypatch.setattr(selftest, "_attempt", lambda: time.sleep(60))
    assert "did not finish" in selftest.why_not_available()
