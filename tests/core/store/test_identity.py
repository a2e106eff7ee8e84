from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from scalecore.api.components import ExecutorRecord, Record, TrainerRecord
from scalecore.api.dataset_options import ReadOptions
from scalecore.api.options import option
from scalecore.config.experiment import ComponentRef, Experiment, Search
from scalecore.config.experiment_json import to_plain
from scalecore.config.resolved import Resolved, ResolvedComponent
from scalecore.planning.continuation import Continuation, compare, compare_study
from scalecore.store.events import StudyBegun
from scalecore.store.identity import (
    binding,
    by_name,
    model_content,
    trial_content,
    trial_hash,
    trial_seed,
    unbound,
)
from scalecore.store.state import StudyState, replay
from scalecore.testing.plans import make_plan
from scalecore_torch.component import TorchTrainer
from scalecore_torch.options import TorchOptions

EXPERIMENT: dict[str, Any] = {
    "name": "x",
    "seed": 1,
    "model": {"use": "patchtst", "patch_len": 10},
    "objective": {"metric": "val_loss"},
    "search": {"use": "random", "trials": 5, "space": {"dropout": {"uniform": [0.1, 0.3]}}},
    "training": {
        "effective_batch": 64,
        "threads": "auto",
        "micro_batch": "auto",
        "checkpoint_every": 60.0,
        "hyperparameters": {},
    },
    "loggers": ["files"],
    "monitors": [],
    "execution": {"use": "local"},
    "output": None,
}


@frozen(kw_only=True)
class Column:
    """A nested class of options."""

    name: str
    unit: str | None = option(None, help="Added later.", before=None)


@frozen(kw_only=True)
class DatasetOptions:
    """Options with paths, some of them nested."""

    path: Path = Path("/here/prices.csv")
    parts: list[Path] | None = None
    read: ReadOptions | None = None
    columns: list[Column] = field(factory=list)
    gaps: str = option("split", help="Added later, and another default than what was done before.", before="cross")


@frozen(kw_only=True)
class ModelOptions:
    """One option of 0.1, and one that was added later."""

    width: int = 8
    norm: str = option("layer", help="Added later.", before="layer")


def resolved(dataset: DatasetOptions | None = None, model: Any = None) -> Resolved:
    """An experiment with these options."""

    def component(options: Any, kind: Callable[..., Record] = Record) -> ResolvedComponent:
        record = kind(name="some", summary="", options=type(options), factory=lambda *_: None)
        return ResolvedComponent(record=record, options=options, provider="here", version="1")

    ref = ComponentRef(use="some")
    return Resolved(
        experiment=Experiment(name="x", dataset=ref, model=ref, search=Search(component=ref)),
        dataset=component(dataset or DatasetOptions()),
        model=component(model or ModelOptions()),
        search=component(ModelOptions()),
        trainer=component(TorchOptions(), partial(TrainerRecord, worker="here.worker")),
        training=TorchTrainer(TorchOptions()),
        executor=component(ModelOptions(), ExecutorRecord),
        monitors=(),
        loggers=(),
        analyses=(),
    )


UNBOUND = unbound(resolved())


def content(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "data": "d1",
        "architecture": {"d_model": 64},
        "hyperparameters": {"dropout": 0.1},
        **changes,
    }
    return trial_content(EXPERIMENT, unbound=UNBOUND, **arguments)


def test_the_same_content_is_the_same_trial() -> None:
    """The order of keys does not matter; the seed follows from the content."""
    first, second = content(hyperparameters={"a": 1, "b": 2}), content(hyperparameters={"b": 2, "a": 1})
    assert trial_seed(first, study_seed=1) == trial_seed(second, study_seed=1)
    assert trial_hash(first, seed=3) == trial_hash(second, seed=3)


def test_everything_that_decides_a_result_is_part_of_the_identity() -> None:
    """Data, architecture, hyper-parameters, replicate and study seed each change the trial and its seed."""
    variants = [
        content(),
        content(data="d2"),
        content(architecture={"d_model": 65}),
        content(hyperparameters={"dropout": 0.2}),
        content(replicate=1),
    ]
    seeds = [trial_seed(variant, study_seed=1) for variant in variants] + [trial_seed(content(), study_seed=2)]
    assert len(set(seeds)) == 6
    assert len({trial_hash(variant, seed=0) for variant in variants}) == 5


def test_what_may_change_on_resume_is_not_binding() -> None:
    """Total, loggers, monitors, execution, threads and micro-batch may change; model, space and training must not."""
    free = {
        **EXPERIMENT,
        "loggers": [],
        "monitors": ["memory"],
        "execution": {"use": "slurm"},
        "output": "/elsewhere",
        "search": {**EXPERIMENT["search"], "trials": 50},
        "training": {**EXPERIMENT["training"], "threads": 4, "micro_batch": 8},
    }
    assert binding(free, UNBOUND) == binding(EXPERIMENT, UNBOUND)
    for key, value in (
        ("model", {"use": "linear"}),
        ("search", {**EXPERIMENT["search"], "space": {}}),
        ("training", {**EXPERIMENT["training"], "effective_batch": 32}),
        ("seed", 2),
    ):
        assert binding({**EXPERIMENT, key: value}, UNBOUND) != binding(EXPERIMENT, UNBOUND)


def test_the_loss_decides_a_result_and_studies_without_one_go_on() -> None:
    """Another loss is another trial; an older experiment without a loss equals one with the task's default loss."""
    settings = EXPERIMENT["training"]
    own = {**EXPERIMENT, "training": {**settings, "loss": None}}
    focal = {**EXPERIMENT, "training": {**settings, "loss": {"kind": "focal", "gamma": 2.0}}}
    arguments: dict[str, Any] = {"data": "d1", "architecture": {"d_model": 64}, "hyperparameters": {"dropout": 0.1}}
    assert trial_content(own, unbound=UNBOUND, **arguments) == trial_content(EXPERIMENT, unbound=UNBOUND, **arguments)
    assert binding(own, UNBOUND) == binding(EXPERIMENT, UNBOUND)
    assert trial_content(focal, unbound=UNBOUND, **arguments) != trial_content(EXPERIMENT, unbound=UNBOUND, **arguments)
    assert binding(focal, UNBOUND) != binding(EXPERIMENT, UNBOUND)


def test_precision_and_compilation_decide_a_result_and_older_studies_go_on_without() -> None:
    """float32 without compilation, the old behaviour, is the same trial; everything else is another."""
    settings = EXPERIMENT["training"]
    arguments: dict[str, Any] = {"data": "d1", "architecture": {"d_model": 64}, "hyperparameters": {"dropout": 0.1}}
    before = {**EXPERIMENT, "training": {**settings, "precision": "fp32", "compile": "off"}}
    assert trial_content(before, unbound=UNBOUND, **arguments) == trial_content(
        EXPERIMENT, unbound=UNBOUND, **arguments
    )
    assert binding(before, UNBOUND) == binding(EXPERIMENT, UNBOUND)
    for key, value in (("precision", "bf16"), ("precision", "auto"), ("compile", "block"), ("compile", "auto")):
        other = {**EXPERIMENT, "training": {**before["training"], key: value}}
        assert trial_content(other, unbound=UNBOUND, **arguments) != trial_content(
            EXPERIMENT, unbound=UNBOUND, **arguments
        )
        assert binding(other, UNBOUND) != binding(EXPERIMENT, UNBOUND)


def test_an_option_that_is_added_changes_no_older_study() -> None:
    """A missing option counts as the value of the earlier behaviour, in every section."""
    aside = unbound(resolved(DatasetOptions(columns=[Column(name="a"), Column(name="b", unit="EUR")])))
    older = {
        **EXPERIMENT,
        "dataset": {"use": "some", "columns": [{"name": "a"}, {"name": "b"}]},
        "model": {"use": "some", "width": 8},
    }

    def now(gaps: str, norm: str, unit: str | None) -> dict[str, Any]:
        columns = [{"name": "a", "unit": None}, {"name": "b", "unit": unit}]
        dataset, model = {"use": "some", "gaps": gaps, "columns": columns}, {"use": "some", "width": 8, "norm": norm}
        return {**EXPERIMENT, "dataset": dataset, "model": model}

    arguments: dict[str, Any] = {"unbound": aside, "data": "d1", "architecture": {}, "hyperparameters": {}}
    same = now("cross", "layer", None)
    assert not compare(older, same, unbound=aside).refused
    assert trial_content(older, **arguments) == trial_content(same, **arguments)
    for other, key in (
        (now("split", "layer", None), "dataset.gaps"),
        (now("cross", "batch", None), "model.norm"),
        (now("cross", "layer", "EUR"), "dataset.columns"),
    ):
        assert [change.key for change in compare(older, other, unbound=aside).refused] == [key]
    assert trial_content(older, **arguments) != trial_content(now("cross", "batch", None), **arguments)


def test_g28_the_place_of_data_is_no_part_of_a_study() -> None:
    """Paths of the dataset may differ, alone and in lists, also if only one experiment sets them; so may the file
    format options.
    """
    here = {**EXPERIMENT, "dataset": {"use": "some", "path": "/here/prices.csv", "parts": None}}
    there = {**EXPERIMENT, "dataset": {"use": "some", "path": "/there/prices.csv", "parts": ["/there/a", "/there/b"]}}
    there["dataset"]["read"] = {"separator": ";", "decimal": ","}
    aside = unbound(resolved())
    assert not compare(here, there, unbound=aside).refused
    assert binding(here, aside) == binding(there, aside)


def test_naming_the_distribution_of_an_own_component_changes_no_identity() -> None:
    """A study with the plain name continues under the long one; a component of another distribution is another one."""
    arguments: dict[str, Any] = {"unbound": UNBOUND, "data": "d1", "architecture": {}, "hyperparameters": {}}
    long = {**EXPERIMENT, "model": {**EXPERIMENT["model"], "use": "scalecore-patchtst/patchtst"}}
    long["search"] = {**EXPERIMENT["search"], "use": "scalecore/random"}
    assert binding(long, UNBOUND) == binding(EXPERIMENT, UNBOUND)
    long["training"] = {"use": "scalecore-torch/torch", **EXPERIMENT["training"]}
    assert binding(long, UNBOUND) == binding(EXPERIMENT, UNBOUND)
    assert trial_content(long, **arguments) == trial_content(EXPERIMENT, **arguments)
    own, short = ({**EXPERIMENT, "training": {"use": use}} for use in ("scalecore/function", "function"))
    assert binding(own, UNBOUND) == binding(short, UNBOUND) != binding(EXPERIMENT, UNBOUND)
    assert by_name("search", {"use": "acme/random"}) == {"use": "acme/random"}
    other = {**EXPERIMENT, "model": {**EXPERIMENT["model"], "use": "acme/patchtst"}}
    assert binding(other, UNBOUND) != binding(EXPERIMENT, UNBOUND)


@frozen(kw_only=True)
class Pretrained:
    """Options of a model that name files."""

    weights: Path | None = None
    parts: list[Path] = field(factory=list)
    tables: dict[str, Path] = field(factory=dict)


def pretrained(folder: Path, *, text: str = "weights") -> Resolved:
    """A model with its files in `folder`, which is created."""
    (folder / "tables").mkdir(parents=True)
    (folder / "w.pt").write_text(text)
    (folder / "tables/a.csv").write_text("a")
    tables = {"all": folder / "tables", "none": folder / "missing"}
    return resolved(model=Pretrained(weights=folder / "w.pt", parts=[folder / "w.pt"], tables=tables))


def begun(study: Resolved) -> StudyState:
    """The journal of a study of this model."""
    model = model_content(study)
    return replay([StudyBegun(experiment=to_plain(study), plan=make_plan(), model=model)])


def test_g28_files_of_a_model_are_their_content(tmp_path: Path) -> None:
    """Moved files keep study and trial; changed ones do not, in folders too."""
    here = pretrained(tmp_path / "here")
    state = begun(here)
    there = pretrained(tmp_path / "there")
    assert model_content(there) == model_content(here) == state.model
    assert compare_study(state, there, folder=tmp_path) == Continuation()
    assert model_content(there)["tables"]["none"] == {"sha256": None}
    (tmp_path / "there/tables/a.csv").write_text("b")
    assert [one.key for one in compare_study(state, there, folder=tmp_path).refused] == ["model.tables.all.sha256"]
    (tmp_path / "there/tables/a.csv").rename(tmp_path / "there/tables/b.csv")
    assert [one.key for one in compare_study(state, there, folder=tmp_path).refused] == ["model.tables.all.sha256"]
    other = pretrained(tmp_path / "other", text="other weights")
    keys = [one.key for one in compare_study(state, other, folder=tmp_path).refused]
    assert keys == ["model.parts", "model.weights.sha256"]


def test_g28_files_of_a_model_in_a_study_of_0_1_may_move_with_it(tmp_path: Path) -> None:
    """It stored only paths, which the hashes of its trials keep; another path next to the study is another model."""
    for name in ("old", "new"):
        (tmp_path / name / "study").mkdir(parents=True)
    old, new = pretrained(tmp_path / "old/files"), pretrained(tmp_path / "new/files")
    experiment = to_plain(old) | {"output": str(tmp_path / "old/study")}
    state = replay([StudyBegun(experiment=experiment, plan=make_plan())])
    assert state.model == to_plain(old)["model"]
    assert compare_study(state, new, folder=tmp_path / "new/study") == Continuation()
    refused = compare_study(state, pretrained(tmp_path / "new/others"), folder=tmp_path / "new/study").refused
    assert [one.key for one in refused] == ["model.parts", "model.tables.all", "model.tables.none", "model.weights"]


def test_g28_files_of_a_search_are_no_change_of_it(tmp_path: Path) -> None:
    """A moved study continues with the same search."""

    @frozen(kw_only=True)
    class Warm:
        start: Path

    def study(folder: Path) -> Resolved:
        found = resolved()
        record = Record(name="some", summary="", options=Warm, factory=lambda *_: None)
        search = ResolvedComponent(record=record, options=Warm(start=folder), provider="here", version="1")
        return evolve(found, search=search)

    state = replay([StudyBegun(experiment=to_plain(study(tmp_path / "a")), plan=make_plan())])
    assert compare_study(state, study(tmp_path / "b"), folder=tmp_path) == Continuation()
