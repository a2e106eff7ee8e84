"""Attempts share compiled blocks: results are equal, files are complete, and damaged ones are not used."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scalecore.store.disk import remove_tree
from scalecore_torch.training import shared_blocks
from scalecore_torch.training.shared_blocks import SharedBlocks

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")

COMPILE = """
import hashlib, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
from torch import nn
from scalecore_torch.training.compilation import compile_blocks, private_cache, warm_up
from scalecore_torch.training.shared_blocks import SharedBlocks

depth, private, shared = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(16), nn.Linear(16, 16)

    def forward(self, x):
        return x + torch.tanh(self.linear(self.norm(x)))

class Deep(nn.Sequential):
    def repeated_blocks(self):
        return list(self)

torch.set_num_threads(1)
torch.manual_seed(1)
module = Deep(*(Block() for _ in range(depth)))
x = torch.randn(8, 16)
compile_blocks(module, batch=8)
with private_cache(private, shared=SharedBlocks.of_this_machine(shared)):
    warm_up(lambda: module(x).square().mean(), module, device=torch.device("cpu"))
assert not private.exists()
module(x).square().mean().backward()
print(hashlib.sha256(b"".join(p.grad.numpy().tobytes() for p in module.parameters())).hexdigest())
"""

COMPILER = """#!/bin/sh
for word in "$@"; do case "$word" in *.so)
    echo "$word" >> "{log}"
    if [ -e "{hold}" ]; then echo half > "$word"; touch "{log}.held"; sleep 600; fi;;
esac; done
exec {real} "$@"
"""


class Attempts:
    """Processes that compile a module of some depth with a compiler that logs its calls."""

    def __init__(self, root: Path) -> None:
        self.root, self.shared = root, root / "shared"
        self.log, self.hold = root / "libraries", root / "hold"
        self.compiler = root / "g++"
        self.compiler.write_text(COMPILER.format(log=self.log, hold=self.hold, real=shutil.which("g++")))
        self.compiler.chmod(0o755)

    def start(self, name: str, *, depth: int = 2) -> subprocess.Popen[str]:
        private = self.root / name / "attempt_0" / "compiled"
        return subprocess.Popen(
            [sys.executable, "-c", COMPILE, str(depth), str(private), str(self.shared)],
            env={**os.environ, "CXX": str(self.compiler)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, name: str, *, depth: int = 2) -> tuple[str, int]:
        """The hash of the gradients, and the number of compiled libraries."""
        before = self.libraries()
        process = self.start(name, depth=depth)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        return output.split()[-1], self.libraries() - before

    def libraries(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def files(self) -> list[Path]:
        return sorted(path for path in self.shared.rglob("*") if path.is_file())


@needs_compiler
def test_what_one_attempt_compiled_the_next_one_uses(tmp_path: Path) -> None:
    """A killed attempt publishes nothing; the next publishes complete files; another of the same width compiles no
    library, whatever its depth, and computes the same bits; damaged files are compiled again, with the same bits.
    """
    attempts = Attempts(tmp_path)
    attempts.hold.touch()
    killed = attempts.start("trial_0000")
    while not attempts.log.with_name("libraries.held").exists():
        assert killed.poll() is None, killed.communicate()[0]
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    attempts.hold.unlink()
    assert attempts.files() == []
    assert [*(tmp_path / "trial_0000").rglob("*.so")] != []

    fresh, libraries = attempts.run("trial_0001")
    assert libraries > 0
    (entry,) = attempts.shared.glob("*/*")
    assert entry.name == "trial_0001.attempt_0"
    published = attempts.files()
    again, libraries = attempts.run("trial_0002")
    assert (again, libraries) == (fresh, 0)
    _, libraries = attempts.run("trial_0003", depth=3)
    assert libraries == 0
    assert attempts.files() == published, "nothing new was published"

    for path in entry.rglob("*.so"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    for path in entry.glob("fxgraph/*/*/*"):
        path.write_bytes(path.read_bytes()[:100])
    again, libraries = attempts.run("trial_0004")
    assert again == fresh
    assert libraries > 0


def published(private: Path, shared: SharedBlocks, **files: str) -> None:
    private.mkdir(parents=True)
    for name, content in files.items():
        (private / name).write_text(content)
    shared.publish(private, private.name)


def test_an_entry_contains_only_new_files(tmp_path: Path) -> None:
    """If two attempts compile the same at the same time, the second adds only its new files, and no empty entry."""
    shared = SharedBlocks(tmp_path / "shared")
    published(tmp_path / "first", shared, a="1", b="2")
    published(tmp_path / "second", shared, a="other", c="3")
    published(tmp_path / "third", shared, a="1", c="3")
    names = [{path.name for path in entry.iterdir()} for entry in sorted(shared.path.iterdir())]
    assert names == [{"a", "b", "checksums.json"}, {"c", "checksums.json"}]
    assert shared.take(tmp_path / "fourth") == {"a", "b", "c"}
    assert (tmp_path / "fourth" / "a").read_text() == "1"


def test_unusable_files_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damaged and lost files, a truncated list of checksums, and links are skipped; without hard links files are
    copied."""
    shared = SharedBlocks(tmp_path / "shared")
    published(tmp_path / "first", shared, good="1", damaged="2", lost="3", linked="4")
    published(tmp_path / "second", shared, other="5")
    entry = shared.path / "first"
    (entry / "damaged").write_text("x")
    (entry / "lost").unlink()
    (entry / "linked").unlink()
    (entry / "linked").symlink_to(tmp_path)
    (shared.path / "second" / "checksums.json").write_text('{"other": ')

    def no_links(*_: object, **__: object) -> None:
        raise OSError("no links here")

    assert shared.take(tmp_path / "linking") == {"good"}
    monkeypatch.setattr(os, "link", no_links)
    assert shared.take(tmp_path / "copying") == {"good"}
    assert [path.name for path in (tmp_path / "copying").iterdir()] == ["good"]


def test_shared_files_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files beyond the limit are not published, and files that cannot be written are no error."""
    shared = SharedBlocks(tmp_path / "shared")
    published(tmp_path / "first", shared, a="1" * 100)
    monkeypatch.setattr(shared_blocks, "LARGEST", 150)
    published(tmp_path / "second", shared, b="1" * 100)
    assert [path.name for path in shared.path.iterdir()] == ["first"]
    (tmp_path / "file").write_text("")
    published(tmp_path / "third", SharedBlocks(tmp_path / "file" / "below"), b="1")


def test_removing_follows_no_link(tmp_path: Path) -> None:
    """A folder is removed with its content, a link without its target; a missing folder is no error."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").touch()
    (tmp_path / "compiled").symlink_to(tmp_path / "theirs")
    remove_tree(tmp_path / "compiled")
    remove_tree(tmp_path / "compiled")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
    remove_tree(tmp_path / "theirs")
    assert [*tmp_path.iterdir()] == []


def test_other_tools_share_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of torch or of the compiler, or another processor, has a separate folder."""
    compiler = tmp_path / "g++"

    def folder(version: str = "12") -> Path | None:
        compiler.write_text(f"#!/bin/sh\necho {version}\n")
        compiler.chmod(0o755)
        found = SharedBlocks.of_this_machine(tmp_path)
        return None if found is None else found.path

    monkeypatch.setenv("CXX", str(compiler))
    folders = [folder(), folder("13")]
    with monkeypatch.context() as patched:
        patched.setattr("torch.__version__", "2.99")
        folders.append(folder())
    with monkeypatch.context() as patched:
        patched.setattr(shared_blocks, "_processor", lambda: ["flags: none"])
        folders.append(folder())
    assert len({*folders}) == 4
    assert folder() == folders[0]
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert SharedBlocks.of_this_machine(tmp_path) is None
