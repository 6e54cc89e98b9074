"""Scenarios made of others: each part keeps what is its own, and what cannot share a campaign is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.catalog import ManifestError, Scenario, joined, load_scenario, select

WHOLE = '[scenario]\nname = "whole"\nbudget_s = 60\nseed = 7\n'
ONE = '[scenario]\nname = "one"\ntargets = ["reference/durable"]\nfaults = ["kill"]\ntimed = 9\nseed = 3\n'
TWO = '[scenario]\nname = "two"\ntargets = ["reference/buggy"]\n[workload]\nupdates = 2\n[[life]]\nexit = "sigkill"\n'


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "one.toml").write_text(ONE)
    (tmp_path / "two.toml").write_text(TWO)
    (tmp_path / "nested.toml").write_text(WHOLE + '[[part]]\nscenario = "one.toml"\n')
    return tmp_path


def loaded(files: Path, text: str) -> Scenario:
    (files / "whole.toml").write_text(text)
    return load_scenario(str(files / "whole.toml"))


def test_each_part_keeps_its_own(files: Path) -> None:
    whole = loaded(files, WHOLE + '[[part]]\nscenario = "one.toml"\n[[part]]\nscenario = "two.toml"\n')
    one, two = whole.parts
    assert (one.name, one.faults, one.timed) == ("one", ("kill",), 9)
    assert (two.workload.updates, two.life[0].exit, two.faults) == (
        2,
        "sigkill",
        ("kill", "short", "errno", "power"),
    )
    assert (whole.budget_s, whole.targets) == (60, ())
    assert {one.seed, two.seed} == {7}, "one campaign has one seed"


def test_a_part_can_be_asked_for_less(files: Path) -> None:
    more = 'targets = ["reference/buggy"]\nfaults = ["short"]\ntimed = 2\nruns = 3\nattempts = 1\nsamples = 4\n'
    (part,) = loaded(files, WHOLE + '[[part]]\nscenario = "one.toml"\n' + more).parts
    assert part.targets == ("reference/buggy",)
    assert (part.faults, part.timed, part.runs, part.attempts, part.samples) == (("short",), 2, 3, 1, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[part]]\nscenario = "on.toml"\n', "on.toml: cannot be read"),
        ('[[part]]\nscenario = "demoo"\n', "[part 1] scenario: no scenario 'demoo'; did you mean 'demo'?"),
        ("[[part]]\ntimed = 3\n", "lacks the key 'scenario'"),
        ('[[part]]\nscenario = "nested.toml"\n', "[part 1] scenario: 'nested.toml' is made of parts itself"),
        ('[[part]]\nscenario = "whole.toml"\n', "[part 1] scenario: 'whole.toml' is made of parts itself"),
        ('[[part]]\nscenario = "one.toml"\n' * 2, "[part 2] scenario: 'one.toml' is a part already"),
        ('[[part]]\nscenario = "one.toml"\nfaults = ["kil"]\n', "'kil' is not valid; did you mean 'kill'?"),
        (
            '[[part]]\nscenario = "one.toml"\ntimed = -1\n',
            "[part 1] one.toml: [scenario] timed: -1 is not between",
        ),
        ('[[part]]\nscenario = "one.toml"\ntargets = []\n', "targets: must name at least one target"),
        ('[[part]]\nscenario = "one.toml"\nseed = 3\n', "unknown key 'seed'"),
        ('targets = ["reference"]\n[[part]]\nscenario = "one.toml"\n', "[scenario] targets: a scenario made of"),
        ('[workload]\nupdates = 3\n[[part]]\nscenario = "one.toml"\n', "[workload]: a scenario made of [[part]]"),
        ('[[life]]\nexit = "power"\n[[part]]\nscenario = "one.toml"\n', "[life]: a scenario made of [[part]]"),
        ("[[part]]\nscenario = 7\n", "[part 1] scenario: "),
    ],
)
def test_a_wrong_part_is_one_line(files: Path, text: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        loaded(files, WHOLE + text)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def test_names_on_a_command_line_are_joined(files: Path) -> None:
    one, two = load_scenario(str(files / "one.toml")), load_scenario(str(files / "two.toml"))
    nested = load_scenario(str(files / "nested.toml"))
    assert joined([one]) is one
    both = joined([one, two], seed=5)
    assert (both.name, [part.name for part in both.parts], both.seed) == ("one two", ["one", "two"], 5)
    assert both.budget_s == 0, "a part without a bound has none"
    assert [part.name for part in joined([nested, two], seed=1).parts] == ["one", "two"]
    bounded = [msgspec.structs.replace(each, budget_s=20, seed=1) for each in (one, two)]
    assert joined(bounded).budget_s == 40
    with pytest.raises(
        ManifestError, match=r"one campaign has one seed, and these have one 3, two 1; .* --seed N"
    ):
        joined([one, two])
    with pytest.raises(ManifestError, match="scenario 'one' is named twice"):
        joined([one, nested], seed=1)


def test_the_five_stories_are_all_there() -> None:
    scenario = load_scenario("five_stories")
    assert [part.seed_story for part in scenario.parts] == ["000", "001", "002", "003", "004"]
    for part in scenario.parts:
        chosen = select(part.targets)
        expected = [{chosen_one.variant.expect.get(fault, "") for fault in part.faults} for chosen_one in chosen]
        assert any("violated" in verdicts for verdicts in expected), f"{part.name} shows no writer that breaks"
        assert any("held" in verdicts for verdicts in expected), f"{part.name} shows nothing that helps"
