"""Wrong words on the command line: one line that says what, where and what would be right; code 2; no run left."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from command_line import in_process, one_line

from harness.campaign import plan
from harness.campaign.plan import NoEngineError
from harness.campaign.token import ReplayRecord, encode
from harness.catalog.cache import CACHE_VARIABLE
from harness.cli import app, campaigns, failures
from harness.schemas import schema
from tests.report.json_schema_check import problems

PROBE = ("probe", "--", "python", "save.py", "{dir}")


def probe(*options: str) -> tuple[str, ...]:
    return "probe", *options, *PROBE[1:]


USAGE = [
    (("prob",), ["'prob'", "did you mean 'probe'"]),
    (("zzz",), ["'zzz'", "valid: baseline, compare, completion"]),
    (("--jsn",), ["--jsn", "tornwrite --help"]),
    (("probe",), ["-- CMD", "tornwrite probe --help"]),
    (("probe", "--"), ["-- CMD"]),
    (("probe", "--", "python", "save.py"), ["{dir}", "as in: -- python"]),
    (("probe", "--", "no-such-command-zz", "{dir}"), ["no-such-command-zz", "command not found"]),
    (("probe", "--", "pyhton3", "{dir}"), ["pyhton3", "did you mean"]),
    (("probe", "--", "./plain.py", "{dir}"), ["./plain.py", "not executable", "interpreter"]),
    (("probe", "--", "./missing", "{dir}"), ["./missing", "no such file"]),
    (("probe", "--", "..", "{dir}"), [".."]),
    (("probe", "--", "", "{dir}"), ["the command is empty"]),
    (("probe", "--", "a\x00b", "{dir}"), ["NUL"]),
    (probe("--faults", "kil"), ["--faults", "'kil'", "did you mean 'kill'", "short"]),
    (probe("--profile", "ext5"), ["--profile", "'ext5'", "did you mean 'ext4'"]),
    (probe("--profile", "zzz"), ["--profile", "'zzz'", "valid: all, apfs, btrfs"]),
    (probe("--profile", ""), ["--profile", "an empty list", "posix"]),
    (probe("--profile", "ext4", "--profile", "xfs"), ["--profile", "given 2 times", "ext4,xfs"]),
    (probe("--profile", "no.toml"), ["--profile", "no.toml", "cannot be read"]),
    (probe("--profile", "a\x00.toml"), ["--profile", "cannot be read"]),
    (probe("--profile", "\x1b[2J"), ["--profile", "no profile", "valid: all"]),
    (probe("--profile", "ext4", "--faults", "kill"), ["--profile", "only a power loss has profiles", "kill"]),
    (("run", "reference/buggy", "--profile", "xfs", "--faults", "kill"), ["--profile", "add power to --faults"]),
    (("run", "demo", "--profile", "xfs"), ["--profile", "add power to --faults"]),
    (probe("--faults", " , "), ["--faults", "empty list", "valid: kill"]),
    (probe("--budget", "soon"), ["--budget", "'soon'", "30s"]),
    (probe("--budget", "0s"), ["--budget", "24h"]),
    (probe("--budget", "9" * 400), ["--budget"]),
    (probe("--seed", "-1"), ["--seed", "'-1'", "whole number from 0 to"]),
    (probe("--seed", "1.5"), ["--seed", "'1.5'"]),
    (probe("--seed", "9" * 5000), ["--seed"]),
    (probe("--timeout", "nan"), ["--timeout", "from 0.1 to"]),
    (probe("--jobs", "0"), ["--jobs", "from 1 to"]),
    (probe("--trials", "many"), ["--trials", "'many'"]),
    (probe("--env", "1X=2"), ["--env", "'1X=2'", "NAME=VALUE"]),
    (probe("--env", "TORNWRITE_NO_SUCH_VARIABLE"), ["--env", "not set"]),
    (probe("--ack", "("), ["--ack", "'('", "regular expression"]),
    (probe("--ack", "^DONE"), ["--ack", "group named id"]),
    (probe("--check", "'"), ["--check", "quotation"]),
    (probe("--check", ""), ["--check", "empty command"]),
    (probe("--check", "true"), ["--check", "{dir}"]),
    (probe("--check", "no-such-check-zz {dir}"), ["no-such-check-zz", "command not found"]),
    (probe("--out", "plain.py"), ["--out", "plain.py"]),
    (("trace", "--", "python", "save.py"), ["{dir}"]),
    (("trace", "--jsn", "--", "python", "{dir}"), ["--jsn"]),
    (("trace", "--ack", "x", "--", "python", "{dir}"), ["--ack", "group named id"]),
    (("run", "no-such-thing"), ["'no-such-thing'", "valid: ", "claude_code"]),
    (("run", "fork_sesion"), ["'fork_sesion'", "did you mean 'fork_session'"]),
    (("run", "reference/bugy"), ["'bugy'", "did you mean 'buggy'"]),
    (("run", "reference/buggy@7"), ["buggy@7"]),
    (("run", "--target", "refrence"), ["'refrence'", "did you mean 'reference'"]),
    (("run", "demo", "reference"), ["reference/durable", "is in demo and in reference"]),
    (("run", "missing.toml"), ["missing.toml", "No such file"]),
    (("run", "broken.toml"), ["broken.toml", "line"]),
    (("run", "unknown_key.toml"), ["unknown_key.toml", "fautls", "did you mean"]),
    (("run", "unknown_fault.toml"), ["unknown_fault.toml", "kil"]),
    (("run", "unknown_target.toml"), ["no_such_target"]),
    (("run", "."), []),
    (("run", "\x1b[31m\u202e"), []),
    (("run", "\x1b[31m\u202e.toml"), ["\\x1b[31m\\u202e.toml"]),
    (("probe", "--", "./\x1b[31m\n", "{dir}"), ["\\x1b[31m", "no such file"]),
    (("run", "--resume", "nothing"), ["'nothing'"]),
    (("run", "--resume"), ["no run yet"]),
    (("report",), ["no run yet"]),
    (("report", "nothing"), ["'nothing'", "there is none yet"]),
    (("report", "."), ["not a run directory"]),
    (("report", ""), []),
    (("replay",), ["TOKEN"]),
    (("replay", ""), ["not a replay token", "tw1."]),
    (("replay", "tw1."), ["empty replay token"]),
    (("replay", "tw1.e"), ["damaged"]),
    (("replay", "tw2.eNp1"), ["version tw2", "reads tw1"]),
    (("replay", "hello"), ["not a replay token"]),
    (("replay", "tw1." + "A" * 20_000), ["16384"]),
    (("shrink",), ["TOKEN"]),
    (("shrink", "hello"), ["not a replay token"]),
    (("shrink", "tw1.e"), ["damaged"]),
    (("shrink", "--budget", "soon", "tw1.e"), ["--budget", "30s"]),
    (("shrink", "--times", "0", "tw1.e"), ["--times", "from 1 to"]),
    (("shrink", encode(ReplayRecord(target="probe", kind="probe"))), ["cannot be shrunk", "probe"]),
    (("shrink", encode(ReplayRecord(target="regisry"))), ["'regisry'", "did you mean 'registry'"]),
    (("targets", "insall"), ["insall", "install"]),
    (("targets", "install"), ["TARGET"]),
    (("targets", "install", "nothing"), ["'nothing'", "valid"]),
    (("scenarios", "show"), ["NAME"]),
    (("scenarios", "show", "dmo"), ["'dmo'", "did you mean 'demo'"]),
]


@pytest.fixture
def files(here: Path) -> None:
    """Files that some of the wrong commands name."""
    (here / "plain.py").write_text("print(1)\n")
    scenario = '[scenario]\nname = "s"\ntargets = ["reference/buggy"]\n'
    (here / "broken.toml").write_text("[scenario\n")
    (here / "unknown_key.toml").write_text(scenario + 'fautls = ["kill"]\n')
    (here / "unknown_fault.toml").write_text(scenario + 'faults = ["kil"]\n')
    (here / "unknown_target.toml").write_text('[scenario]\nname = "s"\ntargets = ["no_such_target"]\n')


@pytest.mark.parametrize(("args", "fragments"), USAGE, ids=lambda item: " ".join(item)[:60] if item else "")
def test_wrong_words_are_one_line(
    args: tuple[str, ...], fragments: list[str], files: None, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.campaign.plan.require_engine", lambda name="ptrace": None)
    line = in_process(*args)
    text = one_line(line)
    assert line.exit_code == 2, text
    for fragment in fragments:
        assert fragment in text
    assert not (here / "reports").exists(), "a command that never began left a run"


@pytest.mark.parametrize("args", [args for args, _ in USAGE if args[0] in app._COMMANDS], ids=" ".join)
def test_wrong_words_as_json(args: tuple[str, ...], files: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.campaign.plan.require_engine", lambda name="ptrace": None)
    place = 2 if args[0] in ("targets", "scenarios") else 1
    ended = in_process(*args[:place], "--json", *args[place:])
    document = ended.document
    assert (ended.exit_code, ended.err, document["result"], len(document["errors"])) == (2, "", None, 1)
    assert document["command"].split()[0] == args[0]
    assert "\n" not in document["errors"][0]


def test_no_command_shows_the_help() -> None:
    ended = in_process()
    assert ended.exit_code == 2
    assert "Start here" in ended.err


@pytest.mark.parametrize(
    "command",
    [
        (),
        *[(name,) for name in app._COMMANDS],
        ("targets", "list"),
        ("targets", "install"),
        ("scenarios", "list"),
        ("scenarios", "show"),
    ],
    ids=" ".join,
)
def test_help_fits_80_columns(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = in_process(*command, "--help")
    assert (ended.exit_code, ended.err) == (0, "")
    assert ended.out.startswith("Usage: tornwrite")
    assert [
        line for line in ended.out.splitlines() if len(line) > 80 or (line.endswith("...") and "ARGS" not in line)
    ] == []


def test_a_json_word_of_the_users_command_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.campaign.plan.require_engine", lambda name="ptrace": None)
    assert "{dir}" in one_line(in_process("probe", "--", "python", "x.py", "--json"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom modes bind")
def test_a_directory_that_cannot_be_written(here: Path) -> None:
    here.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        ended = in_process("demo")
    finally:
        here.chmod(0o755)
    assert ended.exit_code == 2
    assert "reports" in one_line(ended)


def test_out_below_a_file(here: Path, traced: None) -> None:
    (here / "file").write_text("")
    ended = in_process("probe", "--out", "file/reports", "--", "python", "x.py", "{dir}")
    assert ended.exit_code == 2
    assert "file" in one_line(ended)


def test_without_an_engine_nothing_is_available(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str = "ptrace") -> None:
        raise NoEngineError("no engine can watch file operations here: ptrace: not available: because")

    monkeypatch.setattr("harness.campaign.plan.require_engine", none)
    for args in (("demo",), PROBE, ("trace", *PROBE[1:]), ("run", "reference/buggy"), ("replay", "tw1.x")):
        ended = in_process(*args)
        assert ended.exit_code == (2 if args[0] == "replay" else 5)
        one_line(ended)
    assert not (here / "reports").exists()


def test_faults_that_no_engine_can_try(here: Path, traced: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MEASURABLE", ("kill", "signal", "short", "errno", "concurrency"))
    monkeypatch.setattr(campaigns, "MEASURABLE", plan.MEASURABLE)
    ended = in_process("probe", "--faults", "power", "--", "python", "x.py", "{dir}")
    assert ended.exit_code == 5
    assert "it can try kill, signal, short, errno, concurrency" in one_line(ended)
    assert not (here / "reports").exists()


@pytest.mark.parametrize(("more", "code"), [((), 5), (("--require-all",), 3)])
def test_a_target_that_is_not_installed(
    more: tuple[str, ...], code: int, here: Path, traced: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(here / "cache"))
    ended = in_process("run", "fork_session", *more)
    assert ended.exit_code == code
    assert f"Inconclusive: no target is available (exit code {code})." in ended.out
    assert "tornwrite targets install" in ended.out
    document = in_process("run", "fork_session", "--json", *more).document
    assert document["errors"] == ["no target is available"]


def test_a_bug_says_so_and_is_not_a_violation(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def bug(text: str) -> None:
        error = RuntimeError("a bug\x1b[31m\nof ours")
        error.add_note("traceback of a worker")
        raise error

    monkeypatch.setattr("harness.campaign.token.decode", bug)
    with pytest.raises(SystemExit) as stop:
        app.run_app(["replay", "tw1.x", "--json"])
    assert stop.value.code == failures.EXIT_BROKEN
    captured = capfd.readouterr()
    assert "Traceback" in captured.err
    document = json.loads(captured.out)
    shape = schema("result")
    assert list(problems(document, shape, shape)) == []
    assert "bug of tornwrite" in document["errors"][0]
    assert document["errors"][0].isprintable()


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "/nowhere"), OSError("strange"), OSError(28, "full")]
)
def test_an_error_of_the_system_is_one_line(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str) -> None:
        raise error

    monkeypatch.setattr("harness.campaign.token.decode", fail)
    ended = in_process("replay", "tw1.x")
    assert ended.exit_code == 2
    one_line(ended)
