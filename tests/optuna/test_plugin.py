from __future__ import annotations

import subprocess
import sys

import attrs

from scalecore.api.protocols import SearchStrategy
from scalecore_optuna import plugin
from scalecore_optuna.options import ArchitecturalOptions


def test_importing_the_plugin_loads_neither_optuna_nor_numpy() -> None:
    """Discovery must stay fast: the heavy modules are imported by the factory only."""
    script = (
        "import sys, scalecore_optuna.plugin, scalecore_optuna.options\n"
        "list(scalecore_optuna.plugin.scalecore_search_strategies())\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'optuna', 'numpy', 'scipy', 'torch', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_hook_offers_the_strategy_architectural(context_of) -> None:  # type: ignore[no-untyped-def]
    """The record's factory makes a strategy from default options."""
    (record,) = plugin.scalecore_search_strategies()
    assert (record.name, record.options) == ("architectural", ArchitecturalOptions)
    assert isinstance(record.factory(record.options(), context_of()), SearchStrategy)


def test_every_option_has_help() -> None:
    """The reference is made from the options class."""
    assert all(attribute.metadata.get("help") for attribute in attrs.fields(ArchitecturalOptions))


def test_a_study_prints_and_warns_nothing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Optuna's own lines and warnings do not reach the user's terminal."""
    script = tmp_path / "study.py"
    script.write_text(
        "from scalecore.api.protocols import SearchContext\n"
        "from scalecore.api.space import Architecture, IntRange, Uniform\n"
        "from scalecore.api.trials import Outcome, TrialState\n"
        "from scalecore_optuna.options import ArchitecturalOptions\n"
        "from scalecore_optuna.strategy import ArchitecturalStrategy\n"
        "shapes = [Architecture(values={'width': w}, num_parameters=w, flops=w) for w in (1, 2, 4)]\n"
        "context = SearchContext(architectures=shapes, dimensions={'width': (1, 2, 4)}, direction='maximize',\n"
        "    trials=9, seed=1,\n"
        "    space={'rate': Uniform(low=0.0, high=1.0), 'steps': IntRange(low=0, high=10, step=3)})\n"
        "strategy = ArchitecturalStrategy(ArchitecturalOptions(startup_trials=2, pruner='median'), context)\n"
        "for number in range(9):\n"
        "    strategy.ask(number)\n"
        "    strategy.should_prune(number, epoch=1, value=0.5)\n"
        "    state = list(TrialState)[number % 6]\n"
        "    value = 0.5 if state in ('completed', 'pruned') else None\n"
        "    strategy.tell(number, Outcome(state=state, value=value))\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
