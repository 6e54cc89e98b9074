"""Power loss, from the recording that kills are explored with: what a file system may have lost or reordered.

:mod:`effects` cuts operations into what reaches the disk or does not, :mod:`order` makes a profile's switches into
"needs" and "durable", :mod:`disk` builds the tree of a set of lost effects, :mod:`states` enumerates the sets, and
:mod:`exploration` judges and groups. From there on, :mod:`durability` says from when on each operation survives,
:mod:`audit` what each barrier holds up, and :mod:`advice` what to change: both edit the trace (:mod:`edits`) at places
found in it (:mod:`candidates`) and count again what is violated (:mod:`measure`). Pure.
"""
