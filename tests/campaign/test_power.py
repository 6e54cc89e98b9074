"""Power losses in whole campaigns: what is found under which profile, what controls must do, what is left open."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from harness.campaign import power
from harness.campaign.aggregate import CaseResult, ClassResult, control_problem
from harness.campaign.context import Case
from harness.campaign.plan import Options, plan_scenario
from harness.campaign.power_sync import SYNCS, sync_plans
from harness.campaign.run import run_campaign
from harness.campaign.store import RunStore
from harness.catalog import ManifestError, Scenario, Workload, load_target
from harness.catalog.profiles import DEFAULT_PROFILES, list_profiles, load_profile, load_profiles
from harness.catalog.scenario import compile_scenario
from harness.core.event import AnyEvent, CampaignFinished, FindingConfirmed, TrialFinished
from harness.core.fault import Errno, FaultPlan, PowerLoss
from harness.core.profile import Profile
from harness.core.verdict import Finding, TrialRow
from harness.engines.block import why_not_available
from harness.explore.script import Script
from harness.sandbox.workspace import Workspace
from tests.campaign.conducting import DURABLE, IN_PLACE, PYTHON, REPLACED, conduct_probe

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="campaigns need the ptrace engine of Linux"),
]
ALL = list_profiles()
WRITERS = ("reference/durable", "reference/no_dir_fsync", "reference/buggy")
SMALL = Workload(sessions=1, updates=2, record_bytes=(60, 5_000))


def scenario(**more: object) -> Scenario:
    asked = {"name": "s", "targets": WRITERS, "faults": ("power",), "workload": SMALL, "samples": 4, **more}
    return Scenario(**asked)  # type: ignore[arg-type]


def conduct(base: Path, asked: Scenario, **options: object) -> tuple[CampaignFinished, list[AnyEvent]]:
    events: list[AnyEvent] = []
    given = Options(**{"jobs": 2, "confirm_power": False, **options})  # type: ignore[arg-type]
    with RunStore.create(str(base / "out")) as store:
        finished = run_campaign(
            lambda workspace: plan_scenario(asked, given, workspace), store, given, events.append, "-"
        )
    return finished, events


def findings(events: list[AnyEvent]) -> list[Finding]:
    return [event.finding for event in events if isinstance(event, FindingConfirmed)]


def verdicts(finished: CampaignFinished, variant: str, control: str = "") -> dict[str, str]:
    """Return the verdict under each profile."""
    (case,) = (
        case for case in finished.summary["cases"] if (case["variant"], case["control"]) == (variant, control)
    )
    return {line["profile"]: line["verdict"] for line in case["classes"] if line["fault_class"] == "power"}


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> tuple[CampaignFinished, list[AnyEvent]]:
    """The three grades of the reference writer on every shipped file system."""
    return conduct(tmp_path_factory.mktemp("everywhere"), scenario(profiles=("all",)))


@pytest.mark.parametrize("name", ALL)
def test_a_profile_loads_and_comes_back_from_its_own_words(name: str) -> None:
    profile = load_profile(name)
    assert (profile.name, bool(profile.title), bool(profile.source)) == (name, True, True)
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile
    assert profile.from_documents or profile.filesystem


@pytest.mark.parametrize("name", ALL)
def test_the_durable_writer_holds_and_the_others_do_not(
    name: str, everywhere: tuple[CampaignFinished, list[AnyEvent]]
) -> None:
    finished, _ = everywhere
    assert verdicts(finished, "durable")[name] == "held"
    assert verdicts(finished, "buggy")[name] == "violated"
    assert verdicts(finished, "no_dir_fsync")[name] == "violated"


def test_the_campaign_is_as_the_manifest_states(everywhere: tuple[CampaignFinished, list[AnyEvent]]) -> None:
    finished, _ = everywhere
    assert (finished.verdict, finished.exit_code, finished.summary["control_problem"]) == ("violated", 0, "")
    assert set(verdicts(finished, "no_dir_fsync", "must_violate").values()) == {"violated"}
    assert set(verdicts(finished, "durable", "must_hold")) == set(ALL)


def test_one_finding_says_on_which_file_systems(everywhere: tuple[CampaignFinished, list[AnyEvent]]) -> None:
    _, events = everywhere
    found = [item for item in findings(events) if item.variant == "no_dir_fsync"]
    assert len({item.key for item in found}) == len(found)
    lost_name = [item for item in found if item.invariant == "M1" and item.operation == "rename"]
    assert lost_name
    for item in lost_name:
        assert (item.fault_class, item.phase, item.expected) == ("power", "after", True)
        assert set(item.profiles) <= set(ALL)
        assert item.held_under == ()
        (loss,) = msgspec.convert(item.fault, FaultPlan).faults
        assert isinstance(loss, PowerLoss)
        assert [each.part for each in loss.losses] == ["names"]
        assert (item.confirmation.confirmed, item.is_confirmed) == (0, False)
        assert item.confirmation.method == "predicted only (not tried on a real file system: --no-confirm-power)"
        assert item.token.startswith("tw1.")


def test_rows_say_the_profile_and_how_far_it_was_explored(
    everywhere: tuple[CampaignFinished, list[AnyEvent]],
) -> None:
    rows = [event.row for event in everywhere[1] if isinstance(event, TrialFinished)]
    (row,) = (row for row in rows if row.trial_id == "reference/buggy/state/power/posix")
    assert (row.kind, row.fault_class, row.profile, row.expected) == ("state", "power", "posix", "violated")
    assert row.bad_states <= row.distinct <= row.states
    assert row.note.startswith("sampled: ")
    (whole,) = (row for row in rows if row.trial_id == "reference/durable/state/power/xfs")
    assert (whole.note, whole.bad_states, whole.verdict) == ("", 0, "held")


def test_without_a_name_the_default_profiles_are_taken(tmp_path: Path) -> None:
    plan = plan_scenario(scenario(), Options(), Workspace(str(tmp_path / "base")))
    assert [profile.name for profile in plan.cases[0].profiles] == list(DEFAULT_PROFILES)
    assert {case.subject.variant for case in plan.controls} == {"durable", "buggy", "no_dir_fsync"}
    asked = plan_scenario(scenario(), Options(profiles=("xfs",)), Workspace(str(tmp_path / "base")))
    assert {case.profiles for case in asked.everything} == {(load_profile("xfs"),)}


def test_a_campaign_without_power_has_no_profiles(tmp_path: Path) -> None:
    plan = plan_scenario(scenario(faults=("kill",)), Options(), Workspace(str(tmp_path / "base")))
    assert {case.profiles for case in plan.everything} == {()}
    with pytest.raises(ManifestError, match="only a power loss has profiles"):
        plan_scenario(scenario(faults=("kill",)), Options(profiles=("xfs",)), Workspace(str(tmp_path / "base")))


def test_a_profile_of_ones_own_needs_no_code(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('extends = "ext4"\ntitle = "a file system of my own"\nsource = "me"\nfsync_dir = false\n')
    finished, events = conduct(tmp_path, scenario(targets=("reference/durable",), profiles=(str(own), "ext4")))
    assert verdicts(finished, "durable") == {
        "mine": "violated",
        "ext4": "held",
    }  # its directory fsync does nothing
    assert finished.exit_code == 4  # the control that must hold does not: this disk keeps no promise
    assert all(item.profiles == ("mine",) and item.held_under == ("ext4",) for item in findings(events))


def test_two_profiles_with_one_name_are_refused(tmp_path: Path) -> None:
    own = tmp_path / "ext4.toml"
    own.write_text('title = "another"\nsource = "me"\n')
    with pytest.raises(ManifestError, match="two profiles are called 'ext4'"):
        load_profiles((str(own), "ext4"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('title = "x"\n', "lacks the key 'source'"),
        ('title = "x"\nsource = "y"\nblock_bytes = 0\n', "block_bytes: 0 is not between"),
        ('title = "x"\nsource = "y"\nname = "A/B"\n', "name: 'A/B' is not of the form"),
        ('title = "x"\nsource = "y"\nfsync_dirs = true\n', "did you mean 'fsync_dir'"),
        ('extends = "ext5"\n', "did you mean 'ext4'"),
        ('title = "x"\nsource = "y"\nflush = "never"\n', "valid: fsync, fullfsync"),
    ],
)
def test_a_wrong_profile_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(ManifestError) as caught:
        load_profile(str(own))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('profiles = ["ext5"]', "[scenario] profiles: no profile 'ext5'; did you mean 'ext4'?"),
        ('profiles = ["no.toml"]', "[scenario] profiles: "),
        ('faults = ["kill"]\nprofiles = ["ext4"]', 'profiles: only a power loss has profiles: add "power"'),
    ],
)
def test_profiles_of_a_scenario_are_checked(more: str, words: str) -> None:
    tables = tomllib.loads(f'[scenario]\nname = "s"\ntargets = ["reference"]\n{more}\n')
    with pytest.raises(ManifestError) as caught:
        compile_scenario("s.toml", tables)
    assert words in str(caught.value)


def test_expectations_of_all_profiles_are_said_in_one_word() -> None:
    durable, no_dir_fsync = (
        next(each for each in load_target("reference").variants if each.name == name)
        for name in ("durable", "no_dir_fsync")
    )
    assert {durable.expect[f"power.{name}"] for name in ALL} == {"held"}
    assert {no_dir_fsync.expect[f"power.{name}"] for name in ALL} == {"violated"}


def result(profile: str, verdict: str, expected: str) -> CaseResult:
    line = ClassResult(fault_class="power", verdict=verdict, expected=expected, profile=profile)  # type: ignore[arg-type]
    return CaseResult(id="c", target="reference", variant="no_dir_fsync", version="", control="x", classes=(line,))


def test_a_control_that_is_not_caught_breaks_the_campaign_and_says_where() -> None:
    problem = control_problem([result("xfs", "held", "violated")])
    assert problem == "control no_dir_fsync under power on xfs: expected violated, found held"
    assert control_problem([result("xfs", "violated", "violated")]) == ""


def test_under_a_spent_budget_one_profile_is_explored_and_the_rest_is_open(tmp_path: Path) -> None:
    finished, events = conduct(
        tmp_path, scenario(targets=("reference/durable",), profiles=("ext4", "xfs")), budget_s=0.001
    )
    assert verdicts(finished, "durable") == {"ext4": "held", "xfs": "inconclusive"}
    assert set(verdicts(finished, "durable", "must_hold").values()) == {"held"}
    assert finished.exit_code == 3
    rows = {event.row.trial_id: event.row for event in events if isinstance(event, TrialFinished)}
    assert rows["reference/durable/state/power/xfs"].note == power.NOT_EXPLORED


def test_what_was_not_explored_to_its_end_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "MOST_SECONDS", 0.0)
    monkeypatch.setattr(power, "LEAST_SECONDS", 0.0)
    finished, events = conduct(tmp_path, scenario(targets=("reference/durable",), profiles=("xfs",)))
    assert verdicts(finished, "durable") == {"xfs": "inconclusive"}
    (row,) = (
        event.row
        for event in events
        if isinstance(event, TrialFinished) and event.row.trial_id == "reference/durable/state/power/xfs"
    )
    assert row.note.startswith("stopped at operation 0, its time used up")


CHECK = """
import json, sys
try:
    n = json.load(open(sys.argv[1] + "/state.json"))["n"]
except (OSError, ValueError, KeyError):
    n = -1
sys.exit(n < int(sys.argv[2]) and sys.argv[2] != "0")
"""


def test_a_check_judges_what_a_power_loss_leaves(tmp_path: Path) -> None:
    script, check = tmp_path / "save.py", tmp_path / "check.py"
    script.write_text(REPLACED)
    check.write_text(CHECK)
    words = (*PYTHON, str(check), "{dir}", "{acked}")
    done = conduct_probe(tmp_path, script, ("power",), check=words, profiles=("xfs",), confirm_power=False)
    found = [item for item in done.findings if item.fault_class == "power"]
    assert [item.invariant for item in found] == ["check"]
    assert (found[0].profiles, found[0].expected) == (("xfs",), False)
    shown = [row for name, row in done.rows.items() if "/check/power/xfs/" in name]
    assert {row.profile for row in shown} == {"xfs"}
    assert any(row.verdict == "violated" for row in shown)


def test_a_durable_writer_of_anybody_holds(tmp_path: Path) -> None:
    script = tmp_path / "save.py"
    script.write_text(DURABLE)
    done = conduct_probe(tmp_path, script, ("power",))
    assert (done.finished.verdict, done.findings) == ("held", [])


SWALLOWED = DURABLE.replace(
    "    os.fsync(file)\n", "    try:\n        os.fsync(file)\n    except OSError:\n        pass\n"
)


def test_a_swallowed_error_of_fsync_counts_under_power(tmp_path: Path) -> None:
    script = tmp_path / "save.py"
    script.write_text(SWALLOWED)
    done = conduct_probe(tmp_path, script, ("power",), profiles=("ext4", "posix"), confirm_power=False)
    assert done.finished.verdict == "violated"
    assert {item.operation for item in done.findings} == {"sync"}
    failing, loss = msgspec.convert(done.findings[0].fault, FaultPlan).faults
    assert isinstance(failing, Errno)
    assert isinstance(loss, PowerLoss)
    withheld = [row for name, row in done.rows.items() if "/sync/" in name and row.verdict == "held"]
    assert withheld  # where the fsync of the directory fails, it acknowledges nothing more
    assert all(row.fault_class == "power" and row.fault for row in withheld)


def test_only_syncs_before_an_acknowledgement_fail_in_turn() -> None:
    script = Script()
    file = script.open("log", append=True)
    for number in range(3 * SYNCS):
        script.write(file, b"x")
        script.fsync(file)
        script.ack(number)
    script.fsync(file)
    plans = sync_plans(script.trace())
    assert len(plans) == SYNCS
    occurrences = [plan.faults[0].at.occurrence for plan in plans]  # type: ignore[union-attr]
    assert (occurrences[0], occurrences[-1]) == (1, 3 * SYNCS)


@pytest.mark.parametrize("filesystem", ["ext4", "xfs"])
def test_a_power_loss_is_observed_on_a_real_file_system(filesystem: str, tmp_path: Path) -> None:
    if reason := why_not_available(filesystem):
        pytest.skip(f"no block engine: {reason}")
    script = tmp_path / "save.py"
    script.write_text(IN_PLACE)
    done = conduct_probe(tmp_path, script, ("power",), profiles=(filesystem,))
    observed = [item for item in done.findings if item.is_confirmed]
    assert observed
    for item in observed:
        assert item.confirmation.method.startswith(f"observed on {filesystem}, Linux ")
        assert 0 < item.confirmation.confirmed <= item.confirmation.attempts
        assert item.confirmation.evidence["filesystem"] == filesystem
    proofs = [row for name, row in done.rows.items() if "/exact/power/" in name]
    assert {row.engine for row in proofs} == {"block"}


def test_a_cause_is_observed_by_any_damage_that_was_predicted_for_it(tmp_path: Path) -> None:
    """Torn in its smallest state, empty in the cuts: what a rename to a new name leaves without an fsync."""
    if reason := why_not_available("ext4"):
        pytest.skip(f"no block engine: {reason}")
    script = tmp_path / "save.py"
    script.write_text(REPLACED.replace("    os.fsync(file)\n", ""))
    done = conduct_probe(tmp_path, script, ("power",), profiles=("ext4",))
    damaged = [item for item in done.findings if item.invariant == "M1" and item.damage in ("torn", "nul", "empty")]
    assert damaged
    for item in damaged:
        proof = item.confirmation
        assert proof.evidence["damage"] == "empty"
        assert proof.evidence["cuts"] == {"ext4": [proof.confirmed, proof.attempts]}
        told = "observed" if item.damage == "empty" else "observed (empty)"
        assert proof.method.startswith(f"{told} on ext4, Linux ")


def test_a_file_system_that_no_kernel_here_has_is_predicted_only(tmp_path: Path) -> None:
    script = tmp_path / "save.py"
    script.write_text(IN_PLACE)
    done = conduct_probe(tmp_path, script, ("power",), profiles=("ntfs",))
    assert {item.confirmation.method for item in done.findings} == {
        "predicted only (ntfs: from documents, not from a running kernel)"
    }


def test_a_case_expects_per_profile(tmp_path: Path) -> None:
    (case,) = plan_scenario(
        scenario(targets=("reference/no_dir_fsync",)), Options(), Workspace(str(tmp_path / "base"))
    ).cases
    assert isinstance(case, Case)
    assert (case.expected("power", "xfs"), case.expected("power", "mine")) == ("violated", "")
    row: TrialRow = case.row("state", "t", "held", "power", "xfs")
    assert (row.profile, row.expected) == ("xfs", "violated")
