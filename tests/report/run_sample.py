"""A run directory as a campaign leaves it, with every kind of finding and hostile names; nothing was run for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from campaign_sample import HOSTILE, WINDOW, _plan, sample_events, summary

from harness.campaign.store import RunStore
from harness.core.event import AnyEvent, CampaignFinished, CampaignStarted, FindingConfirmed, Notice, TrialFinished
from harness.core.fault import (
    CrashPoint,
    Damaged,
    Errno,
    FaultClass,
    Kill,
    Loss,
    PowerLoss,
    Short,
    Signal,
    Timed,
)
from harness.core.json_record import encode_record
from harness.core.outline import outline_of
from harness.core.strip import Strip, strip_row
from harness.core.trace import Actor, Trace
from harness.core.tree import Tree
from harness.core.verdict import Confirmation, Finding, TrialRow, Violation
from harness.explore import explore
from harness.explore.script import Script
from harness.report.view import RunView, collect

SESSION = "sessions/3f2b8c1e-0000-4000-8000-0123456789ab.jsonl"
ROLE = "sessions/<uuid>.jsonl"
ATTACK = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'`"
ATTACK += "\x1b[31m\u202egnp.exe\u2066\udcff"
ATTACK_FILE = "sessions/" + ATTACK.replace("/", "\u2044")
LONG = "n" * 10_000
SECRET = "the-private-words"


def _record(number: int) -> bytes:
    record = {"type": "user" if number % 2 else "assistant", "uuid": f"{number:08d}-0000", "message": SECRET * 150}
    return json.dumps(record).encode() + b"\n"


def recorded_run() -> Trace:
    """A writer of three processes: a session that is appended to, an index rewritten in place, a hostile file."""
    begin = Script()
    begin.mkdir("sessions")
    begin.put(SESSION, b"".join(_record(number) for number in range(12)))
    script = Script(start=begin.tree, actors=3)
    for turn in range(14):
        fd = script.open(SESSION, append=True)
        script.write(fd, _record(12 + turn) * 2)
        script.fsync(fd)
        script.close(fd)
        script.ack(f"m{turn}")
        script.put("index.json", json.dumps({"turns": list(range(turn))}).encode(), actor=turn % 3)
    script.put(ATTACK_FILE, b"x" * 9000, actor=1)
    script.replace("state.json", b"{}" * 3000, actor=2)
    script.sync_directory()
    trace = script.trace()
    actors = (Actor(process=0, command="python save.py"), Actor(process=1, command=ATTACK), Actor(process=2))
    return msgspec.structs.replace(trace, actors=actors)


def _torn(tree: Tree, acked: int, _: object) -> list[Violation]:
    node = tree.node_at(SESSION)
    data = node.content.to_bytes() if node is not None and hasattr(node, "content") else b""
    if data.endswith(b"\n") or not data:
        return []
    return [Violation(invariant="B1", path=SESSION, damage="torn", message="torn")]


def _finding(number: int, fault_class: FaultClass, **given: Any) -> Finding:
    faults = given.pop("faults", ())
    base: dict[str, Any] = {
        "fingerprint": f"{number:032x}",
        "target": "fork_session",
        "variant": "published",
        "version": "0.1.72",
        "invariant": "B1",
        "fault_class": fault_class,
        "operation": "write",
        "role": ROLE,
        "phase": "after",
        "damage": "torn",
        "message": f"the last record ends early ({fault_class})",
        "path": SESSION,
        "fault": _plan(*faults) if faults else None,
        "token": f"tw1.{'A' * 300}",
        "evidence": {"path": SESSION, "offset": 4096, "size": 5000, "ids": ["a", HOSTILE], "trial": "t"},
    }
    return Finding(**{**base, **given})


def findings_of_every_kind() -> list[Finding]:
    write = CrashPoint(operation="write", role=ROLE, occurrence=5)
    torn = msgspec.structs.replace(write, phase="torn", bytes=4096)
    after = msgspec.structs.replace(write, phase="after")
    index = CrashPoint(operation="write", role="index.json", occurrence=3, actor="p1")
    said = CrashPoint(operation="ack", role="", occurrence=4, phase="after")
    loss = Loss(at=after, part="data", start=0, end=8192)
    size = Loss(at=CrashPoint(operation="write", role=ROLE, occurrence=2, phase="after"), part="size", end=9)
    power = PowerLoss(at=CrashPoint(operation="ack", role="", occurrence=9), profile="posix", losses=(loss, size))
    content = {"window_offset": 4032, "window_hex": WINDOW.hex(), "size": 4096, "pid": 1}
    proven = Confirmation(attempts=3, confirmed=3, method="killed again at the same operation", evidence=content)
    hostile: dict[str, Any] = {"target": "probe", "variant": ATTACK, "version": "", "role": ATTACK, "path": LONG}
    return [
        _finding(
            1, "kill", faults=(Kill(at=torn),), crash_point=torn, states=12, confirmation=proven, expected=True
        ),
        _finding(2, "short", faults=(Short(at=torn, kill=True),), crash_point=torn, states=900),
        _finding(3, "errno", faults=(Errno(at=index, errno=28, persistent=True),), crash_point=index, runs=1),
        _finding(4, "signal", faults=(Signal(at=said),), crash_point=said, runs=2),
        _finding(5, "concurrency", fault=_plan() | {"concurrency": True}, role="index.json", path="index.json"),
        _finding(
            6, "power", faults=(power,), crash_point=after, profiles=("posix",), held_under=("ext4",), states=4
        ),
        _finding(7, "damage", faults=(Damaged(path=SESSION, damage="nul"), Kill(at=write)), damage="nul", runs=1),
        _finding(
            8, "kill", faults=(Timed(delay_us=1500),), invariant="B5", damage="lost", runs=7, operation="run"
        ),
        _finding(9, "none", invariant="W3", damage="other", runs=1, operation="run", phase=""),
        _finding(10, "signal", invariant="M6", damage="stale", role="index.json", path="index.json", runs=1),
        _finding(11, "kill", faults=(Kill(at=index),), crash_point=index, role=ATTACK, path=ATTACK_FILE),
        _finding(
            12, "errno", message=ATTACK + "\0" + LONG, runs=1, **hostile, evidence={ATTACK: LONG, "x": ATTACK}
        ),
        _finding(13, "kill", control=True, target="reference", variant="buggy", version=""),
    ]


def _cases() -> list[dict[str, Any]]:
    text = json.dumps(summary()["cases"]).replace(json.dumps(HOSTILE)[1:-1], json.dumps(ATTACK)[1:-1])
    cases: list[dict[str, Any]] = json.loads(text)
    cases[0]["story"] = "appends, and rewrites its index in place"
    tally = {"under": "posix", "distinct": 9, "violated": 3}
    cases[0]["advice"] = {"outcome": "none", "profiles": ["posix"], "before": [tally]}
    cases[0]["index"] = {"lives": [{"exit": "sigkill", "now_ms": 1, "written": 4, "current": 1, "stale": 3}]}
    for name in ("errno", "signal", "concurrency", "damage", "none"):
        cases[0]["classes"].append({"fault_class": name, "verdict": "violated", "runs": 40, "bad": 3})
    return cases


def every_kind_events() -> list[AnyEvent]:
    started = next(event for event in sample_events() if isinstance(event, CampaignStarted))
    common: dict[str, Any] = {"target": "fork_session", "variant": "published", "version": "0.1.72", "seed": 7}
    point = CrashPoint(operation="write", role="index.json", occurrence=3, actor="p1")
    rows = [
        TrialRow(
            trial_id=f"f/errno/{n}", kind="errno", verdict=v, fault_class="errno", crash_point=point, **common
        )
        for n, v in enumerate(("held", "violated", "inconclusive", "broken"))
    ]
    return [
        msgspec.structs.replace(
            started, scenario=ATTACK[:40], environment={**started.environment, ATTACK: ATTACK}
        ),
        Notice(text="not seen: stores through a shared mapping of index.db-shm", target="fork_session/published"),
        Notice(text=ATTACK + "\0", target=LONG),
        *[TrialFinished(row=row) for row in rows],
        *[FindingConfirmed(finding=finding) for finding in findings_of_every_kind()],
        CampaignFinished(
            verdict="broken",
            exit_code=4,
            summary={"cases": _cases(), "control_problem": f"reference/buggy held under kill {ATTACK}"},
        ),
    ]


def write_run(reports: Path, events: list[AnyEvent]) -> str:
    """Write a run directory below ``reports``; return its path."""
    trace = recorded_run()
    with RunStore.create(str(reports)) as store:
        store.write_run({"format_version": 1, "name": "sample", "seed": 7})
        name = "fork_session-published@0.1.72"
        store.write_trace(name, trace)
        rows = [strip_row(kind, explore(trace, kind, _torn, 8).places) for kind in ("kill", "short")]
        strip = Strip(operations=len(trace.operations), rows=tuple(rows))
        store.write_artifact(f"strips/{name}.json", encode_record(strip).encode())
        left = outline_of(trace.start, SESSION)
        for event in events:
            store.keep(event)
            if isinstance(event, TrialFinished):
                store.append_row(event.row)
            elif isinstance(event, FindingConfirmed):
                store.write_finding(event.finding.key, event.finding)
                document = encode_record(left).encode()
                store.write_artifact(f"findings/{event.finding.key}/state.json", document)
        return store.directory


def every_kind_view() -> RunView:
    return collect(every_kind_events())


def write_large_run(reports: Path, trials: int, findings: int) -> str:
    """Write a run of many trials and findings; its rows in one go, not one write each."""
    started = next(event for event in sample_events() if isinstance(event, CampaignStarted))
    verdicts = ("held",) * 17 + ("violated", "inconclusive", "held")
    with RunStore.create(str(reports)) as store:
        store.write_run({"format_version": 1, "name": "large", "seed": 7})
        store.keep(started)
        store.keep(CampaignFinished(verdict="violated", exit_code=1, summary={"cases": _cases()}))
        directory = store.directory
    base = TrialRow(trial_id="", kind="timed", target="fork_session", variant="published", seed=7, verdict="held")
    with open(f"{directory}/trials.jsonl", "wb") as file:
        for number in range(trials):
            row = msgspec.structs.replace(
                base,
                trial_id=f"f/timed/{number}",
                version="0.1.72",
                fault_class="kill" if number % 3 else "errno",
                verdict=verdicts[number % len(verdicts)],
                delivered="SIGKILL after 1,234 us",
                died_by="signal 9",
            )
            file.write(encode_record(row).encode("ascii") + b"\n")
    for number in range(findings):
        at = CrashPoint(operation="write", role=f"{number} {ROLE}", occurrence=1)
        finding = _finding(
            number, "kill", faults=(Kill(at=at),), crash_point=at, message=f"{number} {ATTACK}" * 20
        )
        path = Path(directory, "findings", finding.key)
        path.mkdir(parents=True)
        (path / "finding.json").write_bytes(encode_record(finding).encode("ascii"))
    return directory
