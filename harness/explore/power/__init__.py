"""Power loss, from the recording that kills are explored with: what a file system may have lost or reordered.

:mod:`effects` cuts operations into what reaches the disk or does not, :mod:`order` makes a profile's switches into
"needs" and "durable", :mod:`disk` builds the tree of a set of lost effects, :mod:`states` enumerates the sets, and
:mod:`exploration` judges and groups. Pure.
"""
