"""Four ways to keep an index: seed 003's hypothesis, two of its requests, and one that holds.

A keeper is started on each project, told of every message appended, and finished only by a graceful exit. The first
two happen under the lock of the project, because transcripts are healed and appended to under it whoever keeps the
index.
"""

import os

from index import (
    DAY_MS,
    INDEX,
    entry_of,
    index_bytes,
    lag_ms,
    last_written_ms,
    milliseconds,
    read_index,
    rebuilt,
    refreshed,
    transcripts_of,
)
from transcript import keep_aside, replace, sweep


class CachedSnapshot:
    """Loaded at the start, kept in memory, written over whatever is on disk by a graceful exit."""

    warns = False

    def __init__(self):
        self.cache = {}
        self.own = {}

    def start(self, directory):
        self.cache[directory] = read_index(directory) or {}

    def updated(self, path):
        """Note that a transcript has grown."""
        directory, entry = os.path.dirname(path), entry_of(path)
        known = self.cache.setdefault(directory, {})
        known[entry["sessionId"]] = known.get(entry["sessionId"], {}) | entry
        self.own.setdefault(directory, set()).add(entry["sessionId"])

    def finish(self):
        """Write the indexes of the projects that this instance worked in."""
        for directory in self.own:
            self.write(directory, self.cache[directory])

    def write(self, directory, entries):
        with open(os.path.join(directory, INDEX), "wb") as stream:
            stream.write(index_bytes(directory, entries))

    def shown(self, directory):
        """Return the entries that the picker shows: those of the index."""
        return read_index(directory) or {}


class Rebuild24h(CachedSnapshot):
    """The seed's first request: an index that is missing or over 24 hours behind is made anew at the start."""

    warns = True

    def current(self, directory):
        """Return (entries, whether they were made anew). An index that is no index counts as missing."""
        entries = read_index(directory)
        if entries is None or lag_ms(directory, entries) > DAY_MS:
            return rebuilt(directory), True
        return entries, False

    def start(self, directory):
        self.cache[directory], made = self.current(directory)
        if made:
            self.write(directory, self.cache[directory])

    def shown(self, directory):
        return self.current(directory)[0]


class Merge(CachedSnapshot):
    """The seed's second request: a graceful exit writes its own sessions into what is on disk by then."""

    def finish(self):
        for directory, names in self.own.items():
            entries = read_index(directory) or {}
            self.write(directory, entries | {name: self.cache[directory][name] for name in names})


class Durable(CachedSnapshot):
    """Merged and replaced under a lock after every message; whatever is behind is made anew at the start."""

    warns = True

    def start(self, directory):
        sweep(directory)
        entries = read_index(directory)
        if entries is None and os.path.exists(os.path.join(directory, INDEX)):
            keep_aside(os.path.join(directory, INDEX))
        fresh = refreshed(directory, entries or {})
        if fresh != entries:
            self.write(directory, fresh)

    def updated(self, path):
        directory, entry = os.path.dirname(path), entry_of(path)
        entries, name = read_index(directory) or {}, entry["sessionId"]
        self.write(directory, entries | {name: entries.get(name, {}) | entry})

    def finish(self):
        pass

    def write(self, directory, entries):
        replace(os.path.join(directory, INDEX), index_bytes(directory, entries))

    def shown(self, directory):
        return refreshed(directory, read_index(directory) or {})


KEEPERS = {
    "cached_snapshot": CachedSnapshot,
    "seed003_rebuild_24h": Rebuild24h,
    "seed003_merge": Merge,
    "durable": Durable,
}


def warnings(directory, days):
    """Yield (name, warning) where the index on disk and the transcripts disagree by more than ``days``."""
    entries = read_index(directory)
    if entries is None:
        yield INDEX, "the index is missing or cannot be read"
        entries = {}
    for name, path in transcripts_of(directory).items():
        if name not in entries:
            yield name, "the index does not know this transcript"
            continue
        behind = last_written_ms(path) - milliseconds(entries[name]["modified"])
        if abs(behind) > days * DAY_MS:
            yield name, f"the index is {behind // DAY_MS} days behind this transcript"
