"""The predicted memory of a plan's trials, as requested from the monitors."""

from __future__ import annotations

from attrs import evolve, frozen

from scalecore.api.memory_forecast import MemoryForecast, MemoryPrediction
from scalecore.api.readings import Demand
from scalecore.api.space import Architecture
from scalecore.planning.plan import Plan


@frozen
class Demands:
    """Memory demands computed by the study's forecast; methods wait for its traces."""

    plan: Plan
    forecast: MemoryForecast

    def of(self, architecture: Architecture, micro_batch: int) -> Demand:
        """Return the demand of a trial of this shape; activations are recomputed only if the file sets that."""
        found = self.predict(architecture, micro_batch, checkpointing=self.plan.step_size.checkpointing == "on")
        return self._demand(found.bytes, micro_batch, num_parameters=architecture.num_parameters)

    def least(self, architecture: Architecture) -> tuple[Demand, bool]:
        """Return the smallest demand with which this shape can train, and whether that recomputes activations."""
        setting, kept = self.plan.step_size.checkpointing, self.of(architecture, 1)
        if setting != "auto":
            return kept, setting == "on"
        recomputed = self.predict(architecture, 1, checkpointing=True)
        if not recomputed.blocks or recomputed.bytes >= kept.memory:
            return kept, False
        return evolve(kept, memory=recomputed.bytes), True

    def floor(self) -> Demand:
        """Return, in closed form, the smallest demand with which every shape can train in some way the file allows."""
        # Recomputed activations need almost no memory.
        windows = 1 if self.plan.step_size.checkpointing == "off" else 0
        architectures = self.plan.grid.architectures
        largest = max(self.forecast.rough(one, windows) for one in architectures)
        return self._demand(largest, 1, num_parameters=max(one.num_parameters for one in architectures))

    def predict(self, architecture: Architecture, micro_batch: int, *, checkpointing: bool) -> MemoryPrediction:
        """Predict the memory of this shape with the given micro-batch and recomputation."""
        device = self.plan.likely_device
        found = self.forecast.predict(architecture, micro_batch, device=device, checkpointing=checkpointing)
        assert found is not None  # after its time limit, a forecast falls back to the closed form
        return found

    def _demand(self, memory: int, micro_batch: int, *, num_parameters: int) -> Demand:
        device = self.plan.likely_device
        host = self.forecast.host_memory(num_parameters) if device == "cuda" else None
        return Demand(memory=memory, micro_batch=micro_batch, device=device, host_memory=host)
