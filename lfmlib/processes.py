"""Which process made a file, and whether it still lives: names that hold wherever several machines write one folder;
the cores that a process may use, and what one that trains is started with."""

import functools
import hashlib
import os
import re
import socket
import sys
import uuid
from pathlib import Path

# Read when a process starts. One thread each; and glibc keeps freed memory, or each activation would be mapped and
# cleared anew (a fifth of a step).
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**32),
}  # fmt: skip
NAME = re.compile(r"([0-9a-f]{12})-([0-9]{1,10})")


def name() -> str:
    """Name of this process, <12 hexadecimal digits>-<pid>; the digits stand for where the pid holds."""
    return f"{_space()}-{os.getpid()}"


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_gone(name: str) -> bool:
    """Whether the process of this name has surely ended. False where this process cannot know: another machine, another
    container, a machine that was started anew, a text that is no name. A pid that was given again counts as alive."""
    match = NAME.fullmatch(name)
    if match is None or match[1] != _space() or os.name != "posix":  # elsewhere, signal 0 would kill
        return False
    try:
        os.kill(int(match[2]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # another user's
        pass
    return False


@functools.cache
def _space() -> str:
    try:  # equal for two processes only where a pid means the same process to both
        facts = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink("/proc/self/ns/pid")
    except OSError:
        facts = f"{socket.gethostname()} {uuid.getnode()}" if sys.platform == "darwin" else uuid.uuid4().hex
    return hashlib.sha256(facts.encode()).hexdigest()[:12]
