"""The plugin as a maintainer meets it: three lines that fail or pass, the message, the token, wrong values."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points

import pytest

import harness.testing  # noqa: F401 -- imported before pytester takes its picture of sys.modules
from harness.campaign.plan import NoEngineError
from tests.survivors import new_mark, survivors

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.real

PLUGIN = () if entry_points(group="pytest11", name="tornwrite") else ("-p", "harness.pytest_plugin")
HOLDS = 'lambda dir: json.loads((dir / "settings.json").read_text())'
TEARS = f"""
    import json

    def save(dir):
        json.dump({{"recent": ["x" * 60] * 100}}, (dir / "settings.json").open("w"))

    def test_save_survives_a_crash(tornwrite):
        tornwrite.check(save, holds={HOLDS})
"""
DURABLE = f"""
    import json
    import os

    def save(dir):
        with open(dir / "settings.json.tmp", "w") as stream:
            json.dump({{"recent": ["x" * 60] * 100}}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(dir / "settings.json.tmp", dir / "settings.json")
        directory = os.open(dir, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)

    def test_save_survives_a_crash(tornwrite):
        tornwrite.check(save, holds={HOLDS})
"""


def run(pytester: pytest.Pytester, *words: str) -> tuple[pytest.RunResult, str]:
    result = pytester.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", *words)
    return result, result.stdout.str()


def passes_on(pytester: pytest.Pytester, text: str, *words: str) -> tuple[pytest.RunResult, str]:
    pytester.makepyfile(test_save=text)
    return run(pytester, *words)


def test_a_writer_that_tears_fails_with_place_damage_fix_and_token(pytester: pytest.Pytester) -> None:
    result, out = passes_on(pytester, TEARS)
    result.assert_outcomes(failed=1)
    for expected in (
        "save does not survive a crash",
        r"crash point  killed 4,096 bytes into its 1st write to settings.json",
        "your check rejects the state: JSONDecodeError",
        r"in \d of \d distinct crash states. Confirmed in 1/1 real run",
        "what to do   Write settings.json to a temporary file beside it, fsync that",
        r"\d of \d states under kill, \d+ of \d+ states\s+under power on posix",
        r"replay       pytest --tornwrite-replay tw1\.\S+ test_save.py::test_save_survives_a_crash",
    ):
        assert re.search(expected, " ".join(out.split())) or re.search(expected, out), f"{expected}\n{out}"
    assert "Traceback" not in out and "harness/" not in out
    message = out[out.index("tornwrite: save does") : out.index("  replay   ")]
    assert max(map(len, message.splitlines())) <= 80
    assert re.search(r"report       (\S+)", out), out
    report = re.search(r"report       (\S+)", out)[1]  # type: ignore[index]
    with open(report, encoding="utf-8") as stream:
        assert "save" in stream.read()

    token = re.search(r"--tornwrite-replay (\S+)", out)[1]  # type: ignore[index]
    result, out = run(pytester, "--tornwrite-replay", token)
    result.assert_outcomes(failed=1)
    assert "REPRODUCED 3/3" in out

    result, out = passes_on(pytester, DURABLE, "--tornwrite-replay", token, "-rA")
    result.assert_outcomes(passed=1)
    assert "FIXED" in out

    result, out = passes_on(
        pytester, DURABLE.replace("test_save", "test_other"), "--tornwrite-replay", token, "-rs"
    )
    result.assert_outcomes(skipped=1)
    assert "the token is not of save in this test" in out


def test_a_durable_writer_passes_and_says_under_what(pytester: pytest.Pytester) -> None:
    result, out = passes_on(pytester, DURABLE, "-rA")
    result.assert_outcomes(passed=1)
    assert re.search(r"held under kill, power: \d+ distinct crash states", out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--tornwrite-seed", "x"), "--tornwrite-seed: 'x' is not a whole number from 0"),
        (("--tornwrite-seed", "-1"), "--tornwrite-seed: '-1' is not a whole number from 0"),
        (("--tornwrite-budget", "soon"), "--tornwrite-budget: 'soon' is not a duration; valid: 30s, 5m, 1h"),
        (("--tornwrite-profile", "ext5"), "did you mean 'ext4'?"),
        (("--tornwrite-replay", "tw1.abc"), "--tornwrite-replay: a damaged replay token"),
        (("-o", "tornwrite_budget=never"), "ini tornwrite_budget: 'never' is not a duration"),
    ],
)
def test_a_wrong_value_is_one_line_before_anything_runs(
    pytester: pytest.Pytester, words: tuple[str, ...], said: str
) -> None:
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_inprocess(*PLUGIN, *words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.stderr.lines if line.strip()]
    assert said in line


WRONG = """
    import pytest

    def save(dir): pass

    @pytest.mark.tornwrite(fault=["kill"])
    def test_marker(tornwrite): tornwrite.check(save)

    @pytest.mark.tornwrite("kill")
    def test_places(tornwrite): tornwrite.check(save)

    def test_keyword(tornwrite): tornwrite.check(save, budgett=3)

    def test_fault(tornwrite): tornwrite.check(save, faults=["kil"])

    def test_text(tornwrite): tornwrite.check("python save.py {dir}")

    def test_no_directory(tornwrite): tornwrite.check(["python", "save.py"])
"""


def test_a_wrong_call_fails_with_what_would_be_right(pytester: pytest.Pytester) -> None:
    result, out = passes_on(pytester, WRONG)
    result.assert_outcomes(failed=6)
    for said in (
        "@pytest.mark.tornwrite: no keyword 'fault'; did you mean 'faults'?",
        "@pytest.mark.tornwrite takes keywords only",
        "tornwrite.check: no keyword 'budgett'; did you mean 'budget'?",
        "no fault 'kil'; did you mean 'kill'?; valid: kill, short, errno, power",
        "a list of words with {dir}: ['python', 'save.py', '{dir}']",
        "the writer does not mention {dir}, the state directory: python save.py",
    ):
        assert said in out, out
    assert "Traceback" not in out


MARKED = """
    import json
    import pytest
    from hypothesis import given, settings, strategies

    pytestmark = pytest.mark.tornwrite(faults=["kill"])

    def save(dir, size):
        (dir / "settings.json").write_text(json.dumps(["x" * 60] * size))

    @settings(max_examples=2, deadline=None, database=None, derandomize=True)
    @given(size=strategies.integers(1, 3))
    def test_small_documents_hold(tornwrite, size):
        def small(dir):
            (dir / "new").write_text(json.dumps(["x" * 60] * size))
            (dir / "new").replace(dir / "settings.json")

        tornwrite.check(small, holds=lambda dir: json.loads((dir / "settings.json").read_text()))

    def test_anything_goes(tornwrite):
        tornwrite.check(lambda dir: save(dir, 9), holds=lambda dir: None, start={"settings.json": "[]"})
"""


def test_a_marker_hypothesis_and_a_check_that_accepts_anything(pytester: pytest.Pytester) -> None:
    result, out = passes_on(pytester, MARKED)
    result.assert_outcomes(passed=1, failed=1)
    assert "nothing can be said about <lambda>: not measured is not held" in out
    assert "your check accepts an empty directory" in " ".join(out.split())


def test_without_an_engine_a_check_is_skipped_or_fails_if_the_project_says_so(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str = "") -> None:
        raise NoEngineError("no engine can watch file operations here: the test says so")

    monkeypatch.setattr("harness.testing.checking.require_engine", none)
    result, out = passes_on(pytester, TEARS, "-rs")
    result.assert_outcomes(skipped=1)
    assert "no engine can watch file operations here" in out
    result, _ = run(pytester, "-o", "tornwrite_require_engine=true")
    result.assert_outcomes(failed=1)


def test_an_interrupt_leaves_no_process(pytester: pytest.Pytester) -> None:
    mark = new_mark()
    pytester.makepyfile(
        test_save=f"""
        import time

        def save(dir):
            (dir / "busy").write_text("x")
            time.sleep(60)

        def test_save(tornwrite):
            tornwrite.check(save, env={{"MARK": {mark!r}}}, timeout=60)
        """
    )
    command = [sys.executable, "-m", "pytest", *PLUGIN, "-q", "-p", "no:cacheprovider"]
    path = os.pathsep.join([os.getcwd() if not PLUGIN else "", *sys.path])
    process = subprocess.Popen(
        command,
        cwd=pytester.path,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while not survivors(mark, 0) and time.monotonic() < end:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert survivors(mark, 2.0) == set()
    assert process.returncode == pytest.ExitCode.INTERRUPTED, out
    assert b"KeyboardInterrupt" in out


def test_pytest_does_not_rewrite_this_package(pytester: pytest.Pytester) -> None:
    """It would, as of every plugin's distribution, and the first import would take a second more."""
    pytester.makepyfile(
        """
        import sys
        import harness

        def test_found_as_python_finds_it():
            finder = next(item for item in sys.meta_path if type(item).__name__ == "_AsItIs")
            found = finder.find_spec("harness.testing", harness.__path__)
            assert type(found.loader).__name__ == "SourceFileLoader"
            assert finder.find_spec("json") is None
        """
    )
    result, _ = run(pytester)
    result.assert_outcomes(passed=1)
    left = [item for item in sys.meta_path if type(item).__name__ == "_AsItIs"]
    assert len(left) == (0 if PLUGIN else 1)
