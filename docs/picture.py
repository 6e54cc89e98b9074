"""Make docs/demo.svg: what `tornwrite demo` really prints in a terminal of 80 columns.

    python docs/picture.py

The output is taken from a run as it is; only the name of the directory that it ran in is left out. Needs a POSIX
terminal (pty).
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from xml.sax.saxutils import escape

from rich.color import Color
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

COLUMNS = 80
CELL = (8.4, 19.0)
"""Width and height of a character in the picture."""

_BUTTONS = ("#ff5f57", "#febc2e", "#28c840")


def printed(command: list[str]) -> str:
    """Return what a command prints to a terminal, colours included."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    with tempfile.TemporaryDirectory() as directory:
        child = subprocess.Popen(command, cwd=directory, stdout=follower, stderr=follower, env=environment)
        os.close(follower)
        parts = []
        while True:
            try:
                data = os.read(leader, 1 << 16)
            except OSError:  # the last process has closed the terminal
                break
            if not data:
                break
            parts.append(data)
        os.close(leader)
        if child.wait() != 0:
            raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
        return b"".join(parts).decode().replace("\r\n", "\n").replace(os.path.realpath(directory) + os.sep, "")


def _paint(style: Style | None) -> str:
    if style is None:
        return ""
    colour: Color | None = style.color
    fill = "" if colour is None else f' fill="{colour.get_truecolor(MONOKAI).hex}"'
    return fill + (' font-weight="bold"' if style.bold else "") + (' opacity="0.7"' if style.dim else "")


def svg(text: str, title: str) -> str:
    """Return a picture of ``text`` in a window: no font and nothing else is loaded from anywhere."""
    console = Console(width=COLUMNS)
    lines = [line.rstrip() for line in text.rstrip().split("\n")]
    width, height = COLUMNS * CELL[0] + 40, (len(lines) + 1) * CELL[1] + 50
    rows = []
    for number, line in enumerate(lines):
        at, spans = 0, []
        for segment in Segment.simplify(Text.from_ansi(line).render(console)):
            if segment.text.strip():
                x = 20 + at * CELL[0]
                length = segment.cell_length * CELL[0]
                place = f'x="{x:.1f}" textLength="{length:.1f}"{_paint(segment.style)}'
                spans.append(f"<tspan {place}>{escape(segment.text)}</tspan>")
            at += segment.cell_length
        rows.append(f'<text y="{56 + number * CELL[1]:.1f}" xml:space="preserve">{"".join(spans)}</text>')
    dots = "".join(
        f'<circle cx="{20 + 18 * number}" cy="20" r="6" fill="{colour}"/>'
        for number, colour in enumerate(_BUTTONS)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}">\n'
        f'<rect width="100%" height="100%" rx="8" fill="#1e1f29"/>{dots}\n'
        f'<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" fill="#e6e6e6">\n'
        + "\n".join(rows)
        + "\n</g>\n</svg>\n"
    )


if __name__ == "__main__":
    shown = printed([sys.executable, "-m", "harness", "demo"])
    picture = svg(f"$ tornwrite demo\n{shown}", "What tornwrite demo prints")
    Path(__file__).with_name("demo.svg").write_text(picture, encoding="utf-8")
