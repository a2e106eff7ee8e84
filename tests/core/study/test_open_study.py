"""Opening a study for work after its search."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from scalecore.api.analysis import TrainingContext
from scalecore.api.errors import StudyError
from scalecore.cli.main import main
from scalecore.execution.local.devices import FoundGpus
from scalecore.store.layout import StudyFolder
from scalecore.study.open_study import open_study
from scalecore.testing.fakes import EXPERIMENT, write_walk

REGISTRY = {"no_plugins": True, "block": []}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of one trial on the CPU."""
    root = tmp_path_factory.mktemp("finished")
    write_walk(root)
    content = {**EXPERIMENT, "output": str(root / "study")}
    content["search"] = {**content["search"], "trials": 1}
    (root / "experiment.yaml").write_text(yaml.safe_dump(content))
    done = CliRunner().invoke(main, ["run", str(root / "experiment.yaml"), "--no-plugins"])
    assert done.exit_code == 0, done.output
    return root / "study"


def copied(study: Path, **changes: object) -> Path:
    """A copy of the study beside its data, with changes to its first smoke step."""
    folder = Path(tempfile.mkdtemp(dir=study.parent)) / study.name
    shutil.copytree(study, folder)
    lines = [json.loads(line) for line in (study / "journal.jsonl").read_text().splitlines()]
    for line in lines:
        if line["event"] == "smoke":
            line |= changes
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize(("kind", "gpus"), [("cpu", ("GPU-1",)), ("cuda", ())])
def test_retrainings_are_planned_for_the_device_of_the_study(
    kind: str, gpus: tuple[str, ...], finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study on the CPU ignores a new GPU; a missing GPU is an error only when an attempt needs it."""
    folder = copied(finished, device={"kind": kind, "gpu": None})
    for module in ("scalecore.planning.preflight", "scalecore.planning.slots", "scalecore_torch.likely_device"):
        monkeypatch.setattr(f"{module}.find_gpus", lambda: FoundGpus(names=gpus, source="libcuda.so.1"))
        monkeypatch.setattr(f"{module}.torch_build", lambda: "cu130")
    with open_study(StudyFolder(folder), TrainingContext(registry=REGISTRY)) as study:
        assert study.plan.likely_device == study.plan_with([])[0].likely_device == kind


def test_a_damaged_plan_is_refused(finished: Path) -> None:
    """The message names file, line and key."""
    folder = copied(finished)
    first, *rest = (folder / "journal.jsonl").read_text().splitlines()
    event = json.loads(first)
    del event["plan"]["data"]["split"]["hash"]
    (folder / "journal.jsonl").write_text("\n".join([json.dumps(event), *rest]) + "\n")
    with (
        pytest.raises(StudyError, match=r"/journal\.jsonl:1: .*data\.split\.hash: required, but missing"),
        open_study(StudyFolder(folder), TrainingContext(registry=REGISTRY)),
    ):
        pass
