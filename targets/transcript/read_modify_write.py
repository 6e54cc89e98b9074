"""Seed 000: each tool that is done reads the transcript, appends its record and writes the whole back, in place.

One thread per tool that is done, no lock: who writes last has not seen what the other wrote.
"""

import sys
import threading

from agent import Writer, main
from conversation import acknowledge, encode
from reading import read_bytes


class ReadModifyWrite(Writer):
    def __init__(self):
        self.threads = []
        self.errors = []

    def save(self, path, record):
        snapshot = read_bytes(path)
        with open(path, "wb") as stream:
            stream.write(snapshot + encode(record))
        acknowledge(record)

    def save_result(self, path, record):
        thread = threading.Thread(target=self._save_or_keep_error, args=(path, record))
        self.threads.append(thread)
        thread.start()

    def _save_or_keep_error(self, path, record):
        try:
            self.save(path, record)
        except (OSError, ValueError) as error:
            self.errors.append(error)

    def settle(self):
        for thread in self.threads:
            thread.join()
        self.threads.clear()
        if self.errors:
            raise self.errors[0]


if __name__ == "__main__":
    main(ReadModifyWrite(), sys.argv[1:])
