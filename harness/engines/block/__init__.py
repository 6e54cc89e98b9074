"""The block engine: power cuts on a real ext4, xfs or btrfs (Linux, root).

A writer runs, traced, on a file system whose disk logs every write and flush. From that log disks are made as a
power cut may leave them: everything up to a flush, and of what came after it any part. Each is mounted, so that
the file system repairs itself as after a real power cut, and read.

What is seen here was really left by this kernel; what is not seen here may still happen:

* one order and timing of background writing per recording; another run, or a longer one, may reach other states;
* whole requests reach the disk or do not (or, if ``tears`` are asked for, pages of them): no torn sector, no
  misdirected write, no rot;
* one disk with one volatile cache that obeys flushes; no array, no disk that lies about a flush;
* the state directory is a mount of its own: TMPDIR is on another file system (EXDEV), and nothing above the
  directory is lost;
* this kernel, this mkfs, small file systems that are never full.

So this engine confirms what a model predicts and shows what a model forgot. It never shows that something cannot
happen.
"""

from harness.engines.block.available import why_not_available
from harness.engines.block.cuts import Cut, cuts_of
from harness.engines.block.filesystems import FILESYSTEMS, BlockOptionError
from harness.engines.block.observe import ObservedState, observe
from harness.engines.block.recording import DiskRecording, record_on_disk

__all__ = [
    "FILESYSTEMS",
    "BlockOptionError",
    "Cut",
    "DiskRecording",
    "ObservedState",
    "cuts_of",
    "observe",
    "record_on_disk",
    "why_not_available",
]
