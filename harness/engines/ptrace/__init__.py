"""The Linux engine: ptrace with a seccomp filter, in pure Python (x86_64).

Any unmodified program, every mutating system call with data, offset and result, in one total order across
threads and processes; faults struck at exactly the operation that is asked for. Needs no root.

What it cannot see is a closed list: stores through a shared writable mapping (recorded as ``map`` operations,
named in the trace's ``unseen_paths``), and system calls through io_uring, which it answers with ENOSYS so that
runtimes fall back to system calls it does see.
"""
