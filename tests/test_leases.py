"""Leases: one holder at a time whoever races for it, the dead are found out, and who has lost a lease notices."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from lfmlib import lease_files, leases, processes
from lfmlib.leases import LeaseLost, take, take_many


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def make_older(path, seconds):
    touched = path.stat().st_mtime - seconds
    os.utime(path, (touched, touched))


def is_free(folder, seconds=100.0):
    with take(folder, seconds) as lease:
        return lease is not None


def without_heart(folder, number=1, seconds=0.05):
    """A lease that nobody renews, as that of a process that is stopped."""
    assert lease_files.create(folder, number, seconds)
    return leases.Lease(folder, number, seconds)


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_folder_has_one_holder_until_it_is_given_up(tmp_path):
    folder = tmp_path / "new" / "run"
    with take(folder) as lease:
        assert lease.folder == folder and names(folder) == [".lease.1"] and not lease.lost
        with take(folder) as other:
            assert other is None
        content = json.loads(lease.path.read_text())
        assert content["pid"] == os.getpid() and content["process"] == processes.name()
        assert content.keys() >= {"host", "started", "token", "seconds"}
        lease.ensure()
    assert is_free(folder)
    with take(folder) as lease:  # numbers are not used again
        assert lease.path.name == ".lease.3"


def test_nothing_is_left_of_a_lease_when_the_work_is_done(tmp_path):
    assert is_free(tmp_path)
    with take(tmp_path) as lease:
        assert names(tmp_path) == [".lease.1", ".lease.2"]
        lease.discard()
        assert names(tmp_path) == [] and lease.renew()
        with pytest.raises(LeaseLost):
            lease.ensure()
    assert names(tmp_path) == []


def test_an_error_gives_the_lease_up_and_passes_on(tmp_path):
    with pytest.raises(KeyError), take(tmp_path):
        raise KeyError
    assert is_free(tmp_path)


def test_several_folders_have_one_heart(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    with take(folders[1]), take_many(folders, 0.4) as held:
        assert [lease.folder.name for lease in held] == ["a", "c"]
        before = [lease.path.stat().st_mtime for lease in held]
        wait_for(lambda: all(h.path.stat().st_mtime > b for h, b in zip(held, before, strict=True)))
    assert all(is_free(folder) for folder in folders)
    with take_many([]) as none:
        assert none == []


def test_an_expired_lease_is_taken_over_and_its_holder_notices(tmp_path, caplog):
    with take(tmp_path, 60.0) as first:
        make_older(first.path, 59)
        assert not is_free(tmp_path)
        make_older(first.path, 2)
        with take(tmp_path, 60.0) as thief:
            assert thief.path.name == ".lease.2"
            assert not first.renew() and first.lost and "was stolen" in caplog.text
            with pytest.raises(LeaseLost, match=str(tmp_path)):
                first.ensure()
            first.discard()  # neither touches what is the thief's
            first.release()
            thief.ensure()
            assert thief.path.exists() and not is_free(tmp_path)


def test_who_slept_too_long_takes_the_next_number_or_has_lost(tmp_path):
    """A thief may have judged the lease before the sleeper touched it: the touch alone would leave two holders."""
    sleeper, other = (without_heart(tmp_path / name) for name in "ab")
    time.sleep(0.1)
    assert lease_files.next_number(other.folder, 1.0, lease_files.Clock()) == 2
    assert sleeper.renew() and sleeper.path.name == ".lease.2"
    sleeper.ensure()
    assert not lease_files.create(sleeper.folder, 2, 1.0)  # the thief that saw number 1 expired
    assert lease_files.create(other.folder, 2, 1.0)  # a thief that was faster
    assert not other.renew() and other.lost


def test_a_lease_lives_as_long_as_it_says_not_as_long_as_others_would_wait(tmp_path):
    with take(tmp_path, 1000.0) as lease:
        make_older(lease.path, 900)
        assert not is_free(tmp_path, seconds=0.01)
        make_older(lease.path, 101)
        assert is_free(tmp_path, seconds=10_000.0)


@pytest.mark.parametrize(
    "content",
    [b"", b'{"process": "', b"\xff\x00\x01", b"[]", b"null", b"[" * 4000, b'{"seconds": -1}', b'{"seconds": NaN}',
     b'{"seconds": "long", "process": 3}', b'{"seconds": 1e999, "process": "0-0"}'],
)  # fmt: skip
def test_a_damaged_lease_expires_after_its_time(tmp_path, content):
    path = tmp_path / ".lease.7"
    path.write_bytes(content)
    assert not is_free(tmp_path, 50.0)
    make_older(path, 49)
    assert not is_free(tmp_path, 50.0)
    make_older(path, 2)
    assert is_free(tmp_path, 50.0) and ".lease.8" in names(tmp_path)


def test_the_clock_of_this_machine_takes_no_part(tmp_path, monkeypatch):
    for shift in (-1e6, 1e6):
        now = time.time() + shift
        with monkeypatch.context() as patch, take(tmp_path, 60.0) as lease:
            patch.setattr(time, "time", lambda now=now: now)
            assert not is_free(tmp_path) and lease.renew()
            make_older(lease.path, 61)
            assert is_free(tmp_path)


DEAD = """
import os, sys
from lfmlib import leases
with leases.take(sys.argv[1], 1000.0) as lease:
    os.kill(os.getpid(), 9)
"""


def test_a_dead_process_of_this_machine_is_recognised_at_once_and_others_are_not(tmp_path, root):
    died = subprocess.run([sys.executable, "-c", DEAD, str(tmp_path / "a")], env=os.environ | {"PYTHONPATH": str(root)})
    assert died.returncode == -9
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    lease = tmp_path / "b" / ".lease.1"
    gone = json.loads(lease.read_text())["process"]
    lease.write_text(lease.read_text().replace(gone, f"{'0' * 12}-{gone.split('-')[1]}"))  # the same pid elsewhere
    assert processes.is_gone(gone) and is_free(tmp_path / "a") and not is_free(tmp_path / "b")
    for name in (processes.name(), processes.name().split("-")[0] + "-1", "", "x", gone[:-1] + "x"):
        assert not processes.is_gone(name), name
    assert processes.is_gone(processes.name().split("-")[0] + "-9999999999")  # no system has that many


def test_a_lease_whose_file_or_folder_is_removed_is_lost(tmp_path):
    with take_many([tmp_path / "a", tmp_path / "b"]) as (one, two):
        one.path.unlink()
        shutil.rmtree(two.folder)
        assert not one.renew() and not two.renew()


def test_a_store_that_does_not_answer_is_lost_only_when_the_time_is_over(tmp_path, monkeypatch, caplog):
    def fail(path):
        raise OSError(errno.EIO, "Input/output error")

    patient, late = without_heart(tmp_path / "a", seconds=1000.0), without_heart(tmp_path / "b")
    time.sleep(0.1)
    monkeypatch.setattr(lease_files, "touch", fail)
    assert patient.renew() and not patient.lost and "could not be renewed" in caplog.text
    assert not late.renew() and "in time" in caplog.text


RACE = """
import json, multiprocessing, os, sys
from lfmlib import leases

def race(me, count, rounds, barrier, results):
    won = []
    for number in range(rounds):
        barrier.wait()
        with leases.take(os.path.join(sys.argv[1], str(number)), 100.0) as lease:
            won.append(lease is not None and lease.renew())
            barrier.wait()  # the winner holds on until all have tried
    results.put(won)

count, rounds = int(sys.argv[2]), int(sys.argv[3])
context = multiprocessing.get_context("fork")
barrier, results = context.Barrier(count), context.SimpleQueue()
racers = [context.Process(target=race, args=(me, count, rounds, barrier, results)) for me in range(count)]
for racer in racers:
    racer.start()
print(json.dumps([results.get() for _ in racers]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(("state", "racers", "rounds"), [("new", 2, 200), ("expired", 2, 200), ("expired", 6, 50)])
def test_of_racers_exactly_one_wins(tmp_path, root, state, racers, rounds):
    if state == "expired":
        for number in range(rounds):
            (tmp_path / str(number)).mkdir()
            lease = tmp_path / str(number) / ".lease.1"
            lease.write_text("{}")
            make_older(lease, 1000)
    race = subprocess.run(
        [sys.executable, "-c", RACE, str(tmp_path), str(racers), str(rounds)],
        env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert race.returncode == 0, race.stderr
    won = json.loads(race.stdout)
    assert [sum(one) for one in zip(*won, strict=True)] == [1] * rounds


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OSError, match="no lease can be taken in this folder") as caught, take(folder):
            pass
        assert caught.value.filename == str(folder)

    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    (tmp_path / ".lease.1").write_text("")
    monkeypatch.setattr(os, "utime", read_only)  # the probe
    with pytest.raises(OSError, match="Read-only file system"), take(tmp_path):
        pass
    monkeypatch.setattr(os, "mkdir", read_only)
    with pytest.raises(OSError, match="no lease can be taken.*Read-only file system"), take(tmp_path / "new"):
        pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="no lease can be taken"), take(tmp_path):
        pass
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(tmp_path, seconds):
    with pytest.raises(ValueError, match="expected a finite number > 0"), take(tmp_path, seconds):
        pass
    assert names(tmp_path) == []
