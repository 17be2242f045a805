"""Dies of a mapped file that is cut."""
import faulthandler
import mmap
import os
import sys
import threading

if "faulthandler" in sys.argv:
    faulthandler.enable()
file = open(sys.argv[2], "w+b")
file.truncate(1 << 20)
data = mmap.mmap(file.fileno(), 1 << 20)
os.truncate(sys.argv[2], 0)
thread = threading.Thread(target=lambda: print(data[81925]))
thread.start()
thread.join()
