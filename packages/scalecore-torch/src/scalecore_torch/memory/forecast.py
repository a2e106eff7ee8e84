"""Predicts the memory of trials: traced or in closed form, corrected by measurements of the study's attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen

from scalecore.api.clock import RunningClock
from scalecore.api.files import content_hash, read_json, write_json
from scalecore.api.machine import built_for_cuda
from scalecore.api.memory_forecast import PATIENCE, EndedAttempt, ForecastContext, MemoryPrediction, TrainingSetup
from scalecore.api.readings import Device
from scalecore.api.space import Architecture, DataShape
from scalecore.api.worker import checked
from scalecore_torch.memory.client import TraceAnswer, TraceClient
from scalecore_torch.memory.correction import (
    BASE,
    BASE_OF_CUDA_BUILD,
    END_OF_TRIAL,
    Allocator,
    Basis,
    Correction,
    MemoryObservation,
    Observations,
    closed_form,
    closed_form_range,
    floor_bytes,
    prior,
)
from scalecore_torch.memory.cuda import WORKSPACES
from scalecore_torch.memory.host_memory import host_memory, weights_bytes
from scalecore_torch.memory.trace_request import precision_of, trace_question
from scalecore_torch.options import TorchOptions
from scalecore_torch.training.evaluation_batch import EVALUATION_BATCH, SMOKE_WINDOWS

MEMORY_FILE = "memory.json"
POLL = 0.25
TOGETHER = 64
"""Shapes counted in one request."""


@frozen(kw_only=True)
class TorchPrediction(MemoryPrediction):
    """The predicted peak of an attempt's process in bytes, and its derivation."""

    tensors: int
    """Bytes of tensors, before the correction."""
    held: int | None
    """Bytes that the allocator holds for them; None if unknown."""
    correction: Correction = field(repr=False)
    group: str
    """Attempts with the same text share a correction: device, precision, compilation, allocator, source."""
    offset: int = 0
    """Bytes that this process needs in addition to the correction's constant: measured, or computed from the data."""
    traced_on: Device | None = None
    """The device of the traced operations; None without a trace."""
    note: str | None = None
    """Why there is no trace, or none on the device."""

    def plain(self) -> dict[str, Any]:
        """For the journal."""
        return {
            "predicted": self.bytes,
            "tensors": self.tensors,
            "floor": self.floor,
            "held": self.held,
            "source": self.source,
            "group": self.group,
            "constant": round(self.correction.constant) + self.offset,
            "offset": self.offset,
            "factor": self.correction.factor,
            "factor_of_floor": self.correction.factor_of_floor,
            "observations": self.correction.observations,
            "blocks": self.blocks,
            "traced_on": self.traced_on,
            **({"note": self.note} if self.note else {}),
        }


class TorchForecast:
    """Satisfies `scalecore.api.memory_forecast.MemoryForecast`.

    Caches the tracer's answers, also in the study's folder once it exists.
    """

    counts = True

    def __init__(
        self,
        context: ForecastContext,
        options: TorchOptions,
        *,
        state: float | None = None,
        client: TraceClient | None = None,
    ) -> None:
        """`state` is the optimizer's state in bytes per parameter, by default AdamW's; `client` is shared with other
        forecasts."""
        self._options = options
        self._state = state
        self._registry = context.registry
        self._traces = context.traces
        self._model = context.model
        self._versions_of_model = context.code
        self._client = client or TraceClient(fork=context.fork)
        self._clock = RunningClock()
        self._path = context.folder / MEMORY_FILE
        self._keeps = False
        self._answers = _kept_answers(self._path)
        self._setup: TrainingSetup | None = None
        self._code: Mapping[str, str] | None = None
        self._sent: dict[str, float] = {}
        self._untraceable: dict[str, str] = {}
        """Error by architecture. A trace that hung or crashed is not repeated."""
        self._observed: dict[str, Observations] = {}
        self._host: list[int] = []
        """Host memory of attempts on CUDA, without their weights."""

    @property
    def setup(self) -> TrainingSetup:
        """The training that is predicted."""
        assert self._setup is not None, "`prepare` comes first"
        return self._setup

    def start(self) -> None:
        """Warm up the tracer unless there are cached answers."""
        if self._traces and not self._answers:
            with suppress(OSError):  # reported with the first request
                self._client.start()

    def prepare(self, setup: TrainingSetup) -> None:
        self._setup = setup

    def keep(self) -> None:
        self._keeps = True
        self._write()

    def learn(self, ended: Sequence[EndedAttempt]) -> None:
        for one in ended:
            predicted, group = one.predicted, one.predicted.get("group")
            floor = predicted.get("floor")
            if one.whole and one.host_peak and str(group or "").startswith("cuda"):
                self._host.append(one.host_peak - weights_bytes(floor or 0))
            # A prediction by an older version has no `held` and another group.
            tensors = predicted.get("held") or predicted.get("tensors")
            if not one.whole or not one.peak or tensors is None or floor is None or group is None:
                continue
            peak = one.peak - (predicted.get("offset") or 0)
            self._observed.setdefault(group, Observations()).add(
                MemoryObservation(tensors=tensors, floor=floor, peak=peak)
            )

    def host_memory(self, num_parameters: int) -> int:
        return host_memory(self._host, num_parameters=num_parameters)

    def predict(
        self,
        architecture: Architecture,
        micro_batch: int,
        *,
        device: Device,
        checkpointing: bool = False,
        smoke: bool = False,
        wait: float = PATIENCE,
    ) -> TorchPrediction | None:
        answer = self._answer(
            architecture,
            micro_batch,
            device=device,
            checkpointing=checkpointing,
            # The windows of an evaluation batch, or the micro-batch if that is larger.
            evaluated=SMOKE_WINDOWS if smoke else EVALUATION_BATCH,
            wait=wait,
        )
        if answer is None:
            return None
        allocator: Allocator = "returning" if checkpointing and device == "cpu" else "default"
        held = answer.held if answer.traced_on == device else None
        offset = answer.base - BASE if device == "cpu" and answer.base is not None else 0
        if device == "cuda":
            offset = _data_bytes(self.setup)
        traced = answer.tensors is not None
        tensors = self._closed_form(architecture, micro_batch) if answer.tensors is None else answer.tensors
        floor = self._floor(architecture)
        captured = device == "cuda" and self._options.launches == "graph"
        if captured:
            # Captured steps need additional memory, for gradients and workspaces too; short batches and evaluations
            # allocate separately, at most as much.
            offset += (tensors if held is None else held) - floor * 3 // 4 + WORKSPACES
        basis: Basis = "held" if held is not None else "tensors" if traced else "closed form"
        kinds = {"held": "replayed", "tensors": "traced", "closed form": "closed form"}
        precision = precision_of(self._options, device)
        group = ", ".join((device, precision, f"compile {self._options.compile}", allocator, kinds[basis]))
        group += ", graph" * captured
        correction = prior(device, allocator, basis=basis).fitted(self._observed.get(group, Observations()))
        less = END_OF_TRIAL if smoke and device == "cpu" else 0
        return TorchPrediction(
            bytes=correction.apply(tensors if held is None else held, floor=floor) + offset - less,
            tensors=tensors,
            held=held,
            floor=floor,
            source="traced" if traced else "closed form",
            correction=correction,
            observations=correction.observations,
            group=group,
            blocks=answer.blocks,
            offset=offset,
            traced_on=answer.traced_on,
            note=answer.error or answer.note,
        )

    def count(self, architectures: Sequence[Mapping[str, int]], data: DataShape, forward: bool) -> list[dict[str, int]]:
        """Sizes of shapes, counted in the tracer's process; see `scalecore_torch.training.counting.count`."""
        if self._code is None:
            self._code = self._versions_of_model()
        common = {
            "registry": self._registry,
            "model": self._model,
            "shape": asdict(data),
            "forward": forward,
            "versions": self._code,
        }
        questions: list[dict[str, Any]] = []
        for at in range(0, len(architectures), TOGETHER):
            content = {**common, "count": [dict(one) for one in architectures[at : at + TOGETHER]]}
            questions.append({**content, "key": content_hash(content)})
        failed = self._count(questions)
        if failed is not None:
            raise ValueError(failed)
        return [dict(sizes) for question in questions for sizes in self._answers[question["key"]].counts or ()]

    def _count(self, questions: Sequence[Mapping[str, Any]]) -> str | None:
        """Request missing counts and wait for all answers. Returns the first error, which is not cached."""
        missing = [one for one in questions if not self._has_counts(one)]
        for question in missing:
            try:
                self._client.ask(question)
            except OSError as error:
                return f"the tracer cannot be started: {error}"
            while not self._has_counts(question):
                found = self._client.answers(wait=PATIENCE)
                for one in found or self._client.give_up(f"counting took longer than {PATIENCE:.0f} s"):
                    if one["key"] == question["key"] and "error" in one:
                        return str(one["error"])
                    self._answers[one.pop("key")] = checked(TraceAnswer, one)
        if missing:
            self._write()
        return None

    def _has_counts(self, question: Mapping[str, Any]) -> bool:
        """Whether the sizes of all shapes of a request are known."""
        known = self._answers.get(question["key"])
        return known is not None and len(known.counts or ()) == len(question["count"])

    def rough(self, architecture: Architecture, micro_batch: int) -> int:
        correction = prior("cpu", "default", basis="closed form")
        tensors = self._closed_form(architecture, micro_batch)
        more = BASE_OF_CUDA_BUILD - BASE if self.setup.device == "cpu" and built_for_cuda() else 0
        return correction.apply(tensors, floor=self._floor(architecture)) + more

    def rough_range(self, architecture: Architecture, micro_batch: int) -> tuple[int, int]:
        tensors = self._closed_form(architecture, micro_batch)
        low, high = (
            correction.apply(tensors, floor=self._floor(architecture))
            for correction in closed_form_range(self.setup.device, cuda_build=built_for_cuda())
        )
        return low, high

    def _closed_form(self, architecture: Architecture, micro_batch: int) -> int:
        saved = self.setup.family.saved_activations(architecture.values, self.setup.shape)
        return closed_form(
            num_parameters=architecture.num_parameters,
            saved_activations=saved,
            micro_batch=micro_batch,
            state=self._state,
        )

    def _floor(self, architecture: Architecture) -> int:
        return floor_bytes(architecture.num_parameters, state=self._state)

    def _answer(
        self,
        architecture: Architecture,
        micro_batch: int,
        *,
        device: Device,
        checkpointing: bool,
        evaluated: int,
        wait: float,
    ) -> TraceAnswer | None:
        if not self._traces:
            return TraceAnswer(error="tracing is off")
        question = trace_question(
            self.setup,
            architecture,
            micro_batch,
            device=device,
            checkpointing=checkpointing,
            evaluated=evaluated,
            registry=self._registry,
            options=self._options,
        )
        key = question["key"]
        if key in self._answers:
            return self._answers[key]
        if architecture.id in self._untraceable:
            return TraceAnswer(error=self._untraceable[architecture.id])
        try:
            self._client.ask(question)
        except OSError as error:
            return TraceAnswer(error=f"the tracer cannot be started: {error}")
        now = self._clock()
        since = self._sent.setdefault(key, now)
        deadline = now + wait
        while key not in self._answers:
            left = min(deadline, since + PATIENCE) - self._clock()
            found = self._client.answers(wait=max(0.0, min(left, POLL)))
            if not found and self._clock() - since >= PATIENCE:
                found = self._client.give_up(f"tracing took longer than {PATIENCE:.0f} s")
            for one in found:
                self._answers[one.pop("key")] = checked(TraceAnswer, one)
            if found:
                self._write()
            elif self._clock() >= deadline:
                return None
        answer = self._answers[key]
        if answer.error is not None:
            self._untraceable[architecture.id] = answer.error
        return answer

    def _write(self) -> None:
        if self._keeps:
            # Tracing again takes a second: not worth waiting for the disk.
            write_json(self._path, self._answers, durable=False)


def _data_bytes(setup: TrainingSetup) -> int:
    """Bytes of the rows and of the windows' indices, all of which are on the GPU; the few rows between parts are
    ignored."""
    return sum(setup.windows.values()) * (4 * (setup.shape.features + 1) + 2 * 8)


def _kept_answers(path: Path) -> dict[str, TraceAnswer]:
    """The answers of earlier runs; damaged ones are dropped and traced again."""
    content = read_json(path)
    found: dict[str, TraceAnswer] = {}
    for key, one in content.items() if isinstance(content, dict) else ():
        with suppress(ValueError):
            answer = checked(TraceAnswer, one)
            if answer.tensors is not None or answer.error is not None or answer.counts is not None:
                found[key] = answer
    return found
