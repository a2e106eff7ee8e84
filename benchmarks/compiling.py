"""What compiling the blocks of scalecore-patchtst costs an attempt, and with `--savings` what it saves in a step.

Cost: the first attempt of a run, and those that follow it. Each row is a separate process that has imported torch and
`torch._dynamo`, as the fork server has. It compiles as an attempt does, with the folder that the attempts of a run
share. CPU seconds of the process and of the C++ compiler that it starts, and how many libraries it compiled; what
follows the warm-up is not counted.

Savings: for each shape a process that runs the layers as they are written, and one that runs them compiled. They take
turns, on the clock of their own CPU time; microseconds for one window in one layer, beside what the rule of
`training.compile: auto` takes for it.

The constants of that rule were fitted to break-even points in FLOPs of a whole trial, 25 s over what a step saves:

    d_model x layers  heads  Ice Lake  Zen 5    rule
    64 x 48           2      5e12      5.1e12   5.6e12
    64 x 48           32     8e11      7.7e11   8.5e11
    128 x 8           8      9e12      9.4e12   8.1e12
    256 x 24          8      2e13      1.4e13   2.2e13
    512 x 3           8      5e13      5.9e13   4.4e13
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from report import arguments, show

CONTEXT, FEATURES, BATCH = 60, 25, 64
SHAPE = {"d_model": 64, "n_layers": 48, "n_heads": 2, "d_ff": 256, "dropout": 0.1}
ATTEMPTS: dict[str, dict[str, Any]] = {
    "the first": {},
    "the same shape": {},
    "another depth": {"n_layers": 8},
    "another dropout": {"dropout": 0.2},
    "another width": {"d_model": 128, "d_ff": 512},
    "the first shape, sharing nothing": {"alone": True},
}
SAVINGS: tuple[dict[str, Any], ...] = (
    {"d_model": 64, "n_layers": 6, "n_heads": 2, "d_ff": 256},
    {"d_model": 64, "n_layers": 6, "n_heads": 32, "d_ff": 256},
    {"d_model": 128, "n_layers": 4, "n_heads": 8, "d_ff": 512},
    {"d_model": 512, "n_layers": 2, "n_heads": 8, "d_ff": 1024},
    {"d_model": 64, "n_layers": 6, "n_heads": 2, "d_ff": 256, "dropout": 0.1},
    {"d_model": 64, "n_layers": 6, "n_heads": 2, "d_ff": 256, "precision": "bf16"},
    {"d_model": 64, "n_layers": 6, "n_heads": 2, "d_ff": 256, "context": 252},
    {"d_model": 128, "n_layers": 4, "n_heads": 8, "d_ff": 512, "context": 252},
    {"d_model": 64, "n_layers": 6, "n_heads": 32, "d_ff": 256, "context": 252, "precision": "bf16"},
)


def built(job: dict[str, Any]) -> Any:
    """The module of a job, to be trained."""
    import torch

    from scalecore.api.space import DataShape
    from scalecore_patchtst.family import PatchTSTFamily
    from scalecore_patchtst.options import PatchTSTOptions

    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {name: job[name] for name in ("d_model", "n_layers", "n_heads", "d_ff")}
    data = DataShape(context=job.get("context", CONTEXT), features=FEATURES, outputs=1)
    return (
        PatchTSTFamily(PatchTSTOptions()).build(shape, {"dropout": job["dropout"], "head_dropout": 0.0}, data).train()
    )


def cpu_seconds() -> tuple[float, float]:
    """Of this process, and of those that it started and that ended."""
    import resource

    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime, others.ru_utime + others.ru_stime


def work() -> None:
    """Compile what the first line of the input says, and print what it cost."""
    job = json.loads(sys.stdin.readline())
    import torch
    import torch._dynamo  # as the fork server does

    from scalecore_torch.training.compilation import compile_blocks, private_cache, warm_up
    from scalecore_torch.training.shared_blocks import SharedBlocks

    module = built(job)
    x_BTF = torch.randn(BATCH, CONTEXT, FEATURES)
    began = cpu_seconds()
    compile_blocks(module, batch=BATCH)
    private = Path(job["private"])
    shared = None if job.get("alone") else SharedBlocks.of_this_machine(Path(job["shared"]))
    before = set() if shared is None else names(shared.path)
    with private_cache(private, shared=shared):
        warm_up(lambda: module(x_BTF).square().mean(), module, device=torch.device("cpu"))
        made = names(private)
    own, others = (after - start for after, start in zip(cpu_seconds(), began, strict=True))
    print(json.dumps({"process": own, "compiler": others, "libraries": len(made - before)}))


def names(folder: Path) -> set[str]:
    """The libraries under a folder."""
    return {path.name for path in folder.rglob("*.so")}


def steps() -> None:
    """Make the module of the first line of the input, then one turn of training steps for each further line."""
    job = json.loads(sys.stdin.readline())
    import torch

    module = built(job)
    x_BTF, y_B1 = torch.randn(BATCH, job.get("context", CONTEXT), FEATURES), torch.rand(BATCH, 1).round()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)
    if job["compiled"]:
        module.compile_blocks(lambda block: torch.compile(block, dynamic=False), batch=BATCH)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=job.get("precision") == "bf16"):
            logits = module(x_BTF)
        optimizer.zero_grad()
        torch.autograd.backward(torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), y_B1))
        optimizer.step()

    step()
    step()
    print(json.dumps(0), flush=True)
    for line in sys.stdin:
        started, count = time.process_time(), 0
        while count == 0 or time.process_time() - started < float(line):
            step()
            count += 1
        print(json.dumps((time.process_time() - started) / count), flush=True)


def saved(case: dict[str, Any], *, rounds: int, turn: float) -> dict[str, Any]:
    """A row: what compiling saves, and what it is taken to save."""
    from scalecore_torch.training import compile_choice

    case = {"dropout": 0.0, **case}
    with ExitStack() as stack:
        processes = []
        for compiled in (False, True):
            process = subprocess.Popen(
                [sys.executable, __file__, "--steps"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"},
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
            said(process, json.dumps({**case, "compiled": compiled}))
        times = [[said(process, str(turn)) for process in processes] for _ in range(rounds)]
    windows = BATCH * case["n_layers"]
    precision = case.pop("precision", "fp32")
    counts = built(case).compile_savings()
    seconds = compile_choice.saved_on_cpu(counts, precision=precision)
    return {
        "context": CONTEXT,
        "precision": precision,
        **case,
        "compiled / eager": round(statistics.median(compiled / eager for eager, compiled in times), 2),
        "saved us": round(1e6 * statistics.median(eager - compiled for eager, compiled in times) / windows, 1),
        "by the rule us": round(1e6 * seconds / case["n_layers"], 1),
    }


def said(process: subprocess.Popen[str], line: str) -> Any:
    """The answer of a process to a line."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(line, file=process.stdin, flush=True)
    return json.loads(process.stdout.readline())


def main() -> None:
    """Measure, and print."""
    parser = arguments(__doc__)
    parser.add_argument("--savings", action="store_true", help="what compiling saves, instead of what it costs")
    options = parser.parse_args()
    if options.savings:
        cases = SAVINGS[:1] if options.short else SAVINGS
        rows = [saved(case, rounds=1 if options.short else 5, turn=0.4) for case in cases]
        notes = [
            f"Medians of interleaved turns, CPU time, batch {BATCH}, one thread; others may have used the machine."
        ]
        show("seconds that compiled layers save, for a window and a layer", rows, notes=notes, path=options.json)
        return
    rows = []
    with tempfile.TemporaryDirectory() as root:
        for number, (name, changes) in enumerate(ATTEMPTS.items()):
            if options.short and number > 1:
                break
            place = {"private": f"{root}/trial_{number}/attempt_0/compiled", "shared": f"{root}/compiled"}
            small = {"n_layers": 2} if options.short else {}
            found = subprocess.run(
                [sys.executable, __file__, "--work"],
                input=json.dumps({**SHAPE, **small, **changes, **place}) + "\n",
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            cost = json.loads(found.stdout.splitlines()[-1])
            total = cost["process"] + cost["compiler"]
            rows.append({"attempt": name, "CPU s": round(total, 1), **{k: round(v, 1) for k, v in cost.items()}})
    notes = [
        "CPU seconds of the attempt's process and of the C++ compiler; `libraries` are those that it compiled itself.",
        f"PatchTST {SHAPE}, batch {BATCH}, 11 patches; the first attempt also precompiles the headers of C++.",
    ]
    show("compiling the blocks of an attempt", rows, notes=notes, path=options.json)


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        work()
    elif sys.argv[1:] == ["--steps"]:
        steps()
    else:
        main()
