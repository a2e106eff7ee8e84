"""The real training step on a GPU: time, share of the matrix peak, share that waits for launches, evaluation, packing.

scalecore-patchtst, windows of 60 steps with 25 features, dropout 0.1, in bfloat16 on a GPU. Timed are
`TrainingLoop.optimizer_step` and `.evaluate`, as an attempt calls them, in steps of one micro-batch. MFU is the FLOPs
of the matrix products of forward and backward pass over time, relative to the peak of square bfloat16 products
measured first. `launch_bound_%` is the share of a step in which the device had nothing to do: one less the time that
its kernels took in torch's profiler, which needs no special rights; empty where it reports none. `evaluated/trained`
says how many trained windows an evaluated one costs. `compile` and `launches` are the options of `training`. Packed
are 2, 4 and 8 processes that train the same shape on one device at once; their throughput is that of all of them,
`times_one` relative to one process.

`--seconds` are for all measurements together, without starting Python and preparing data; what does not fit into them
is listed as not reached, the goals first. `--device cpu` rehearses the program on tiny shapes and says nothing about a
GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from attrs import evolve
from report import arguments, show
from step import CONTEXT, FEATURES, PATCH, STRIDE

from scalecore.api.dataset_options import Split, TargetOptions
from scalecore.api.errors import RefusedError
from scalecore.api.panel import Panel
from scalecore.api.space import DataShape
from scalecore.api.targets import labels, target_of
from scalecore.data.prepare import prepare
from scalecore.execution.hyperparameters import Hyperparameters
from scalecore_patchtst.family import PatchTSTFamily
from scalecore_patchtst.options import PatchTSTOptions
from scalecore_torch.compute_policy import compile_trainer
from scalecore_torch.testing.training import make_training_plan
from scalecore_torch.training.policies import Compile, Launches, Policy, missing_compiler
from scalecore_torch.training.step_graph import WARM_UP
from scalecore_torch.training.tasks import task_named
from scalecore_torch.training.training_loop import TrainingLoop
from scalecore_torch.training.windows import open_windows

DATA = DataShape(context=CONTEXT, features=FEATURES, outputs=1)
FAMILY = PatchTSTFamily(PatchTSTOptions(patch_len=PATCH, stride=STRIDE))
NAMES = ("d_model", "n_layers", "n_heads", "d_ff")
SHAPES = {
    "2M": (64, 48, 2, 256),
    "20M": (256, 24, 8, 1024),
    "200M": (768, 28, 12, 3072),
    "2B": (2048, 40, 16, 8192),
}
TINY = {"2M": (16, 2, 2, 32), "20M": (32, 2, 2, 64)}
LEAST_SECONDS, MOST_SECONDS = 0.5, 4.0
"""Of the timed part of one cell."""
DOES_NOT_FIT = "does not fit"
START_SECONDS = 5.0
COMPILE_SECONDS = 30.0
"""About what a cell takes beside its timed part, before one was measured; one with compiled blocks takes more."""


class Cell(NamedTuple):
    """A row of the table."""

    budget: str
    micro_batch: int
    processes: int = 1
    compile: Compile = "off"
    launches: Launches = "plain"


class Goal(NamedTuple):
    """What a row is to reach."""

    cell: Cell
    column: str
    least: float | None = None
    most: float | None = None

    def verdict(self, rows: list[dict[str, Any]]) -> str:
        """In words: met, not met or not reached, by the best row of its budget, micro-batch and processes."""
        aim = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        cell = f"{self.cell.budget}, micro-batch {self.cell.micro_batch}"
        cell += f", {self.cell.processes} processes" if self.cell.processes > 1 else ""
        ours = [row for row in rows if all(row[name] == getattr(self.cell, name) for name in SAME)]
        values = [row[self.column] for row in ours if row[self.column] is not None]
        if not values:
            return f"goal {self.column} {aim} ({cell}): not reached"
        best = max(values) if self.least is not None else min(values)
        met = best >= self.least if self.least is not None else best <= (self.most or 0.0)
        return f"goal {self.column} {aim} ({cell}): {best:.4g}, {'met' if met else 'not met'}"


SAME = ("budget", "micro_batch", "processes")
GOALS = (
    Goal(Cell("200M", 1024), "MFU_%", least=45),
    Goal(Cell("2B", 1024), "MFU_%", least=50),
    Goal(Cell("2M", 256), "ms_a_step", most=8),
    Goal(Cell("2M", 256, processes=8), "times_one", least=3),
)


def cells(shapes: list[str], *, short: bool, on_gpu: bool) -> list[Cell]:
    """In the order in which they are measured: those with goals, then by size; a single one before its packed ones."""
    if short:
        batches, packed = (8, 16), (2,)
    else:
        batches, packed = (64, 256, 1024), (8, 4, 2)
    base = batches[0] if short else 256
    singles = [Cell(shape, batch) for shape in shapes for batch in batches]
    several = [Cell(shape, base, processes=count) for count in packed for shape in shapes]
    fewer: tuple[Launches, ...] = ("few", "graph") if on_gpu else ()
    launched = [Cell(shape, base, launches=mode) for mode in fewer for shape in shapes]
    modes: tuple[Launches, ...] = ("plain", "few") if on_gpu else ("plain",)
    wanted = [*(goal.cell for goal in GOALS), Cell("2M", 256, launches="graph")]  # which small steps need
    of_goals = {goal.cell.budget: goal.cell.micro_batch for goal in GOALS if not short}
    compiled = [
        Cell(shape, of_goals.get(shape, base), compile="block", launches=mode)
        for mode in modes
        for shape in sorted(shapes[1:], key=lambda one: one not in of_goals)
        if on_gpu and missing_compiler("cuda") is None
    ]
    found = [*singles, *several, *launched, *compiled]
    return sorted(found, key=lambda cell: (cell not in wanted, cell.compile != "off"))


def synchronise(device: torch.device) -> None:
    """Wait for all that is queued."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def prepare_walk(folder: Path, *, rows: int) -> None:
    """Data in the form that attempts read: a random walk whose direction is to be predicted."""
    draw = np.random.default_rng(3)
    close = np.exp(np.cumsum(draw.normal(0, 0.01, rows)))
    target = target_of(TargetOptions(kind="direction"))
    panel = Panel(
        name="walk",
        times=np.datetime64("1990-01-01") + np.arange(rows).astype("timedelta64[h]"),
        values=np.column_stack([close, draw.normal(size=(rows, FEATURES - 1))]),
        labels=labels(target, close=close, price=close),
        features=("Close", *(f"f{n}" for n in range(1, FEATURES))),
        target=target,
        context=CONTEXT,
        split=Split(),
        normalise="standard",
    )
    prepare(panel, folder, min_validation_samples=20, min_validation_positives=5)


def trainer_of(values: tuple[int, ...], cell: Cell, *, folder: Path, device: torch.device) -> TrainingLoop:
    """The trainer of an attempt, with all steps in one epoch; compiled where the cell says so."""
    torch.manual_seed(0)
    architecture = dict(zip(NAMES, values, strict=True))
    windows = open_windows(folder, device=device)
    with device:  # where an attempt would move it, which takes longer and changes no step
        module: Any = FAMILY.build(architecture, {"dropout": 0.1, "head_dropout": 0.0}, DATA)
    trainer = TrainingLoop(
        module=module,
        task=task_named("binary", None),
        plan=make_training_plan(cell.micro_batch),
        hyperparameters=Hyperparameters(
            {"learning_rate": 1e-5, "weight_decay": 0.01, "warmup_steps": 0, "epochs": 1000}
        ),
        train=windows["train"],
        validation=windows["val"],
    )
    on_gpu = device.type == "cuda"
    trainer.policy = Policy(
        precision="bf16" if on_gpu else "fp32",
        evaluation="tf32" if on_gpu else "fp32",
        launches=cell.launches,
        why={},
    )
    if cell.compile == "block":
        with tempfile.TemporaryDirectory() as place:
            policy = evolve(trainer.policy, compile="block")
            compile_trainer(trainer, policy, folder=Path(place) / "compiled", asked=True)
    return trainer


def step(trainer: TrainingLoop) -> None:
    """One optimizer step; the next epoch begins where one has ended, without its evaluation."""
    if trainer.progress.step >= trainer.steps_per_epoch - 1:  # a short last batch is left out
        trainer.progress.step = 0
    trainer.optimizer_step()
    if trainer.progress.halvings:
        raise MemoryError(DOES_NOT_FIT)


def timed(function: Callable[[], object], *, seconds: float, device: torch.device) -> tuple[int, float]:
    """How many calls, and the seconds of one; the device is waited for every few calls only."""
    count, together, started = 0, 1, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds or count < 3:
        for _ in range(together):
            function()
        count += together
        synchronise(device)
        # About ten waits in all, so that they weigh nothing.
        together = max(1, round(seconds / 10 / max((time.perf_counter() - started) / count, 1e-6))) if spent else 1
    return count, (time.perf_counter() - started) / count


def busy_seconds(function: Callable[[], object], *, device: torch.device) -> float | None:
    """Seconds of its kernels on the device; None where the profiler reports none."""
    if device.type != "cuda":
        return None
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        function()
        synchronise(device)
    return kernel_seconds(found.events()) or None


def kernel_seconds(events: Iterable[Any]) -> float:
    """Seconds of what ran on a GPU; the optimizer's step is marked there as well, over the time of its kernels."""
    from torch.autograd import DeviceType

    ran = [one for one in events if one.device_type == DeviceType.CUDA and not one.is_user_annotation]
    return sum(one.self_device_time_total for one in ran) / 1e6


def peak_flops(device: torch.device) -> float:
    """FLOP/s of a product of matrices, in bfloat16 on a GPU."""
    size, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (256, torch.float32)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    synchronise(device)
    return 2.0 * size**3 / timed(lambda: a @ b, seconds=LEAST_SECONDS, device=device)[1]


def measure_one(cell: Cell, values: tuple[int, ...], *, folder: Path, device: torch.device, seconds: float) -> Any:
    """Columns of a cell with one process."""
    trainer = trainer_of(values, cell, folder=folder, device=device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for _ in range(WARM_UP + 2):  # with the capture, where steps are captured
        step(trainer)
    if trainer.graph is not None and trainer.graph.problem is not None:
        raise RefusedError(f"not captured: {trainer.graph.problem}")
    synchronise(device)
    _, each = timed(lambda: step(trainer), seconds=seconds, device=device)
    busy = busy_seconds(lambda: step(trainer), device=device)
    limit = min(len(trainer.validation), 4 * max(512, cell.micro_batch))
    trainer.evaluate(trainer.validation, limit=limit)
    _, evaluated = timed(lambda: trainer.evaluate(trainer.validation, limit=limit), seconds=seconds / 4, device=device)
    return {
        "ms_a_step": 1000 * each,
        "windows/s": cell.micro_batch / each,
        "launch_bound_%": None if busy is None else 100 * max(0.0, 1 - busy / each),
        "evaluated/trained": evaluated / limit / (each / cell.micro_batch),
        "peak_gib": torch.cuda.max_memory_reserved() / 1024**3 if device.type == "cuda" else None,
    }


def work(device: torch.device, folder: Path) -> None:
    """A packed process: reads cells as JSON lines and answers each; a cell asks it to train for some seconds."""
    for line in sys.stdin:
        try:
            train(json.loads(line), folder=folder, device=device)
        except (MemoryError, torch.OutOfMemoryError):
            print(json.dumps({"error": DOES_NOT_FIT}), flush=True)
        free(device)


def train(asked: dict[str, Any], *, folder: Path, device: torch.device) -> None:
    """One cell of a packed process. Its trainer ends with the call: the next cell needs the memory."""
    trainer = trainer_of(tuple(asked["shape"]), Cell(*asked["cell"]), folder=folder, device=device)
    for _ in range(3):
        step(trainer)
    synchronise(device)
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    count, each = timed(lambda: step(trainer), seconds=asked["seconds"], device=device)
    print(json.dumps({"count": count, "seconds": count * each}), flush=True)


def free(device: torch.device) -> None:
    """Give back what ended trainers held."""
    import gc

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class Pool:
    """Processes that train at once, started with the first cell that needs them."""

    def __init__(self, device: torch.device, folder: Path) -> None:
        self._command = [sys.executable, __file__, "--device", device.type, "--work", str(folder)]
        self._processes: list[subprocess.Popen[str]] = []

    def measure(self, cell: Cell, values: tuple[int, ...], *, seconds: float) -> float:
        """Windows per second of all processes together; MemoryError where one does not fit, ChildProcessError where one
        has ended.
        """
        while len(self._processes) < cell.processes:
            self._processes.append(
                subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "OMP_NUM_THREADS": "1"},
                )
            )
        ours = self._processes[: cell.processes]
        for process in ours:
            self._tell(process, {"shape": values, "cell": cell, "seconds": seconds})
        ready = [self._hear(process) for process in ours]
        for process, answer in zip(ours, ready, strict=True):
            if "ready" in answer:
                self._tell(process, {})
        done = [
            self._hear(process) if "ready" in answer else answer for process, answer in zip(ours, ready, strict=True)
        ]
        for answer in done:
            if "error" in answer:
                raise (
                    MemoryError(answer["error"])
                    if answer["error"] == DOES_NOT_FIT
                    else ChildProcessError(answer["error"])
                )
        return sum(cell.micro_batch * answer["count"] / answer["seconds"] for answer in done)

    def _tell(self, process: subprocess.Popen[str], what: Any) -> None:
        assert process.stdin is not None
        print(json.dumps(what), file=process.stdin, flush=True)

    def _hear(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            self._processes.remove(process)
            return {"error": f"a process ended with {process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


@contextmanager
def pool_of(device: torch.device, folder: Path) -> Iterator[Pool]:
    """Ended with the block."""
    pool = Pool(device, folder)
    try:
        yield pool
    finally:
        pool.close()


def measure(options: argparse.Namespace, shapes: dict[str, tuple[int, ...]], folder: Path) -> tuple[list[Any], float]:
    """The rows of all cells, and the peak in FLOP/s."""
    device = torch.device(options.device)
    prepare_walk(folder / "data", rows=40_000 if device.type == "cuda" else 2_000)
    ends = time.monotonic() + options.seconds
    peak = peak_flops(device)
    rows: list[dict[str, Any]] = []
    on_gpu = device.type == "cuda"
    beside = {"off": START_SECONDS if on_gpu else 0.5, "block": COMPILE_SECONDS}
    left = cells(list(shapes), short=options.short, on_gpu=on_gpu)
    with pool_of(device, folder / "data") as pool:
        while left:
            cell, left = left[0], left[1:]
            remains = ends - time.monotonic()
            timing = remains - sum(beside[one.compile] for one in (cell, *left))
            seconds = min(MOST_SECONDS, max(LEAST_SECONDS, timing / (len(left) + 1)))
            found: dict[str, Any] = {}
            note, started = "", time.monotonic()
            if rows and remains < seconds + beside[cell.compile]:
                note = "not reached in --seconds"
            else:
                try:
                    if cell.processes > 1:
                        found["windows/s"] = pool.measure(cell, shapes[cell.budget], seconds=seconds)
                    else:
                        found = measure_one(
                            cell, shapes[cell.budget], folder=folder / "data", device=device, seconds=seconds
                        )
                except torch.OutOfMemoryError:
                    note = DOES_NOT_FIT
                except (MemoryError, ChildProcessError, RefusedError) as error:
                    note = str(error)
                free(device)
                took = time.monotonic() - started - seconds
                beside[cell.compile] = max(0.5, (beside[cell.compile] + took) / 2)
            rows.append(row(cell, shapes[cell.budget], found, rows=rows, peak=peak, note=note))
            print(rows[-1], file=sys.stderr, flush=True)
    return rows, peak


def row(
    cell: Cell,
    values: tuple[int, ...],
    found: dict[str, Any],
    *,
    rows: list[dict[str, Any]],
    peak: float,
    note: str,
) -> dict[str, Any]:
    """All that is known of a cell."""
    rate = found.get("windows/s")
    flops = 3 * FAMILY.flops(dict(zip(NAMES, values, strict=True)), DATA)
    alone = [
        one["windows/s"]
        for one in rows
        if Cell(*(one[name] for name in Cell._fields)) == Cell(cell.budget, cell.micro_batch)
    ]
    return {
        **cell._asdict(),
        "shape": " ".join(f"{name[-1]}{value}" for name, value in zip(("d", "L", "h", "u"), values, strict=True)),
        "ms_a_step": found.get("ms_a_step"),
        "windows/s": rate,
        "MFU_%": None if rate is None else 100 * flops * rate / peak,
        "launch_bound_%": found.get("launch_bound_%"),
        "evaluated/trained": found.get("evaluated/trained"),
        "times_one": rate / alone[0] if rate and cell.processes > 1 and alone and alone[0] else None,
        "peak_gib": found.get("peak_gib"),
        "note": note,
    }


def main() -> None:
    """Measure, and print."""
    parser = arguments(__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal on tiny shapes")
    parser.add_argument("--seconds", type=float, default=160.0, help="for all measurements together (default: 160)")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.work is not None:
        work(torch.device(options.device), options.work)
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        needs = "needs an NVIDIA GPU with its driver, and a torch built for CUDA"
        sys.exit(f"{needs}; torch {torch.__version__} finds no GPU here; --device cpu rehearses the program")
    options.short = options.short or options.device == "cpu"
    with tempfile.TemporaryDirectory() as folder:
        rows, peak = measure(options, TINY if options.short else SHAPES, Path(folder))
    name = torch.cuda.get_device_name() if options.device == "cuda" else "no GPU: a rehearsal on the CPU"
    kind = "bfloat16" if options.device == "cuda" else "float32"
    notes = [
        f"{name}, torch {torch.__version__}; peak of {kind} products measured here: {peak / 1e12:.4g} TFLOP/s",
        *(goal.verdict(rows if not options.short else []) for goal in GOALS),
        "MFU_% counts the matrix products of forward and backward pass; the step is that of the trainer, with clipping",
    ]
    show("training on a GPU", rows, notes=notes, path=options.json)


if __name__ == "__main__":
    main()
