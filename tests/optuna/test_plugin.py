from __future__ import annotations

import subprocess
import sys


def test_a_study_prints_and_warns_nothing(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Optuna's log lines and warnings do not reach the user's terminal."""
    script = tmp_path / "study.py"
    script.write_text(
        "from scalecore.api.strategy import SearchContext\n"
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
