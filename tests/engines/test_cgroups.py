"""Limits of control groups, in both versions, seen from outside and inside a container."""

from pathlib import Path

import pytest

from localvoice.engines.threads import cpu_quota, memory_limit

GIB = 1 << 30


def system(root: Path, own: str, files: dict[str, str]) -> Path:
    """A file system with this /proc/self/cgroup and these files of groups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    for name, content in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
    return root


V2_SERVICE = "0::/system.slice/localvoice.service\n"
V1_HOST = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        pytest.param("0::/\n", {"cpu.max": "100000 100000"}, 1, id="v2, a container's own view"),
        pytest.param(
            V2_SERVICE,
            {
                "system.slice/cpu.max": "max 100000",
                "system.slice/localvoice.service/cpu.max": "150000 100000",
            },
            1.5,
            id="v2, a service's CPUQuota",
        ),
        pytest.param(
            V2_SERVICE,
            {
                "system.slice/cpu.max": "100000 100000",
                "system.slice/localvoice.service/cpu.max": "max 100000",
            },
            1,
            id="v2, the quota of a group above",
        ),
        pytest.param(
            V2_SERVICE,
            {
                "system.slice/cpu.max": "400000 100000",
                "system.slice/localvoice.service/cpu.max": "50000 20000",
            },
            2.5,
            id="v2, the smaller of two",
        ),
        pytest.param(
            V2_SERVICE, {"other.slice/cpu.max": "100000 100000"}, None, id="v2, another group's quota"
        ),
        pytest.param("0::/../../x\n", {"cpu.max": "100000 100000"}, 1, id="v2, moved out of the view"),
        pytest.param(
            V1_HOST,
            {"cpu,cpuacct/cpu.cfs_quota_us": "100000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            1,
            id="v1, a container that sees the host's path",
        ),
        pytest.param(
            "1:cpu:/docker/abc\n0::/\n",
            {"cpu/docker/abc/cpu.cfs_quota_us": "200000", "cpu/docker/abc/cpu.cfs_period_us": "100000"},
            2,
            id="v1, by its own path",
        ),
        pytest.param(
            V1_HOST,
            {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            None,
            id="v1, no quota",
        ),
        pytest.param("0::/\n", {"unified/cpu.max": "100000 50000"}, 2, id="both versions"),
        pytest.param("0::/\n", {"cpu.max": "garbage"}, None, id="not numbers"),
        pytest.param("0::/\n", {"cpu.max": "100000 0"}, None, id="no period"),
        pytest.param("0::/\n", {"cpu.max": ""}, None, id="empty"),
    ],
)
def test_the_tightest_quota_counts(
    own: str, files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    assert cpu_quota(system(tmp_path, own, files)) == quota


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        (V2_SERVICE, {"system.slice/localvoice.service/memory.max": "max"}, None),
        (V2_SERVICE, {"system.slice/memory.max": str(2 * GIB)}, 2 * GIB),
        (V1_HOST, {"memory/memory.limit_in_bytes": str(3 * GIB)}, 3 * GIB),
        (V1_HOST, {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
    ],
)
def test_the_tightest_memory_limit_counts(
    own: str, files: dict[str, str], limit: int | None, tmp_path: Path
) -> None:
    assert memory_limit(system(tmp_path, own, files)) == limit


def test_without_control_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None and memory_limit(tmp_path) is None
