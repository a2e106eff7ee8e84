from __future__ import annotations

from typing import Any

from scalecore.study.identity import binding, trial_content, trial_hash, trial_seed

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


def content(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "data": "d1",
        "architecture": {"d_model": 64},
        "hyperparameters": {"dropout": 0.1},
        **changes,
    }
    return trial_content(EXPERIMENT, **arguments)


def test_the_same_content_is_the_same_trial() -> None:
    """Order of keys does not matter; the seed follows from the content."""
    first, second = content(hyperparameters={"a": 1, "b": 2}), content(hyperparameters={"b": 2, "a": 1})
    assert trial_seed(first, study_seed=1) == trial_seed(second, study_seed=1)
    assert trial_hash(first, seed=3) == trial_hash(second, seed=3)


def test_everything_that_decides_a_result_is_part_of_the_identity() -> None:
    """Data, architecture, hyper-parameters, replicate and study seed each give another trial and another seed."""
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
    """Total, loggers, monitors, execution, threads and micro-batch may change; model, space and training may not."""
    free = {
        **EXPERIMENT,
        "loggers": [],
        "monitors": ["memory"],
        "execution": {"use": "slurm"},
        "output": "/elsewhere",
        "search": {**EXPERIMENT["search"], "trials": 50},
        "training": {**EXPERIMENT["training"], "threads": 4, "micro_batch": 8},
    }
    assert binding(free) == binding(EXPERIMENT)
    for key, value in (
        ("model", {"use": "linear"}),
        ("search", {**EXPERIMENT["search"], "space": {}}),
        ("training", {**EXPERIMENT["training"], "effective_batch": 32}),
        ("seed", 2),
    ):
        assert binding({**EXPERIMENT, key: value}) != binding(EXPERIMENT)


def test_the_loss_decides_a_result_and_studies_without_one_go_on() -> None:
    """Another loss is another trial; an experiment from before there was a choice is one with the task's own loss."""
    settings = EXPERIMENT["training"]
    own = {**EXPERIMENT, "training": {**settings, "loss": None}}
    focal = {**EXPERIMENT, "training": {**settings, "loss": {"kind": "focal", "gamma": 2.0}}}
    arguments: dict[str, Any] = {"data": "d1", "architecture": {"d_model": 64}, "hyperparameters": {"dropout": 0.1}}
    assert trial_content(own, **arguments) == trial_content(EXPERIMENT, **arguments)
    assert binding(own) == binding(EXPERIMENT)
    assert trial_content(focal, **arguments) != trial_content(EXPERIMENT, **arguments)
    assert binding(focal) != binding(EXPERIMENT)


def test_precision_and_compilation_decide_a_result_and_older_studies_go_on_without() -> None:
    """What they did before has a name, float32 and no compiling, and is the same trial; anything else is another."""
    settings = EXPERIMENT["training"]
    arguments: dict[str, Any] = {"data": "d1", "architecture": {"d_model": 64}, "hyperparameters": {"dropout": 0.1}}
    before = {**EXPERIMENT, "training": {**settings, "precision": "fp32", "compile": "off"}}
    assert trial_content(before, **arguments) == trial_content(EXPERIMENT, **arguments)
    assert binding(before) == binding(EXPERIMENT)
    for key, value in (("precision", "bf16"), ("precision", "auto"), ("compile", "block"), ("compile", "auto")):
        other = {**EXPERIMENT, "training": {**before["training"], key: value}}
        assert trial_content(other, **arguments) != trial_content(EXPERIMENT, **arguments)
        assert binding(other) != binding(EXPERIMENT)
