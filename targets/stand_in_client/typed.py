"""The stand-in client in a terminal: an input line, replies above it, keys as coding agents have them.

Enter says what stands in the line, or leaves it for later while a turn goes on; Escape and Ctrl+C give the turn up;
Ctrl+U clears the line; Ctrl+C twice in a row, or /exit, leaves.
"""

from __future__ import annotations

import os
import queue
import select
import threading
import tty
from collections.abc import Callable

ESCAPE, SHIFT_TAB, CTRL_C, CTRL_U, ENTER = b"\x1b", b"\x1b[Z", b"\x03", b"\x15", b"\r"
TICK_S = 0.05


class InputLine:
    """The terminal: what stands in its last line, and what is shown above."""

    def __init__(self, say: Callable[[str], str], stop: Callable[[], None]) -> None:
        self._say = say
        self._stop = stop
        self._prompts: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._line = ""
        self._open = 0
        self._stops = 0

    def run(self, history: list[str]) -> None:
        """Read keys until the user leaves."""
        tty.setraw(0)
        for text in history:
            self._show(text)
        threading.Thread(target=self._work, daemon=True).start()
        self._draw()
        while True:
            if select.select([0], [], [], TICK_S)[0]:
                keys = os.read(0, 4096)
                if not keys or not self._key(keys):
                    return
                self._draw()
            while not self._answers.empty():
                self._open -= 1
                self._show(self._answers.get())
                self._draw()

    def _work(self) -> None:
        while True:
            self._answers.put(self._say(self._prompts.get()))

    def _key(self, keys: bytes) -> bool:
        """Do what a key asks for; return whether to go on."""
        self._stops = self._stops + 1 if keys == CTRL_C else 0
        if keys in (ESCAPE, CTRL_C):
            self._stop()
        elif keys == CTRL_U:
            self._line = ""
        elif keys == ENTER:
            line, self._line = self._line.strip(), ""
            if line == "/exit":
                return False
            if line:
                self._show(f"> {line}")
                self._open += 1
                self._prompts.put(line)
        elif keys != SHIFT_TAB:
            self._line += keys.decode("utf-8", "replace")
        return self._stops < 2

    def _show(self, text: str) -> None:
        os.write(1, f"\r\x1b[2K{text}\r\n".encode())

    def _draw(self) -> None:
        state = "working" if self._open else "ready"
        os.write(1, f"\r\x1b[2K[{state}] > {self._line}".encode())
