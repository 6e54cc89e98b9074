"""Loads the shim into a Python that a target starts, then the ``sitecustomize`` of before."""

import importlib.machinery
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def load_the_next() -> None:
    """Run the ``sitecustomize`` behind this one on the path, if there is one."""
    rest = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(sys.modules["sitecustomize"])


if os.environ.get("TORNWRITE_SHIM"):
    import time

    began = time.monotonic_ns()
    from tornwrite_shim import install

    install(began=began)
load_the_next()
