"""The claims of five bug reports, each with a measured verdict: ``reports/SEEDS.md``.

``claims.toml`` holds what the documents say and how to ask for it; it holds no result. One campaign per family of
writers answers; :mod:`harness.seeds.claim` sets the answers against the claims; :mod:`harness.seeds.page` writes them
down. ``make seeds`` runs it all.

Non-goals: judging anything. Every figure is one that a campaign kept in its rows and findings.
"""
