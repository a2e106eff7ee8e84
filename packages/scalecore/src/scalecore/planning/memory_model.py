"""What trials will need: traced by the tracer or in closed form, corrected by what the study's attempts measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import asdict, field, frozen

from scalecore.api.clock import RunningClock
from scalecore.api.errors import PluginError
from scalecore.api.files import read_json, write_json
from scalecore.api.model import ClosedForms
from scalecore.api.space import Architecture, DataShape
from scalecore.config.instantiate import of_plugin
from scalecore.config.kept import checked
from scalecore.config.plain import plain_value
from scalecore.config.resolved import Resolved, ResolvedComponent
from scalecore.execution.tracing import ForkTracer, TraceAnswer, TraceClient
from scalecore.planning.trace_question import precision_of, trace_question
from scalecore.planning.versions import code_versions
from scalecore.store.identity import content_hash
from scalecore.store.state import StudyState
from scalecore.store.study_device import built_for_cuda
from scalecore.training.memory import (
    BASE,
    BASE_OF_CUDA_BUILD,
    EVALUATION_BATCH,
    Allocator,
    Basis,
    Correction,
    Device,
    Observation,
    Observations,
    closed_form,
    closed_form_range,
    floor_bytes,
    prior,
)
from scalecore.training.memory_cuda import WORKSPACES

if TYPE_CHECKING:
    from scalecore.planning.plan import Plan

PATIENCE = 60.0
"""Seconds that a question may take, on a loaded machine too, before the closed form has to do."""
POLL = 0.25
TOGETHER = 64
"""Shapes that are counted in one question."""
Source = Literal["traced", "closed form"]


@frozen(kw_only=True)
class Prediction:
    """The predicted peak of an attempt's process in bytes, and how it came about."""

    bytes: int
    tensors: int
    """The part that is tensors, before the correction."""
    held: int | None
    """What the C library's allocator holds for them; None where that is not known."""
    floor: int
    """The part of it that no micro-batch removes: weights, gradients, moments of the optimizer."""
    source: Source
    correction: Correction = field(repr=False)
    group: str
    """Attempts with the same text share a correction: device, precision, compilation, allocator, source."""
    blocks: int | None = None
    """Repeated blocks that the module names; None where it is not known."""
    offset: int = 0
    """Bytes by which this process needs more than the correction's constant says: as measured, or known of the data."""
    traced_on: Device | None = None
    """The device whose operations were traced; None where it was not traced."""
    note: str | None = None
    """Why it was not traced, or not on its device."""

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


class MemoryModel:
    """Predictions for one study. Answers of the tracer are kept, in the study's folder too once there is one."""

    def __init__(
        self,
        *,
        registry: Mapping[str, Any] | None,
        path: Path | None = None,
        fork_tracer: ForkTracer | None = None,
    ) -> None:
        """`registry` are the arguments with which the tracer builds its registry; None for closed forms only.

        Answers that are in the file `path` are read; nothing is written before `keep` was called.
        """
        self._registry = registry
        self._client = TraceClient(fork=fork_tracer)
        self._clock = RunningClock()
        self._path = path
        self._keeps = False
        self._answers: dict[str, TraceAnswer] = {} if path is None else _kept_answers(path)
        self._code: dict[str, str] | None = None
        self._sent: dict[str, float] = {}
        self._untraceable: dict[str, str] = {}
        """By architecture: why it is not asked for again. What hung or crashed once costs no second wait."""
        self._observed: dict[str, Observations] = {}
        self._learnt_from: StudyState | None = None
        self._learnt = 0

    def start(self) -> None:
        """Let the tracer warm up, unless answers are at hand already."""
        if self._registry is not None and not self._answers:
            with suppress(OSError):  # told where something is asked
                self._client.start()

    def keep(self) -> None:
        """From now on keep the answers in the file."""
        self._keeps = True
        self._write()

    def learn(self, state: StudyState) -> None:
        """Take the measured peaks of the attempts that ended by themselves since the last call."""
        if state is not self._learnt_from:
            self._learnt_from, self._learnt, self._observed = state, 0, {}
        for attempt in state.ended[self._learnt :]:
            predicted, ended = attempt.started.memory, attempt.ended
            if predicted is None or ended is None or ended.memory is None or not ended.memory.peak:
                continue
            halved = ended.memory.micro_batch != attempt.started.micro_batch
            if not halved and ended.end in ("completed", "pruned"):
                # A prediction of an older version has no `held`, and another group.
                tensors = predicted.held or predicted.tensors
                if tensors is None or predicted.floor is None or predicted.group is None:
                    continue
                peak = ended.memory.peak - (predicted.offset or 0)
                one = Observation(tensors=tensors, floor=predicted.floor, peak=peak)
                self._observed.setdefault(predicted.group, Observations()).add(one)
        self._learnt = len(state.ended)

    def predict(
        self,
        plan: Plan,
        architecture: Architecture,
        micro_batch: int,
        *,
        device: Device,
        checkpointing: bool = False,
        evaluated: int = EVALUATION_BATCH,
        wait: float = PATIENCE,
    ) -> Prediction | None:
        """The prediction, after at most `wait` seconds; None while the tracer has not answered.

        `evaluated` are the windows of an evaluation's batch, or the micro-batch where that is larger.
        After `PATIENCE` the closed form is used.
        """
        answer = self._answer(
            plan,
            architecture,
            micro_batch,
            device=device,
            checkpointing=checkpointing,
            evaluated=evaluated,
            wait=wait,
        )
        if answer is None:
            return None
        allocator: Allocator = "returning" if checkpointing and device == "cpu" else "default"
        held = answer.held if answer.traced_on == device else None
        offset = answer.base - BASE if device == "cpu" and answer.base is not None else 0
        if device == "cuda":
            offset = _data_bytes(plan)
        traced = answer.tensors is not None
        tensors = self._closed_form(plan, architecture, micro_batch) if answer.tensors is None else answer.tensors
        floor = _floor(plan, architecture)
        source: Source = "traced" if traced else "closed form"
        compiled = plan.resolved.experiment.training.compile
        captured = device == "cuda" and plan.resolved.experiment.training.launches == "graph"
        if captured:
            # Captured steps need additional memory, for gradients and workspaces too; short batches and evaluations
            # take theirs beside it, at most as much.
            offset += (tensors if held is None else held) - floor * 3 // 4 + WORKSPACES
        basis: Basis = "held" if held is not None else "tensors" if traced else "closed form"
        kinds = {"held": "replayed", "tensors": "traced", "closed form": "closed form"}
        group = ", ".join((device, precision_of(plan, device), f"compile {compiled}", allocator, kinds[basis]))
        group += ", graph" * captured
        correction = prior(device, allocator, basis=basis).fitted(self._observed.get(group, Observations()))
        return Prediction(
            bytes=correction.apply(tensors if held is None else held, floor=floor) + offset,
            tensors=tensors,
            held=held,
            floor=floor,
            source=source,
            correction=correction,
            group=group,
            blocks=answer.blocks,
            offset=offset,
            traced_on=answer.traced_on,
            note=answer.error or answer.note,
        )

    def count(
        self, resolved: Resolved, architectures: Sequence[Mapping[str, int]], data: DataShape, forward: bool
    ) -> list[dict[str, int]]:
        """Sizes of shapes, counted in the tracer's process: see `scalecore.training.counting.count`.

        Raises `PluginError` where the model cannot be built.
        """
        model = resolved.model
        common = {
            "registry": resolved.registry(self._registry or {}),
            "model": {"use": model.use, "options": plain_value(model.options)},
            "shape": asdict(data),
            "forward": forward,
            "versions": self._code_of(model),
        }
        questions: list[dict[str, Any]] = []
        for at in range(0, len(architectures), TOGETHER):
            content = {**common, "count": [dict(one) for one in architectures[at : at + TOGETHER]]}
            questions.append({**content, "key": content_hash(content)})
        failed = self._count(questions)
        if failed is not None:
            said = ", ".join(name for name in vars(ClosedForms) if not name.startswith("_"))
            raise PluginError(
                f"model {model.name!r} ({model.provider} {model.version}) cannot be counted: {failed}; its shapes must "
                f"be built without their data, or the family says their sizes itself ({said})"
            )
        return [dict(sizes) for question in questions for sizes in self._answers[question["key"]].counts or ()]

    def _code_of(self, model: ResolvedComponent) -> dict[str, str]:
        """What a kept count follows from, read once."""
        if self._code is None:
            package = model.record.factory.__module__.partition(".")[0]
            self._code = code_versions(("scalecore", model.provider), packages=("scalecore", package))
        return self._code

    def _count(self, questions: Sequence[Mapping[str, Any]]) -> str | None:
        """Ask what is not known, and wait for all answers; the first error, which is not kept."""
        missing = [one for one in questions if not self._has_counts(one)]
        for question in missing:
            try:
                self._client.ask(question)
            except OSError as error:
                return f"no process can be started: {error}"
            while not self._has_counts(question):
                found = self._client.answers(wait=PATIENCE)
                for one in found or self._client.give_up(f"it took longer than {PATIENCE:.0f} s"):
                    if one["key"] == question["key"] and "error" in one:
                        return str(one["error"])
                    self._answers[one.pop("key")] = checked(TraceAnswer, one)
        if missing:
            self._write()
        return None

    def _has_counts(self, question: Mapping[str, Any]) -> bool:
        """Whether the sizes of all shapes of a question are known."""
        known = self._answers.get(question["key"])
        return known is not None and len(known.counts or ()) == len(question["count"])

    def rough(self, plan: Plan, architecture: Architecture, micro_batch: int) -> int:
        """The closed form's prediction in bytes, at once; at micro-batch 0 what no way to train can do without."""
        correction = prior("cpu", "default", basis="closed form")
        tensors = self._closed_form(plan, architecture, micro_batch)
        more = BASE_OF_CUDA_BUILD - BASE if plan.likely_device() == "cpu" and built_for_cuda() else 0
        return correction.apply(tensors, floor=_floor(plan, architecture)) + more

    def rough_range(self, plan: Plan, architecture: Architecture, micro_batch: int) -> tuple[int, int]:
        """Between which bytes the traced prediction will lie."""
        tensors = self._closed_form(plan, architecture, micro_batch)
        low, high = (
            correction.apply(tensors, floor=_floor(plan, architecture))
            for correction in closed_form_range(plan.likely_device(), cuda_build=built_for_cuda())
        )
        return low, high

    def _closed_form(self, plan: Plan, architecture: Architecture, micro_batch: int) -> int:
        with of_plugin("model", plan.resolved.model, "cannot tell its activations"):
            saved = plan.family.saved_activations(architecture.values, plan.shape)
        return closed_form(
            num_parameters=architecture.num_parameters,
            saved_activations=saved,
            micro_batch=micro_batch,
            state=plan.resolved.own.optimizer_state,
        )

    def _answer(
        self,
        plan: Plan,
        architecture: Architecture,
        micro_batch: int,
        *,
        device: Device,
        checkpointing: bool,
        evaluated: int,
        wait: float,
    ) -> TraceAnswer | None:
        if self._registry is None:
            return TraceAnswer(error="not asked for")
        question = trace_question(
            plan,
            architecture,
            micro_batch,
            device=device,
            checkpointing=checkpointing,
            evaluated=evaluated,
            registry=self._registry,
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
        if self._keeps and self._path is not None:
            # What was found anew costs a second: not worth waiting for the disk.
            write_json(self._path, self._answers, durable=False)


def _floor(plan: Plan, architecture: Architecture) -> int:
    return floor_bytes(architecture.num_parameters, state=plan.resolved.own.optimizer_state)


def _data_bytes(plan: Plan) -> int:
    """Bytes of the rows and of the windows' places, which lie on a GPU as a whole; the rows between parts are few."""
    windows = sum(part.windows for part in plan.data.parts.values())
    return windows * (4 * (plan.shape.features + 1) + 2 * 8)


def _kept_answers(path: Path) -> dict[str, TraceAnswer]:
    """The answers of earlier runs; what is damaged of them is found out again."""
    content = read_json(path)
    found: dict[str, TraceAnswer] = {}
    for key, one in content.items() if isinstance(content, dict) else ():
        with suppress(ValueError):
            answer = checked(TraceAnswer, one)
            if answer.tensors is not None or answer.error is not None or answer.counts is not None:
                found[key] = answer
    return found
