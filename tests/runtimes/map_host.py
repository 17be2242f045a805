"""CPython over mmap.mmap: map_host.py SCENARIO FOLDER [libsigward.so]. Without it it is bare."""

import ctypes
import faulthandler
import hashlib
import mmap
import os
import re
import sys
import threading
import zlib

SCENARIO = sys.argv[1]
FOLDER = sys.argv[2]
LIBRARY = ctypes.CDLL(sys.argv[3]) if len(sys.argv) > 3 else None
LENGTH = 1 << 16
CUT = 10_000  # inside a page: what is left of that page reads as zeros without any signal
CONTENT = bytes(i % 251 + 1 for i in range(LENGTH))
LEFT = CONTENT[:CUT] + bytes(LENGTH - CUT)
CAUSES = ["none", "truncated", "no space", "io", "hardware", "unknown"]


class Fault(ctypes.Structure):
    """sigward_fault"""

    _fields_ = [
        ("offset", ctypes.c_uint64),
        ("len_now", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("time_ns", ctypes.c_uint64),
        ("cause", ctypes.c_int32),
        ("error", ctypes.c_int32),
        ("tid", ctypes.c_int32),
        ("write", ctypes.c_uint32),
        ("thread", ctypes.c_char * 16),
        ("reserved", ctypes.c_uint64 * 4),
    ]


class Buffer(ctypes.Structure):
    """The head of Py_buffer, and room for the rest."""

    _fields_ = [("address", ctypes.c_void_p), ("rest", ctypes.c_char * 256)]


def address_of(mapped):
    """Where an mmap.mmap lies, also a read-only one, of which ctypes makes no c_char."""
    buffer = Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(mapped), ctypes.byref(buffer), 0)
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    return buffer.address


class Bare:
    """What the bare twin does instead."""

    def __init__(self, mapped, file):
        pass

    def status(self):
        return "bare"

    def heal(self):
        pass

    def close(self):
        pass


class Adopted:
    """A map of Python's, guarded by sigward through ctypes."""

    def __init__(self, mapped, file):
        self.map = ctypes.c_void_p()
        result = LIBRARY.sigward_adopt_range(
            ctypes.c_void_p(address_of(mapped)), ctypes.c_size_t(len(mapped)),
            file.fileno(), ctypes.c_long(0), ctypes.byref(self.map),
        )
        assert result == 0, os.strerror(-result)
        # Python maps for writing: without a sink the first lost page would be the end.
        assert LIBRARY.sigward_adopted_sink(self.map, ctypes.c_uint64(16 * LENGTH)) == 0

    def status(self):
        fault = Fault()
        if LIBRARY.sigward_adopted_status(self.map, ctypes.byref(fault)) == 0:
            return "intact"
        kind = "write" if fault.write else "read"
        return f"{CAUSES[fault.cause]} at {fault.offset} of {fault.len_now} by a {kind}"

    def heal(self):
        assert LIBRARY.sigward_adopted_heal(self.map) == 0

    def close(self):
        assert LIBRARY.sigward_adopted_close(self.map) == 0


def say(*words):
    print(*words, flush=True)


def make(name="map"):
    """A file of known bytes, and Python's map of it."""
    path = os.path.join(FOLDER, name)
    with open(path, "wb") as file:
        file.write(CONTENT)
    file = open(path, "r+b")
    return path, file, mmap.mmap(file.fileno(), 0)


def guard(mapped, file):
    return (Adopted if LIBRARY else Bare)(mapped, file)


def rewrite(path):
    with open(path, "r+b") as file:
        file.write(CONTENT)


READERS = {
    "slice": lambda mapped: mapped[:] == LEFT,
    "index": lambda mapped: all(mapped[i] == LEFT[i] for i in range(LENGTH)),
    "find": lambda mapped: mapped.find(b"nowhere") == -1,
    "regex": lambda mapped: re.search(rb"\0{50000}", mapped).start() == CUT,
    "view": lambda mapped: memoryview(mapped).tobytes() == LEFT,
    # These let other threads run while they read.
    "crc": lambda mapped: zlib.crc32(mapped) == zlib.crc32(LEFT),
    "hash": lambda mapped: hashlib.sha256(mapped).digest() == hashlib.sha256(LEFT).digest(),
}


def read(kind):
    """Truncated under one of Python's ways to read, on the main thread and another; then healed."""
    path, file, mapped = make()
    guarded = guard(mapped, file)
    for _ in range(3):
        assert guarded.status() in ("intact", "bare")
        os.truncate(path, CUT)
        outcome = []
        thread = threading.Thread(target=lambda: outcome.append(READERS[kind](mapped)))
        thread.start()
        thread.join()
        say(*outcome, READERS[kind](mapped), guarded.status())
        rewrite(path)
        guarded.heal()
        say(mapped[:] == CONTENT, guarded.status())
    guarded.close()
    mapped.close()


def write():
    """A store into a lost page."""
    path, file, mapped = make()
    guarded = guard(mapped, file)
    os.truncate(path, CUT)
    mapped[LENGTH - 1] = 7
    say(os.stat(path).st_size, guarded.status())


def closed():
    """After close the map is Python's alone again: it dies as ever."""
    path, file, mapped = make()
    guarded = guard(mapped, file)
    guarded.close()
    os.truncate(path, CUT)
    say("next: a death")
    mapped[LENGTH - 1]


def another():
    """Python's map of another file is not ours."""
    _, file, mapped = make()
    guard(mapped, file)
    path, _, other = make("other")
    os.truncate(path, CUT)
    say("next: a death")
    other[LENGTH - 1]


def faults(when):
    """faulthandler before us, and above us: then it must be found, and got out of the way."""
    if when == "before":
        faulthandler.enable()
    path, file, mapped = make()
    guarded = guard(mapped, file)
    if when != "before":
        faulthandler.enable()
        say("check", LIBRARY.sigward_thread_check() if LIBRARY else "bare")
    if when == "mended" and LIBRARY:
        assert LIBRARY.sigward_ensure_on_top() == 0
        say("check", LIBRARY.sigward_thread_check())
    os.truncate(path, CUT)
    say(mapped[:] == LEFT, guarded.status())
    # And what is not ours is still reported, as Python's makers meant it.
    ctypes.string_at(0)


NAME, _, REST = SCENARIO.partition("_")
{
    "read": lambda: read(REST),
    "write": write,
    "closed": closed,
    "another": another,
    "faults": lambda: faults(REST),
}[NAME]()
