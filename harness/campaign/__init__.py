"""Campaigns: plan → record → explore → fault → confirm → aggregate, each phase a function over a context.

The only layer that knows engines, catalog, checks and the store together.
"""
