"""exit_group, execve and SIGKILL: calls that end other threads, wherever those are.

They change no file, but they must not strike while another thread's operation is in flight, or its outcome
would be unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.operation import AnyOperation
from harness.engines.calls.call import Call
from harness.engines.ptrace.decode.call import Arguments, TracedCall
from harness.engines.ptrace.tracee import Thread
from harness.engines.ptrace.watch import Watch


class EndingCall(TracedCall):
    """A call that may end threads, its own among them; it leaves no operation.

    It is not waited for: its own end may be reported only after the ends of others. The loop holds back new
    operations until it is over.
    """

    __slots__ = ()

    def __init__(self, watch: Watch, thread: Thread, syscall: str) -> None:
        super().__init__(watch, thread, syscall)
        self.exclusive = False

    def finish(self, returned: int) -> Sequence[AnyOperation]:
        """Return nothing: the call failed, or ended somebody else."""
        del returned
        return ()


def _ends_siblings(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    del args
    return EndingCall(watch, thread, name) if len(thread.process.threads) > 1 else None


def _kills(watch: Watch, thread: Thread, name: str, args: Arguments) -> Call | None:
    del args
    return EndingCall(watch, thread, name)


DECODERS = {
    **dict.fromkeys(("exit_group", "execve", "execveat"), _ends_siblings),
    **dict.fromkeys(("kill", "tkill", "tgkill", "pidfd_send_signal"), _kills),
}
