"""What control groups allow counts, not what the machine has: in version 1 and 2, in containers and in batch jobs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from harness import capacity as module
from harness.capacity import GroupLimits, capacity, read_limits
from harness.errors import HarnessError
from harness.run.machine import read_environment

GIB = 1 << 30
V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "30 23 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
    "31 30 0:28 {root} /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:29 {root} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
)
UNLIMITED = "9223372036854771712\n"


def system(root: Path, mountinfo: str, cgroup: str, files: dict[str, str]) -> Path:
    """Make the files of a system in which this process is in some control groups."""
    for name, text in {"proc/self/mountinfo": mountinfo, "proc/self/cgroup": cgroup, **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_no_group_and_no_system_files_set_no_limit(tmp_path):
    assert read_limits(tmp_path) == GroupLimits(memory_bytes=None, cores=None)
    assert read_limits(system(tmp_path, V2, "0::/user.slice\n", {})) == GroupLimits(memory_bytes=None, cores=None)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"job/memory.max": f"{4 * GIB}\n", "job/cpu.max": "150000 100000\n"}, (4 * GIB, 1.5)),
        ({"job/memory.max": "max\n", "job/cpu.max": "max 100000\n"}, (None, None)),
        ({"job/memory.max": "max\n", "job/memory.high": f"{2 * GIB}\n"}, (2 * GIB, None)),
        ({"job/memory.max": f"{4 * GIB}\n", "memory.max": f"{3 * GIB}\n", "cpu.max": "200000 100000\n"}, (3 * GIB, 2)),
        ({"job/step/memory.max": f"{GIB}\n", "job/memory.max": f"{2 * GIB}\n"}, (GIB, None)),
        ({"other/memory.max": f"{GIB}\n"}, (None, None)),
    ],
)
def test_the_tightest_limit_of_version_2_on_the_way_up_counts(tmp_path, files, expected):
    placed = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    found = read_limits(system(tmp_path, V2, "0::/job/step\n", placed))
    assert (found.memory_bytes, found.cores) == expected


@pytest.mark.parametrize(
    ("root", "where"), [("/", "slurm/job_7/"), ("/slurm/job_7", ""), ("/docker/0c9b", "")], ids=["host", "own", "other"]
)
def test_limits_of_version_1_are_found_where_the_group_is_mounted(tmp_path, root, where):
    groups = "4:memory:/slurm/job_7\n3:cpu,cpuacct:/slurm/job_7\n1:name=systemd:/\n0::/\n"
    files = {
        f"sys/fs/cgroup/memory/{where}memory.limit_in_bytes": f"{8 * GIB}\n",
        f"sys/fs/cgroup/cpu,cpuacct/{where}cpu.cfs_quota_us": "400000\n",
        f"sys/fs/cgroup/cpu,cpuacct/{where}cpu.cfs_period_us": "100000\n",
    }
    found = read_limits(system(tmp_path, V1.format(root=root), groups, files))
    assert found == GroupLimits(memory_bytes=8 * GIB, cores=4.0)


def test_version_1_without_limits(tmp_path):
    files = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED,
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    found = read_limits(system(tmp_path, V1.format(root="/"), "4:memory:/\n3:cpu,cpuacct:/\n", files))
    assert found == GroupLimits(memory_bytes=None, cores=None)


@pytest.mark.parametrize(
    ("limits", "cores", "memory"),
    [
        (GroupLimits(memory_bytes=None, cores=None), 8, 64 * GIB),
        (GroupLimits(memory_bytes=4 * GIB, cores=1.5), 2, 4 * GIB),
        (GroupLimits(memory_bytes=None, cores=0.3), 1, 64 * GIB),
        (GroupLimits(memory_bytes=128 * GIB, cores=16.0), 8, 64 * GIB),
    ],
)
def test_what_may_be_used_is_the_least_of_machine_affinity_and_groups(monkeypatch, limits, cores, memory):
    monkeypatch.setattr(os, "cpu_count", lambda: 32)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(module, "_memory", lambda: 64 * GIB)
    monkeypatch.setattr(module, "read_limits", lambda root: limits)
    found = capacity.__wrapped__()
    assert (found.cores, found.memory_bytes) == (32, 64 * GIB)
    assert (found.cores_usable, found.memory_usable_bytes) == (cores, memory)
    binding = (found.limits.memory_bytes is not None, found.limits.cores is not None)
    assert binding == (memory < 64 * GIB, cores < 8)


@pytest.mark.parametrize(
    ("recorded", "refused"),
    [
        ({}, ""),
        ({"cores_limit": None, "memory_limit_bytes": None}, ""),
        ({"cores_limit": 1.5, "memory_limit_bytes": GIB}, ""),
        ({"memory_limit_bytes": "abc"}, "memory_limit_bytes expected int"),
        ({"cores_limit": "2"}, "cores_limit expected float"),
    ],
)
def test_limits_are_read_from_a_run_that_has_them_and_missed_in_none(tmp_path, recorded, refused):
    path = tmp_path / "environment.json"
    path.write_text(json.dumps({"run_id": "r", "sessions": [{"cores": 4, "memory_bytes": 8 * GIB, **recorded}]}))
    if refused:
        with pytest.raises(HarnessError, match=refused):
            read_environment(path)
    else:
        assert {"cores", *recorded} <= set(read_environment(path)["sessions"][0])
