"""Wrong values: in scenario and target files, on the command line, in runs and tokens.

Each is one line that says what, where and what would be right; code 2; no run left and no traceback.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import in_process, one_line

from harness.campaign.store import RunStore
from harness.campaign.token import ReplayRecord, encode
from harness.core.fault import FAULT_CLASSES

SCENARIO = '[scenario]\nname = "s"\ntargets = ["reference/buggy"]\n'
TARGET = '[target]\nname = "t"\n[[variant]]\nname = "v"\n'
RUN = 'run = ["{python}", "{target}/w.py", "{dir}"]\n'

SCENARIOS = {
    "life_exit": (SCENARIO + '[[life]]\nexit = "sigtrm"\n', ["[life 1] exit", "'sigterm'", "graceful", "power"]),
    "life_advance": (SCENARIO + '[[life]]\nadvance = "-3d"\n', ["[life 1] advance", "'7d'"]),
    "life_instances": (SCENARIO + "[[life]]\ninstances = 99\n", ["[life 1] instances", "between 1 and 8"]),
    "lives": (SCENARIO + "[[life]]\n" * 201, ["201 lives", "at most 200"]),
    "tools_number": (SCENARIO + "[workload]\ntools = 3\n", ["[workload] tools", "a table"]),
    "tools_key": (SCENARIO + "[workload.tools]\nparalel = 3\n", ["[workload.tools]", "did you mean 'parallel'"]),
    "tools_parallel": (SCENARIO + "[workload]\ntools = { parallel = 999 }\n", ["tools.parallel", "0 and 256"]),
    "interrupt": (
        SCENARIO + '[workload]\ninterrupt = ["ctrlc"]\ntools = { parallel = 3 }\n',
        ["[workload] interrupt 1", "did you mean 'ctrl_c'", "escape"],
    ),
    "interrupt_without_tools": (
        SCENARIO + '[workload]\ninterrupt = ["escape"]\n',
        ["tools.parallel of at least 1"],
    ),
    "step": (SCENARIO + '[[workload.steps]]\ndo = "tool_don"\n', ["[workload.steps 1] do", "'tool_done'"]),
    "budget_negative": (SCENARIO + "budget_s = -1\n", ["[scenario] budget_s", "86400 seconds"]),
    "budget_nan": (SCENARIO + "budget_s = nan\n", ["[scenario] budget_s", "nan"]),
    "seed_negative": (SCENARIO + "seed = -1\n", ["[scenario] seed", "-1", "9223372036854775807"]),
    "seed_text": (SCENARIO + 'seed = "one"\n', ["[scenario] seed", "an integer"]),
    "number_huge": (SCENARIO + "timed = " + "9" * 5000 + "\n", ["a number of thousands of digits"]),
    "record_bytes": (SCENARIO + "[workload]\nrecord_bytes = [10, 5]\n", ["record_bytes", "[10, 5]"]),
    "now_ms": (SCENARIO + "[workload]\nnow_ms = -5\n", ["[workload] now_ms", "since 1970"]),
    "name": (SCENARIO.replace('"s"', '"../s"'), ["[scenario] name", "'../s'"]),
    "empty": ("", ["lacks the section 'scenario'"]),
    "key_twice": (SCENARIO + 'name = "x"\n', ["Cannot overwrite", "line 4"]),
    "invariant": (SCENARIO + 'invariants = ["B55"]\n', ["no invariant 'B55'", "did you mean 'B5'"]),
    "includes_itself": (
        '[scenario]\nname = "a"\n[[part]]\nscenario = "includes_itself.toml"\n',
        ["[part 1] scenario", "made of parts itself"],
    ),
    "includes_nothing": (
        '[scenario]\nname = "a"\n[[part]]\nscenario = "registry_crsh"\n',
        ["[part 1] scenario", "'registry_crsh'", "did you mean 'registry_crash'"],
    ),
    "includes_twice": (
        '[scenario]\nname = "a"\n' + '[[part]]\nscenario = "demo"\n' * 2,
        ["[part 2] scenario", "is a part already"],
    ),
    "includes_overlap": (
        '[scenario]\nname = "a"\n[[part]]\nscenario = "demo"\n[[part]]\nscenario = "reference"\n',
        ["reference/durable is in demo and in reference"],
    ),
}

TARGETS = {
    "no_dir": (TARGET + 'run = ["{python}", "{target}/w.py"]\n', ["run", "{dir}"]),
    "read_without_id": (TARGET + RUN + 'read = ["{python}", "{dir}"]\n', ["[variant 'v'] read", "{id}"]),
    "resume_without_id": (TARGET + RUN + 'resume = ["{python}", "{dir}"]\n', ["[variant 'v'] resume", "{id}"]),
    "run_with_id": (TARGET + 'run = ["{python}", "{dir}", "{id}"]\n', ["unknown placeholder {id}", "workload"]),
    "check_missing": (TARGET + RUN + 'check = ["{target}/judge.py", "{dir}"]\n', ["check", "no file 'judge.py'"]),
    "check_without_dir": (TARGET + RUN + 'check = ["{python}", "-V"]\n', ["check", "{dir}"]),
    "env_with_equals": (TARGET + RUN + 'environment = { "A=B" = "1" }\n', ["environment", "'A=B'"]),
    "expect_class": (TARGET + RUN + 'expect = { kil = "held" }\n', ["expect", "'kil'", "did you mean 'kill'"]),
    "expect_verdict": (TARGET + RUN + 'expect = { kill = "hold" }\n', ["expect.kill", "did you mean 'held'"]),
    "timeout_nan": (TARGET + RUN + "timeout_s = nan\n", ["timeout_s", "600 seconds"]),
    "glob_outside": (TARGET + RUN + '[[variant.file]]\nglob = "../x"\nformat = "log"\n', ["glob", "'../x'"]),
    "format": (TARGET + RUN + '[[variant.file]]\nglob = "x"\nformat = "jsonl"\n', ["format", "transcript"]),
}

WORDS: list[tuple[tuple[str, ...], list[str]]] = [
    (("run", "demo", "--trials", "-1"), ["--trials", "'-1'", "from 0 to 1000000"]),
    (("run", "demo", "--trials", "1e3"), ["--trials", "'1e3'", "whole number"]),
    (("run", "demo", "--faults", "kill", "--faults", "short"), ["--faults", "2 times", "kill,short"]),
    (("run", "demo", "--faults", ""), ["--faults", "empty list", *FAULT_CLASSES]),
    (("run", "demo", "--faults", "KILL"), ["'KILL'", "did you mean 'kill'"]),
    (("run", "demo", "--faults", "concurency"), ["did you mean 'concurrency'"]),
    (("run", "demo", "--budget", "-5s"), ["--budget", "'-5s'", "30s"]),
    (("run", "demo", "--budget", "25h"), ["--budget", "24h"]),
    (("run", "demo", "--seed", "٣"), ["--seed", "whole number"]),
    (("run", "demo", "--seed", "1_000"), ["--seed", "'1_000'"]),
    (("run", "demo", "--out", ""), ["--out", "empty name"]),
    (("run", "demo", "--out", "file"), ["--out", "'file' is a file"]),
    (("run", "demo", "--out", "/proc/nowhere"), ["/proc/nowhere"]),
    (("run", "demo", "demo"), ["'demo' is named twice"]),
    (
        ("run", "demo", "registry_crash", "--target", "sessions_index"),
        ["in none of the parts demo, registry_crash"],
    ),
    (("run", ""), ["no scenario or target ''"]),
    (("run", "claude_code@2.1.91", "--versions", "2.1.85"), ["'claude_code@2.1.91' names a version itself"]),
    (("run", "claude_code", "--versions", "2.1.91,,2.1.85"), ["--versions", "an empty place", "2.1.85,latest"]),
    (("run", "latin"), ["no scenario or target 'latin'", "did you mean the file 'latin.toml'?"]),
    (("run", "directory.toml"), ["directory.toml", "Is a directory"]),
    (("run", "latin.toml"), ["latin.toml", "not UTF-8 at byte"]),
    (("run", "./latin"), ["latin/target.toml", "not UTF-8 at byte 0"]),
    (("run", "./bare"), ["./bare", "holds no target.toml"]),
    (("run", "--resume", "20200101T000000Z-abcdef"), ["no run '20200101T000000Z-abcdef'"]),
    (("probe", "--timeout", "inf", "--", "python", "x", "{dir}"), ["--timeout", "0.1 to 120"]),
    (("probe", "--torn-tail", "heal", "--", "python", "x", "{dir}"), ["--torn-tail", "'healed'"]),
    (("probe", "--env", "=x", "--", "python", "x", "{dir}"), ["--env", "NAME=VALUE"]),
    (("replay", "tw99.abc"), ["version tw99", "reads tw1"]),
    (("replay", "TW1.abc"), ["does not begin with 'tw1.'"]),
    (("replay", "tw1.%%%"), ["damaged", "base64url"]),
    (("replay", "--times", "0", "tw1.e"), ["--times", "from 1 to"]),
]

TOKENS = [
    (ReplayRecord(target="gone"), ["no target 'gone'", "valid: "]),
    (ReplayRecord(target="../../etc"), ["no target '../../etc'"]),
    (ReplayRecord(target="reference", variant="bugy"), ["no variant 'bugy'", "did you mean 'buggy'"]),
    (ReplayRecord(target="reference", variant="buggy", version="9"), ["buggy@9"]),
    (ReplayRecord(target="reference", variant="buggy", workload={"sesions": 1}), ["workload", "sesions"]),
    (
        ReplayRecord(target="reference", variant="buggy", workload={"sessions": -1}),
        ["sessions: -1 is not between"],
    ),
]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Act as if an engine were there: nothing of this is to get as far as using one."""
    monkeypatch.setattr("harness.campaign.plan.require_engine", lambda name="ptrace": None)


@pytest.fixture
def files(here: Path) -> None:
    """What some of the wrong words name."""
    (here / "file").write_text("")
    (here / "directory.toml").mkdir()
    (here / "latin.toml").write_bytes(SCENARIO.encode() + b'story = "\xe9"\n')
    (here / "latin").mkdir()
    (here / "latin" / "target.toml").write_bytes(b"\xff\xfe")
    (here / "bare").mkdir()


def refused(here: Path, fragments: list[str], *args: str) -> None:
    ended = in_process(*args)
    text = one_line(ended)
    assert ended.exit_code == 2, text
    for fragment in fragments:
        assert fragment in text, text
    assert not (here / "reports").exists(), "a command that never began left a run"


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_wrong_scenario(name: str, here: Path, engine: None) -> None:
    text, fragments = SCENARIOS[name]
    (here / f"{name}.toml").write_text(text)
    shown = (
        [] if name == "includes_overlap" else [f"{name}.toml"]
    )  # only the plan knows which variants a name means
    refused(here, [*shown, *fragments], "run", f"{name}.toml")


@pytest.mark.parametrize("name", TARGETS)
def test_a_wrong_target(name: str, here: Path, engine: None) -> None:
    text, fragments = TARGETS[name]
    (here / name).mkdir()
    (here / name / "target.toml").write_text(text)
    (here / name / "w.py").write_text("")
    refused(here, [f"{name}/target.toml", *fragments], "run", f"./{name}")


@pytest.mark.parametrize(("args", "fragments"), WORDS, ids=lambda item: " ".join(item)[:50])
def test_a_wrong_word(args: tuple[str, ...], fragments: list[str], here: Path, engine: None, files: None) -> None:
    refused(here, fragments, *args)


@pytest.mark.parametrize(("record", "fragments"), TOKENS, ids=lambda item: str(item)[:60])
def test_a_token_of_something_else(record: ReplayRecord, fragments: list[str], here: Path, engine: None) -> None:
    refused(here, fragments, "replay", encode(record))


def test_a_token_with_one_letter_changed_or_lost(here: Path, engine: None) -> None:
    token = encode(ReplayRecord(target="reference", variant="buggy"))
    for damaged in (
        token[:-1],
        token[:-3],
        token + "AAAA",
        token[:20] + ("A" if token[20] != "A" else "B") + token[21:],
    ):
        refused(here, ["damaged"], "replay", damaged)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom modes bind")
def test_a_file_that_may_not_be_read(here: Path, engine: None) -> None:
    (here / "locked.toml").write_text(SCENARIO)
    (here / "locked.toml").chmod(0)
    refused(here, ["locked.toml", "Permission denied"], "run", "locked.toml")


def test_a_byte_order_mark_is_no_mistake(here: Path, engine: None) -> None:
    (here / "bom.toml").write_bytes(b"\xef\xbb\xbf" + SCENARIO.encode() + b"seed = -1\n")
    refused(here, ["[scenario] seed"], "run", "bom.toml")


# -- runs that are damaged -------------------------------------------------------------------------------------------


def _not_json(run: Path) -> None:
    (run / "run.json").write_text('{"format_version": 1')


def _later(run: Path) -> None:
    (run / "run.json").write_text('{"format_version": 99, "kind": "run"}')


def _directory(run: Path) -> None:
    (run / "run.json").mkdir()


def _rows(run: Path) -> None:
    (run / "run.json").write_text('{"format_version": 1}')
    (run / "trials.jsonl").write_text("garbage\n{}\n")


@pytest.mark.parametrize(
    ("damage", "fragments"),
    [
        (_not_json, ["run.json", "not JSON"]),
        (_later, ["run.json", "format version 99", "reads 1"]),
        (_directory, ["run.json", "Is a directory"]),
        (_rows, ["trials.jsonl", "line 1", "not a trial row"]),
    ],
)
@pytest.mark.parametrize("command", [("report",), ("run", "--resume")], ids=" ".join)
def test_a_damaged_run(
    damage: Callable[[Path], None], fragments: list[str], command: tuple[str, ...], here: Path, engine: None
) -> None:
    with RunStore.create("reports") as store:
        run = Path(store.directory)
    damage(run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}
    ended = in_process(*command, run.name)
    text = one_line(ended)
    assert ended.exit_code == 2
    assert all(fragment in text for fragment in fragments), text
    assert all(path.read_bytes() == data for path, data in before.items()), "nothing of it is lost"


def test_reports_in_the_place_of_something_else(here: Path, engine: None) -> None:
    (here / "out").mkdir()
    (here / "out" / "runs").write_text("mine")
    ended = in_process("run", "reference/durable", "--out", "out")
    assert ended.exit_code == 2
    assert "out/runs" in one_line(ended)
    assert (here / "out" / "runs").read_text() == "mine"
    (here / "out" / "latest").symlink_to("nowhere")
    assert "leads nowhere" in one_line(in_process("report", "--out", "out"))


def test_the_help_of_faults_lists_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in ("run", "probe"):
        text = " ".join(in_process(command, "--help").out.split())
        assert f"any of {', '.join(FAULT_CLASSES)}." in text


def test_the_errors_of_all_these_are_valid_json_too(here: Path, engine: None, files: None) -> None:
    for args, fragments in WORDS:
        document = in_process(args[0], "--json", *args[1:]).document
        assert (document["exit_code"], document["result"], len(document["errors"])) == (2, None, 1), fragments
