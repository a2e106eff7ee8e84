"""Logger `console`: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from scalecore import texts
from scalecore.builtin.options import ConsoleOptions
from scalecore.protocols import Logger, LoggerContext
from scalecore.trials import Epoch, Progress, Proposal, StudyEnd, StudyView, TrialRecord

__all__ = ["ConsoleLogger"]

END_TEXTS = {
    StudyEnd.COMPLETED: "completed",
    StudyEnd.EXHAUSTED: "completed: nothing new is left to try",
    StudyEnd.STOPPED: "stopped; the same command continues it",
    StudyEnd.TIMED_OUT: "time limit reached; the same command continues it",
    StudyEnd.FAILED: "failed; everything finished is kept",
}


class ConsoleLogger(Logger):
    """Says what is going on: trial, epoch, best so far, time left, memory, temperature or why there is none."""

    def __init__(self, options: ConsoleOptions, context: LoggerContext) -> None:
        self._options = options
        self._verbosity = context.verbosity
        # No markup: names and reasons come from files and may hold brackets.
        self._console = Console(file=sys.stdout, markup=False, highlight=False, soft_wrap=True)
        self._bars: Bars | None = None
        self._study_bar: TaskID | None = None
        self._trial_bar: TaskID | None = None
        self._study: StudyView | None = None
        self._last_epoch: Epoch | None = None
        self._line_due = 0.0

    def study_started(self, study: StudyView) -> None:
        self._study = study
        if self._verbosity < 0:
            return
        data, grid = study.plan["data"], study.plan["architectures"]
        done = len(study.counted)
        self._print(
            f"{study.name}: {study.total} trials"
            + (f", {done} finished already" if done else "")
            + f"; results in {study.folder}"
        )
        self._print(
            f"data: {data['name']}, {len(data['features'])} features, context {data['context']}; target "
            f"{data['target']['text']}"
        )
        for name, part in data["split"]["parts"].items():
            self._print(f"  {texts.part_line(name, part)}")
        self._print("baselines, val_loss with its 95 % interval:")
        for baseline in data["baselines"]:
            self._print(f"  {texts.baseline_line(baseline)}")
        budget = f" of {study.budget}" if grid["budget"] else ""
        self._print(f"search: {grid['feasible']} architectures{budget}, {len(study.plan['planned'])} forced first")
        for finding in study.plan["findings"]:
            if finding["level"] != "ok":
                self._print(f"{finding['level']}: {finding['subject']}: {finding['message']}")
        if self._console.is_terminal:
            self._start_bars(study)

    def trial_started(self, number: int, proposal: Proposal, study: StudyView) -> None:
        self._study, self._last_epoch = study, None
        if self._verbosity < 0:
            return
        origin = proposal.origin.kind + (f" {proposal.origin.label}" if proposal.origin.label else "")
        shown = f"{texts.shape(proposal.architecture)} {texts.settings(proposal.hyperparameters)}".strip()
        if self._bars is None or self._verbosity > 0:
            self._print(f"trial {number} of {study.total + len(study.left_out)} starts ({origin}): {shown}")
        if self._verbosity > 0 and proposal.origin.reason:
            self._print(f"  because: {proposal.origin.reason}")
        self._line_due = time.monotonic() + self._options.every

    def epoch(self, number: int, epoch: Epoch) -> None:
        self._last_epoch = epoch
        if self._verbosity > 0:
            self._print(
                f"  trial {number} epoch {epoch['epoch']}: train_loss={epoch['train_loss']:.4f} "
                f"val_loss={epoch['val_loss']:.4f} "
                f"({epoch['train_seconds']:.1f} s)"
            )

    def progress(self, progress: Progress) -> None:
        if self._verbosity < 0 or self._study is None:
            return
        best = self._study.best
        facts = [f"best {best.value:.4f} #{best.number}" if best and best.value is not None else "no best yet"]
        if self._last_epoch is not None:
            facts.append(f"val_loss {self._last_epoch['val_loss']:.4f}")
        facts.append(f"time left {texts.duration(progress.study_seconds_left)}")
        facts += [f"{name} {text}" for name, text in progress.readings.items()]
        line = (
            f"trial {progress.number} of {self._study.total + len(self._study.left_out)}, {progress.phase}, "
            f"epoch {progress.epoch} of {progress.epochs}, "
            f"step {progress.step} of {progress.steps_per_epoch}"
        )
        if self._bars is not None and self._trial_bar is not None and self._study_bar is not None:
            self._bars.update(self._study_bar, completed=len(self._study.counted), facts=", ".join(facts))
            share = (max(progress.epoch, 1) - 1 + progress.step / max(1, progress.steps_per_epoch)) / progress.epochs
            self._bars.update(self._trial_bar, completed=share, facts=line)
        elif time.monotonic() >= self._line_due:
            self._line_due = time.monotonic() + self._options.every
            self._print(f"  {line}; {', '.join(facts)}")

    def trial_finished(self, record: TrialRecord, study: StudyView) -> None:
        self._study = study
        if self._verbosity < 0:
            return
        metric = study.experiment["objective"]["metric"]
        self._print(
            texts.trial_line(record, metric=metric, best=study.best, varied=study.experiment["search"].get("space", {}))
        )
        for flag in record.flags:
            if flag.get("kind") in ("collapsed", "too_good") or (self._verbosity > 0 and "kind" in flag):
                self._print(f"  flag {flag['guard']}: {flag['text']}")

    def message(self, level: str, text: str) -> None:
        if self._verbosity >= 0 or level != "info":
            self._print(text if level == "info" else f"{level}: {text}")

    def study_finished(self, study: StudyView) -> None:
        self.close()
        end = study.end or StudyEnd.FAILED
        states: dict[str, int] = {}
        for record in study.counted:
            states[record.state] = states.get(record.state, 0) + 1
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none finished"
        self._print(f"{study.name}: {END_TEXTS[end]} ({len(study.counted)} of {study.total} trials: {counts})")
        best = study.best
        if best is not None and best.value is not None:
            metric = study.experiment["objective"]["metric"]
            width = texts.interval((best.best or {}).get("intervals", {}).get(metric))
            self._print(
                f"best: trial {best.number}, {texts.shape(best.architecture)}, {metric} {best.value:.4f}{width}"
            )
            baseline = texts.best_baseline(study.plan["data"])
            if metric == "val_loss" and baseline is not None:
                relation = "better than" if best.value < baseline["loss"] else "NOT better than"
                text = " ".join(texts.baseline_line(baseline).split())
                self._print(f"  {relation} the best baseline: {text}")
            if best.collapsed:
                self._print("  every completed trial predicts a constant: this is no result [G09]")
        if study.duplicates_avoided:
            self._print(f"duplicates avoided: {study.duplicates_avoided}")
        for text in study.degraded:
            self._print(f"degraded: {text}")
        self._print(f"results: {study.folder}")

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _start_bars(self, study: StudyView) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[facts]}", markup=False),
        )
        self._bars = Bars(*columns, console=self._console, transient=True, expand=False)
        self._study_bar = self._bars.add_task("study", total=study.total, completed=len(study.counted), facts="")
        self._trial_bar = self._bars.add_task("trial", total=1.0, facts="starting")
        self._bars.start()

    def _print(self, text: str) -> None:
        self._console.print(text)
