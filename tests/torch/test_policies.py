"""The precision of a trial and whether its blocks are compiled, with the reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from scalecore.api.errors import RefusedError
from scalecore.api.module import Savings
from scalecore_torch.training.compile_choice import Work
from scalecore_torch.training.policies import Policy, choose, missing_compiler

SMALL = Work(flops=10_000_000, windows=1_000, epochs=10, effective_batch=256, blocks=8)
LONG = evolve(SMALL, flops=45_000_000, windows=5_000, epochs=50, blocks=48)


def policy(**changes: Any) -> Policy:
    settings: dict[str, Any] = {
        "precision": "auto",
        "compile": "auto",
        "device": "cpu",
        "bf16_hardware": True,
        "compiler_problem": None,
        "work": SMALL,
    }
    return choose(**{**settings, **changes})


def test_a_cpu_computes_in_float32_by_default() -> None:
    """`auto` never mixes precisions in a study; the reason for an explicit bfloat16 mentions missing hardware."""
    assert policy(work=LONG).precision == policy().precision == "fp32"
    assert policy().why["precision"] == "auto: float32 on cpu, where bfloat16 must be set explicitly"
    assert policy(precision="bf16").why["precision"] == "as set"
    slow = policy(precision="bf16", bf16_hardware=False)
    assert (slow.precision, slow.why["precision"]) == ("bf16", "as set; this processor has no instructions for it")


def test_a_gpu_computes_in_bfloat16_if_supported() -> None:
    """Without matrix units for it, and on MPS, `auto` uses float32; an explicit setting is obeyed."""
    assert policy(device="cuda").precision == "bf16"
    assert policy(device="cuda", bf16_hardware=False).precision == "fp32"
    assert policy(device="cuda", precision="fp32").precision == "fp32"
    assert policy(device="mps").precision == "fp32"


def test_a_gpu_that_trains_in_bfloat16_evaluates_in_tf32() -> None:
    """This requires matrix units and a training that uses them; otherwise evaluations are float32."""
    found = policy(device="cuda")
    why = "the training is in bfloat16, and the GPU has matrix units for TF32"
    assert (found.evaluation, found.why["evaluation"]) == ("tf32", why)
    exact = policy(device="cuda", precision="fp32")
    assert (exact.evaluation, exact.why["evaluation"]) == ("fp32", "like the training")
    old = policy(device="cuda", precision="bf16", bf16_hardware=False)
    assert (old.evaluation, old.why["evaluation"]) == ("fp32", "the GPU has no matrix units for TF32")
    for device in ("cpu", "mps"):
        other = policy(device=device, precision="bf16")
        assert (other.evaluation, other.why["evaluation"]) == ("fp32", f"float32 on {device}")


@pytest.mark.parametrize("launches", ["few", "graph"])
def test_launches_change_only_if_set_on_a_gpu(launches: Any) -> None:
    """No default uses them, since no GPU has been shown to be faster; on other devices they have no effect."""
    assert (policy(device="cuda").launches, policy(device="cuda").why["launches"]) == ("plain", "as set")
    found = policy(device="cuda", launches=launches)
    assert (found.launches, found.why["launches"]) == (launches, "as set")
    other = policy(device="mps", launches=launches)
    assert (other.launches, other.why["launches"]) == ("plain", "no effect on mps")


def test_an_older_trial_keeps_its_evaluation() -> None:
    """Its checkpoints do not contain the precision of evaluations, which was float32."""
    plain = policy(device="cuda").plain()
    assert Policy(**plain).evaluation == "tf32"
    del plain["evaluation"]
    assert Policy(**plain).evaluation == "fp32"


def test_without_savings_the_length_of_the_trial_decides() -> None:
    """On a CPU the FLOPs of all steps decide, and the reason has both numbers."""
    short, long = policy(), policy(work=LONG)
    assert (short.compile, short.why["compile"]) == ("off", "auto: 3e+11 FLOPs in all, < 2e+13")
    assert (long.compile, long.why["compile"]) == ("block", "auto: 3.4e+13 FLOPs in all, >= 2e+13")


def test_on_a_cpu_the_seconds_saved_decide() -> None:
    """The model's savings for the windows of all epochs are compared with the time to compile; FLOPs do not matter."""
    savings = Savings(numbers=10**6, masks=10**6, heads=100)
    work = evolve(LONG, savings=savings)
    assert policy(work=work).why["compile"] == "auto: saves about 945 s in all steps, >= 25 s to compile"
    assert policy(work=evolve(work, flops=1)).compile == "block"
    assert policy(work=work, precision="bf16").why["compile"] == (
        "auto: saves about 495 s in all steps, >= 25 s to compile"
    )
    short = evolve(work, epochs=1)
    assert policy(work=short).why["compile"] == "auto: saves about 18.9 s in all steps, < 25 s to compile"


def test_without_savings_a_gpu_compiles_deep_narrow_shapes() -> None:
    """Blocks that keep the GPU busy are not compiled, nor are short trials."""
    assert policy(device="cuda", work=LONG).why["compile"] == "auto: 48000 blocks in all steps, < 400000"
    assert policy(device="cuda", work=evolve(LONG, windows=50_000)).compile == "block"
    wide = evolve(LONG, flops=90_000_000_000, windows=50_000)
    assert policy(device="cuda", work=wide).why["compile"] == (
        "auto: 1.4e+12 FLOPs of a block in a step keep the GPU busy, >= 2e+11"
    )


def test_bytes_of_element_wise_work_decide_on_a_busy_gpu() -> None:
    """If the GPU waits for launches, their number decides; both reasons state that they are estimates."""
    savings = Savings(numbers=2_400_000, masks=1_600_000)
    wide = evolve(LONG, flops=5_000_000_000, windows=50_000, blocks=32, effective_batch=1024, savings=savings)
    assert policy(device="cuda", work=evolve(wide, epochs=1)).why["compile"] == (
        "auto: estimated to save 0.625 s in all steps (3e+12 bytes of element-wise work at 4.8 TB/s), < 60 s to compile"
    )
    long = policy(device="cuda", work=evolve(wide, windows=500_000))
    assert (long.compile, long.why["compile"]) == (
        "block",
        "auto: estimated to save 312 s in all steps (1.5e+15 bytes of element-wise work at 4.8 TB/s), >= 60 s to "
        "compile",
    )
    narrow = evolve(LONG, windows=50_000, savings=savings)
    assert policy(device="cuda", work=narrow).why["compile"] == (
        "auto: estimated to save 70.6 s in all steps (470400 blocks launched), >= 60 s to compile"
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"compiler_problem": "no C++ compiler is found (g++)"}, "no C++ compiler is found (g++)"),
        ({"work": evolve(LONG, blocks=0)}, "the model declares no blocks (repeated_blocks or compile_blocks)"),
    ],
)
def test_blocks_that_cannot_be_compiled_are_off_or_refused(changes: dict[str, Any], problem: str) -> None:
    """`auto` turns compilation off with the reason, `block` is refused with the same reason, `off` is unaffected."""
    settings = {"work": LONG, **changes}
    found = policy(**settings)
    assert (found.compile, found.why["compile"]) == ("off", f"auto: {problem}")
    assert policy(**settings, compile="off").why["compile"] == "as set"
    with pytest.raises(RefusedError) as caught:
        policy(**settings, compile="block")
    assert str(caught.value) == f"training.compile: block cannot be used: {problem}; use auto or off"


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check looks for the C++ compiler that torch would call, CXX first."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert missing_compiler("cpu") == ("no C++ compiler is found (no-such-compiler; set CXX to use another one)")
    monkeypatch.setenv("CXX", "sh")
    assert missing_compiler("cpu") is None
    assert missing_compiler("mps") == "torch does not compile for MPS well enough yet"


def test_a_gpu_needs_triton_and_the_c_compiler_that_triton_calls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is CC, else gcc, else clang; a C++ compiler does not help."""
    monkeypatch.setenv("CXX", "sh")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert missing_compiler("cuda") == "the package triton is not installed"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing_compiler("cuda") == ("no C compiler is found, which triton needs (gcc; set CC to use another one)")
    for name in ("clang", "own"):
        (tmp_path / name).touch(0o755)
        assert missing_compiler("cuda") is None
        monkeypatch.setenv("CC", "own")
    (tmp_path / "own").unlink()
    assert missing_compiler("cuda") == ("no C compiler is found, which triton needs (own; set CC to use another one)")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_compiling_needs_the_headers_of_python(device: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without them every compilation would fail."""
    for variable in ("CC", "CXX"):
        monkeypatch.setenv(variable, "sh")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("sysconfig.get_path", lambda name, scheme: str(tmp_path))
    assert missing_compiler(device) == f"Python's headers are not installed ({tmp_path / 'Python.h'})"
    (tmp_path / "Python.h").touch()
    assert missing_compiler(device) is None
