"""One row per update in SQLite, with a write-ahead log or a rollback journal.

    sqlite_writer.py run DIR WORKLOAD MODE         MODE: journal_mode[:synchronous], wal:FULL or delete:EXTRA
    sqlite_writer.py recover DIR WORKLOAD MODE
    sqlite_writer.py check DIR WORKLOAD ACKED      0: every acknowledged row is there, as written; 1: not

EXTRA is FULL plus a sync of the directory after the rollback journal is removed: without it a power loss may bring the
journal back, which undoes what was acknowledged. With the write-ahead log, exclusive
locking keeps the index in memory instead of in a shared mapping, whose stores no recorder sees.
"""

import os
import sqlite3
import sys

from workload import Workload, say


def connect(root, mode):
    journal, _, synchronous = mode.partition(":")
    connection = sqlite3.connect(os.path.join(root, "store.db"), isolation_level=None)
    if journal == "wal":
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    # A mode that cannot be set is no error for SQLite: it answers with the one that stays.
    if connection.execute(f"PRAGMA journal_mode={journal}").fetchone()[0] != journal:
        raise sqlite3.OperationalError(f"no journal_mode={journal}")
    connection.execute(f"PRAGMA synchronous={synchronous or 'EXTRA'}")
    return connection


def finish(connection, root):
    """Close so that no error is swallowed: checkpoint while it can be reported, and look for leftovers."""
    busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    connection.close()
    if busy or set(os.listdir(root)) != {"store.db"}:
        raise sqlite3.OperationalError("the journal could not be removed")


def run(root, workload, journal):
    say("ARMED")
    connection = connect(root, journal)
    connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, value TEXT NOT NULL)")
    for number in range(1, workload.updates + 1):
        connection.execute("INSERT INTO entry VALUES (?, ?)", (number, workload.value(number)))
        say(f"ACK {number}")
    finish(connection, root)


def recover(root, workload, journal):
    connection = connect(root, journal)
    connection.execute("CREATE TABLE IF NOT EXISTS entry (id INTEGER PRIMARY KEY, value TEXT NOT NULL)")
    number = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM entry").fetchone()[0]
    connection.execute("INSERT INTO entry VALUES (?, ?)", (number, workload.value(number)))
    say(f"ACK {number}")
    finish(connection, root)


def check(root, workload, acked):
    path = os.path.join(root, "store.db")
    if not os.path.exists(path):
        return "no database" if acked else ""
    connection = sqlite3.connect(path)
    try:
        verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if verdict != "ok":
            return "integrity_check failed"
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'entry'").fetchone():
            return "no table" if acked else ""
        rows = dict(connection.execute("SELECT id, value FROM entry"))
    except sqlite3.DatabaseError as error:
        return f"unreadable: {error}"
    missing = [number for number in range(1, acked + 1) if number not in rows]
    if missing:
        return f"{len(missing)} acknowledged rows are gone, the first is {missing[0]}"
    wrong = [number for number, value in rows.items() if value != workload.value(number)]
    return f"{len(wrong)} rows have another value, the first is {wrong[0]}" if wrong else ""


def main(command, root, workload_path, argument):
    workload = Workload(workload_path)
    if command == "check":
        problem = check(root, workload, int(argument))
        sys.stdout.write(problem + "\n" if problem else "")
        sys.exit(1 if problem else 0)
    try:
        {"run": run, "recover": recover}[command](root, workload, argument)
    except sqlite3.Error as error:
        sys.exit(f"error: {command}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
