"""``python -m harness``: the ``tornwrite`` command on machines where scripts are not on PATH."""

from harness.cli import main

if __name__ == "__main__":
    main()
