"""The analyses that an experiment file names, run once its study or its campaign is complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from scalecore.api.analysis import TrainingContext
from scalecore.api.errors import ExitCode, ScalecoreError
from scalecore.config.resolved import ResolvedComponent
from scalecore.views.analysis import IncompleteTrainingError, analyse, write_result
from scalecore.views.read_study import read_studies


def run_analyses(
    components: Sequence[ResolvedComponent],
    paths: Sequence[Path],
    *,
    folder: Path,
    training: TrainingContext,
    say: Callable[[str], None],
) -> ExitCode:
    """Run each analysis on the studies of `paths` and store its result in `folder`/analyses/NAME.

    A failed analysis only prints a line: the study is complete, and `scalecore analyze` can run it again. If training
    runs that an analysis needs ended early, the later analyses are not run; returns the exit code of that end.
    """
    for component in components:
        try:
            studies = read_studies(paths)
            analysed = analyse(component, options=component.options, studies=studies, training=training)
            written = write_result(analysed, folder / "analyses" / component.use)
        except IncompleteTrainingError as error:
            say(f"analysis {component.use} is not complete: {error}")
            return error.exit_code
        except ScalecoreError as error:
            say(f"analysis {component.use} failed: {error}")
            continue
        for sentence in analysed.result.summary:
            say(f"{component.use}: {sentence}")
        say(f"{component.use}: written to {written[0].parent}")
    return ExitCode.COMPLETED
