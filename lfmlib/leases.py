"""Leases: who works on a folder, where machines that may die share one file system (NFS included).

A lease is a file `.lease.<number>` in the folder; the highest number counts. To take a folder is to create the next
number, which a file system grants once however many ask for it (O_CREAT | O_EXCL). The holder touches its file; a file
that was not touched for its time is expired, and the next number is up to whoever is first. A number is not given twice
while the work goes on, so a slow thief that saw an old state of the folder comes to nothing.

Ages are differences of mtimes, which the file server gives: no machine's clock takes part.
"""

import logging
import math
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lfmlib import lease_files

log = logging.getLogger(__name__)

SECONDS = 120.0  # a heartbeat is a quarter of it; NFS may show a new mtime half a minute late


class LeaseLost(RuntimeError):
    """The folder is somebody else's by now."""


class Lease:
    """A folder that this worker has; made by `take` and `take_many`.

    Args:
        folder: what is leased.
        number: of the lease file, which this process has just created.
        seconds: time after which it expires unless it is touched.
    """

    def __init__(self, folder: Path, number: int, seconds: float | int) -> None:
        self.folder, self.seconds, self.lost = folder, seconds, False
        self._over, self._lock = False, threading.Lock()
        self._hold(number)

    @property
    def path(self) -> Path:
        """The lease file."""
        return lease_files.path_of(self.folder, self._number)

    def renew(self) -> bool:
        """Touches the lease; returns whether it is still ours, which `lost` says from then on."""
        with self._lock:
            if not self.lost and not self._over:
                try:
                    self._renew()
                except FileNotFoundError:
                    self._lose("its file was removed")
                except OSError as error:
                    log.warning("lease on %s could not be renewed: %s", self.folder, error)
                    if time.monotonic() - self._renewed > self.seconds:
                        self._lose("it could not be renewed in time")
            return not self.lost

    def ensure(self) -> None:
        """To be called before a result is written.

        Raises:
            LeaseLost: the lease was stolen, removed, given up, or could not be renewed in time.
        """
        if not self.renew() or self._over:
            raise LeaseLost(f"{self.folder}: the lease on it is lost or given up; another worker may have it")

    def release(self) -> None:
        """Gives the folder up: anyone may take it at once."""
        with self._lock:
            if not self.lost and not self._over:
                try:
                    os.utime(self.path, (0, 0))  # expired, and its number stays used
                except OSError as error:
                    log.warning("lease on %s could not be given up, it expires: %s", self.folder, error)
            self._over = True

    def discard(self) -> None:
        """Removes every trace of leases from the folder: its work is done, and there will be nothing to take it for."""
        with self._lock:
            if not self.lost and not self._over:
                try:
                    for number in lease_files.numbers(self.folder):  # ours last: those before it look free
                        lease_files.path_of(self.folder, number).unlink(missing_ok=True)
                except OSError as error:
                    log.warning("lease on %s could not be removed, it expires: %s", self.folder, error)
            self._over = True

    def _hold(self, number: int) -> None:
        self._number = number
        self._touched, self._renewed = lease_files.touch(self.path), time.monotonic()

    def _renew(self) -> None:
        touched = lease_files.touch(self.path)
        if touched - self._touched > self.seconds:
            # This process slept too long (a suspended laptop, a stopped job). A thief may have seen that before the
            # touch, so that the touch proves nothing; the next number does.
            if not lease_files.create(self.folder, self._number + 1, self.seconds):
                return self._lose("it had expired and was stolen")
            return self._hold(self._number + 1)
        if max(lease_files.numbers(self.folder)) > self._number:
            return self._lose("it was stolen")
        self._touched, self._renewed = touched, time.monotonic()

    def _lose(self, why: str) -> None:
        self.lost = True
        log.warning("lease on %s is lost: %s", self.folder, why)


@contextmanager
def take(folder: str | os.PathLike, seconds: float | int = SECONDS) -> Iterator[Lease | None]:
    """Takes one folder for the length of a block: yields its lease, or None where somebody has it. See `take_many`."""
    with take_many([folder], seconds) as held:
        yield held[0] if held else None


@contextmanager
def take_many(folders: Iterable[str | os.PathLike], seconds: float | int = SECONDS) -> Iterator[list[Lease]]:
    """Takes folders for the length of a block, renews all their leases from one thread, and gives them up at its end.

    A lease that expires is noticed on any machine; one whose holder died on this very machine, at once.

    Args:
        folders: tried in this order; created where need be.
        seconds: time after which a lease of a dead worker expires; each lease carries its own, so workers may differ.
    Yields:
        The leases, in the order of `folders`; their work may have been done by another worker just before.
    Raises:
        ValueError: `seconds` is no time.
        OSError: a folder cannot be written (names it).
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds is {seconds!r}: expected a finite number > 0")
    held: list[Lease] = []
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(seconds / 4):
            for lease in list(held):
                lease.renew()

    heart = threading.Thread(target=beat, daemon=True, name="leases")
    try:
        clock = lease_files.Clock()
        for folder in map(Path, folders):
            number = lease_files.next_number(folder, seconds, clock)
            if number is not None and lease_files.create(folder, number, seconds):
                held.append(Lease(folder, number, seconds))
                if len(held) == 1:
                    heart.start()
        yield held
    finally:
        stop.set()
        if heart.ident is not None:
            heart.join()
        for lease in held:
            lease.release()
