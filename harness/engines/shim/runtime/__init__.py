"""What a target's own runtime loads: standard library only, nothing of the harness. On PYTHONPATH as it stands here."""
