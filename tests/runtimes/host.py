"""CPython as a host: host.py SCENARIO libwriter.so [libsigward.so]. Without the last it is bare."""

import ctypes
import errno
import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time

WRITER = ctypes.CDLL(sys.argv[2])
LIBRARY = sys.argv[3] if len(sys.argv) > 3 else None
OVERWRITTEN = 4  # the number of the field in sigward_counters


class Options(ctypes.Structure):
    """sigward_options."""

    _fields_ = [("size", ctypes.c_size_t), ("sigpipe", ctypes.c_uint32), ("flags", ctypes.c_uint32)]


REPLACE_IGNORE = 2


class Bare:
    """What the bare twin does instead."""

    def init(self):
        pass

    replace = mend = init

    def overwritten(self):
        return 0


class Warded:
    """sigward by ctypes; loading it takes a seat already."""

    def __init__(self):
        self.library = ctypes.CDLL(LIBRARY)

    def init(self):
        assert self.library.sigward_init(None) == 0

    def replace(self):
        options = Options(size=ctypes.sizeof(Options), flags=REPLACE_IGNORE)
        assert self.library.sigward_init(ctypes.byref(options)) == 0

    def mend(self):
        assert self.library.sigward_ensure_on_top() == 0

    def overwritten(self):
        counters = (ctypes.c_uint64 * 16)()
        assert self.library.sigward_read_counters(counters) == 0
        return counters[OVERWRITTEN]


def ward():
    """Loads and initialises the library, if there is one."""
    sigward = Warded() if LIBRARY else Bare()
    sigward.init()
    return sigward


def say(*words):
    print(*words, flush=True)


def foreign_writes():
    errors = (WRITER.writer_foreign_write(kind) for kind in (0, 1))
    say("foreign", *(errno.errorcode.get(error, "?") for error in errors))


def python_write():
    """os.write to a broken pipe on a thread of Python's."""
    outcome = []

    def write():
        read_end, write_end = os.pipe()
        os.close(read_end)
        try:
            os.write(write_end, b"x")
        except BrokenPipeError:
            outcome.append("BrokenPipeError")

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    say("python", *outcome)


def default():
    """What command line tools do to end quietly under `| head`."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    ward()
    foreign_writes()
    python_write()


def kill_default():
    """A SIGPIPE from outside still ends the process."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    ward()
    os.kill(os.getpid(), signal.SIGPIPE)


def ignored():
    """As Python starts."""
    say(signal_masks())
    ward()
    say(signal_masks())
    foreign_writes()
    python_write()


def replaced():
    """In the place of Python's SIG_IGN: the rest is ignored as before."""
    sigward = Warded() if LIBRARY else Bare()
    sigward.replace()
    foreign_writes()
    python_write()
    os.kill(os.getpid(), signal.SIGPIPE)
    say_children()


def default_children():
    """What children have where nobody ignores it."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # The C library takes signal 33 at the first thread, which children see where it was ignored.
    thread = threading.Thread(target=time.time)
    thread.start()
    thread.join()
    say_children()


def say_children():
    for restore in (True, False):
        child = subprocess.run(
            ["cat", "/proc/self/status"], restore_signals=restore,
            stdout=subprocess.PIPE, text=True, check=True,
        )
        say("child", restore, signal_masks(child.stdout))
    child = os.popen("cat /proc/self/status")
    say("popen", signal_masks(child.read()))


def overwritten():
    """SIG_DFL over our seat, or where SIGPIPE was ignored before us: a death until it is mended."""
    if sys.argv[1].endswith("seated"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sigward = ward()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if "mended" in sys.argv[1]:
        sigward.mend()
    foreign_writes()
    say("overwritten", sigward.overwritten())


def handler():
    """Python's own handler, before and after us: every SIGPIPE of the process is its business."""
    calls = []

    def count(_number, _frame):
        calls.append(1)

    if sys.argv[1] == "handler_before":
        signal.signal(signal.SIGPIPE, count)
    sigward = ward()
    if sys.argv[1] != "handler_before":
        signal.signal(signal.SIGPIPE, count)
    if sys.argv[1] == "handler_after_mended":
        sigward.mend()
    for _ in range(3):
        foreign_writes()
        os.kill(os.getpid(), signal.SIGPIPE)
        signal.raise_signal(signal.SIGPIPE)
        python_write()
    say("called", len(calls))


def faults():
    """faulthandler reports a true fault, and the process dies of it, before and after us."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    after = sys.argv[1].endswith("after")
    if not after:
        faulthandler.enable()
    ward()
    if after:
        faulthandler.enable()
    if LIBRARY:
        foreign_writes()
    ctypes.string_at(0)


def register():
    """faulthandler on SIGPIPE itself puts back what was there, raises, takes its place again."""
    _, when, chain, beneath = sys.argv[1].split("_")
    kinds = {
        "default": signal.SIG_DFL,
        "ignored": signal.SIG_IGN,
        "handler": lambda *_: say("handler"),
    }
    signal.signal(signal.SIGPIPE, kinds[beneath])
    sigward = ward() if when == "after" else None
    faulthandler.register(signal.SIGPIPE, chain=chain == "chain")
    sigward = sigward or ward()
    if when == "above":
        sigward.mend()
    for _ in range(3):
        foreign_writes()
        os.kill(os.getpid(), signal.SIGPIPE)
    say("lived")


def signal_masks(command=None):
    lines = open("/proc/self/status").read() if command is None else command
    return " ".join(line for line in lines.splitlines() if line.startswith(("SigBlk", "SigIgn")))


def children():
    """What children start with, for each disposition of ours and both ways of starting them."""
    dispositions = {"SIG_IGN": signal.SIG_IGN, "SIG_DFL": signal.SIG_DFL, "own": lambda *_: None}
    for name, disposition in dispositions.items():
        signal.signal(signal.SIGPIPE, disposition)
        ward().mend()
        for restore in (True, False):
            for setup in (None, lambda: None):  # vfork, and fork with Python in the child
                child = subprocess.run(
                    ["cat", "/proc/self/status"], restore_signals=restore, preexec_fn=setup,
                    stdout=subprocess.PIPE, text=True, check=True,
                )
                say(name, restore, setup is None, signal_masks(child.stdout))
        child = os.popen("cat /proc/self/status")
        say(name, "popen", signal_masks(child.read()))
    say(signal_masks())


SCENARIOS = {
    "default": default,
    "kill": kill_default,
    "ignored": ignored,
    "replaced": replaced,
    "normal": default_children,
    "overwritten": overwritten,
    "handler": handler,
    "fault": faults,
    "register": register,
    "children": children,
}
SCENARIOS[sys.argv[1].split("_")[0]]()
