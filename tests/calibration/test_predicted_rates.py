"""The predicted rate of timed kills lies in the measured interval for most of the writers that a kill breaks."""

from __future__ import annotations

import pytest

from benchmarks.predicted_rate import main, vulnerable
from harness.catalog import select


def test_every_writer_that_a_kill_breaks_is_compared() -> None:
    names = vulnerable()
    assert {"registry/in_place", "registry/in_place_node", "fork_session/sdk@0.1.72"} <= set(names)
    assert not any(name.startswith(("correct/", "reference/durable")) for name in names)
    assert all(len(select([name])) == 1 for name in names)


def test_a_writer_that_is_none_is_said_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["registry/nobody"], ["registry"], ["--kills", "0"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
    assert "at least 1" in capsys.readouterr().err


@pytest.mark.real
def test_predicted_rates_lie_in_the_measured_intervals(evidence: bool) -> None:
    if not evidence:
        pytest.skip("a quarter of an hour of kills: --evidence")
    assert main(["--kills", "100"]) == 0
