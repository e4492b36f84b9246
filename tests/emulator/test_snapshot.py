import threading
from pathlib import Path

import orjson

from app.emulator.snapshot import Snapshot, Snapshots


def test_older_snapshot_never_replaces_a_newer_one(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    snapshots = Snapshots(path)
    snapshots.write(Snapshot(2, b'{"version": 1, "number": 2}'))
    snapshots.write(Snapshot(1, b'{"version": 1, "number": 1}'))
    assert orjson.loads(path.read_bytes())["number"] == 2


def test_writes_that_meet_leave_one_whole_document(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    snapshots = Snapshots(path)

    def write(first: int, size: int) -> None:
        for number in range(first, 60, 2):
            snapshots.write(Snapshot(number, orjson.dumps({"version": 1, "number": number, "filling": "x" * size})))

    threads = [threading.Thread(target=write, args=each) for each in ((1, 10), (2, 2_000_000))]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert orjson.loads(path.read_bytes())["version"] == 1
    for thread in threads:
        thread.join()
    assert orjson.loads(path.read_bytes())["number"] == 59
