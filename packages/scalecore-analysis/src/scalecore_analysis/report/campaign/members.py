"""The studies of a campaign by group, with the values that several sections use."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from attrs import define, field, frozen

from scalecore.api.errors import RefusedError
from scalecore.api.record_parts import EpochResult
from scalecore.api.trials import StudyView, TrialRecord, TrialState
from scalecore_analysis.groups import Group, budget_groups, comparable_groups
from scalecore_analysis.paired import Paired, paired_with_best
from scalecore_analysis.report.measured import Measured
from scalecore_analysis.report.section import Row, Subject
from scalecore_analysis.runs import Configuration, configurations
from scalecore_analysis.scaling.assess import mean_interval
from scalecore_analysis.studies import labelled

__all__ = ["CampaignView", "Member", "training_flops"]

LOSS = "val_loss"
BACKWARD = 3
"""FLOPs of a training step in those of its forward pass: the backward pass counts twice (Kaplan et al. 2020)."""


@define(kw_only=True, eq=False, slots=False)
class Member:
    """A study on the page."""

    group: str
    """The label of its group; empty if there is one group."""
    budget: str
    """Its budget; its name where that is not unique in the group."""
    subject: Subject

    @property
    def study(self) -> StudyView:
        return self.subject.study

    @property
    def best(self) -> TrialRecord | None:
        """The best trial of the search."""
        return self.subject.best

    @property
    def at_best(self) -> EpochResult:
        """The best epoch of the best trial."""
        return (self.best and self.best.best) or EpochResult()

    @property
    def head(self) -> Row:
        """The first cells of a row about the study."""
        return {**({"group": self.group} if self.group else {}), "budget": self.budget}

    @property
    def title(self) -> str:
        """For example `horizon 3 / 2M`."""
        return f"{self.group} / {self.budget}" if self.group else self.budget

    def searched(self, metric: str) -> Measured | None:
        """A metric of the best trial with its interval over windows."""
        return Measured.of(self.at_best.metrics.get(metric), self.at_best.interval(metric))

    def fresh(self, metric: str) -> Configuration | None:
        """The runs of the best trial's configuration with fresh seeds, if there are any."""
        found = (one for one in configurations(self.study, metric) if one.fresh and one.searched is not None)
        return next((one for one in found if one.searched is self.best), None)

    def replicated(self, metric: str) -> Measured | None:
        """The mean over fresh seeds with its interval over seeds, which needs two."""
        runs = self.fresh(metric)
        if runs is None:
            return None
        if len(runs.values) < 2:
            return Measured.of(runs.mean)
        variance = statistics.variance(runs.values)
        return Measured.of(runs.mean, mean_interval(runs.values, variance=variance, freedom=len(runs.values) - 1))

    @cached_property
    def ties(self) -> Paired | str:
        """The comparison of all completed trials with the best one, or why there is none."""
        if self.best is None:
            return "no trial has completed"
        return paired_with_best(self.study, list(self.subject.completed), self.best)

    @property
    def tied(self) -> list[TrialRecord]:
        """The trials that do not differ significantly from the best; without a comparison the best alone."""
        numbers = self.ties.tied if isinstance(self.ties, Paired) else [self.best.number] if self.best else []
        return [trial for trial in self.subject.completed if trial.number in set(numbers)]


@frozen(kw_only=True, eq=False)
class CampaignView:
    """The studies of the page, in groups of comparable ones."""

    groups: Sequence[Group]
    members: Sequence[Member]
    """In the order of the groups."""
    separate: str | None = None
    """Why studies of one budget and equal settings share a group, which prevents a verdict."""
    names: dict[int, str] = field(factory=dict)

    @classmethod
    def of(cls, studies: Sequence[StudyView]) -> CampaignView:
        separate = None
        try:
            groups = budget_groups(studies)
        except RefusedError as error:
            groups, separate = comparable_groups(studies), str(error)
        names = {id(study): name for name, study in labelled(studies).items()}
        members = []
        for group in groups:
            budgets = [study.budget for study in group.studies]
            for study in group.studies:
                unique = budgets.count(study.budget) == 1 and study.budget != "none"
                label = study.budget if unique else names[id(study)]
                members.append(Member(group=group.label, budget=label, subject=Subject.of(study)))
        return cls(groups=groups, members=members, separate=separate, names=names)

    def of_group(self, group: Group) -> list[Member]:
        return [one for one in self.members if one.group == group.label]

    def name(self, member: Member) -> str:
        """The name of the study, unique on the page."""
        return self.names[id(member.study)]

    def shortened(self, group: Group, text: str) -> str:
        """The text with the budgets of a group's studies in place of their long names."""
        for member in self.of_group(group):
            name = self.name(member)
            if "-" in name:  # a name like `data` may be a word of the text
                text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", member.budget.replace("\\", r"\\"), text)
        return text


def training_flops(study: StudyView, trials: Sequence[TrialRecord]) -> float | None:
    """Estimated FLOPs of training these trials; None if the epochs of one are unknown.

    Three forward passes per window and epoch: the forward FLOPs are counted, those of the backward pass are twice as
    many. Evaluations are left out.
    """
    windows, total = study.plan.data.parts["train"].windows, 0.0
    for trial in trials:
        epochs = _epochs(trial)
        if epochs is None or not trial.architecture.flops:
            return None
        total += BACKWARD * trial.architecture.flops * windows * epochs
    return total


def _epochs(trial: TrialRecord) -> int | None:
    """The number of finished epochs."""
    if trial.last is not None and trial.last.epoch is not None:
        return trial.last.epoch
    done: Any = max((line.get("epoch") or 0 for line in trial.learning_curve), default=None)
    if done is None and trial.state is not TrialState.COMPLETED:
        return 0
    return None if done is None else int(done)
