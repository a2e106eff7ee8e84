"""What a verdict lacks, with the cost of each training and the command that runs it."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

from scalecore.api.engine import forecast
from scalecore.api.formatting import duration
from scalecore.api.studies import StudyFolder
from scalecore.api.trials import StudyEnd, StudyView, best_first
from scalecore_analysis.edges import edges_of
from scalecore_analysis.runs import Configuration, configurations
from scalecore_analysis.scaling.assess import POWER_BUDGETS, Assessment
from scalecore_analysis.scaling.budgets import BudgetRuns, chosen_of
from scalecore_analysis.scaling.power import MOST_SEEDS, Design
from scalecore_analysis.scaling.preconditions import BUDGETS
from scalecore_analysis.scaling.verdict import ScalingVerdict
from scalecore_analysis.studies import listed, plural

__all__ = ["ENOUGH_BUDGETS", "Need", "cost_text", "needs_of", "total_cost"]

ENOUGH_BUDGETS = 5
"""With four budgets a power law with floor is found in half of the cases, with five and more in most of them."""


@frozen(kw_only=True)
class Need:
    """One thing that is missing. Unknown costs are None, and 0 if nothing has to be trained."""

    what: str
    """A precondition, or `search`, `power`, `power law`."""
    text: str
    budget: str | None = None
    runs: int | None = None
    seconds: float | None = None
    command: str | None = None

    def __str__(self) -> str:
        cost = "" if self.runs is None else f": {cost_text(self.runs, self.seconds)}"
        return f"{self.text}{cost}{f': `{self.command}`' if self.command else ''}"

    @property
    def hours(self) -> float | None:
        """The cost in hours of one process; None if unknown."""
        return None if self.seconds is None else self.seconds / 3600


def cost_text(runs: int, seconds: float | None) -> str:
    """For example `3 trainings, about 1 h 12 min`, or `3 trainings, hours unknown`."""
    time = "hours unknown" if seconds is None else f"about {duration(seconds)}"
    return f"{plural(runs, 'training')}, {time}"


@frozen(kw_only=True, eq=False)
class _Study:
    """A study with the configuration that the verdict uses."""

    view: StudyView
    chosen: Configuration | None
    budget: str

    @property
    def seconds(self) -> float | None:
        """The forecast of one more training of the chosen configuration."""
        if self.chosen is None:
            return None
        record, view = self.chosen.first, self.view
        epochs = int(record.hyperparameters.get("epochs") or len(record.learning_curve))
        windows = view.plan.data.parts["train"].windows
        timed = [*view.trials, *view.confirmations]
        shape = record.architecture
        return forecast([shape], timed, windows=windows, epochs=epochs).seconds[shape.id] if epochs else None

    @property
    def seconds_of_a_trial(self) -> float | None:
        """The mean duration of the trials of the search."""
        known = [trial.duration for trial in self.view.counted if trial.duration]
        return statistics.fmean(known) if known else None

    @property
    def fresh(self) -> int:
        return len(self.chosen.values) if self.chosen is not None and self.chosen.fresh else 0

    def confirm(self, seeds: int) -> str:
        """The command that trains the chosen configuration until it has this number of fresh seeds."""
        trial = self.chosen.searched if self.chosen is not None else None
        order = [one.number for one in best_first(self.view.counted, direction=self.view.direction)]
        top = order.index(trial.number) + 1 if trial is not None and trial.number in order else 1
        return f"scalecore confirm {_quoted(self.view.folder)} --top {top} --seeds {seeds}"


def needs_of(
    studies: Sequence[StudyView],
    budgets: Sequence[BudgetRuns],
    found: Assessment | None,
    *,
    metric: str,
    seeds: int,
    margin: float | None,
    elsewhere: Sequence[str] = (),
) -> list[Need]:
    """All that is missing for a verdict on these studies, and for one with power, in the order of its use.

    `elsewhere` are the budgets that only other groups have.
    """
    known = []
    for study in studies:
        chosen = chosen_of(configurations(study, metric), metric=metric, seeds=seeds)
        budget = f"budget {study.budget}" if study.budget != "none" else study.name
        known.append(_Study(view=study, chosen=chosen, budget=budget))
    needs = [*_budgets(known, elsewhere), *_searches(known), *_seeds(known, seeds), *_edges(known)]
    told = {one.what for one in needs}
    needs += _conditions(found, told) if found is not None else []
    needs += _power(known, budgets, found, margin=margin)
    return sorted(needs, key=lambda one: one.what == "power law")  # not needed for a verdict, so last


def _budgets(known: Sequence[_Study], elsewhere: Sequence[str]) -> Iterator[Need]:
    """Too few budgets for a verdict, or for a law."""
    least, what, purpose = (
        BUDGETS,
        "budgets",
        f"a verdict requires (a power law {POWER_BUDGETS}, better {ENOUGH_BUDGETS})",
    )
    if len(known) >= BUDGETS:
        least, what, purpose = POWER_BUDGETS, "power law", f"a power law requires (better {ENOUGH_BUDGETS})"
    lacking = least - len(known)
    if lacking <= 0:
        return
    runs = lacking * round(statistics.fmean(one.view.total for one in known))
    each = [one.seconds_of_a_trial for one in known if one.seconds_of_a_trial is not None]
    way = f"run {listed(elsewhere)} here too" if elsewhere else "add values to `search.budget` of the sweep"
    yield Need(
        what=what,
        text=f"{len(known)} of {least} budgets that {purpose}: {way}, with searches like those of the other budgets",
        runs=runs,
        seconds=runs * statistics.fmean(each) if each else None,
        command="scalecore run FILE",
    )


def _searches(known: Sequence[_Study]) -> Iterator[Need]:
    for one in known:
        view = one.view
        left = view.total - len(view.counted)
        if left > 0 and view.end not in (StudyEnd.COMPLETED, StudyEnd.EXHAUSTED):
            each = one.seconds_of_a_trial
            yield Need(
                what="search",
                budget=view.budget,
                text=f"{one.budget} has {len(view.counted)} of {view.total} trials",
                runs=left,
                seconds=None if each is None else left * each,
                command=f"scalecore run {_quoted(StudyFolder(view.folder).source)}",
            )


def _seeds(known: Sequence[_Study], seeds: int) -> Iterator[Need]:
    for one in known:
        if (left := seeds - one.fresh) > 0:
            yield Need(
                what="seeds",
                budget=one.view.budget,
                text=f"{one.budget} has {one.fresh} of {seeds} fresh seeds",
                runs=left,
                seconds=None if one.seconds is None else left * one.seconds,
                command=one.confirm(seeds),
            )


def _edges(known: Sequence[_Study]) -> Iterator[Need]:
    for one in known:
        if one.chosen is None:
            continue
        for row in edges_of(one.view, one.chosen.first):
            if row["on edge"]:
                each = one.seconds_of_a_trial
                cost = "hours unknown" if each is None else f"about {duration(each)}"
                yield Need(
                    what="edges",
                    budget=one.view.budget,
                    text=f"{one.budget}: {row['name']} = {row['value']:g} is {row['on edge']}: extend its values and "
                    f"add trials to the search ({cost} each), or waive `edges` if nothing lies beyond",
                    command="scalecore run FILE",
                )


def _conditions(found: Assessment, told: set[str]) -> Iterator[Need]:
    """The unmet preconditions that no training satisfies."""
    for one in found.missing:
        if one.name not in told:
            yield Need(what=one.name, text=f"{one.name}: {one.text}")


def _power(
    known: Sequence[_Study], budgets: Sequence[BudgetRuns], found: Assessment | None, *, margin: float | None
) -> Iterator[Need]:
    """The seeds that the observed fall needs, if these seeds are not sufficient for a decision."""
    if found is None or found.tests is None or margin is None or found.verdict is not ScalingVerdict.INCONCLUSIVE:
        return
    spread = found.tests.variance**0.5
    step = abs(budgets[-1].mean - budgets[0].mean) / len(found.tests.steps)
    fall, limit = step * len(found.tests.steps), found.tests.limit
    if limit is not None and limit > fall:
        windows = known[0].view.plan.data.parts["val"].windows
        text = (
            f"a difference below {limit:.4g} cannot be detected on these {windows:,} windows with any number of seeds"
        )
        if fall > 0:
            text += f"; a fall of {fall:.4g} in total requires about {windows * (limit / fall) ** 2:,.0f} windows"
        yield Need(what="power", text=text)
        return
    needed = Design(budgets=len(budgets), margin=margin / spread).seeds_for("falling", step / spread)
    text = f"to detect a fall of {step:.4g} per budget with a power of 80 %, {needed} seeds per budget are required"
    if not needed.isdigit():
        yield Need(what="power", text=f"{text}; more than {MOST_SEEDS} are not simulated")
        return
    for one in known:
        if (left := int(needed) - one.fresh) > 0:
            yield Need(
                what="power",
                budget=one.view.budget,
                text=f"{text}; {one.budget} has {one.fresh}",
                runs=left,
                seconds=None if one.seconds is None else left * one.seconds,
                command=one.confirm(int(needed)),
            )


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def total_cost(needs: Sequence[Need]) -> tuple[int, float | None]:
    """Trainings and seconds of all needs together; the seconds are None if some are unknown."""
    costs = [(one.runs, one.seconds) for one in needs if one.runs]
    known = [seconds for _, seconds in costs if seconds is not None]
    return sum(runs for runs, _ in costs), sum(known) if len(known) == len(costs) else None
