"""An id in the group that outlives the process, and that no two processes ever bear at once."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys

import pytest

from streams.worker.membership import Membership

CLAIM = """
import sys, time
from pathlib import Path
from streams.worker.membership import Membership
held = Membership(Path(sys.argv[1]))
print(held.claim(), flush=True)
time.sleep(600)
"""


def claim(directory):
    """What a process of its own is known by; it holds on to it."""
    child = subprocess.Popen([sys.executable, "-c", CLAIM, str(directory)], stdout=subprocess.PIPE, text=True)
    return child, child.stdout.readline().strip()


def test_a_killed_worker_is_the_same_again(tmp_path):
    """The lock ends with the process, however that ends; while it lives, another one is somebody else."""
    first, name = claim(tmp_path)
    try:
        assert re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", name)
        beside = Membership(tmp_path)
        assert beside.claim() not in {None, name}
        beside.release()
        first.send_signal(signal.SIGKILL)
        first.wait()
        again = Membership(tmp_path)
        assert again.claim() == name
        again.release()
    finally:
        first.kill()
        first.wait()
        first.stdout.close()


def test_a_copy_of_the_directory_is_somebody_else(tmp_path):
    """One that was put back in its place is the same."""
    held = Membership(tmp_path / "state")
    name = held.claim()
    held.release()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    copy = Membership(tmp_path / "copy")
    assert copy.claim() != name
    copy.release()
    shutil.rmtree(tmp_path / "state")
    shutil.copytree(tmp_path / "copy", tmp_path / "state")
    assert held.claim() == name
    held.release()


def test_without_a_directory_there_is_no_id(tmp_path):
    """The group knows such a worker by what it gives it, each time anew."""
    (tmp_path / "state").write_text("in the way")
    held = Membership(tmp_path / "state")
    assert held.claim() is None
    held.release()


@pytest.mark.parametrize("damaged", [b"", b"short"])
def test_a_damaged_file_gets_a_new_id(tmp_path, damaged):
    """A disk that was full when the file was made."""
    (tmp_path / "member-0").write_bytes(damaged)
    held = Membership(tmp_path)
    name = held.claim()
    held.release()
    assert name
    assert held.claim() == name
    held.release()
