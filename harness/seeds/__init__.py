"""The claims of five bug reports, each with a measured verdict: ``reports/SEEDS.md``.

``claims.toml`` holds what the documents say and how to ask for it; it holds no result. A claim about findings or a rate
is answered by a campaign (:mod:`harness.seeds.measuring`), one about the drift of an index by the lives that a campaign
kept (:mod:`harness.seeds.drift`), one about a fact by a measurement that runs the real programs of a variant
(``conversations``, ``entries``, ``indexes``, ``forks``). :mod:`harness.seeds.claim` sets the answers against the
claims; :mod:`harness.seeds.page` writes them down. ``make seeds`` runs it all.

Non-goals: judging anything anew. Every figure is one that a campaign kept in its rows, findings and lives, or that a
measurement has just made; what is right is decided by the invariants, the validator and the document's own numbers.
"""
