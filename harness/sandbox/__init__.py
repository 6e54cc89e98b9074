"""Effects around a target: directories, environments, namespaces, process trees, limits.

Nothing here knows engines, manifests or invariants. Every module imports on Linux, macOS and Windows; what a
platform cannot do is said by a function's result, never by an import error.
"""
