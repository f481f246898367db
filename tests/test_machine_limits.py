"""What of a machine this process may use, with the limits of control groups in both versions."""

from pathlib import Path

import pytest

from localvoice import machine
from localvoice.machine import Machine, cpu_quota, free_memory, gpu_memory, memory_limit

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


MEMINFO = "MemTotal:       8000000 kB\nMemFree:         100000 kB\nMemAvailable:   6000000 kB\n"


@pytest.mark.parametrize(
    ("own", "files", "free"),
    [
        ("0::/\n", {}, 6_000_000 << 10),
        (V2_SERVICE, {"system.slice/memory.max": "max", "system.slice/memory.current": "5"}, 6_000_000 << 10),
        ("0::/\n", {"memory.max": str(3 * GIB), "memory.current": str(GIB)}, 2 * GIB),
        (
            "0::/\n",
            {"memory.max": str(3 * GIB), "memory.current": str(GIB), "memory.stat": f"inactive_file {GIB}"},
            3 * GIB,
        ),
        (
            V1_HOST,
            {
                "memory/memory.limit_in_bytes": str(2 * GIB),
                "memory/memory.usage_in_bytes": str(GIB),
                "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB >> 1}",
            },
            GIB + (GIB >> 1),
        ),
        ("0::/\n", {"memory.max": str(GIB), "memory.current": str(2 * GIB)}, 0),
    ],
)
def test_free_memory_is_what_the_machine_and_all_groups_have_left(
    own: str, files: dict[str, str], free: int, tmp_path: Path
) -> None:
    root = system(tmp_path, own, files)
    (root / "proc/meminfo").write_text(MEMINFO)
    assert free_memory(root) == free


def test_without_meminfo_all_of_the_memory_counts(tmp_path: Path) -> None:
    assert free_memory(tmp_path) > 100 << 20


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvidia-smi that tells of two GPUs, and a llama.cpp that was built for them."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '16000\\n8000\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "_llama_has_cuda", lambda: True)
    return tool


def test_the_first_gpu_counts(driver: Path) -> None:
    assert gpu_memory() == 16_000 << 20


@pytest.mark.parametrize(
    "said", ["#!/bin/sh\nexit 9\n", "#!/bin/sh\n", "#!/bin/sh\necho '[N/A]'\n", "no program"]
)
def test_a_driver_that_does_not_work_is_no_gpu(driver: Path, said: str) -> None:
    driver.write_text(said)
    assert gpu_memory() == 0


def test_a_gpu_that_may_or_can_not_be_used_is_none(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_memory() == 0
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(machine, "_llama_has_cuda", lambda: False)
    assert gpu_memory() == 0
    driver.unlink()
    assert gpu_memory() == 0


def test_a_machine_in_words() -> None:
    assert str(Machine(1, 4000)) == "1 core, 4.0 GB of free memory, no NVIDIA GPU"
    assert "2 cores" in str(Machine(2, 4000, 8000)) and "GPU with 8.0 GB free" in str(Machine(2, 4000, 8000))
