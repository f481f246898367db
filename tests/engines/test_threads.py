"""The thread plan on machines of several sizes."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localvoice.engines.threads import ThreadPlan, plan_threads
from localvoice.machine import available_cores


@pytest.mark.parametrize(
    ("cores", "plan"),
    [
        (1, ThreadPlan(llm_decode=1, llm_prompt=1, stt=1, tts=1)),
        (2, ThreadPlan(llm_decode=1, llm_prompt=2, stt=2, tts=1)),
        (4, ThreadPlan(llm_decode=3, llm_prompt=4, stt=4, tts=1)),
        (8, ThreadPlan(llm_decode=7, llm_prompt=8, stt=8, tts=2)),
        (32, ThreadPlan(llm_decode=31, llm_prompt=32, stt=8, tts=2)),
    ],
)
def test_plan_by_cores(cores: int, plan: ThreadPlan) -> None:
    assert plan_threads(cores) == plan


def test_whisper_on_a_gpu_needs_one_thread_and_the_llm_its_own() -> None:
    assert plan_threads(8, "cuda") == ThreadPlan(llm_decode=7, llm_prompt=8, stt=1, tts=2)


@given(cores=st.integers(2, 256))
def test_decoding_leaves_a_core_to_speech(cores: int) -> None:
    plan = plan_threads(cores)
    assert plan.llm_decode < cores
    assert max(plan.llm_prompt, plan.stt) <= cores


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max", 8), ("200000", 2), ("150000", 1), ("50000", 1), ("6400000", 8)],
)
def test_a_quota_counts_in_whole_cores(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text(f"{quota} 100000\n")
    assert available_cores(tmp_path) == cores


def test_without_a_quota_or_affinity_the_machines_cores_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert available_cores(tmp_path) == 6


def test_the_plan_is_made_for_this_process_by_default() -> None:
    assert plan_threads() == plan_threads(available_cores())
