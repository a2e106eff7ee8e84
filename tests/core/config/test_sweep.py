"""`sweep:`: several studies in one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scalecore.api.errors import ExperimentError
from scalecore.campaign.load import Campaign, load_campaign
from scalecore.campaign.run import find_campaign
from scalecore.config.experiment_json import to_plain
from scalecore.config.resolve import load_resolved
from scalecore.plugins.registry import Registry
from scalecore.store.layout import find_study

Write = Callable[[str], str]
NAME_RULE = "a name may contain letters, digits, `-`, `_` and `.`, and must not start with `-` or `.`"


def campaign_of(name: str, registry: Registry, *overrides: str) -> Campaign:
    """The campaign of a file with a sweep."""
    found = load_campaign(name, overrides=overrides, registry=registry)
    assert isinstance(found, Campaign)
    return found


def error_of(name: str, registry: Registry) -> str:
    """The message for an invalid file, without the name of the file."""
    with pytest.raises(ExperimentError) as caught:
        load_campaign(name, registry=registry)
    return str(caught.value).replace(f"{name}:", "")


def test_every_combination_is_a_study_in_the_order_of_the_file(write: Write, small: str, registry: Registry) -> None:
    """The last key varies fastest; each study has its values, its name, and a folder below the campaign's."""
    text = small + "output: out\nsweep:\n  model.width: [8, 16]\n  search.budget: [2M, 1.5B]\n  seed: [3]\n"
    name = write(text)
    campaign = campaign_of(name, registry)

    labels = ["width-8_budget-2M_seed-3", "width-8_budget-1.5B_seed-3", "width-16_budget-2M_seed-3"]
    assert [study.label for study in campaign.studies] == [*labels, "width-16_budget-1.5B_seed-3"]
    last = campaign.studies[-1]
    assert last.values == {"model.width": 16, "search.budget": "1.5B", "seed": 3}
    assert (last.resolved.model.options.width, last.resolved.experiment.seed) == (16, 3)
    assert last.resolved.experiment.search.budget is not None
    assert last.resolved.experiment.search.budget.parameters == 1_500_000_000
    assert last.resolved.experiment.name == f"small-{last.label}"
    assert last.resolved.experiment.output == Path(name).absolute().parent / "out" / last.label


def test_a_study_of_a_campaign_is_stored_like_a_single_study(write: Write, small: str, registry: Registry) -> None:
    """The stored and hashed experiment contains nothing of the sweep."""
    study = campaign_of(write(small + "sweep: {seed: [3, 4]}\n"), registry).studies[1]
    alone = load_resolved(write(small + "seed: 4\n"), registry=registry)[1]
    ours, theirs = to_plain(study.resolved), to_plain(alone)

    assert "sweep" not in ours
    assert {key: value for key, value in ours.items() if key not in ("name", "output")} == {
        key: value for key, value in theirs.items() if key not in ("name", "output")
    }


def test_values_without_a_short_form_are_numbered(write: Write, small: str, registry: Registry) -> None:
    """Mappings, long texts, and texts that would result in the same folder."""
    mappings = "  search.space: [{rate: {uniform: [0, 1]}}, {rate: {uniform: [0, 2]}}]\n"
    alike = "  dataset.columns: [[a, b], [b, a]]\n"
    campaign = campaign_of(write(small + "sweep:\n" + mappings + alike), registry)

    assert [study.label for study in campaign.studies] == [
        "space-1_columns-1",
        "space-1_columns-2",
        "space-2_columns-1",
        "space-2_columns-2",
    ]


def test_keys_with_the_same_last_part_are_distinguished(write: Write, small: str, registry: Registry) -> None:
    """The label contains as many parts of the key as necessary."""
    text = small + "sweep:\n  dataset.target.level: [1.5]\n  model.level: [2]\n"
    text = text.replace("dataset: table", "dataset: {use: table, target: {kind: above, level: 1.0}}")
    assert [study.label for study in campaign_of(write(text), registry).studies] == ["target-level-1.5_model-level-2"]


def test_a_wrong_value_is_reported_at_its_position_in_the_sweep(write: Write, small: str, registry: Registry) -> None:
    """A problem of the base is reported once, not once per study."""
    text = small + "sweep:\n  model.width: [8, 1000]\n  seed: [1, 2]\ntraining: {schedul: cosine}\n"
    lines = error_of(write(text), registry).splitlines()
    first = len(small.splitlines()) + 2

    assert lines == [
        f"{first}:20: model.width: must be at most 64, got 1000",
        f"{first + 2}:12: training.schedul: unknown key; did you mean 'schedule'?",
    ]


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("[1]", "sweep: expected a mapping of dotted keys to lists, for example `search.budget: [2M, 20M]`"),
        ("{}", "sweep: expected a mapping of dotted keys to lists, for example `search.budget: [2M, 20M]`"),
        ("{seed: 3}", "sweep.seed: expected a list of values, got 3"),
        ("{seed: []}", "sweep.seed: expected at least one value"),
        ("{seed: [1, 2, 1]}", "sweep.seed.2: this value is listed twice, so two studies would be the same"),
        ("{name: [a]}", "sweep.name: name belongs to the campaign as a whole and cannot be swept"),
        (
            "{description: [a]}",
            "sweep.description: description belongs to the campaign as a whole and cannot be swept",
        ),
        ("{search..budget: [2M]}", "sweep.search..budget: expected a key such as search.budget, got 'search..budget'"),
        ("{seed.deep: [1]}", "sweep.seed.deep: seed is 3, which has no keys"),
    ],
)
def test_a_sweep_without_studies_has_a_reason(
    write: Write, small: str, registry: Registry, sweep: str, message: str
) -> None:
    """One message with the position."""
    error = error_of(write(small + "seed: 3\nsweep: " + sweep + "\n"), registry)
    assert error.partition(": ")[2] == message


def test_one_study_is_not_read_from_a_campaign(write: Write, small: str, registry: Registry) -> None:
    """If a single study is expected, a file with a sweep is refused."""
    with pytest.raises(ExperimentError, match="this file describes a campaign of several studies"):
        load_resolved(write(small + "sweep: {seed: [1, 2]}\n"), registry=registry)


def test_a_file_without_a_sweep_is_one_study(write: Write, small: str, registry: Registry) -> None:
    """The same loader reads both."""
    found: Any = load_campaign(write(small), registry=registry)
    assert found[1].experiment.name == "small"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ('""', "output: expected a path, got string ''"),
        ("5", "output: expected a path, got 5"),
        ("~nobody-of-this-name/x", "output: Could not determine home directory."),
    ],
)
def test_an_invalid_output_is_reported(write: Write, small: str, registry: Registry, output: str, message: str) -> None:
    """For a campaign as for a study, also by `status`."""
    name = write(small + f"output: {output}\nsweep: {{seed: [1, 2]}}\n")
    assert error_of(name, registry).partition(": ")[2] == message
    with pytest.raises(ExperimentError) as caught:
        find_campaign(Path(name))
    assert str(caught.value).replace(f"{name}:", "").partition(": ")[2] == message


def test_a_missing_or_too_long_name_is_reported(write: Write, small: str, registry: Registry) -> None:
    """The label is appended to it; one message for all studies."""
    name = "x" * 95
    text = small.replace("name: small", f"name: {name}") + "sweep: {seed: [1, 20]}\n"
    assert error_of(write(text), registry) == (
        "1:7: name: with the label of a study appended, such as seed-20, it has more than 100 characters; shorten it, "
        "or sweep fewer keys"
    )
    text = small.replace("name: small\n", "") + "sweep: {seed: [1, 20]}\n"
    assert error_of(write(text), registry) == "1:1: name: required, but missing"
    for wrong, message in (
        ("a/b", f"{NAME_RULE}, got string 'a/b'"),
        ("''", "must not be empty"),
        ("x" * 101, "must have at most 100 characters, got 101"),
    ):
        text = small.replace("name: small", f"name: {wrong}") + "sweep: {seed: [1, 20]}\n"
        assert error_of(write(text), registry) == f"1:7: name: {message}"


@pytest.mark.parametrize("override", ["search.budget=5M", "model.width=9"])
def test_an_override_of_a_swept_key_is_refused(write: Write, small: str, registry: Registry, override: str) -> None:
    """Every study would replace it silently; other keys may be set."""
    name = write(small + "sweep:\n  search.budget: [2M, 20M]\n  model.width: [8, 16]\n")
    key = override.partition("=")[0]
    with pytest.raises(ExperimentError) as caught:
        load_campaign(name, overrides=["seed=3", override], registry=registry)
    assert str(caught.value) == f"<command line>: {override}: the sweep sets {key} in every study; select with --only"
    studies = campaign_of(name, registry, "seed=3", "search.trials=7", "model.rate=0.25").studies
    assert {(one.resolved.experiment.seed, one.resolved.experiment.search.trials) for one in studies} == {(3, 7)}


def test_a_file_of_another_program_is_not_a_campaign(tmp_path: Path) -> None:
    """Only an index that a campaign wrote is read."""
    for content in ("[]", "{}", '{"name": "x", "studies": 3}', '{"name": "x", "studies": [1]}', "{"):
        (tmp_path / "campaign.json").write_text(content)
        assert find_campaign(tmp_path) is None


def test_a_path_that_cannot_exist_is_reported() -> None:
    """A name that no file system allows is an error without a traceback."""
    name = "x" * 300
    for look in (find_campaign, find_study):
        with pytest.raises(ExperimentError) as caught:
            look(Path(name))
        assert str(caught.value) == f"{name}: cannot be read (File name too long)"
