"""Logger `console`: plain lines, and on a terminal live progress bars below them."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from scalecore.api import formatting
from scalecore.api.escaping import without_guards
from scalecore.api.logger import Logger, LoggerContext
from scalecore.api.trials import Epoch, Progress, Proposal, StudyEnd, StudyView, TrialRecord
from scalecore.builtin.options import ConsoleOptions

if TYPE_CHECKING:
    from scalecore.builtin.live import LivePicture

END_TEXTS = {
    StudyEnd.COMPLETED: "completed",
    StudyEnd.EXHAUSTED: "completed: every configuration has been tried",
    StudyEnd.STOPPED: "stopped; run the same command again to resume",
    StudyEnd.TIMED_OUT: "time limit reached; run the same command again to resume",
    StudyEnd.FAILED: "failed; finished trials are kept",
}

SHOWN_FLAGS = ("collapsed", "too_good", "small_denominator")
"""Kinds of flags that question the result itself."""

VERBOSITIES = {"quiet": -1, "normal": 0, "verbose": 1}


class ConsoleLogger(Logger):
    """Prints progress: trial, epoch, best value so far, ETA, memory, and temperature or why it is unavailable."""

    prints = True

    def __init__(self, options: ConsoleOptions, context: LoggerContext) -> None:
        self._options = options
        # The command line overrides the file.
        self._verbosity = context.verbosity or VERBOSITIES[options.verbosity]
        self._stream = sys.stdout if context.verbosity > -2 else sys.stderr
        self._picture: LivePicture | None = None
        self._study: StudyView | None = None
        self._epochs: dict[int, Epoch] = {}
        """The last epoch of each running trial."""
        self._labels: dict[int, str] = {}
        """What a retrained trial repeats, by its number."""
        self._line_due = 0.0

    def study_started(self, study: StudyView) -> None:
        self._study = study
        if self._verbosity < 0:
            return
        if self._options.progress == "auto" and self._stream.isatty() and os.environ.get("TERM") not in (None, "dumb"):
            from scalecore.builtin.live import LivePicture

            self._picture = LivePicture(self._stream)
        if study.retraining is not None:
            done, total = study.progress
            finished = f", {done} already finished" if done else ""
            trainings = "1 training" if total == 1 else f"{total} trainings"
            self._print(f"{study.retraining.title}: {trainings}{finished}; results in {study.folder}")
        else:
            self._print_study(study)
        if self._picture is not None:
            self._picture.start(study)

    def _print_study(self, study: StudyView) -> None:
        data, grid = study.plan.data, study.plan.architectures
        done = len(study.counted)
        self._print(
            f"{study.name}: {study.total} trials"
            + (f", {done} already finished" if done else "")
            + f"; results in {study.folder}"
        )
        self._print(
            f"data: {data.name}, {len(data.features)} features, context {data.context}; target {data.target.text}"
        )
        for name, part in data.parts.items():
            self._print(f"  {formatting.part_line(name, part)}")
        self._print("baselines, val_loss with its 95 % interval:")
        for baseline in data.baselines:
            self._print(f"  {formatting.baseline_line(baseline)}")
        budget = f" of {study.budget}" if grid.budget else ""
        self._print(f"search: {grid.feasible} architectures{budget}, {len(study.plan.planned)} forced first")
        for finding in study.plan.findings:
            if finding.level != "ok":
                self._print(f"{finding.level}: {finding.subject}: {finding.message}")

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None:
        self._study = study
        self._epochs.pop(number, None)
        if self._verbosity < 0:
            return
        if study.retraining is not None:
            self._labels[number] = proposal.origin.label or proposal.origin.kind
        kind, label = proposal.origin.kind, None if study.retraining else proposal.origin.label
        shown = f"{formatting.shape(proposal.architecture)} {formatting.settings(proposal.hyperparameters)}".strip()
        if self._picture is None or self._verbosity > 0:
            self._print(f"{self._counted(number)} starts ({kind}{f' {label}' if label else ''}): {shown}")
        if self._verbosity > 0 and proposal.origin.reason:
            self._print(f"  reason: {proposal.origin.reason}")
        self._line_due = time.monotonic() + self._options.every
        if self._picture is not None:
            self._picture.trial_started(number, study, label=self._labels.get(number))

    def epoch(self, number: int, epoch: Epoch) -> None:
        self._epochs[number] = epoch
        if self._picture is not None:
            self._picture.epoch(number, epoch)
        if self._verbosity > 0:
            name = self._labels.get(number, f"trial {number}")
            self._print(
                f"  {name} epoch {epoch['epoch']}: train_loss={formatting.number(epoch.get('train_loss'))} "
                f"val_loss={formatting.number(epoch['val_loss'])} "
                f"({epoch['train_seconds']:.1f} s)"
            )

    def progress(self, progress: Progress) -> None:
        if self._verbosity < 0 or self._study is None:
            return
        if self._picture is not None:
            self._picture.progress(progress)
            return
        if time.monotonic() < self._line_due:
            return
        self._line_due = time.monotonic() + self._options.every
        last = self._epochs.get(progress.number)
        facts = [] if self._study.retraining else [formatting.best_so_far(self._study.best)]
        if last is not None:
            facts.append(f"val_loss {formatting.number(last['val_loss'])}")
        facts.append(f"ETA {formatting.duration(progress.study_seconds_left)}")
        facts += [f"{name} {text}" for name, text in progress.readings.items()]
        self._print(
            f"  {self._counted(progress.number)}, {progress.phase}, "
            f"epoch {formatting.count_of(progress.epoch, progress.epochs)}, "
            f"step {formatting.count_of(progress.step, progress.steps_per_epoch)}; {', '.join(facts)}"
        )

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        self._study = study
        self._epochs.pop(record.number, None)
        if self._verbosity < 0:
            return
        if self._picture is not None:
            self._picture.trial_finished(record.number, study)
        metric = study.metric
        best = None if record.retrained else study.best
        label = record.origin.label if record.retrained else None
        self._print(formatting.trial_line(record, metric=metric, best=best, varied=study.plan.space, label=label))
        for flag in record.flags:
            if flag.kind in SHOWN_FLAGS or (self._verbosity > 0 and flag.kind is not None):
                self._print(f"  flag: {flag.text}")

    def message(self, level: str, text: str) -> None:
        if self._verbosity >= 0 or level != "info":
            self._print(text if level == "info" else f"{level}: {text}", level=level)

    def study_finished(self, study: StudyView) -> None:
        self.close()
        if study.retraining is not None:
            if self._verbosity < 0 and study.retraining.end is StudyEnd.COMPLETED:
                return  # the command prints the result
            done, total = study.progress
            text = END_TEXTS[study.retraining.end or StudyEnd.FAILED]
            self._print(f"{study.retraining.title}, {done} of {total} trainings: {text}")
            return
        end = study.end or StudyEnd.FAILED
        states = Counter(record.state for record in study.counted)
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none finished"
        self._print(f"{study.name}: {END_TEXTS[end]} ({len(study.counted)} of {study.total} trials: {counts})")
        if end is StudyEnd.FAILED and study.end_reason:
            self._print(f"reason: {study.end_reason.splitlines()[0]}")
        best = study.best
        if best is not None and best.value is not None:
            metric = study.metric
            value = formatting.measured(best.value, best.best.interval(metric) if best.best else None)
            self._print(f"best: trial {best.number}, {formatting.shape(best.architecture)}, {metric} {value}")
            baseline = study.plan.data.best_baseline
            if metric == "val_loss" and baseline is not None:
                relation = "better than" if best.value < (baseline.loss or 0.0) else "NOT better than"
                text = " ".join(formatting.baseline_line(baseline).split())
                self._print(f"  {relation} the best baseline: {text}")
            if (caution := formatting.caution(best)) is not None:
                self._print(f"  {caution}")
        for text in formatting.mixtures(study.counted):
            self._print(f"caution: {text}")
        if study.duplicates_avoided:
            self._print(f"duplicates avoided: {study.duplicates_avoided}")
        for text in study.degraded:
            self._print(f"degraded: {text}")
        self._print(f"results: {study.folder}")

    def close(self) -> None:
        if self._picture is not None:
            self._picture.stop()

    def _counted(self, number: int) -> str:
        """The trial as lines begin with it."""
        study = self._study
        assert study is not None
        return self._labels.get(number) or f"trial {number} of {study.total + len(study.left_out)}"

    def _print(self, text: str, *, level: str = "info") -> None:
        text = without_guards(text)
        if self._picture is not None:
            self._picture.line(text, level)
        else:
            print(text, file=self._stream, flush=True)
