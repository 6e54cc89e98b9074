"""A finding as one file that reproduces it anywhere: from a token to the Python text that ``tornwrite export`` writes.

``reproduction`` finds out, by running the writer, what the file must say and check; ``sources`` takes the writer's own
files in; ``document`` makes the text, purely. ``parts`` is the code that the text is put together from.
"""

from __future__ import annotations
