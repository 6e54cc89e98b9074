"""The claims of five bug reports, each with a measured verdict: ``reports/SEEDS.md``.

``claims/`` holds, a file per document, what it says and how to ask for it, and no result. ``claimed`` is what the
document says of ``finds`` (any of these invariants) under ``fault``: true, it happens; false, it does not; a range of
how often; of a ``measure`` a truth, a range or a text. ``reason`` says why nothing here can measure it. A note that
explains an answer is told with that answer alone.

A claim about findings or a rate is answered by a campaign (:mod:`harness.seeds.measuring`), one about the drift of an
index by the lives that a campaign kept (:mod:`harness.seeds.drift`), one about a fact by a measurement that runs the
real programs of a variant (``conversations``, ``entries``, ``indexes``, ``forks``), one about a power loss by what a
recording can leave under persistence profiles, or by cuts of a real disk (:mod:`harness.seeds.losses`).
:mod:`harness.seeds.claim` sets the answers against the claims; :mod:`harness.seeds.page` writes them down. ``make
seeds`` runs it all.

Non-goals: judging anything anew. Every figure is one that a campaign kept in its rows, findings and lives, or that a
measurement has just made; what is right is decided by the invariants, the validator and the document's own numbers.
"""
