"""Which effects wait for which others, and which operation makes them durable: a profile's switches made edges.

``needs[e]`` is the set of effects that are on the disk whenever ``e`` is (transitive, as a bit mask over effect
numbers). ``durable[k]`` are the effects that are on the disk whatever happens once operation ``k`` has returned. A
state of a crash after operation ``k`` is a set of effects up to ``k`` that holds ``durable[k]`` and, with each effect,
what it needs. Both are per profile; every rule is one switch of :class:`harness.core.profile.Profile`.

What is durable stays so, with one exception: where a log of fsyncs keeps a file's current names alone, a name that the
file loses is forgotten, and what was there before it may come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.core.operation import AnyOperation, Close, Open, Sync, Truncate, Write
from harness.core.profile import Flushes, Profile
from harness.explore.power.effects import Cut, Data, Effect, Effects, Entry, Names, Size, is_directory

O_DSYNC, O_SYNC = 0o10000, 0o4010000
"""Of Linux and of recorded traces everywhere: flags are stored as the kernel of the recording had them."""


def closed(needs: Sequence[int], mask: int) -> int:
    """Return ``mask`` and all that its effects need, where ``needs`` is transitive."""
    out = mask
    for number in bits(mask):
        out |= needs[number]
    return out


class Order(NamedTuple):
    """The partial order of a trace's effects under one profile. Masks are over effect numbers."""

    effects: Effects
    profile: Profile
    needs: tuple[int, ...]
    durable: tuple[int, ...]

    def closed(self, mask: int) -> int:
        """Return ``mask`` and all that its effects need: what is on the disk with it."""
        return closed(self.needs, mask)


def bits(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits set in ``mask``, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class _File:
    """What is known of one inode while the order is built: masks of its effects, and the last of each kind."""

    __slots__ = (
        *("all", "cut", "cuts", "cuts_and_sizes", "dropped", "fresh"),
        *("last_size", "logged", "made", "named", "on_block", "opened", "rewritten"),
    )

    def __init__(self) -> None:
        self.all = 0
        self.cuts_and_sizes = 0
        self.fresh = 0
        self.named: dict[Entry, int] = {}
        self.made = 0
        self.logged = False
        self.opened = -1
        """The flags that all opens of it had; -1 before the first."""
        self.cut = -1
        self.cuts: list[tuple[int, int]] = []
        self.last_size = -1
        self.on_block: dict[int, int] = {}
        self.dropped = 0
        self.rewritten = False

    def names(self) -> int:
        """Return the changes that gave the file the names that it has now."""
        out = 0
        for mask in self.named.values():
            out |= mask
        return out


class _Builder:
    def __init__(self, effects: Effects, profile: Profile) -> None:
        self.effects, self.profile = effects, profile
        self.needs: list[int] = []
        self.durable = 0
        self.committed = 0
        self.files: dict[int, _File] = {}
        self.by_entry: dict[Entry, int] = {}
        self.owner: dict[Entry, int] = {}
        self.by_directory: dict[int, int] = {}
        self.in_directory: dict[int, int] = {}
        self.made: dict[int, int] = {}
        self.waiting = 0
        self.flushed = 0
        self.sync_flags: dict[tuple[int, int], int] = {}

    def file(self, ino: int) -> _File:
        """Return what is known of an inode."""
        known = self.files.get(ino)
        if known is None:
            known = self.files[ino] = _File()
        return known

    def closed(self, mask: int) -> int:
        """Return ``mask`` and all that its effects need."""
        return closed(self.needs, mask)

    def _add(self, number: int, direct: int) -> None:
        self.needs.append(self.closed(direct) & ~(1 << number))

    def add(self, number: int, item: Effect) -> None:
        """Place one effect, by its kind."""
        match item:
            case Data():
                self._data(number, item)
            case Size():
                self._size(number, item)
            case Cut():
                self._cut(number, item)
            case Names():
                self._names(number, item)

    def _data(self, number: int, item: Data) -> None:
        """Data wait for the truncation that freed their block; on most systems for what was written there since."""
        file = self.file(item.ino)
        begins = item.block * self.profile.block_bytes
        freed = next((cut for size, cut in reversed(file.cuts) if size <= begins), -1)
        direct = 1 << freed if freed >= 0 else 0
        before = file.on_block.get(item.block, -1)
        reverted = self.profile.failed_fsync == "revert" and before >= 0 and file.dropped >> before & 1
        if before >= 0 and self.profile.block_writes_ordered and not reverted:
            earlier = self.effects.items[before]
            grew = isinstance(earlier, Data) and (earlier.hidden or earlier.grows)
            # What was appended to the block goes along, but not the size that shows it (effects: _in_block).
            if not grew or item.hidden or item.grows:
                direct |= 1 << before
        if item.hidden:
            direct |= 1 << (number - 1)
        file.on_block[item.block] = number
        if item.grows:
            direct |= self._sizes_before(file, item.op)
            file.last_size = number
            file.cuts_and_sizes |= 1 << number
        file.all |= 1 << number
        if item.fresh:
            file.fresh |= 1 << number
        self._add(number, direct)

    def _size(self, number: int, item: Size) -> None:
        """A size waits for the truncation before it, for the size up to the block before, and maybe for data."""
        file = self.file(item.ino)
        direct = (1 << file.cut if file.cut >= 0 else 0) | self._sizes_before(file, item.op)
        if item.after_data:
            direct |= 1 << (number - 1)
        file.last_size = number
        file.all |= 1 << number
        file.cuts_and_sizes |= 1 << number
        self._add(number, direct)

    def _sizes_before(self, file: _File, op: int) -> int:
        """Return the size that one of operation ``op`` waits for: the largest of several says it all.

        Where a size waits for its own data only, those of other writes may be missing.
        """
        last = file.last_size
        if last < 0 or (self.profile.data_before_size == "write" and self.effects.items[last].op != op):
            return 0
        return 1 << last

    def _cut(self, number: int, item: Cut) -> None:
        """Truncations of one file keep their order; what replaced it may have to be there first."""
        file = self.file(item.ino)
        direct = (1 << file.cut if file.cut >= 0 else 0) | self.flushed
        if self.profile.truncate_flushes and not item.shrinks:
            direct |= file.all
        file.cut, file.last_size = number, -1
        file.cuts.append((item.size, number))
        block = self.profile.block_bytes
        file.on_block = {at: data for at, data in file.on_block.items() if at * block < item.size}
        file.rewritten = file.rewritten or item.size == 0
        file.all |= 1 << number
        file.cuts_and_sizes |= 1 << number
        self._add(number, direct)

    def _names(self, number: int, item: Names) -> None:
        """Names wait for each other as the profile says, for directories that were made, and maybe for content."""
        profile, direct = self.profile, self.flushed
        directories = {directory for directory, _ in item.entries}
        for directory in {*directories, item.subject}:
            direct |= self.made.get(directory, 0)
        if profile.dir_ops_ordered == "name":
            for entry in item.entries:
                direct |= self.by_entry.get(entry, 0)
        elif profile.dir_ops_ordered == "dir":
            for directory in directories:
                direct |= self.by_directory.get(directory, 0)
        file = self.file(item.subject)
        if item.replaces is not None:
            direct |= self._content(file, profile.rename_over_flushes)
        elif item.new_name:
            direct |= self._content(file, profile.new_name_flushes)
        if item.removes:
            direct |= 1 << (number - 1)
        bit = 1 << number
        for entry in item.entries:
            self.by_entry[entry] = bit
        for directory in directories:
            self.by_directory[directory] = bit
            self.in_directory[directory] = self.in_directory.get(directory, 0) | bit
        if profile.dir_ops_ordered == "none" and profile.fsync_file_persists_its_name:
            self._forget(item)
        for entry in item.entries:
            self.file(self.owner.pop(entry, item.subject)).named.pop(entry, None)
        for entry, ino in item.come:
            self.file(ino).named[entry] = bit
            self.owner[entry] = ino
        if item.removes:
            file.named |= {entry: mask | bit for entry, mask in file.named.items() if mask >> (number - 1) & 1}
        if not item.gone and not item.new_name and item.replaces is None:
            file.made |= bit
        if not item.gone and is_directory(self.effects, item.op, item.subject):
            self.made[item.subject] = bit
        self._add(number, direct)

    def _forget(self, item: Names) -> None:
        """Take back what a log of fsyncs held of the names that are lost: it keeps a file's current names alone.

        A name that is replaced is forgotten as well, unless the log holds the file that comes there.
        """
        lost = [(entry, item.subject) for entry in item.gone]
        if not self.file(item.subject).logged:
            lost += [(entry, self.owner[entry]) for entry, _ in item.come if entry in self.owner]
        for entry, ino in lost:
            self.durable &= ~(self.file(ino).named.get(entry, 0) & ~self.committed)

    @staticmethod
    def _content(file: _File, flushes: Flushes) -> int:
        return {"nothing": 0, "size": file.cuts_and_sizes, "data": file.cuts_and_sizes | file.fresh}[flushes]

    def after(self, op: AnyOperation, mine: int) -> None:
        """What the return of ``op`` makes durable, or orders, now that its effects ``mine`` are known."""
        if isinstance(op, Sync):
            self._sync(op)
        elif isinstance(op, Open) and not op.error:
            self.sync_flags[self._process(op.actor), op.fd] = op.flags
            self.file(op.ino).opened &= op.flags
            if op.truncated:
                self.file(op.ino).rewritten = True
        elif isinstance(op, Close):
            file = self.file(op.ino)
            self.sync_flags.pop((self._process(op.actor), op.fd), None)
            if file.rewritten:
                self.flushed |= self._content(file, self.profile.truncate_replace_flushes)
                file.rewritten = False
        elif isinstance(op, Write | Truncate):
            self._synchronous(op, mine)

    def _process(self, actor: int) -> int:
        """Return the process of an actor: its threads share their descriptors."""
        actors = self.effects.trace.actors
        return actors[actor].process if actor < len(actors) else -1 - actor

    def _synchronous(self, op: Write | Truncate, mine: int) -> None:
        """A write through a descriptor opened with O_SYNC or O_DSYNC is durable when it returns."""
        if not isinstance(op, Write):
            return
        # A descriptor that nobody opened was duplicated or inherited: it has what all opens of its file had.
        flags = self.sync_flags.get((self._process(op.actor), op.fd), self.file(op.ino).opened)
        if flags > 0 and flags & O_DSYNC:
            self._persist(mine)
            if flags & O_SYNC == O_SYNC and self.profile.fsync_file_persists_its_name:
                self._persist(self.file(op.ino).names())

    def _sync(self, op: Sync) -> None:
        if op.error:
            pending = [self.files[op.ino]] if op.ino in self.files else []
            for file in pending if op.ino >= 0 else self.files.values():
                file.dropped |= file.all & ~file.cuts_and_sizes & ~self.durable
            return
        if op.scope in ("filesystem", "all"):
            if self.profile.sync_waits or op.scope == "filesystem":  # syncfs waits wherever there is one
                self.committed = (1 << len(self.needs)) - 1 & ~self._dropped()
                self.durable |= self.committed
            return
        if op.scope not in ("file", "data"):
            return  # sync_file_range writes no metadata and empties no cache
        persisted = 0
        if is_directory(self.effects, op.seq, op.ino):
            persisted = self.in_directory.get(op.ino, 0) if self.profile.fsync_dir else 0
        file = self.file(op.ino)
        persisted |= file.all & ~file.dropped
        file.logged = True
        if self.profile.fsync_file_persists_its_name:
            # fdatasync of a renamed file leaves the rename where it was; the name it was made with it keeps.
            persisted |= file.names() & (-1 if op.scope == "file" else file.made)
        self._persist(persisted)

    def _persist(self, mask: int) -> None:
        """Make durable what a sync wrote out; names wait until those of new directories above were synced too.

        What waits is taken as pending: a directory that is there without it was possible before that sync already.
        """
        if self.profile.fsync_persists_parents:
            self.durable |= self.closed(mask)
            return
        self.waiting |= mask
        above = sum(self.made.values()) & ~(self.waiting | self.durable)
        ready = sum(1 << number for number in bits(self.waiting) if not self.needs[number] & above)
        self.durable |= self.closed(ready)
        self.waiting &= ~ready

    def _dropped(self) -> int:
        dropped = 0
        for file in self.files.values():
            dropped |= file.dropped
        return dropped


def order_of(effects: Effects, profile: Profile) -> Order:
    """Return the order of ``effects`` under ``profile``."""
    builder = _Builder(effects, profile)
    durable: list[int] = []
    for op, numbers in zip(effects.trace.operations, effects.of_op, strict=True):
        mine = 0
        for number in numbers:
            builder.add(number, effects.items[number])
            mine |= 1 << number
        builder.after(op, mine)
        durable.append(builder.durable)
    return Order(effects, profile, tuple(builder.needs), tuple(durable))
