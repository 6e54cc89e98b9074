"""Scripts of the Messages API in files: what is read, and that every mistake is one line."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from harness.catalog import ManifestError
from harness.catalog.api_script import load_script, script_of
from harness.catalog.scenario import compile_scenario

TURNS = """
[api]
closing = "Bye."
unique_ids = false

[[turn]]
text = "I look."
finish = ["b"]
fault = [{ kind = "drop", after_blocks = 1, inside = true, times = 2 }]
[[turn.call]]
tool = "Bash"
effect = true
[[turn.call]]
id = "b"
tool = "mcp__tornwrite__gate"
hold = "after_effect"

[[turn]]
prompt = "sub"
delay_ms = 5
[[turn.call]]
tool = "Read"
input = { file_path = "{cwd}/f", limit = 3 }
"""
SCENARIO = '[scenario]\nname = "sample"\ntargets = ["reference/*"]\nseed = 9\n'


def test_a_script_stands_in_a_scenario_or_alone(tmp_path: Path) -> None:
    scenario, alone = tmp_path / "scenario.toml", tmp_path / "alone.toml"
    scenario.write_text(SCENARIO + TURNS)
    alone.write_text("seed = 9\n" + TURNS)
    script = load_script(str(scenario))
    assert script == load_script(str(alone))
    assert (script.seed, script.api.closing, script.api.unique_ids) == (9, "Bye.", False)
    assert [call.id for turn in script.turn for call in turn.call] == ["1.1", "b", "2.1"]
    assert script.uses_tools and script.uses_mcp
    life = script_of(compile_scenario("s.toml", tomllib.loads(SCENARIO + TURNS)), life=2)
    assert (life.life, life.turn) == (2, script.turn)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("inside", "insde", "[turn 1.fault 1]: unknown key 'insde'; did you mean 'inside'?"),
        ("delay_ms", "delay", "[turn 2]: unknown key 'delay'; did you mean 'delay_ms'?"),
        ("effect =", "efect =", "[turn 1.call 1]: unknown key 'efect'; did you mean 'effect'?"),
        ("closing", "close", "[api]: unknown key 'close'; did you mean 'closing'?"),
        ('kind = "drop"', 'kind = "drp"', "'drp' is not valid; did you mean 'drop'?; valid: drop, error_event"),
        ('["b"]', '["c"]', "[turn 1] finish: 'c' is no held call of this turn; held: b"),
        ("{cwd}", "{cdw}", "[turn 2] call 1 input: unknown placeholder {cdw}; did you mean 'cwd'?"),
        ("limit = 3", "limit = 1979-05-27", "input: 1979-05-27 is no value of JSON"),
        ("effect = true", "hold = 5", "[turn 1.call 1] hold: 5 is not valid; valid: "),
        ("[[turn]]", "[[trn]]", "unknown section 'trn'; did you mean 'turn'?"),
    ],
)
def test_every_mistake_is_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    for head in (SCENARIO, ""):
        path = tmp_path / "script.toml"
        path.write_text(head + TURNS.replace(old, new))
        with pytest.raises(ManifestError) as error:
            load_script(str(path))
        assert said in str(error.value)
        assert "script.toml: " in str(error.value)


def test_a_scenario_of_parts_leaves_turns_to_them_and_one_without_answers_nothing(tmp_path: Path) -> None:
    parts = '[scenario]\nname = "sample"\n[[part]]\nscenario = "reference"\n[[turn]]\ntext = "x"\n'
    with pytest.raises(ManifestError, match=r"\[turn\]: a scenario made of \[\[part\]\] tables"):
        compile_scenario("s.toml", tomllib.loads(parts))
    with pytest.raises(ManifestError, match=r"reference: has no \[\[turn\]\] tables"):
        load_script("reference")
    (tmp_path / "empty.toml").write_text("turn = []\n")
    with pytest.raises(ManifestError, match=r"has no \[\[turn\]\] tables"):
        load_script(str(tmp_path / "empty.toml"))
    with pytest.raises(ManifestError, match="no scenario 'refernce'; did you mean 'reference'"):
        load_script("refernce")
