"""Invariants over trees, acknowledgements and traces: pure functions in a registry, and the judge that runs them.

Importing this package fills :data:`INVARIANTS`.
"""

from __future__ import annotations

from harness.checks import (
    conversation_invariants,
    document_invariants,
    name_invariants,
    record_invariants,
    resume_invariants,
)
from harness.checks.binding import FORMATS, Bindings, FileBinding
from harness.checks.conversation import Conversation, conversation_of
from harness.checks.discipline import judge_trace
from harness.checks.expectation import Expectation
from harness.checks.inference import infer_bindings
from harness.checks.invariant import INVARIANTS, Invariant, UnknownInvariantError
from harness.checks.judge import Judge
from harness.checks.lister import lists_session
from harness.checks.listing import judge_listing, list_sessions
from harness.checks.messages_api import ApiError, validate
from harness.checks.outcome import judge_outcome, outcomes_comparable
from harness.checks.recovery import judge_recovery
from harness.checks.resume_invariants import ResumeOutcome, resume_outcome

FAMILIES = (
    record_invariants,
    conversation_invariants,
    resume_invariants,
    document_invariants,
    name_invariants,
)
"""The modules whose functions have joined the registry."""

__all__ = [
    "FORMATS",
    "INVARIANTS",
    "ApiError",
    "Bindings",
    "Conversation",
    "Expectation",
    "FileBinding",
    "Invariant",
    "Judge",
    "ResumeOutcome",
    "UnknownInvariantError",
    "conversation_of",
    "infer_bindings",
    "judge_listing",
    "judge_outcome",
    "judge_recovery",
    "judge_trace",
    "list_sessions",
    "lists_session",
    "outcomes_comparable",
    "resume_outcome",
    "validate",
]
