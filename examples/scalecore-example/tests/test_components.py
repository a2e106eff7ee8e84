"""What the contracts cannot know: that each component does what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scalecore.api.logger import LoggerContext
from scalecore.api.record_parts import Flag
from scalecore.api.space import DataShape
from scalecore.api.trials import Outcome, Proposal, TrialState
from scalecore.testing.fakes import make_study, make_trial, search_context
from scalecore_example.evolution import Evolution
from scalecore_example.family import TCNFamily, receptive_field
from scalecore_example.markdown import MarkdownLogger
from scalecore_example.options import EvolutionOptions, MarkdownOptions, TCNOptions


@pytest.mark.parametrize(("levels", "kernel", "steps"), [(1, 2, 3), (2, 2, 7), (2, 3, 13), (4, 3, 61)])
def test_the_receptive_field_is_what_the_network_sees(levels: int, kernel: int, steps: int) -> None:
    """The oldest step within it moves the logits, the one before does not."""
    assert receptive_field(levels, kernel) == steps
    data = DataShape(context=steps + 1, features=1, outputs=1)
    torch.manual_seed(0)
    shape = {"channels": 16, "levels": levels, "kernel": kernel}
    network = TCNFamily(TCNOptions()).build(shape, {"dropout": 0.0}, data).eval()
    x_BTF = torch.randn(1, steps + 1, 1, requires_grad=True)
    (gradient_BTF,) = torch.autograd.grad(network(x_BTF).sum(), x_BTF)
    assert [bool(step) for step in gradient_BTF[0, :2, 0] != 0] == [False, True]


def test_no_block_looks_beyond_the_window() -> None:
    """A block is legal while those before it leave a part of the window unseen; the first one always is."""
    family = TCNFamily(TCNOptions(channels=(4,), levels=(1, 2, 3, 4), kernel=(2, 3)))
    space = family.architecture_space(DataShape(context=8, features=1, outputs=1))
    assert [(one["levels"], one["kernel"]) for one in space.architectures] == [(1, 2), (1, 3), (2, 2), (2, 3), (3, 2)]


def told(strategy: Evolution, values: dict[int, float | None]) -> None:
    for number, value in values.items():
        assert strategy.ask(number) is not None
        state = TrialState.FAILED if value is None else TrialState.COMPLETED
        strategy.tell(number, Outcome(state=state, value=value, reason=None if value else "a test"))


def changes(child: Proposal, parent: Proposal) -> list[str]:
    names = [name for name, value in child.hyperparameters.items() if value != parent.hyperparameters[name]]
    return [*names, *(["shape"] if child.architecture.id != parent.architecture.id else [])]


def test_a_trial_that_predicts_a_constant_is_no_parent() -> None:
    """However good its value looks: the population stays too young to have children."""
    strategy = Evolution(EvolutionOptions(population=2, tournament=2), search_context())
    told(strategy, {0: 0.5})
    assert strategy.ask(1) is not None
    constant = Flag(guard="G09", kind="collapsed", text="predicts a constant")
    strategy.tell(1, Outcome(state=TrialState.COMPLETED, value=0.1, flags=[constant]))
    drawn = strategy.ask(2)
    assert drawn is not None
    assert drawn.origin.kind == "startup"


def test_a_duplicate_teaches_nothing() -> None:
    """Its value is another trial's, and the number is asked for again: what fails then is no parent."""
    strategy = Evolution(EvolutionOptions(population=2, tournament=2), search_context())
    assert strategy.ask(0) is not None
    strategy.tell(0, Outcome(state=TrialState.COMPLETED, value=0.1, duplicate_of=7))
    told(strategy, {0: None, 1: 0.5})
    drawn = strategy.ask(2)
    assert drawn is not None
    assert drawn.origin.kind == "startup"


def test_a_child_differs_from_the_best_parent_in_one_thing() -> None:
    """With a tournament of the whole population the parent is its best; old and failed trials are no parents."""
    context = search_context(trials=40)
    strategy = Evolution(EvolutionOptions(population=3, tournament=3), context)
    told(strategy, {0: 0.1, 1: None, 2: 0.5, 3: 0.4, 4: 0.6})
    seen = set()
    for number in range(5, 45):
        child = strategy.ask(number)
        assert child is not None
        assert child.origin.reason is not None
        assert child.origin.reason.startswith("trial 3 with another ")
        (change,) = changes(child, strategy._proposals[3])
        assert child.origin.reason.endswith(change)
        seen.add(change)
    assert seen == {"learning_rate", "dropout", "epochs", "shape"}


def test_a_tournament_that_cannot_be_is_refused() -> None:
    """What the options class says is what the user reads."""
    with pytest.raises(ValueError, match=r"^tournament is 5, more than the population of 4$"):
        EvolutionOptions(population=4, tournament=5)


def test_the_table_has_a_row_for_each_trial(tmp_path: Path) -> None:
    """The best one in bold, a failure with its reason, and no text out of its cell."""
    trials = [make_trial(0, 0.71), make_trial(1, reason="exit | code\n<b>1</b>"), make_trial(2, 0.7)]
    study = make_study(tmp_path, trials)
    MarkdownLogger(MarkdownOptions(), LoggerContext(folder=tmp_path)).study_started(study)
    values = "learning_rate=0.001 dropout=0.1 epochs=10"
    assert (tmp_path / "results.md").read_text().splitlines() == [
        "# walk",
        "",
        "3 of 4 trials, running.",
        "",
        "| trial | state | val_loss | parameters | shape | hyper-parameters | origin |",
        "|---|---|---|---|---|---|---|",
        f"| 0 | completed | 0.7100 | 824 | width=8,depth=1 | {values} | sampled |",
        f"| 1 | failed | exit &#124; code &#60;b&#62;1&#60;/b&#62; | 1,592 | width=8,depth=2 | {values} | sampled |",
        f"| 2 | completed | **0.7000** | 3,128 | width=8,depth=4 | {values} | sampled |",
    ]
