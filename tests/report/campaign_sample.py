"""A campaign as a report meets it: every verdict, a hostile name, controls, timed kills, notices."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from harness.core.event import (
    AnyEvent,
    CampaignFinished,
    CampaignStarted,
    FindingConfirmed,
    Notice,
    PhaseStarted,
    TrialFinished,
)
from harness.core.fault import CrashPoint, Errno, FaultPlan, Kill, Loss, PowerLoss
from harness.core.json_record import encode_record
from harness.core.verdict import Confirmation, Finding, TrialRow

HOSTILE = "\x1b[2J\u202e`|<script>@all #1\udcff\n\x00](http://evil) *x*"
TORN = CrashPoint(operation="write", role="sessions/<uuid>.jsonl", occurrence=2, phase="torn", bytes=4096)
WINDOW = bytes(range(32, 64)) + b"\x1b[31m secret"


def _plan(*faults: Any) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads(encode_record(FaultPlan(faults=faults)))
    return plan


def torn_finding() -> Finding:
    return Finding(
        fingerprint="0123456789abcdef0123456789abcdef",
        target="fork_session",
        variant="published",
        version="0.1.72",
        invariant="B1",
        fault_class="kill",
        operation="write",
        role="sessions/<uuid>.jsonl",
        phase="torn",
        damage="torn",
        message="the last record ends after 4,096 of 9,120 bytes",
        path="sessions/3f2b8c1e-0000-4000-8000-0123456789ab.jsonl",
        crash_point=TORN,
        fault=_plan(Kill(at=TORN)),
        states=12,
        runs=17,
        expected=True,
        confirmation=Confirmation(
            attempts=3,
            confirmed=3,
            method="killed at the crash point",
            evidence={
                "path": "sessions/3f2b8c1e-0000-4000-8000-0123456789ab.jsonl",
                "pid": 4711,
                "died_by": "signal 9",
                "size": 4096,
                "expected_size": 9120,
                "offset": 4096,
                "blake2b": "00" * 16,
                "ids": [],
                "window_offset": 4032,
                "window_hex": WINDOW.hex(),
            },
        ),
        token="tw1.AAAA",
    )


def lost_finding() -> Finding:
    at = CrashPoint(operation="rename", role="sessions/<uuid>.json", occurrence=1, phase="after")
    write = CrashPoint(operation="write", role="sessions/<uuid>.json.tmp", occurrence=1, phase="after")
    loss = PowerLoss(at=at, profile="posix", losses=(Loss(at=write, part="data", start=0, end=20_000),), acked=1)
    return Finding(
        fingerprint="ab" * 16,
        target="fork_session",
        variant="published",
        version="0.1.72",
        invariant="M1",
        fault_class="power",
        operation="write",
        role="sessions/<uuid>.json",
        phase="after",
        damage="nul",
        message="the document is NUL in its full size: 20,000 bytes",
        path="sessions/3f2b8c1e-0000-4000-8000-0123456789ab.json",
        crash_point=write,
        fault=_plan(loss),
        states=41,
        expected=True,
        profiles=("posix", "ntfs"),
        held_under=("ext4",),
        confirmation=Confirmation(method="predicted only (ntfs is from documents, not from a running kernel)"),
        token="tw1.CCCC",
        evidence={"path": "sessions/3f2b8c1e.json", "size": 20_000, "operation_seq": 12},
    )


def hostile_finding() -> Finding:
    point = CrashPoint(operation="rename", role=HOSTILE, occurrence=1, actor="p1")
    return Finding(
        fingerprint="ff" * 16,
        target="probe",
        variant=HOSTILE,
        invariant="W8",
        fault_class="errno",
        operation="rename",
        role=HOSTILE,
        phase="before",
        damage="silent",
        message=HOSTILE,
        path=HOSTILE,
        crash_point=point,
        fault=_plan(Errno(at=point, errno=28, persistent=True)),
        runs=1,
        token="tw1.BBBB",
        evidence={"path": HOSTILE, HOSTILE: HOSTILE},
    )


def control_finding() -> Finding:
    return msgspec.structs.replace(
        torn_finding(), target="reference", variant="buggy", version="", control=True, fingerprint="cc" * 16
    )


def summary() -> dict[str, Any]:
    kill = {"fault_class": "kill", "verdict": "violated", "expected": "violated", "states": 340, "distinct": 301}
    lost = {
        "fault_class": "power",
        "verdict": "violated",
        "expected": "violated",
        "findings": [lost_finding().key],
    }
    return {
        "cases": [
            {
                "id": "fork_session/published@0.1.72",
                "target": "fork_session",
                "variant": "published",
                "version": "0.1.72",
                "control": "",
                "null_verdict": "held",
                "classes": [
                    {**kill, "runs": 120, "bad": 17, "inconclusive": 2, "findings": [torn_finding().key]},
                    {
                        "fault_class": "short",
                        "verdict": "inconclusive",
                        "expected": "held",
                        "reason": "not measured",
                    },
                    {
                        **lost,
                        "profile": "posix",
                        "states": 900,
                        "distinct": 812,
                        "bad_states": 40,
                        "coverage": "sampled: 203 of 500 single losses; everything at 3 of 9 crash points",
                    },
                    {
                        **lost,
                        "profile": "ext4",
                        "verdict": "held",
                        "expected": "held",
                        "states": 90,
                        "distinct": 81,
                    },
                    {**lost, "profile": "ntfs", "states": 300, "distinct": 201, "bad_states": 1},
                ],
                "timed_runs": 120,
                "timed_bad": 17,
                "timed_inconclusive": 2,
                "timed_window": {"start_us": 1000, "end_us": 13000, "run_us": 310000},
            },
            {
                "id": f"probe/{HOSTILE}",
                "target": "probe",
                "variant": HOSTILE,
                "version": "",
                "control": "",
                "null_verdict": "violated",
                "null_note": HOSTILE,
                "classes": [
                    {
                        "fault_class": "errno",
                        "verdict": "violated",
                        "expected": "held",
                        "runs": 40,
                        "bad": 1,
                        "findings": [hostile_finding().key],
                    },
                    {"fault_class": "kill", "verdict": "held", "expected": "violated", "runs": 300, "bad": 0},
                    {
                        "fault_class": "signal",
                        "verdict": "broken",
                        "expected": "held",
                        "reason": "no \x07 recording",
                    },
                ],
            },
            {
                "id": "control:reference/buggy",
                "target": "reference",
                "variant": "buggy",
                "version": "",
                "control": "must_violate",
                "null_verdict": "held",
                "classes": [{**kill, "findings": [control_finding().key]}],
            },
            {
                "id": "control:reference/durable",
                "target": "reference",
                "variant": "durable",
                "version": "",
                "control": "must_hold",
                "null_verdict": "held",
                "classes": [{**kill, "verdict": "held", "expected": "held", "states": 1000, "distinct": 900}],
            },
        ],
        "control_problem": "",
    }


def rows() -> list[TrialRow]:
    common: dict[str, Any] = {"target": "fork_session", "variant": "published", "version": "0.1.72", "seed": 7}
    return [
        TrialRow(trial_id="f/null", kind="null", verdict="held", **common),
        TrialRow(
            trial_id="f/state/kill",
            kind="state",
            verdict="violated",
            fault_class="kill",
            states=340,
            distinct=301,
            findings=(torn_finding().key,),
            expected="violated",
            **common,
        ),
        TrialRow(trial_id="f/timed/0", kind="timed", verdict="held", fault_class="kill", **common),
        TrialRow(trial_id="f/timed/1", kind="timed", verdict="violated", fault_class="kill", **common),
        TrialRow(trial_id="f/timed/2", kind="timed", verdict="inconclusive", fault_class="kill", **common),
    ]


def sample_events() -> list[AnyEvent]:
    return [
        CampaignStarted(
            run_id="20240506T070809Z-abc123",
            scenario="fork_session",
            targets=("fork_session/published",),
            seed=7,
            directory="reports/runs/20240506T070809Z-abc123",
            planned_trials=122,
            environment={
                "tornwrite": "0.1.0",
                "engine": "ptrace",
                "command": "tornwrite run fork_session",
                "system": "Linux",
                "kernel": "6.1.0",
                "load_average": [0.1, 0.2],
                "filesystem": {"type": "ext4", "options": "rw,relatime"},
            },
        ),
        PhaseStarted(phase="record", target="fork_session", variant="published"),
        Notice(text="not seen: stores through a shared mapping of index.db-shm", target="fork_session/published"),
        Notice(text=HOSTILE, target=HOSTILE),
        PhaseStarted(phase="timed", target="fork_session", variant="published", trials=3),
        *[TrialFinished(row=row) for row in rows()],
        FindingConfirmed(finding=control_finding()),
        FindingConfirmed(finding=torn_finding()),
        FindingConfirmed(finding=lost_finding()),
        FindingConfirmed(finding=hostile_finding()),
        CampaignFinished(verdict="violated", exit_code=1, summary=summary()),
    ]
