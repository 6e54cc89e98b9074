"""A queue that is written every 100 ms. A record is acknowledged when it is queued, before any of it is written."""

import sys
import threading

from agent import Writer, main
from conversation import acknowledge, encode

INTERVAL_S = 0.1


class Batched(Writer):
    def __init__(self):
        self.queues = {}
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._flush_now_and_then, daemon=True)

    def begin(self, root):
        super().begin(root)
        self.thread.start()

    def save(self, path, record):
        with self.lock:
            self.queues.setdefault(path, []).append(encode(record))
        acknowledge(record)

    def _flush_now_and_then(self):
        while not self.closing.wait(INTERVAL_S):
            self.flush()

    def flush(self):
        with self.lock:
            queues, self.queues = self.queues, {}
        for path, lines in queues.items():
            try:
                with open(path, "ab", buffering=0) as stream:
                    stream.write(b"".join(lines))
            except OSError as error:
                sys.stderr.write(f"error: flush: {error.strerror}\n")

    def close(self):
        self.closing.set()
        self.thread.join()
        self.flush()


if __name__ == "__main__":
    main(Batched(), sys.argv[1:])
