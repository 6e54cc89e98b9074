"""The pytest plugin: the fixture ``tornwrite``, the marker of the same name, four options.

    def test_save_survives_a_crash(tornwrite):
        tornwrite.check(save_settings, holds=lambda dir: json.loads((dir / "settings.json").read_text()))

Every pytest of an environment that has tornwrite loads this module, so it imports nothing but pytest; the rest is
imported by the first check. What a check does is :func:`harness.testing.check_writer`; here are only the ways in and
out: options, marker, the message of a failed test.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.campaign.token import ReplayRecord
    from harness.testing import Held
    from harness.testing.program import Writer

_ITEM = pytest.StashKey[pytest.Item]()
_FROM_CONFIG = pytest.StashKey[dict[str, Any]]()
_MARKER = (
    "tornwrite(faults, profiles, budget, seed, start, env, timeout, torn_tail): defaults of tornwrite.check()"
)
_KEYWORDS = ("faults", "profiles", "budget", "seed", "start", "env", "timeout", "torn_tail")


class _AsItIs:
    """Finds the modules of this package before pytest does, which would rewrite their assertions.

    It marks the whole distribution of a plugin for that; for one of this size that is a second in every fresh
    environment.
    """

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return where Python itself finds a module of ours; nothing of others."""
        return PathFinder.find_spec(name, path, target) if name.startswith("harness.") else None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; each has an ini value of its name where a project may want one."""
    group = parser.getgroup("tornwrite", "crash-consistency of writers")
    group.addoption("--tornwrite-seed", metavar="N", help="Seed of every random choice.")
    group.addoption("--tornwrite-profile", metavar="LIST", help="File systems for a power loss: ext4,xfs or all.")
    group.addoption(
        "--tornwrite-budget", metavar="TIME", help="Wall time of each check for what is optional: 30s."
    )
    group.addoption("--tornwrite-replay", metavar="TOKEN", help="Replay this finding in the test that it is of.")
    parser.addini("tornwrite_seed", "default of --tornwrite-seed")
    parser.addini("tornwrite_profile", "default of --tornwrite-profile")
    parser.addini("tornwrite_budget", "default of --tornwrite-budget")
    parser.addini(
        "tornwrite_require_engine", "fail where no engine works on this machine, instead of skipping", type="bool"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; refuse values that make no sense before anything runs."""
    finder = _AsItIs()
    sys.meta_path.insert(0, finder)
    config.add_cleanup(lambda: sys.meta_path.remove(finder))
    config.addinivalue_line("markers", _MARKER)
    given = {name: _value(config, name) for name in ("seed", "profile", "budget", "replay")}
    config.stash[_FROM_CONFIG] = _parsed({name: item for name, item in given.items() if item[0]})


def _value(config: pytest.Config, name: str) -> tuple[str, str]:
    """Return a value as it was given, and where: the command line wins."""
    value = config.getoption(f"tornwrite_{name}")
    if value is not None or name == "replay":
        return value or "", f"--tornwrite-{name}"
    return str(config.getini(f"tornwrite_{name}") or ""), f"ini tornwrite_{name}"


def _parsed(given: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """Return what was given as values: those of the command line under their names, those of an ini file apart."""
    out: dict[str, Any] = {}
    for name, (text, where) in given.items():
        try:
            value = _PARSERS[name](text)
        except ValueError as error:
            raise pytest.UsageError(f"{where}: {error}") from None
        key = {"profile": "profiles", "replay": "token"}.get(name, name)
        out[key if where.startswith("--") else f"ini {key}"] = value
    return out


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise ValueError(f"{text!r} is not a whole number from 0")
    return int(text)


def _profiles(text: str) -> tuple[str, ...]:
    from harness.catalog import ManifestError
    from harness.catalog.profiles import load_profiles

    names = tuple(word.strip() for word in text.split(",") if word.strip())
    try:
        return tuple(profile.name for profile in load_profiles(names)) and names
    except ManifestError as error:
        raise ValueError(str(error)) from None


def _budget(text: str) -> float:
    from harness.core.duration import seconds

    return seconds(text)


def _token(text: str) -> ReplayRecord:
    from harness.campaign.token import decode

    return decode(text)  # a TokenError is a ValueError


_PARSERS: dict[str, Any] = {"seed": _seed, "profile": _profiles, "budget": _budget, "replay": _token}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember whose the fixture is now: it lives as long as the session, so that hypothesis accepts it."""
    item.config.stash[_ITEM] = item


class Tornwrite:
    """The fixture. One for all tests of a session; it knows which one runs."""

    def __init__(self, config: pytest.Config, directories: pytest.TempPathFactory) -> None:
        self._config = config
        self._directories = directories

    def check(self, writer: Writer, holds: Writer | None = None, **options: Any) -> Held:
        """Fail the test unless ``writer`` survives a crash at every place; see :func:`harness.testing.check_writer`.

        What is left out here is taken from the marker, then from the ini file; ``--tornwrite-…`` wins over all.
        """
        __tracebackhide__ = True
        item = self._config.stash[_ITEM]
        given = self._settings(item, options)
        kind, message, held = self._outcome(item, writer, holds, given)
        if kind == "skip":
            pytest.skip(message)
        if held is None:
            pytest.fail(message, pytrace=False)
        item.add_report_section("call", "tornwrite", held.text)
        return held

    def _settings(self, item: pytest.Item, options: dict[str, Any]) -> dict[str, Any]:
        """Return the keywords of one check. Unknown ones fail the test with what is near."""
        __tracebackhide__ = True
        marked: dict[str, Any] = {}
        for mark in reversed(list(item.iter_markers("tornwrite"))):
            if mark.args:
                pytest.fail("@pytest.mark.tornwrite takes keywords only, as in faults=['kill']", pytrace=False)
            marked |= mark.kwargs
        for where, keywords in (("@pytest.mark.tornwrite", marked), ("tornwrite.check", options)):
            for name in keywords:
                if name not in _KEYWORDS:
                    pytest.fail(f"{where}: no keyword {name!r}{_near(name)}", pytrace=False)
        config = self._config.stash[_FROM_CONFIG]
        ini = {name.removeprefix("ini "): value for name, value in config.items() if name.startswith("ini ")}
        line = {name: value for name, value in config.items() if not name.startswith("ini ")}
        return {**ini, **marked, **options, **line}

    def _outcome(
        self, item: pytest.Item, writer: Writer, holds: Writer | None, given: dict[str, Any]
    ) -> tuple[str, str, Held | None]:
        """Return what to do (skip, fail or nothing), the message, and what held."""
        import os
        import shlex
        import shutil

        from harness.testing import (
            NoEngineError,
            NotCrashSafeError,
            NotMeasuredError,
            OtherTestError,
            UsageError,
            check_writer,
        )

        directory = self._directories.mktemp("tornwrite")
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0") or 0)
        if workers:
            given = {"jobs": max(1, (os.cpu_count() or 1) // workers), **given}
        try:
            held = check_writer(
                writer,
                holds,
                keep=directory,
                label=item.nodeid,
                replays=f"pytest --tornwrite-replay {{token}} {shlex.quote(item.nodeid)}",
                **given,
            )
        except NoEngineError as error:
            required = self._config.getini("tornwrite_require_engine")
            return ("fail" if required else "skip"), f"tornwrite: {error}", None
        except OtherTestError as error:
            return "skip", f"tornwrite: {error}", None
        except (NotCrashSafeError, NotMeasuredError, UsageError) as error:
            return "fail", f"tornwrite: {error}", None
        shutil.rmtree(directory, ignore_errors=True)
        return "", "", held


def _near(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, _KEYWORDS, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; valid: {', '.join(_KEYWORDS)}"


@pytest.fixture(scope="session")
def tornwrite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tornwrite]:
    """``tornwrite.check(writer, holds=check)``: kill the writer everywhere and judge what is left."""
    yield Tornwrite(request.config, tmp_path_factory)
