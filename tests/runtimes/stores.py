"""Crash-safe stores over shared writable maps: stores.py SCENARIO FOLDER [libsigward.so].

With the library the store's file is adopted. A store that lost a page must die, as it does bare:
what others were told is safe must be there afterwards.
"""

import ctypes
import os
import sqlite3
import subprocess
import sys

SCENARIO, FOLDER = sys.argv[1], sys.argv[2]
LIBRARY = ctypes.CDLL(sys.argv[3]) if len(sys.argv) > 3 else None
COUNT = 200


def adopt(path):
    if LIBRARY:
        handle = ctypes.c_void_p()
        assert LIBRARY.sigward_adopt_file(path.encode(), ctypes.byref(handle)) == 0


def say(*words):
    print(*words, flush=True)


# ---- LMDB: its whole file is one map that goes to the file ----


def lmdb_open(**more):
    import lmdb

    return lmdb.open(FOLDER, map_size=64 << 20, **more)


def lmdb_fill():
    """A few records that are safe, then a transaction that the disk has no room for."""
    store = lmdb_open(writemap=True)
    with store.begin(write=True) as records:
        for number in range(20):
            records.put(b"%08d" % number, b"%08d" % number * 100)
    store.sync(True)
    adopt(FOLDER + "/data.mdb")
    say("20 are safe")
    with store.begin(write=True) as records:
        for number in range(20, 4000):
            records.put(b"%08d" % number, b"%08d" % number * 100)
    store.sync(True)
    say("all are safe")


def lmdb_count():
    store = lmdb_open(readonly=True)
    with store.begin() as records:
        found = list(records.cursor())
    say(len(found), all(value == key * 100 for key, value in found))


# ---- SQLite: the index of its write-ahead log is shared among processes ----


def connect():
    return sqlite3.connect(FOLDER + "/db", isolation_level=None, timeout=20)


def insert(store, who):
    for _ in range(COUNT):
        store.execute("insert into t values(?)", (who,))


def sqlite_cut():
    """Somebody cuts the index; this connection looks, another process commits, this one commits."""
    store = connect()
    store.execute("pragma journal_mode=wal")
    store.execute("pragma wal_autocheckpoint=0")
    store.execute("create table t(who)")
    insert(store, "first")
    adopt(FOLDER + "/db-shm")
    os.truncate(FOLDER + "/db-shm", 0)
    say("first are safe")
    say(store.execute("select count(*) from t").fetchone())
    subprocess.run([sys.executable, __file__, "sqlite_other", FOLDER], check=True)
    insert(store, "last")
    say("last are safe")


def sqlite_other():
    insert(connect(), "other")
    os._exit(0)


def sqlite_count():
    store = connect()
    counts = store.execute("select who, count(*) from t group by who").fetchall()
    say(counts, *store.execute("pragma integrity_check"))


globals()[SCENARIO]()
