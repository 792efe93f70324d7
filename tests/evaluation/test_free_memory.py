"""Memory that is free: of the system, and of a container within it."""

import pytest

from ropewalk.evaluation import free_memory

MEMINFO = "MemTotal:       16000000 kB\nMemFree:  100 kB\nMemAvailable:    2048 kB\n"


@pytest.mark.parametrize(
    ("meminfo", "limit", "used", "expected"),
    [
        (MEMINFO, None, None, 2048 * 1024),
        (MEMINFO, "max", "4096", 2048 * 1024),
        (MEMINFO, "1048576", "48576", 1_000_000),
        (None, "1048576", "48576", 1_000_000),
        ("MemTotal: 1 kB\n", None, None, None),
        (None, None, None, None),
    ],
)
def test_the_least_of_what_is_left_counts(meminfo, limit, used, expected, tmp_path, monkeypatch):
    files = {"meminfo": meminfo, "memory.max": limit, "memory.current": used}
    for name, text in files.items():
        if text is not None:
            (tmp_path / name).write_text(text)
    monkeypatch.setattr(free_memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(free_memory, "_GROUP", tmp_path)
    assert free_memory.free_bytes() == expected
