"""Pure data: operations, traces, trees, faults, verdicts, events, run specifications.

Nothing here touches a process, a clock or a disk; an import contract holds it.
"""
