"""Rows of power losses: how their counts are told, and what is no answer. That real rows turn: test_opposites."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.catalog.profiles import list_profiles, load_profiles
from harness.checks import INVARIANTS
from harness.engines.block import FILESYSTEMS
from harness.seeds import __main__ as command
from harness.seeds import losses
from harness.seeds.claim import Claim, problems
from harness.seeds.losses import WORKLOADS, Counted, spell_cuts, spell_states, workload_of

CLAIMS = command.load_claims()
OF_POWER = [claim for claim in CLAIMS if claim.fault == "power"]
OF_CUTS = [claim for claim in OF_POWER if claim.setting == "cuts" or claim.measure == "nul_in_cuts"]
COUNTS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(9, 12), st.booleans()), min_size=1, max_size=len(list_profiles())
).map(
    lambda rows: [
        Counted(name, bad, total, sampled) for name, (bad, total, sampled) in zip("abcdefghij", rows, strict=False)
    ]
)


@pytest.mark.parametrize("claim", OF_POWER, ids=lambda claim: claim.id)
def test_a_row_of_a_power_loss_names_profiles_and_a_family_with_work(claim: Claim) -> None:
    assert load_profiles(claim.profiles)
    assert workload_of(claim) in WORKLOADS.values()


@pytest.mark.parametrize("claim", [each for each in OF_POWER if each.finds], ids=lambda claim: claim.id)
def test_what_is_looked_for_is_seen_without_a_program(claim: Claim) -> None:
    assert all({"file", "names", "tree"} & set(INVARIANTS[name].checks) for name in claim.finds)


@pytest.mark.parametrize("claim", OF_CUTS, ids=lambda claim: claim.id)
def test_cuts_are_asked_of_profiles_that_a_kernel_has(claim: Claim) -> None:
    assert {profile.filesystem for profile in load_profiles(claim.profiles)} <= set(FILESYSTEMS)


@pytest.mark.parametrize("seed", ["000", "001", "002", "003", "004"])
def test_no_row_waits_for_power_losses_to_be_judged(seed: str) -> None:
    mine = [claim for claim in CLAIMS if claim.seed == seed]
    assert any(claim.fault == "power" for claim in mine)
    assert not any("not judged yet" in claim.reason for claim in mine)


def test_every_document_with_a_fix_has_it_asked_about() -> None:
    asked = {claim.variant.partition("@")[0] for claim in OF_POWER if claim.kind in ("fix", "ask")}
    assert asked >= {
        "transcript/tmp_fsync_rename",
        "transcript/seed000_example_moved",
        "registry/seed002_fix",
        "sessions_index/seed003_merge",
        "sessions_index/seed003_rebuild_24h",
        "fork_session/seed004_fix",
    }


@pytest.mark.parametrize(
    ("claim", "wrong"),
    [
        ({"fault": "power", "finds": ("B5",)}, "go together"),
        ({"fault": "kill", "finds": ("B5",), "profiles": ("ext4",)}, "go together"),
        ({"fault": "power", "finds": ("B5",), "profiles": ("ext4",)}, "states or cuts"),
    ],
)
def test_a_claim_of_a_power_loss_says_where_and_how(claim: dict[str, object], wrong: str) -> None:
    made = msgspec.convert({"id": "000.99", "kind": "claim", "says": "s", "variant": "a/b", **claim}, Claim)
    assert any(wrong in problem for problem in problems([made]))


@given(COUNTS)
def test_every_profile_is_told_once_and_every_count(found: list[Counted]) -> None:
    text = spell_states(found)
    counts = text.rpartition("; ")[0] if "; " in text else text
    told = [
        name
        for part in counts.split("; ")
        if " under " in part
        for name in part.partition(" under ")[2].replace(" and ", ", ").split(", ")
    ]
    assert sorted(told) == [each.profile for each in found]
    assert all(f"{each.bad} of {each.total} states" in counts for each in found)
    assert ("samples" in text) is any(each.sampled for each in found)


def test_a_file_system_that_is_missing_is_told_with_the_others() -> None:
    text = spell_cuts([Counted("ext4", 3, 10), Counted("xfs", 0, 0, missing="is not here")])
    assert "3 of 10 cuts on ext4" in text and "xfs is not here" in text and "0 of 0" not in text


def test_without_a_disk_to_cut_a_row_is_not_available_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(losses, "why_not_available", lambda name: "the block engine needs root")
    monkeypatch.setattr("sys.argv", ["seeds", "--only", "000.26"])
    assert command.main() == 0
    assert "000.26 not available: the block engine needs root" in capsys.readouterr().out


@pytest.mark.real
def test_a_writer_that_acknowledged_nothing_has_nothing_to_lose(tmp_path: Path) -> None:
    claim = next(claim for claim in CLAIMS if claim.id == "000.25")
    other = msgspec.structs.replace(claim, variant="transcript/seed000_example")
    rows = command.measured_rows([other], str(tmp_path))
    assert (rows[0].answer, "acknowledged nothing" in rows[0].shown) == ("not measured", True)
