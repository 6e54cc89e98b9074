"""Tokens, manifests and run directories that nobody made on purpose: a line and a code, never a traceback."""

from __future__ import annotations

import json
import shutil
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from command_line import Ended, in_process, one_line
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.campaign.executor import ExecutorError
from harness.campaign.store import RunStore
from harness.campaign.token import PREFIX, ReplayRecord, encode
from harness.core.event import CampaignFinished, CampaignStarted, Notice
from harness.core.fault import CrashPoint, FaultPlan, Kill
from harness.core.verdict import Finding, TrialRow

FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
NO_WORKERS = "no worker is started in this test"


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What passes every check of its input ends where workers would be started."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise ExecutorError(NO_WORKERS)

    monkeypatch.setattr("harness.campaign.executor.Executor", refuse)
    monkeypatch.setattr("harness.campaign.run.Executor", refuse)
    monkeypatch.setattr("harness.campaign.plan.require_engine", lambda name="ptrace": None)
    yield


def refused(ended: Ended) -> str:
    """Return the line of a command that was refused, or that got as far as its workers."""
    text = one_line(ended)
    assert ended.exit_code in (2, 5) or (ended.exit_code == 4 and NO_WORKERS in text), text
    return text


words = st.text(st.characters(exclude_characters="\0"), max_size=40)


@FUZZ
@given(text=words)
def test_any_text_as_a_token(text: str) -> None:
    assert in_process("replay", "--", text).exit_code == 2
    assert in_process("replay", "--", PREFIX + text).exit_code == 2


@FUZZ
@given(data=st.binary(max_size=200), compressed=st.booleans())
def test_any_bytes_in_a_token(data: bytes, compressed: bool) -> None:
    raw = zlib.compress(data) if compressed else data
    for name in ("replay", "shrink"):
        refused(in_process(name, PREFIX + urlsafe_b64encode(raw).decode().rstrip("=")))


plans = st.builds(
    lambda operation, role, occurrence, phase, count: FaultPlan(
        faults=(
            Kill(at=CrashPoint(operation=operation, role=role, occurrence=occurrence, phase=phase, bytes=count)),
        )
    ),
    words,
    words,
    st.integers(-5, 5),
    st.sampled_from(["before", "torn", "after"]),
    st.integers(-(1 << 40), 1 << 40),
)
records = st.builds(
    ReplayRecord,
    target=st.sampled_from(["reference", "fork_session", "probe", "../reference", "/", ".", ""]) | words,
    variant=st.sampled_from(["buggy", "durable", "sdk"]) | words,
    version=st.sampled_from(["", "0.1.72"]) | words,
    kind=st.sampled_from(["target", "probe"]),
    workload=st.dictionaries(
        st.sampled_from(["sessions", "updates", "record_bytes", "tools", "x"]),
        st.integers(-2, 1 << 70) | words | st.lists(st.integers(), max_size=3) | st.none(),
        max_size=3,
    ),
    seed=st.integers(-1, 1 << 62),
    plan=plans,
    fault_class=st.sampled_from(["none", "kill", "power", "concurrency"]),
    invariant=st.sampled_from(["M1", "check", "ZZ"]) | words,
    role=words,
    damage=words,
)


@FUZZ
@given(record=records, command=st.sampled_from([(), ("--", "python3", "{dir}"), ("--", "python3", "x")]))
def test_any_record_in_a_token(record: ReplayRecord, command: tuple[str, ...]) -> None:
    refused(in_process("replay", encode(record), *command))
    refused(in_process("shrink", encode(record)))


@FUZZ
@given(cut=st.integers(0, 300), flip=st.integers(0, 300), letter=st.characters())
def test_a_token_that_was_damaged(cut: int, flip: int, letter: str) -> None:
    token = encode(ReplayRecord(target="reference", variant="buggy", plan=FaultPlan(), invariant="M1"))
    if cut < len(token):
        assert in_process("replay", "--", token[:cut]).exit_code == 2
    flip %= len(token)
    refused(in_process("replay", "--", token[:flip] + letter.replace("\0", "0") + token[flip + 1 :]))


def toml_value(value: Any) -> str:
    """Return a value as TOML; JSON is nearly that."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value)


values: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(1 << 62), 1 << 62) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
SCENARIO_KEYS = (
    "name",
    "story",
    "targets",
    "faults",
    "invariants",
    "timed",
    "attempts",
    "samples",
    "seed",
    "budget_s",
)
TARGET_KEYS = (
    "name",
    "run",
    "runtime",
    "recover",
    "list",
    "read",
    "check",
    "ack",
    "arm",
    "expect",
    "package",
    "timeout_s",
)


@FUZZ
@given(st.dictionaries(st.sampled_from(SCENARIO_KEYS) | words, values, max_size=5), st.none() | values, words)
def test_any_scenario_file(fields: dict[str, Any], workload: Any, tail: str) -> None:
    fields = {"name": "s", "targets": ["reference/buggy"], **fields}
    lines = ["[scenario]", *(f"{json.dumps(key)} = {toml_value(value)}" for key, value in fields.items())]
    if isinstance(workload, dict):
        lines += ["[workload]", *(f"{json.dumps(key)} = {toml_value(value)}" for key, value in workload.items())]
    Path("fuzz.toml").write_text("\n".join(lines) + "\n" + tail, encoding="utf-8", errors="replace")
    refused_or_planned(in_process("run", "fuzz.toml"))
    in_process("scenarios", "show", "fuzz.toml")


@FUZZ
@given(st.dictionaries(st.sampled_from(TARGET_KEYS) | words, values, max_size=5), values)
def test_any_target_file(fields: dict[str, Any], binding: Any) -> None:
    directory = Path("fuzzed")
    directory.mkdir(exist_ok=True)
    fields = {"name": "v", "run": ["python3", "x.py", "{dir}"], **fields}
    lines = ["[target]", 'name = "fuzzed"', "[[variant]]"]
    lines += [f"{json.dumps(key)} = {toml_value(value)}" for key, value in fields.items()]
    if isinstance(binding, dict):
        lines += ["[[file]]", *(f"{json.dumps(key)} = {toml_value(value)}" for key, value in binding.items())]
    (directory / "target.toml").write_text("\n".join(lines) + "\n", encoding="utf-8", errors="replace")
    refused_or_planned(in_process("run", "./fuzzed"))


def refused_or_planned(ended: Ended) -> None:
    """A manifest is refused with one line, or a run begins and ends at its workers."""
    assert ended.exit_code in (2, 3, 4, 5), ended
    if ended.exit_code == 4:
        assert NO_WORKERS in ended.err, ended
    assert ended.err.count("\n") <= 1
    assert ended.err.removesuffix("\n").isprintable()
    shutil.rmtree("reports", ignore_errors=True)


def _stored_run() -> Path:
    finding = Finding(
        fingerprint="ab" * 16,
        target="t",
        variant="v",
        invariant="M1",
        fault_class="kill",
        operation="write",
        role="x.json",
        phase="torn",
        damage="torn",
        message="torn",
    )
    row = TrialRow(trial_id="t/v/null", kind="null", target="t", variant="v", seed=1, verdict="held")
    with RunStore.create("reports", run_id="fuzzed") as store:
        store.write_run(
            {"format_version": 1, "name": "s", "options": {}, "names": ["reference/buggy"], "selectors": []}
        )
        store.keep(
            CampaignStarted(run_id="fuzzed", scenario="s", targets=("t",), seed=1, directory="d", planned_trials=1)
        )
        store.keep(Notice(text="a note"))
        store.append_row(row)
        store.write_finding(finding.key, finding)
        store.keep(CampaignFinished(verdict="held", exit_code=0, summary={"cases": []}))
        return Path(store.directory)


@FUZZ
@given(
    which=st.sampled_from(["run.json", "trials.jsonl", "finding.json"]),
    place=st.floats(0, 1),
    length=st.integers(0, 40),
    insert=st.binary(max_size=30) | st.sampled_from([b"null", b"[]", b"{}", b"1e999", b'"\\ud800"', b"[" * 5000]),
)
def test_any_damage_to_a_run(which: str, place: float, length: int, insert: bytes) -> None:
    shutil.rmtree("reports", ignore_errors=True)
    run = _stored_run()
    (file,) = [path for path in run.rglob(which) if path.is_file()]
    data = file.read_bytes()
    start = int(place * len(data))
    file.write_bytes(data[:start] + insert + data[start + length :])
    for more in ((), ("--markdown",), ("--json",)):
        ended = in_process("report", "fuzzed", *more)
        assert ended.exit_code in (0, 2)
        if ended.exit_code == 2 and more != ("--json",):
            one_line(ended)
        if more == ("--json",):
            assert ended.document["command"] == "report"
    resumed = in_process("run", "--resume", "fuzzed")
    assert resumed.exit_code in (2, 4)


@FUZZ
@given(st.lists(words.filter(lambda word: not word.startswith("-")), min_size=1, max_size=3))
def test_any_words(found: list[str]) -> None:
    for command in ("run", "report"):
        refused(in_process(command, "--", *found))
    for command in ("targets", "scenarios", "replay", "shrink"):
        refused(in_process(command, *found))
