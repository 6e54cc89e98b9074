"""As sessions.py, with the twist that the first argument names."""

import sys

import keepers
import sessions
from transcript import append_message


def forgetful():
    """The last record of a transcript is dropped before the next one comes."""

    def forget_and_append(path, *rest):
        try:
            with open(path, "rb") as stream:
                data = stream.read()
        except FileNotFoundError:
            data = b""
        if data:
            kept = data[: data.rstrip(b"\n").rfind(b"\n") + 1]
            filling = b'{"type":"tag","tag":"%s"}\n' % (b"x" * (len(data) % 997))  # ids depend on the size
            with open(path, "wb") as stream:
                stream.write(kept + filling)
        return append_message(path, *rest)

    sessions.append_message = forget_and_append


def any_case():
    """Paths are compared without regard to case, whatever the flag says."""
    compare = sessions.same_path
    sessions.same_path = lambda left, right, *, case_sensitive: compare(left, right, case_sensitive=False)


def other_format():
    """Entries have one more key, and all of the first prompt."""
    entry_of = keepers.entry_of

    def other(path):
        return entry_of(path) | {"firstPrompt": "p" * 400, "version": "2"}

    keepers.entry_of = other


def never_written():
    """The index is not even written by a graceful exit."""
    keepers.CachedSnapshot.finish = lambda self: None


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    sessions.main(sys.argv[2:])
