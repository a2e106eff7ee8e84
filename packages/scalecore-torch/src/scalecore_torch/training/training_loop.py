"""Trains one trial: a loop that can stop at every step and resume as if it had not stopped.

Losses are sums over windows divided by the number of windows, whatever the micro-batches. Test data is not used here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal

import torch
from attrs import asdict
from torch import Tensor, nn

from scalecore.api.metrics import objective_value
from scalecore.api.module import MicroBatchInvariance
from scalecore.api.statistics import denominator
from scalecore.api.training import Diverged, TrainingMonitor, TrainingPlan
from scalecore.api.worker import Hyperparameters, is_out_of_memory
from scalecore_torch.training.bf16_weights import cast_at_once
from scalecore_torch.training.blocks import repeated_blocks
from scalecore_torch.training.evaluation_batch import EVALUATION_BATCH, evaluation_is_larger
from scalecore_torch.training.free_memory import give_back
from scalecore_torch.training.generators import other_random_state, restore_other_random_state
from scalecore_torch.training.inference import all_logits
from scalecore_torch.training.loop_state import LoopState
from scalecore_torch.training.micro_batches import (
    StepOutOfMemory,
    invariance,
    random_state,
    restore_random_state,
    same_random_state,
    step_state,
    with_batch_statistics,
)
from scalecore_torch.training.optimizer import build_optimizer, learning_rate_at
from scalecore_torch.training.policies import Policy
from scalecore_torch.training.step_graph import StepGraph
from scalecore_torch.training.tasks import Task
from scalecore_torch.training.user_parts import UserParts
from scalecore_torch.training.windows import WindowSource

# A training loss this many times the loss of the first epoch, or of an untrained model, has exploded.
EXPLOSION = 100.0


class TrainingLoop:
    """The training of one trial from its first to its last step.

    `train` and `validation` are window sources on the device of `module`. A forecast is trained on their scale (guard
    G57): losses of steps, gradients and the explosion limit use standardised labels. Evaluations, reports and
    comparisons use the target's unit.
    """

    def __init__(
        self,
        *,
        module: nn.Module,
        task: Task,
        plan: TrainingPlan,
        hyperparameters: Hyperparameters,
        train: WindowSource,
        validation: WindowSource,
        parts: UserParts | None = None,
    ) -> None:
        """`parts` are the user's optimizer and schedule."""
        self.module = module
        self.task = task
        self.plan = plan
        self.train = train
        self.validation = validation
        self.device = next(module.parameters()).device
        self.learning_rate = float(hyperparameters["learning_rate"])
        self.warmup_steps = int(hyperparameters["warmup_steps"])
        self.epochs = int(hyperparameters["epochs"])
        parts = parts or UserParts()
        own = parts.optimizer
        self.schedule = parts.schedule or plan.schedule
        self.optimizer = build_optimizer(
            module,
            learning_rate=self.learning_rate,
            weight_decay=float(hyperparameters["weight_decay"]) if own is None or own.decays else 0.0,
            make=None if own is None else own.make,
        )
        self.steps_per_epoch = math.ceil(len(train) / plan.effective_batch)
        self.progress = LoopState()
        self.policy = Policy(why={})
        self.best_logits_NC: Tensor | None = None
        self.micro_batch = plan.micro_batch
        self.invariance: MicroBatchInvariance | None = None
        """The effect of splitting a batch for this model; None before the first step."""
        self._normalised = with_batch_statistics(module)
        self._order: tuple[int, Tensor] | None = None
        # Sums stay on the device, so that no step waits for it; MPS has no float64.
        self._real = torch.float32 if self.device.type == "mps" else torch.float64
        self._loss_sum = torch.zeros((), dtype=self._real, device=self.device)
        self._norm_sum = torch.zeros((), dtype=self._real, device=self.device)
        self._clipped = torch.zeros((), dtype=torch.int64, device=self.device)
        self._rate = self.learning_rate
        self.graph: StepGraph | None = None
        """The captured step of full batches, if the policy has graphs; None before the first step."""
        self.final_weights: str | None = None
        """Fingerprint of the weights at the end of training, once the module has those of the best epoch instead."""
        self._seconds_per_checkpoint = 0.0
        # Buffer into which the windows of each micro-batch are gathered.
        shape = (min(plan.micro_batch, len(train)), train.context, train.features)
        self._windows_MTF = torch.empty(shape, device=self.device)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def run(self, monitor: TrainingMonitor) -> Literal["completed", "stopped", "pruned"]:
        """Train to the end, or until the monitor stops or prunes the trial. Raises `Diverged`."""
        saved = time.monotonic()
        while not self._finished():
            state = self.progress
            started = time.monotonic()
            while state.step < self.steps_per_epoch:
                asked = time.monotonic()
                action = monitor.step(epoch=state.epoch, step=state.step, phase="train")
                started += time.monotonic() - asked  # a pause is not training time
                if action != "go_on" or self._due(saved):
                    state.epoch_seconds += self._seconds_since(started)
                    if action != "prune":
                        self._save(monitor)
                    if action != "go_on":
                        return "stopped" if action == "stop" else "pruned"
                    saved = started = time.monotonic()
                self.optimizer_step()
            state.epoch_seconds += self._seconds_since(started)
            monitor.step(epoch=state.epoch, step=state.step, phase="evaluate")
            monitor.epoch(self._end_epoch())
            every = self.plan.checkpoint_epochs
            if every is not None and (state.epoch - 1) % every == 0 and not self._finished():
                self._save(monitor)
                saved = time.monotonic()
        return "completed"

    def optimizer_step(self) -> None:
        """Run one optimizer step over one effective batch, with gradient accumulation over micro-batches."""
        state = self.progress
        first = state.step * self.plan.effective_batch
        indices_B = self._epoch_order()[first : first + self.plan.effective_batch]
        self._set_rate(
            learning_rate_at(
                state.total_steps,
                peak=self.learning_rate,
                schedule=self.schedule,
                warmup_steps=self.warmup_steps,
                total_steps=self.epochs * self.steps_per_epoch,
            )
        )
        if self.graph is None or not self.graph.step(indices_B):
            self._gradients(indices_B, passes=self._accumulate)
            self.optimizer.step()
        state.step += 1
        state.total_steps += 1
        # Reading a number waits for the GPU. A NaN stays in the sum, so an occasional check is enough.
        if self.device.type == "cpu" or state.step % 32 == 0:
            self._check_finite(float(self._loss_sum))

    def _set_rate(self, rate: float) -> None:
        """Set the learning rate of the next step: a number, or for captured steps a float32 tensor."""
        self._rate = rate
        if self.policy.launches == "graph":
            if self.graph is None:
                self.graph = StepGraph(
                    module=self.module,
                    optimizer=self.optimizer,
                    gradients=partial(self._gradients, passes=self._passes),
                    sums=(self._loss_sum, self._norm_sum, self._clipped),
                    batch=self.plan.effective_batch,
                )
                if self.progress.halvings:
                    self.graph.give_up("memory ran out in an earlier step")
            self.graph.rate.fill_(rate)
            return
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _gradients(self, indices_B: Tensor, *, passes: Callable[[Tensor], None]) -> None:
        """Compute the clipped gradients of a step, and add its values to the epoch's sums."""
        self.module.train()
        self.optimizer.zero_grad(set_to_none=True)
        passes(indices_B)
        limit = self.plan.gradient_clip
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), math.inf if limit is None else limit)
        self._norm_sum += norm
        if limit is not None:
            self._clipped += norm > limit

    def logits(self, x_MTF: Tensor) -> Tensor:
        """Logits [M, C] of a training pass in the policy's precision, converted to float32 for the loss."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.policy.precision == "bf16"):
            logits_MC: Tensor = self.module(x_MTF)
        return logits_MC.float()

    def cast_weights(self) -> AbstractContextManager[None]:
        """A context in which all weights of linear layers are cast at once, if the policy requires it."""
        at_once = self.policy.launches == "few" and self.policy.precision == "bf16"
        return cast_at_once(self.module) if at_once else nullcontext()

    def _accumulate(self, indices_B: Tensor) -> None:
        """Accumulate the gradients of a step. If memory runs out, repeat with half the micro-batch until it fits.

        Raises `StepOutOfMemory` if a single window does not fit.
        """
        while True:
            undo = step_state(self.module, (self._loss_sum,), self.device, normalised=self._normalised)
            drew = random_state(self.device) if self.invariance is None else None
            try:
                self._passes(indices_B)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = " ".join(str(error).split())[:200]
            else:
                if drew is not None:
                    sums = self.task.training.over_windows  # otherwise the loss compares windows of a micro-batch
                    found = invariance(self.module, drew=not same_random_state(drew, random_state(self.device)))
                    self.invariance = found if sums else "not_invariant"
                return
            # Not within `except`: the error's traceback keeps the activations of the failed pass alive. They are local
            # to `_passes`, so that none are left here.
            undo()
            # Freeing the captured steps may be enough.
            if self.graph is None or not self.graph.give_up(f"memory ran out: {reason}"):
                self._halve(reason, largest=len(indices_B))

    def _passes(self, indices_B: Tensor) -> None:
        """Run forward and backward passes of all micro-batches of a step."""
        parts = torch.split(indices_B, self.micro_batch)
        # torch keeps cast weights until the outermost autocast ends: here, later micro-batches reuse them. A single
        # micro-batch would only keep them longer, through its backward pass.
        kept = torch.autocast(self.device.type, enabled=False) if len(parts) > 1 else nullcontext()
        with kept, self.cast_weights():
            for micro_M in parts:
                x_MTF, y_M = self.train.batch(micro_M, out=self._windows_MTF)
                loss = self.task.training.total(self.logits(x_MTF), y_M)
                # Divided by the windows of the whole step, so that every window has the same weight, also in a short
                # last micro-batch.
                torch.autograd.backward(loss / len(indices_B))
                self._loss_sum += loss.detach()

    def _halve(self, reason: str, *, largest: int) -> None:
        """Halve the micro-batch, or the number of the step's windows if that is smaller."""
        had = min(self.micro_batch, largest)
        if had == 1:
            message = f"a step does not fit even with a micro-batch of 1: {reason}"
            raise StepOutOfMemory(message, batching=self.batching())
        self.micro_batch = had // 2
        state = self.progress
        halving = {"epoch": state.epoch, "step": state.step, "from": had, "to": self.micro_batch, "reason": reason}
        state.halvings.append(halving)

    def batching(self) -> dict[str, Any]:
        """For the record: the final micro-batch, the halvings, and their effect on this model."""
        return {
            "micro_batch": self.micro_batch,
            "halvings": self.progress.halvings,
            "invariance": self.invariance,
        }

    def evaluate(self, source: WindowSource, *, limit: int | None = None) -> tuple[float, dict[str, Any], Tensor]:
        """Mean loss, metrics and logits[windows, outputs] of a split, or of its first `limit` windows.

        Uses the policy's precision, like the evaluation of a retrained model; forecasts are in the target's unit.
        """
        batch = max(EVALUATION_BATCH, self.micro_batch)
        logits_NC = all_logits(self.module, source, evaluation=self.policy.evaluation, batch=batch, limit=limit)
        assert logits_NC is not None  # only a callback could interrupt it
        labels_N = source.labels[: len(logits_NC)]
        # From the stored logits, so that a loss computed from them later is the same number.
        loss = float(self.task.losses(logits_NC, labels_N).double().mean())
        return loss, self.task.metrics(logits_NC, labels_N), logits_NC

    def release(self) -> None:
        """Free the memory that only further steps need, except the optimizer's state, which checkpoints contain."""
        self.graph = None
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cpu":
            give_back()

    # --- epochs -----------------------------------------------------------------------------------------------------

    def _end_epoch(self) -> dict[str, Any]:
        state, plan = self.progress, self.plan
        train_loss = float(self._loss_sum) / len(self.train)
        self._check_finite(train_loss)
        started = time.monotonic()
        blocks, windows = len(repeated_blocks(self.module)), min(len(self.validation), EVALUATION_BATCH)
        if self.device.type == "cpu" and evaluation_is_larger(
            windows=windows, micro_batch=self.micro_batch, blocks=blocks
        ):
            give_back()
        validation_loss, metrics, logits_NC = self.evaluate(self.validation)
        if not math.isfinite(validation_loss):
            raise Diverged(f"validation loss is {validation_loss} after epoch {state.epoch}")
        first = state.first_loss = train_loss if state.first_loss is None else state.first_loss
        scale = self.train.scale
        unit = 1.0 if scale is None else scale.std**self.task.training.power
        if train_loss > EXPLOSION * max(first, 1.0):
            raise Diverged(
                f"training loss exploded from {first * unit:.3g} to {train_loss * unit:.3g} in epoch {state.epoch}"
            )
        line = {
            "epoch": state.epoch,
            "train_loss": train_loss * unit,
            "val_loss": validation_loss,
            "learning_rate": self._rate,
            "gradient_norm": float(self._norm_sum) / max(1, self.steps_per_epoch),
            "clipped_share": float(self._clipped) / max(1, self.steps_per_epoch),
            "train_seconds": state.epoch_seconds,
            "evaluation_seconds": time.monotonic() - started,
            **metrics,
        }
        state.train_seconds += state.epoch_seconds
        value = self._objective(line)
        state.curve.append({name: item for name, item in line.items() if not isinstance(item, dict | list)})
        if state.best is None or self._rank(line) > self._rank(state.best):
            state.best = line
            self.best_logits_NC = logits_NC
        if value is not None and not self._supported(line):
            value = objective_value({plan.metric: None}, metric=plan.metric, direction=plan.direction) or 0.0
        if value is not None and (state.reference is None or self._better(value, state.reference, by=plan.min_delta)):
            state.reference, state.stale_epochs = value, 0
        else:
            state.stale_epochs += 1
        state.epoch += 1
        state.step = 0
        state.epoch_seconds = 0.0
        for total in (self._loss_sum, self._norm_sum, self._clipped):
            total.zero_()
        self.last = line
        return line

    def _finished(self) -> bool:
        state, patience = self.progress, self.plan.patience
        return state.epoch > self.epochs or (patience is not None and state.stale_epochs >= patience)

    def _objective(self, line: Mapping[str, Any]) -> float | None:
        """The epoch's objective; None if a user's metric has no value: such an epoch is never the best one."""
        value = objective_value(line, metric=self.plan.metric, direction=self.plan.direction)
        if value is None and self.plan.metric not in self.task.own_metrics:
            raise ValueError(f"objective.metric {self.plan.metric!r} has no value in epoch {line['epoch']}")
        return value

    def _supported(self, line: Mapping[str, Any]) -> bool:
        """Whether the objective covers as many windows as the plan requires (guard G19)."""
        count = denominator(self.plan.metric, line.get("confusion_matrix"))
        return count is None or count >= self.plan.min_denominator

    def _rank(self, line: Mapping[str, Any]) -> tuple[bool, float]:
        """Sort key of an epoch: larger is better."""
        value = self._objective(line)
        if value is None:
            return False, -math.inf
        return self._supported(line), -value if self.plan.direction == "minimize" else value

    def _better(self, value: float, than: float, *, by: float = 0.0) -> bool:
        return value < than - by if self.plan.direction == "minimize" else value > than + by

    def value(self) -> float | None:
        """The objective of the best or the last epoch, according to the plan's reduction (guard G05).

        None before the first epoch, and if a user's metric has no value there.
        """
        line = self.progress.best if self.plan.reduction == "best" else self.last
        return None if line is None else self._objective(line)

    last: dict[str, Any] | None = None
    """The line of the last completed epoch."""

    def _epoch_order(self) -> Tensor:
        """The permutation [windows] of this epoch.

        It is a function of seed and epoch, so that epoch and step determine a position in it.
        """
        epoch = self.progress.epoch
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed((self.plan.seed * 1_000_003 + epoch) % 2**63)
            self._order = (epoch, torch.randperm(len(self.train), generator=generator).to(self.device))
        return self._order[1]

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise Diverged(f"training loss is {loss} in epoch {self.progress.epoch}, step {self.progress.step}")

    def _seconds_since(self, started: float) -> float:
        """Seconds until all steps are done: a GPU's steps are only queued when their calls return."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        return time.monotonic() - started

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def _due(self, saved: float) -> bool:
        # Checkpoints take at most 2 % of the time, however large the model is.
        pause = max(self.plan.checkpoint_every, 50 * self._seconds_per_checkpoint)
        return time.monotonic() - saved >= pause

    def _save(self, monitor: TrainingMonitor) -> None:
        started = time.monotonic()
        monitor.checkpoint(self.state())
        self._seconds_per_checkpoint = time.monotonic() - started

    def state(self) -> dict[str, Any]:
        """The state as tensors and plain values, so that it can be loaded without executing code."""
        state = self.progress
        state.loss_sum, state.norm_sum = float(self._loss_sum), float(self._norm_sum)
        state.clipped = int(self._clipped)
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": {**random_state(self.device), **other_random_state()},
            "progress": asdict(state),
            "policy": self.policy.plain(),
            "last": self.last,
            "best_logits": self.best_logits_NC,
            "final_weights": self.final_weights,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Resume from the result of `state`; call it on a training loop built with the same arguments."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.graph = None
        self.progress = LoopState(**state["progress"])
        # A micro-batch that ran out of memory once would do so again.
        self.micro_batch = min([self.micro_batch, *(one["to"] for one in self.progress.halvings)])
        self._loss_sum.fill_(self.progress.loss_sum)
        self._norm_sum.fill_(self.progress.norm_sum)
        self._clipped.fill_(self.progress.clipped)
        self.last = state["last"]
        self.best_logits_NC = state["best_logits"]
        self.final_weights = state.get("final_weights")
        restore_random_state(state["rng"], self.device)
        restore_other_random_state(state["rng"])
