from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from scalecore.cgroups import Cgroup, MemoryLimit, own_cgroups
from scalecore_hwmon.machine_memory import MachineReader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = (
    "31 23 0:28 / /sys/fs/cgroup rw shared:5 - tmpfs tmpfs rw,mode=755\n"
    "35 31 0:32 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "36 31 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n"
)


def write(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def limits(root: Path) -> list[MemoryLimit]:
    return [limit for group in own_cgroups(root) if (limit := group.limit()) is not None]


def test_g40_limits_of_the_own_group_and_all_ancestors_count_in_version_2(tmp_path: Path) -> None:
    """An ancestor's limit applies to a process whose own group has none. `memory.high` is also a limit."""
    base = "sys/fs/cgroup"
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user.slice/job/trial\n",
            "proc/self/mountinfo": V2_MOUNT,
            f"{base}/user.slice/job/trial/memory.max": "max\n",
            f"{base}/user.slice/job/memory.max": "4000000000\n",
            f"{base}/user.slice/job/memory.high": "3000000000\n",
            f"{base}/user.slice/memory.max": "9000000000\n",
        },
    )
    assert limits(root) == [
        MemoryLimit(bytes=3_000_000_000, source=f"container limit {root}/{base}/user.slice/job/memory.high"),
        MemoryLimit(bytes=9_000_000_000, source=f"container limit {root}/{base}/user.slice/memory.max"),
    ]


def test_g40_limits_are_found_in_version_1(tmp_path: Path) -> None:
    """The memory hierarchy is found among others, and its huge "no limit" value is not a limit."""
    base = "sys/fs/cgroup/memory"
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "8:pids:/\n4:cpuacct,memory:/jobs/7\n0::/\n",
            "proc/self/mountinfo": V1_MOUNT.format(top="/"),
            f"{base}/memory.limit_in_bytes": "9223372036854771712\n",
            f"{base}/jobs/memory.limit_in_bytes": "2147483648\n",
            f"{base}/jobs/7/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert limits(root) == [
        MemoryLimit(bytes=2**31, source=f"container limit {root}/{base}/jobs/memory.limit_in_bytes")
    ]


def test_g40_the_limit_of_a_container_without_own_namespace_is_found(tmp_path: Path) -> None:
    """If only the container's part of the hierarchy is mounted, the host's path maps to the mount point."""
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n",
            "proc/self/mountinfo": V1_MOUNT.format(top="/docker/abc"),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
        },
    )
    assert [limit.bytes for limit in limits(root)] == [2**30]


def test_g40_a_group_outside_of_the_namespace_falls_back_to_the_mount_point(tmp_path: Path) -> None:
    """A path outside the mounted hierarchy is not followed."""
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/../../other\n",
            "proc/self/mountinfo": V2_MOUNT,
            "sys/fs/cgroup/memory.max": "1000000000\n",
        },
    )
    assert [group.folder for group in own_cgroups(root)] == [root / "sys/fs/cgroup"]
    assert [limit.bytes for limit in limits(root)] == [10**9]


def test_spaces_in_the_path_of_a_mount_are_decoded(tmp_path: Path) -> None:
    """The kernel writes them as octal escapes."""
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": "30 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n",
            "my groups/memory.max": "5000\n",
        },
    )
    assert [limit.bytes for limit in limits(root)] == [5000]


def test_a_machine_without_control_groups_has_no_such_limit(tmp_path: Path) -> None:
    """Missing files are not an error: macOS has none of them."""
    assert own_cgroups(tmp_path) == []


def test_cached_file_pages_do_not_count_as_used(tmp_path: Path) -> None:
    """The kernel reclaims them if necessary, so a group that has read a large file is not full."""
    version_2 = write(
        tmp_path / "v2",
        {"memory.current": "1000\n", "memory.stat": "anon 300\ninactive_file 400\nactive_file 200\n"},
    )
    version_1 = write(
        tmp_path / "v1",
        {"memory.usage_in_bytes": "1000\n", "memory.stat": "cache 9\ntotal_inactive_file 100\ntotal_active_file 50\n"},
    )
    assert Cgroup(folder=version_2, version=2).used() == 400
    assert Cgroup(folder=version_1, version=1).used() == 850


def container(root: Path, **files: str) -> Path:
    standard = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": V2_MOUNT,
        "sys/fs/cgroup/memory.max": "600000000\n",
        "sys/fs/cgroup/memory.current": "400000000\n",
        "sys/fs/cgroup/memory.stat": "inactive_file 100000000\nactive_file 0\n",
    }
    return write(root, standard | files)


def test_g40_a_container_limit_below_the_machines_memory_applies(tmp_path: Path) -> None:
    """Limit and free memory are the container's instead of psutil's, and both name it as their source."""
    root = container(tmp_path)
    machine = MachineReader(root=root).read()
    source = f"container limit {root}/sys/fs/cgroup/memory.max"
    assert machine.limit == MemoryLimit(bytes=600_000_000, source=source)
    assert (machine.available, machine.available_source) == (300_000_000, source)
    values = {reading.quantity: reading.value for reading in machine.readings}
    assert values["memory_available"] == 300_000_000
    assert values["memory_used"] == 300_000_000


def test_g40_without_a_container_the_physical_memory_is_the_limit(tmp_path: Path) -> None:
    """The source names the physical memory."""
    machine = MachineReader(root=tmp_path).read()
    assert machine.limit == MemoryLimit(bytes=psutil.virtual_memory().total, source="physical memory")
    assert 0 < machine.available <= machine.limit.bytes


def test_g41_what_a_container_hides_is_unavailable_with_its_reason(tmp_path: Path) -> None:
    """Unreadable usage and missing counters are readings without a value, never zeros."""
    root = container(tmp_path)
    (root / "sys/fs/cgroup/memory.current").unlink()
    readings = {reading.quantity: reading for reading in MachineReader(root=root).read().readings}
    assert readings["container_memory"].value is None
    assert "memory.current" in (readings["container_memory"].reason or "")
    assert readings["memory_pressure"].text == "unavailable (the kernel reports no memory pressure)"
    assert readings["swap_in"].value is None
    assert (readings["swap_in"].reason or "").startswith("swapped-in pages are not counted here: ")
    assert readings["memory_available"].source == "physical memory"


def test_pressure_and_swap_rate_come_from_the_kernel(tmp_path: Path) -> None:
    """The own group's pressure takes precedence over the machine's. A rate needs two samples a second apart."""
    psi = "some avg10=30.00 avg60=1.00 avg300=0.00 total=9\nfull avg10=12.50 avg60=1.00 avg300=0.00 total=5\n"
    root = container(
        tmp_path,
        **{"proc/vmstat": "nr_free 1\npswpin 1000\n", "proc/pressure/memory": psi.replace("12.50", "0.00")},
        **{"sys/fs/cgroup/memory.pressure": psi},
    )
    now = [100.0]
    reader = MachineReader(root=root, clock=lambda: now[0])

    def look() -> dict[str, float | None]:
        return {reading.quantity: reading.value for reading in reader.read().readings}

    first = look()
    assert first["memory_pressure"] == 12.5
    assert first["swap_in"] is None
    write(root, {"proc/vmstat": "nr_free 1\npswpin 3000\n"})
    now[0] += 0.1
    assert look()["swap_in"] is None
    now[0] += 1.9
    assert look()["swap_in"] == 1000 * 4096


def test_a_limit_that_is_lowered_while_the_study_runs_is_seen(tmp_path: Path) -> None:
    """Limits are read again about every second."""
    root = container(tmp_path)
    now = [0.0]
    reader = MachineReader(root=root, clock=lambda: now[0])
    assert reader.read().limit.bytes == 600_000_000
    write(root, {"sys/fs/cgroup/memory.max": "500000000\n"})
    now[0] += 1.0
    assert reader.read().limit.bytes == 500_000_000
