"""Invariants over trees, acknowledgements and traces: pure functions in a registry, and the judge that runs them.

Importing this package fills :data:`INVARIANTS`.
"""

from __future__ import annotations

from harness.checks import (
    conversation_invariants,
    document_invariants,
    entry_progress,
    index_invariants,
    name_invariants,
    publishing,
    record_invariants,
    refused_rename,
    registry_invariants,
    repairing,
    resume_invariants,
    rewriting,
    title_invariants,
    update_invariants,
)
from harness.checks.binding import FORMATS, Bindings, FileBinding
from harness.checks.conversation import Conversation, conversation_of
from harness.checks.discipline import judge_trace
from harness.checks.expectation import Expectation
from harness.checks.inference import infer_bindings
from harness.checks.invariant import INVARIANTS, Invariant, UnknownInvariantError
from harness.checks.judge import Judge
from harness.checks.lister import lists_session
from harness.checks.listing import judge_listing, list_sessions, sessions_to_resume
from harness.checks.messages_api import ApiError, validate
from harness.checks.outcome import judge_outcome, unsteady_roles
from harness.checks.paths import path_key, same_path
from harness.checks.reading import ABSENT, GONE, Read, judge_reads, read_of
from harness.checks.recovery import LossReport, judge_recovery
from harness.checks.repairing import judge_cut_repair
from harness.checks.resume_invariants import ResumeOutcome, resume_outcome
from harness.checks.rules import Rules

FAMILIES = (
    record_invariants,
    conversation_invariants,
    resume_invariants,
    document_invariants,
    name_invariants,
    registry_invariants,
    index_invariants,
    title_invariants,
    update_invariants,
    entry_progress,
    refused_rename,
    rewriting,
    repairing,
    publishing,
)
"""The modules whose functions have joined the registry."""

__all__ = [
    "ABSENT",
    "FORMATS",
    "GONE",
    "INVARIANTS",
    "ApiError",
    "Bindings",
    "Conversation",
    "Expectation",
    "FileBinding",
    "Invariant",
    "Judge",
    "LossReport",
    "Read",
    "ResumeOutcome",
    "Rules",
    "UnknownInvariantError",
    "conversation_of",
    "infer_bindings",
    "judge_cut_repair",
    "judge_listing",
    "judge_outcome",
    "judge_reads",
    "judge_recovery",
    "judge_trace",
    "list_sessions",
    "lists_session",
    "path_key",
    "read_of",
    "resume_outcome",
    "same_path",
    "sessions_to_resume",
    "unsteady_roles",
    "validate",
]
