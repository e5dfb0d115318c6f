"""The spool's directory against crashes, failing disks and damage: nothing that was acknowledged is missing."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from schemas.errors import ConfigurationError
from streams.collector.eventlog import Record
from streams.collector.spool_files import Spool
from streams.collector.spool_frames import write_frames, write_record

if TYPE_CHECKING:
    from collections.abc import Iterable

SEGMENT = 400


class Disk:
    """The system's calls; a write or sync fails when told to, as a full or broken disk would have it."""

    def __init__(self) -> None:
        self.room: int | None = None
        """Bytes that the next write still takes; None: all."""
        self.breaks = False
        self.syncs = 0
        self._safe: dict[str, int] = {}
        self._lost: set[str] = set()

    def write(self, file: int, data: memoryview) -> int:
        assert path_of(file) not in self._lost, "a file is trusted again after its sync failed"
        if self.room is None:
            return os.write(file, data[: max(1, len(data) // 2)])
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(file, data[: self.room])
        self.room -= written
        return written

    def sync(self, file: int) -> None:
        self.syncs += 1
        path, size = path_of(file), os.fstat(file).st_size
        if self.breaks:
            # The kernel may drop what it could not write, and call the pages clean.
            os.ftruncate(file, self._safe.get(path, 0))
            os.ftruncate(file, size)
            self._lost.add(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._safe[path] = size


def path_of(file: int) -> str:
    return str(Path(f"/proc/self/fd/{file}").readlink())


def record(number: int) -> Record:
    return Record("clicks", f"v{number}", b"%d" % number, number)


def spool_in(directory: Path, disk: Disk | None = None) -> Spool:
    disk = disk or Disk()
    spool = Spool(directory, segment_bytes=SEGMENT, write=disk.write, sync=disk.sync)
    spool.open()
    while spool.count_next():
        pass
    return spool


def keep(spool: Spool, numbers: Iterable[int]) -> None:
    spool.keep([write_record(record(number)) for number in numbers])


def hand_on(spool: Spool, most: int = 1000) -> list[int]:
    """Everything the spool has, handed on."""
    taken = []
    while (chunk := spool.take(most)) is not None:
        taken += [one.time for one in chunk.records]
        spool.done(chunk)
    return taken


def die(spool: Spool) -> None:
    """End as `kill -9` ends a process: what the kernel has stays, locks go."""
    while spool._files:
        os.close(spool._files.popitem()[1])


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.hw1"))


class Life(RuleBasedStateMachine):
    """A spool that is written, handed on, killed, cut off and refused by its disk, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.disk = Disk()
        self.number = 0
        self.kept: list[int] = []
        self.unsure: set[int] = set()
        self.handed: list[int] = []
        self.owed = 0
        """How many the spool must still know of."""

    @initialize()
    def begin(self) -> None:
        self.spool = spool_in(self.home, self.disk)

    def teardown(self) -> None:
        """Everything acknowledged has been handed on, in order; nothing was that nobody sent."""
        self.disk.room, self.disk.breaks = None, False
        self.handed += hand_on(self.spool)
        self.spool.clear()
        assert self.spool.events == self.spool.size == 0
        assert not segments(self.home)
        die(self.spool)
        shutil.rmtree(self.home)
        assert set(self.kept) <= set(self.handed) <= set(self.kept) | self.unsure
        first = list(dict.fromkeys(self.handed))
        assert [number for number in first if number not in self.unsure] == self.kept

    def _next(self, count: int) -> list[int]:
        self.number += count
        return list(range(self.number - count, self.number))

    @rule(count=st.integers(1, 8))
    def keeps(self, count: int) -> None:
        numbers = self._next(count)
        keep(self.spool, numbers)
        self.kept += numbers
        self.owed += count

    @rule(count=st.integers(1, 8), room=st.integers(0, 300))
    def disk_is_full(self, count: int, room: int) -> None:
        numbers = self._next(count)
        self.disk.room = room
        try:
            keep(self.spool, numbers)
        except OSError:
            self.unsure |= set(numbers)
        else:
            self.kept += numbers
            self.owed += count
        self.disk.room = None

    @rule(count=st.integers(1, 8))
    def sync_fails(self, count: int) -> None:
        numbers = self._next(count)
        self.disk.breaks = True
        with pytest.raises(OSError, match="Input/output"):
            keep(self.spool, numbers)
        self.disk.breaks = False
        self.unsure |= set(numbers)

    @rule(most=st.integers(1, 20), arrives=st.booleans())
    def hands_on(self, most: int, arrives: bool) -> None:
        chunk = self.spool.take(most)
        if chunk is None:
            assert not self.spool.events
            return
        assert 0 < len(chunk.records) <= most
        self.handed += [one.time for one in chunk.records]
        if arrives:
            self.spool.done(chunk)

    @rule()
    def clears(self) -> None:
        self.spool.clear()

    @rule(count=st.integers(0, 5), cut=st.floats(0, 1), position=st.sampled_from(["kept", "lost", "old", "torn"]))
    @precondition(lambda self: hasattr(self, "spool"))
    def dies(self, count: int, cut: float, position: str) -> None:
        """In the middle of a write, cut off at any byte; the position may not have reached the disk."""
        file = self.home / "position"
        before = file.read_bytes()
        numbers = self._next(count)
        self.unsure |= set(numbers)
        active = self.spool._active
        if active is not None:
            torn = write_frames([write_record(record(number)) for number in numbers], active.seed)
            with active.path.open("ab") as output:
                output.write(torn[: int(len(torn) * cut)])
        die(self.spool)
        if position == "lost":
            file.unlink()
        elif position == "torn":
            file.write_bytes(before[: int(len(before) * cut)])
        elif position == "old" and hasattr(self, "old"):
            file.write_bytes(self.old)
        self.old = before
        self.spool = spool_in(self.home, self.disk)
        assert self.spool.events >= len(set(self.kept) - set(self.handed))

    @rule()
    def restarts(self) -> None:
        self.spool.close()
        self.spool = spool_in(self.home, self.disk)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_counts_bytes_and_events(tmp_path: Path) -> None:
    """As they are put there and handed on; what is handed on leaves the disk."""
    spool = spool_in(tmp_path)
    for start in range(0, 100, 10):
        keep(spool, range(start, start + 10))
    files = segments(tmp_path)
    assert len(files) > 2
    assert spool.events == 100
    assert spool.size == sum(path.stat().st_size for path in files)
    chunk = spool.take(60)
    assert chunk is not None
    while spool.events > 40:
        spool.done(chunk)
        chunk = spool.take(60)
        assert chunk is not None
    assert len(segments(tmp_path)) < len(files)
    assert hand_on(spool)[-1] == 99
    assert (spool.events, len(segments(tmp_path))) == (0, 1)
    spool.clear()
    assert segments(tmp_path) == []


def test_goes_on_where_kafka_has_it(tmp_path: Path) -> None:
    """After `kill -9` nothing is handed on twice but what was on its way."""
    spool = spool_in(tmp_path)
    keep(spool, range(10))
    chunk = spool.take(4)
    assert chunk is not None
    spool.done(chunk)
    assert spool.take(3) is not None
    die(spool)
    again = spool_in(tmp_path)
    assert again.events == 6
    assert hand_on(again) == [4, 5, 6, 7, 8, 9]


def test_a_position_of_another_segment_counts_for_nothing(tmp_path: Path) -> None:
    """A number may come again; the seed in the name does not."""
    spool = spool_in(tmp_path)
    keep(spool, range(5))
    assert hand_on(spool) == [0, 1, 2, 3, 4]
    spool.clear()
    die(spool)
    again = spool_in(tmp_path)
    keep(again, range(5, 10))
    die(again)
    assert hand_on(spool_in(tmp_path)) == [5, 6, 7, 8, 9]


def test_damage_costs_what_is_damaged(tmp_path: Path) -> None:
    """It is counted and said once, its bytes are put aside, and both neighbours are handed on."""
    keep(spool := spool_in(tmp_path), range(5))
    die(spool)
    (path,) = segments(tmp_path)
    data = bytearray(path.read_bytes())
    place = data.index(b"v2")
    data[place] ^= 1
    path.write_bytes(data)
    damages = []
    again = Spool(tmp_path, on_damage=lambda: damages.append(1))
    again.open()
    assert again.count_next()
    assert again.events == 4
    assert again.take(1000) == again.take(1000)
    assert hand_on(again) == [0, 1, 3, 4]
    assert len(damages) == 1
    (aside,) = tmp_path.glob("*.damaged")
    assert b"w2" in aside.read_bytes()
    die(again)


@pytest.mark.parametrize("cut", [1, 10, 20])
def test_a_torn_end_is_no_damage(tmp_path: Path, cut: int) -> None:
    """Nobody was told that it is kept, so nobody is alarmed."""
    keep(spool := spool_in(tmp_path), range(5))
    die(spool)
    (path,) = segments(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    damages = []
    again = Spool(tmp_path, on_damage=lambda: damages.append(1))
    again.open()
    assert hand_on(again) == [0, 1, 2, 3]
    assert not damages
    assert not [*tmp_path.glob("*.damaged")]
    die(again)


def test_a_segment_of_nothing_but_damage(tmp_path: Path) -> None:
    """It goes, its bytes stay, and the next one is handed on; zeros are what a crash leaves, and not kept."""
    keep(spool := spool_in(tmp_path), range(3))
    die(spool)
    (path,) = segments(tmp_path)
    path.write_bytes(b"\0" * 500)
    (tmp_path / "000000000002-00000000000000ff.hw1").write_bytes(b"nonsense of some length")
    keep(again := spool_in(tmp_path), range(3, 6))
    assert hand_on(again) == [3, 4, 5]
    assert [path.read_bytes() for path in tmp_path.glob("*.damaged")] == [b"nonsense of some length"]
    die(again)


def test_what_the_disk_cannot_read(tmp_path: Path) -> None:
    """It is passed over and stays there; the next start tries it again."""
    keep(spool := spool_in(tmp_path), range(3))
    spool.close()
    (path,) = segments(tmp_path)
    content = path.read_bytes()
    path.unlink()
    path.mkdir()
    again = spool_in(tmp_path)
    keep(again, range(3, 6))
    assert hand_on(again) == [3, 4, 5]
    again.clear()
    again.close()
    path.rmdir()
    path.write_bytes(content)
    assert hand_on(spool_in(tmp_path)) == [0, 1, 2]


def test_one_collector_a_directory(tmp_path: Path) -> None:
    """A second one is told so, in a line that says what to do; when the first is gone, it may come."""
    first = spool_in(tmp_path)
    with pytest.raises(ConfigurationError, match="another collector's spool: give each its own HEADWATER_SPOOL_DIR"):
        Spool(tmp_path).open()
    keep(first, range(3))
    first.close()
    assert hand_on(spool_in(tmp_path)) == [0, 1, 2]


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    """The collector does not start on it: one line."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"the spool .*/file/spool cannot be used: Not a directory"):
        Spool(tmp_path / "file" / "spool").open()


def test_only_the_owner_reads(tmp_path: Path) -> None:
    """Events are personal data."""
    spool = spool_in(tmp_path / "deep" / "spool")
    keep(spool, range(3))
    places = [spool.directory, *spool.directory.iterdir()]
    assert all(not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) for path in places)


def test_a_probe_leaves_nothing(tmp_path: Path) -> None:
    """Whether the disk takes anything is asked by a file of its own."""
    disk = Disk()
    spool = spool_in(tmp_path, disk)
    spool.try_disk()
    disk.room = 10
    with pytest.raises(OSError, match="No space"):
        spool.try_disk()
    disk.room, disk.breaks = None, True
    with pytest.raises(OSError, match="Input/output"):
        spool.try_disk()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "position"]
