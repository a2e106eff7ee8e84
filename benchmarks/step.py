"""The training step of scalecore-patchtst against a plain `torch.nn.TransformerEncoder` model of the same shape.

Batch 64, windows of 60 steps with 25 features, 11 patches of 10. Same work for all: patches, positions, encoder, head,
loss, backward pass, fused AdamW. Every implementation runs in a process of its own, all are alive at once and take
turns of about half a second; a ratio is the median over rounds of (reference in float32) / (implementation), so that
other load on the machine hits both. With one thread the clock is the process's CPU time, with more it is the wall.

float32 products of our model go to the library that a study chooses on this machine, which is printed below the table;
`--products` adds columns with the one or the other by name. `torch` is what torch takes, on x86 MKL.

`--full` measures every shape of the 2M grid instead of the named ones. Hugging Face's PatchTST is a column where
`transformers` is installed; its windows are flattened into one channel, which makes it the same model.

An earlier version on an idle Intel Ice Lake, the first, second and fourth shape: 1.15, 1.13 and 1.09 with MKL, 0.94,
0.92 and 0.99 with oneDNN.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from report import arguments, show

CONTEXT, FEATURES, PATCH, STRIDE, BATCH = 60, 25, 10, 5, 64
PATCHES = (CONTEXT - PATCH) // STRIDE + 1


class Case(NamedTuple):
    """A shape, how it is run, and the ratios aimed at."""

    d_model: int
    n_layers: int
    n_heads: int
    d_ff: int
    dropout: float = 0.0
    threads: int = 1
    goal: float | None = None
    goal_bf16: float | None = None


NAMED = (
    Case(64, 48, 2, 256, goal=1.25, goal_bf16=1.6),
    Case(128, 8, 8, 512, goal=1.2, goal_bf16=1.8),
    Case(64, 48, 32, 256, goal=1.5),
    Case(256, 24, 8, 1024, goal_bf16=1.9),
    Case(64, 32, 2, 256, dropout=0.1, goal=1.2, goal_bf16=1.7),
    Case(512, 3, 8, 1024, goal=1.0),
    Case(64, 48, 2, 256, threads=2, goal=1.25, goal_bf16=1.6),
    Case(128, 8, 8, 512, threads=2, goal=1.2, goal_bf16=1.8),
    Case(64, 32, 2, 256, dropout=0.1, threads=2, goal=1.2, goal_bf16=1.7),
)
IMPLEMENTATIONS = {
    "reference": ("reference", "fp32", "off", None),
    "eager": ("ours", "fp32", "off", None),
    "block": ("ours", "fp32", "block", None),
    "bf16 reference": ("reference", "bf16", "off", None),
    "bf16 eager": ("ours", "bf16", "off", None),
    "bf16 block": ("ours", "bf16", "block", None),
    "huggingface": ("huggingface", "fp32", "off", None),
}
LIBRARIES = ("torch", "onednn")
BY_LIBRARY = {
    f"{name} {library}": ("ours", "fp32", name.replace("eager", "off"), library)
    for name in ("eager", "block")
    for library in LIBRARIES
}


# --- in the process of one implementation ---------------------------------------------------------------------------


def reference(case: Case) -> Any:
    """The plain model: torch's encoder, as its documentation has it."""
    import torch
    from torch import nn

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(
                case.d_model,
                case.n_heads,
                case.d_ff,
                dropout=case.dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            norm = nn.LayerNorm(case.d_model)
            self.embedding = nn.Linear(PATCH * FEATURES, case.d_model)
            self.positions = nn.Parameter(torch.zeros(PATCHES, case.d_model))
            self.encoder = nn.TransformerEncoder(layer, case.n_layers, norm, enable_nested_tensor=False)
            self.head = nn.Linear(PATCHES * case.d_model, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            patches = x.flatten(1).unfold(1, PATCH * FEATURES, STRIDE * FEATURES)
            logits: torch.Tensor = self.head(self.encoder(self.embedding(patches) + self.positions).flatten(1))
            return logits

    return Plain()


def ours(case: Case) -> Any:
    """The model of scalecore-patchtst."""
    from scalecore.api.space import DataShape
    from scalecore_patchtst.family import PatchTSTFamily
    from scalecore_patchtst.options import PatchTSTOptions

    family = PatchTSTFamily(PatchTSTOptions(patch_len=PATCH, stride=STRIDE))
    shape = {"d_model": case.d_model, "n_layers": case.n_layers, "n_heads": case.n_heads, "d_ff": case.d_ff}
    data = DataShape(context=CONTEXT, features=FEATURES, outputs=1)
    return family.build(shape, {"dropout": case.dropout, "head_dropout": 0.0}, data)


def huggingface(case: Case) -> Any:
    """The PatchTST of `transformers`, with all features of a patch in one channel."""
    from torch import Tensor, nn
    from transformers import PatchTSTConfig, PatchTSTForClassification

    class OneChannel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = PatchTSTForClassification(
                PatchTSTConfig(
                    num_input_channels=1,
                    context_length=CONTEXT * FEATURES,
                    patch_length=PATCH * FEATURES,
                    patch_stride=STRIDE * FEATURES,
                    num_targets=1,
                    d_model=case.d_model,
                    num_hidden_layers=case.n_layers,
                    num_attention_heads=case.n_heads,
                    ffn_dim=case.d_ff,
                    norm_type="layernorm",
                    scaling=None,
                    attention_dropout=case.dropout,
                    ff_dropout=case.dropout,
                )
            )

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.model(past_values=x.flatten(1)[..., None]).prediction_logits
            return logits

    return OneChannel()


def step_of(
    kind: str, precision: str, compiling: str, case: Case, *, products: str | None = None
) -> Callable[[], None]:
    """A function that makes one training step of an implementation."""
    import torch

    from scalecore_torch.training.product_library import choose_library, read_cpuinfo, use_library

    torch.set_num_threads(case.threads)
    torch.manual_seed(0)
    module = {"reference": reference, "ours": ours, "huggingface": huggingface}[kind](case)
    wanted: Any = products or choose_library(read_cpuinfo()).name
    if kind == "ours" and use_library(module, wanted) != wanted:
        raise SystemExit(f"float32 products by {wanted} are not possible here")
    module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)
    x, y = torch.randn(BATCH, CONTEXT, FEATURES), torch.rand(BATCH, 1).round()
    if compiling == "block":
        module.compile_blocks(lambda block: torch.compile(block, dynamic=False), batch=BATCH)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = module(x)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    return step


def work() -> None:
    """Build what the first line of the input asks for, then run one turn for each further line."""
    job = json.loads(sys.stdin.readline())
    case = Case(*job.pop("case"))
    clock = time.perf_counter if job.pop("wall") or case.threads > 1 else time.process_time
    step = step_of(case=case, **job)
    began = time.perf_counter()
    step()
    print(json.dumps({"first": time.perf_counter() - began}), flush=True)
    step()
    for line in sys.stdin:
        started, count = clock(), 0
        while count == 0 or clock() - started < float(line):
            step()
            count += 1
        print(json.dumps({"seconds": (clock() - started) / count}), flush=True)


# --- in the process that compares -----------------------------------------------------------------------------------


class Worker:
    """The process of one implementation."""

    def __init__(self, name: str, case: Case, stack: ExitStack, *, wall: bool = False) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(case.threads))
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--work"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads, "TORCHINDUCTOR_COMPILE_THREADS": "1"},
        )
        stack.callback(self._process.wait)
        stack.callback(self._process.kill)
        kind, precision, compiling, products = (IMPLEMENTATIONS | BY_LIBRARY)[name]
        job = {"kind": kind, "precision": precision, "compiling": compiling, "products": products}
        job |= {"case": list(case), "wall": wall}
        self.begin(json.dumps(job))
        self.first = self.end()["first"]

    def turn(self, seconds: float) -> float:
        """Seconds a step, over a turn of that length."""
        self.begin(str(seconds))
        return self.end()["seconds"]

    def begin(self, line: str) -> None:
        """Send a line, and do not wait for the answer."""
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)

    def end(self) -> dict[str, float]:
        """The answer to the line that was sent."""
        assert self._process.stdout is not None
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer


def measure(case: Case, names: Sequence[str], *, rounds: int, turn: float) -> dict[str, dict[str, float]]:
    """For each implementation milliseconds a step, ratio to the reference (median and of minima), first step."""
    with ExitStack() as stack:
        workers = {name: Worker(name, case, stack) for name in names}
        times: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name, worker in workers.items():
                times[name].append(worker.turn(turn))
    base = times["reference"]
    return {
        name: {
            "ms": 1000 * min(taken),
            "ratio": statistics.median(b / t for b, t in zip(base, taken, strict=True)),
            "ratio_of_minima": min(base) / min(taken),
            "first_step_seconds": workers[name].first,
        }
        for name, taken in times.items()
    }


def grid(dropout: float) -> tuple[Case, ...]:
    """Every shape within a quarter of 2M parameters."""
    from scalecore.api.space import DataShape
    from scalecore_patchtst.family import PatchTSTFamily
    from scalecore_patchtst.options import PatchTSTOptions

    family, data = PatchTSTFamily(PatchTSTOptions()), DataShape(context=CONTEXT, features=FEATURES, outputs=1)
    return tuple(
        Case(shape["d_model"], shape["n_layers"], shape["n_heads"], shape["d_ff"], dropout=dropout, goal=0.97)
        for shape in family.architecture_space(data).architectures
        if 1_500_000 <= family.num_parameters(shape, data) <= 2_500_000
    )


def main() -> None:
    """Compare, and print."""
    from scalecore_torch.training.product_library import choose_library, read_cpuinfo

    parser = arguments(__doc__)
    parser.add_argument("--full", action="store_true", help="every shape of the 2M grid, one thread")
    parser.add_argument("--dropout", type=float, default=0.1, help="of the shapes of --full (default: 0.1)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth case")
    parser.add_argument("--threads", type=int, metavar="N", help="only the cases with so many threads")
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=list(IMPLEMENTATIONS), help="implementations")
    parser.add_argument(
        "--products", metavar="LIBRARY", nargs="+", default=(), choices=LIBRARIES, help="also by torch, onednn"
    )
    options = parser.parse_args()
    cases, rounds, turn = (grid(options.dropout), 5, 0.4) if options.full else (NAMED, 5, 0.5)
    names = ["reference", *(name for name in options.only or IMPLEMENTATIONS if name != "reference")]
    if importlib.util.find_spec("transformers") is None and "huggingface" in names:
        names.remove("huggingface")
    cases = tuple(case for case in cases if options.threads in (None, case.threads))[:: options.every]
    if options.short:
        cases, rounds, turn = (Case(16, 2, 2, 64), Case(16, 2, 2, 64, dropout=0.1)), 2, 0.05
        names = ["reference", "eager", "bf16 eager"]
    for name in [name for name in names if name in ("eager", "block")]:
        names += [f"{name} {library}" for library in options.products]
    rows, details = [], []
    for case in cases:
        found = measure(case, names, rounds=rounds, turn=turn)
        row: dict[str, Any] = {
            **case._asdict(),
            "reference ms": found["reference"]["ms"],
            **{name: found[name]["ratio"] for name in names[1:]},
        }
        row = {key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()}
        rows.append(row)
        details.append({**row, "details": found})
        print(" ".join(f"{key}={value}" for key, value in row.items()), file=sys.stderr, flush=True)
    chosen = choose_library(read_cpuinfo())
    notes = [
        f"Float32 products of `eager` and `block` by {chosen.name} ({chosen.why}).",
        "Ratios to the reference in float32, larger is faster; `reference ms` is its fastest turn.",
        "Medians of interleaved turns, each implementation in a process of its own; others may have used the machine.",
    ]
    show("training step, batch 64, 11 patches, 25 features", rows, notes=notes, path=options.json)
    if options.json is not None:
        content = json.loads(options.json.read_text(encoding="utf-8"))
        options.json.write_text(json.dumps({**content, "rows": details}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--work"]:
        work()
    else:
        main()
