"""``python -m benchmarks.first_corruption``: a writer that is none is said before anything is measured."""

from __future__ import annotations

import pytest

from benchmarks.first_corruption import main


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nosuch/x"], "error: no target 'nosuch/x'; valid: "),
        (["registry/in_place", "registry/nosuch"], "error: target 'registry' has no variant 'nosuch'"),
        (["registry"], "error: 'registry' names several writers; name one of them"),
    ],
)
def test_a_writer_that_is_none_is_said(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    captured = capsys.readouterr()
    assert ended.value.code == 2 and captured.out == ""
    assert says in captured.err.splitlines()[-1]
