"""Reports: subscribers to the stream of events, and the files made of what they collected.

Everything a target wrote (names, messages, its output) is hostile here: see :mod:`harness.report.escape`.
"""
