"""reader.c in CPython: reader.py FILE STOP LEAST LIBRARY [blind]; LIBRARY is "bare" without us.

The map is Python's own, guarded by the file's name.
"""

import ctypes
import mmap
import os
import sys

PATH, STOP, LEAST, LIBRARY = sys.argv[1:5]
BLIND = sys.argv[5:] == ["blind"]
LIB = None if LIBRARY == "bare" else ctypes.CDLL(LIBRARY)
ADOPTED = ctypes.c_void_p()


def guard():
    if LIB:
        status = LIB.sigward_adopt_file(os.fsencode(PATH), ctypes.byref(ADOPTED))
        assert status == 0, os.strerror(-status)


def lost_from():
    """The first lost byte; None: none is lost."""
    fault = (ctypes.c_uint64 * 32)()  # sigward_fault begins with the offset
    if LIB and LIB.sigward_adopted_status(ADOPTED, ctypes.byref(fault)) == 1:
        return fault[0]
    return None


def heal():
    status = LIB.sigward_adopted_heal(ADOPTED)
    assert status == 0, os.strerror(-status)


def judge(seen, wanted):
    if seen != wanted:
        at = next(i for i, byte in enumerate(seen) if byte != wanted[i])
        sys.exit(f"{'wrong' if seen[at] else 'zero'} at {at}")


def main():
    guard()
    with open(PATH, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    content = bytes(i % 251 + 1 for i in range(len(mapped)))
    reads = losses = 0
    print("ready", flush=True)
    while not os.path.exists(STOP):
        seen = mapped[:]
        lost = lost_from()
        good = len(seen) if lost is None or BLIND else lost
        judge(seen[:good], content[:good])
        reads += 1
        if lost is not None:
            losses += 1
            if losses == int(LEAST):
                print("enough", flush=True)
            heal()
    mapped.close()
    if LIB:
        LIB.sigward_adopted_close(ADOPTED)
    print(f"reads {reads} losses {losses}")


main()
