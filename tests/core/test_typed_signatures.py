"""Signatures and fields name classes: `Mapping[str, Any]` and `dict[str, Any]` need an entry with a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGES = Path(__file__).parents[2] / "packages"

LISTED = {
    "JSON, TOML or YAML of any shape is the subject itself": """
        scalecore/api/data_report.py scalecore/api/record_parts.py scalecore/api/targets.py
        scalecore/config/kept_objects.py scalecore/config/schema.py scalecore/store/record_json.py
        scalecore/testing/plans.py scalecore_analysis/importing/readers.py scalecore_analysis/importing/tables.py
        scalecore_market/manifest.py scalecore_market/store.py
    """,
    "the experiment as it was written or resolved: sections and options that plugins declare": """
        scalecore/api/memory_forecast.py scalecore/api/options.py scalecore/api/plan_report.py scalecore/api/space.py
        scalecore/api/trainer.py scalecore/api/trials.py scalecore/builtin/detect_columns.py
        scalecore/campaign/load.py scalecore/campaign/run.py scalecore/campaign/sweep.py
        scalecore/config/converters.py scalecore/config/experiment.py scalecore/config/experiment_json.py
        scalecore/config/missing_trainer.py scalecore/config/resolve.py scalecore/config/resolved.py
        scalecore/config/standalone.py scalecore/data/layouts.py scalecore/planning/build_plan.py
        scalecore/planning/continuation.py scalecore/planning/plan.py scalecore/store/identity.py
        scalecore/store/kept_study.py scalecore/store/learning_curves.py scalecore/testing/attempts.py
        scalecore/testing/trainer.py scalecore/views/whole_plan.py scalecore_analysis/comparable.py
        scalecore_analysis/scaling/budgets.py scalecore_market/cli.py scalecore_optuna/inner_samplers.py
        scalecore_optuna/options.py
        scalecore_torch/component.py scalecore_torch/loss_options.py scalecore_torch/user_code.py
        scalecore_torch/user_code_checks.py
    """,
    "rows of tables and the JSON of pages and commands, which nothing reads back": """
        scalecore/api/analysis.py scalecore/api/formatting.py scalecore/api/markdown.py scalecore/api/panel.py
        scalecore/builtin/hardware_summary.py scalecore/builtin/study_files.py scalecore/builtin/summary_page.py
        scalecore/campaign/table.py scalecore/cli/campaign.py scalecore/cli/check.py scalecore/planning/explain.py
        scalecore/planning/plan_text.py scalecore/planning/preview.py scalecore/study/smoke_text.py
        scalecore/views/analysis.py scalecore/views/status.py scalecore_analysis/agreement.py
        scalecore_analysis/calibrating/fitting.py scalecore_analysis/calibrating/measures.py
        scalecore_analysis/calibration.py scalecore_analysis/coverage.py scalecore_analysis/edges.py
        scalecore_analysis/paired.py scalecore_analysis/power.py scalecore_analysis/results.py
        scalecore_analysis/scaling/preconditions.py scalecore_analysis/vega.py
    """,
    "values by the names of hyper-parameters, metrics or sensors, which plugins declare": """
        scalecore/api/metrics.py scalecore/builtin/function_metrics.py scalecore/builtin/function_trainer.py
        scalecore/builtin/function_worker.py scalecore/data/calibrator.py scalecore/data/measures.py
        scalecore/data/predictions.py scalecore/execution/epoch_track.py scalecore/execution/function_trial.py
        scalecore/monitoring/monitors.py scalecore/store/predictions.py scalecore/study/build_record.py
        scalecore/study/flags.py scalecore_optuna/coverage.py scalecore_optuna/frontier.py scalecore_optuna/grid.py
        scalecore_optuna/sampler.py scalecore_optuna/space_filling.py
        scalecore_torch/training/losses.py scalecore_torch/training/metrics.py scalecore_torch/training/tasks.py
        scalecore_trackers/mlflow_client.py scalecore_trackers/mlflow_logger.py
        scalecore_trackers/tensorboard_logger.py scalecore_trackers/values.py scalecore_trackers/wandb_logger.py
    """,
    "state of a training: what torch and the checkpoint hold": """
        scalecore/api/training.py scalecore/builtin/function_checkpoint.py scalecore/execution/attempt_control.py
        scalecore_torch/compute_policy.py scalecore_torch/training/best_predictions.py
        scalecore_torch/training/checkpoint.py scalecore_torch/training/generators.py
        scalecore_torch/training/loop_state.py scalecore_torch/training/micro_batches.py
        scalecore_torch/training/training_loop.py scalecore_torch/training/weights.py
    """,
    "an attempt writes its result as JSON and the driver reads it as a class; how attempts build their registry": """
        scalecore/data/folder.py scalecore/execution/attempt_spec.py scalecore/execution/folder.py
        scalecore/execution/local/devices.py scalecore/execution/local/forkserver.py
        scalecore/execution/local/launch.py scalecore/execution/model_family.py scalecore/execution/worker.py
        scalecore/planning/build_spec.py scalecore/store/events.py scalecore/store/state.py
        scalecore/store/study_device.py scalecore/study/dispatch.py scalecore/study/driver.py
        scalecore/study/running_trial.py scalecore/study/smoke.py scalecore_torch/attempt.py
        scalecore_torch/evaluation.py scalecore_torch/memory/allocation.py scalecore_torch/memory/client.py
        scalecore_torch/memory/forecast.py scalecore_torch/memory/trace_request.py scalecore_torch/memory/tracer.py
        scalecore_torch/spec.py scalecore_torch/worker.py
    """,
    "`model.json` and other results that are written as JSON: sections and hyper-parameters that plugins declare": """
        scalecore/store/kept_model.py scalecore/study/measure.py scalecore/study/open_study.py
        scalecore_analysis/confirmation/analysis.py scalecore_analysis/confirmation/confirm.py
        scalecore_analysis/confirmation/text.py scalecore_analysis/cross_budget.py scalecore_promotion/card.py
        scalecore_promotion/evaluate.py scalecore_promotion/model.py scalecore_promotion/predict.py
    """,
}
JSON_FORMS = ("plain", "to_json", "as_json")
"""Methods that convert an object to JSON and may return a dictionary."""


def written_types(tree: ast.AST) -> Iterator[ast.expr]:
    """The annotations of arguments, returned values and fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            more = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
            found = [one.annotation for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *more)]
            if not node.name.endswith(JSON_FORMS):
                found.append(node.returns)
            yield from (one for one in found if one is not None)
        elif isinstance(node, ast.ClassDef):
            yield from (one.annotation for one in node.body if isinstance(one, ast.AnnAssign))


def is_loose(annotation: ast.expr) -> bool:
    """True if any part of the annotation is a mapping from str to Any, also in quotes."""
    for node in ast.walk(annotation):
        match node:
            case ast.Constant(value=str(text)) if text.isidentifier() is False and "[" in text:
                if is_loose(ast.parse(text, mode="eval").body):
                    return True
            case ast.Subscript(
                value=ast.Name(id="dict" | "Mapping" | "MutableMapping"),
                slice=ast.Tuple(elts=[ast.Name(id="str"), ast.Name(id="Any" | "object")]),
            ):
                return True
    return False


def loose_in(source: str) -> bool:
    return any(map(is_loose, written_types(ast.parse(source))))


def test_untyped_mappings_are_listed_with_a_reason() -> None:
    """Give a new one a class or an entry; remove obsolete entries."""
    files = {str(path).rpartition("/src/")[2]: path for path in PACKAGES.glob("*/src/**/*.py")}
    found = {name for name, path in files.items() if loose_in(path.read_text())}
    listed = [name for names in LISTED.values() for name in names.split()]
    assert len(listed) == len(set(listed))
    assert sorted(found - set(listed)) == [], "give it a class, or list it with a reason"
    assert sorted(set(listed) - found) == [], "remove it from the list: it is typed"


def test_the_rule_sees_every_place() -> None:
    """Arguments of each kind, returned values, fields, unions and quoted annotations; not local variables."""
    loose = (
        "def f(a: dict[str, Any]): ...",
        "def f(*a: Mapping[str, object]): ...",
        "def f(*, a: 'list[dict[str, Any]]'): ...",
        "async def f() -> None | Mapping[str, Any]: ...",
        "class A:\n    a: Sequence[MutableMapping[str, Any]] = ()",
    )
    assert [loose_in(one) for one in loose] == [True] * 5
    assert not loose_in("def f(a: Mapping[str, int]) -> None:\n    b: dict[str, Any] = {}")
    assert not loose_in("class A:\n    def plain(self) -> dict[str, Any]: ...")
