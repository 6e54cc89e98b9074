"""The scripted Messages API: what the real CLI talks to while it is under test. Loopback only, a child of its caller.

Pure: ``asking`` (body → request, or refusal), ``answering`` (script and request → answer), ``events`` (answer → bytes),
``outline`` (request → its line in the log), ``shell`` (what a Bash call runs). Effects: ``app`` (HTTP), ``log``,
``gates``, ``program`` (the child process), ``serving`` (the caller's side of it).

Non-goals: models, tokens, batches, files; being a general mock: it answers what a client of tools needs.
"""
