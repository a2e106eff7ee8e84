"""The replay of glibc's allocator, compared with glibc itself."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import psutil
import pytest

from scalecore_torch.memory.heap import Heap, held
from scalecore_torch.memory.storages import Operation, Phase, Trace, with_counted_moments
from scalecore_torch.training.free_memory import give_back

MIB = 1024**2

REAL = """
import ctypes, json, sys
libc = ctypes.CDLL(None)
class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    _fields_ = [(name, ctypes.c_size_t) for name in names]
libc.mallinfo2.restype = Info
libc.posix_memalign.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
events, threshold = json.load(sys.stdin)
libc.malloc.restype = ctypes.c_void_p
blocks = (ctypes.c_void_p * len(events))()
# Fill the thread's cache, as in a long-running process, so that it does not keep remainders of blocks.
for small in [libc.malloc(size) for size in range(24, 130, 16) for _ in range(16)]:
    libc.free(small)
if threshold:
    libc.mallopt(-3, threshold)
def held():
    info = libc.mallinfo2()
    return info.arena + info.hblkhd
begun, peak = held(), 0
for key, size in events:
    if size:
        libc.posix_memalign(ctypes.addressof(blocks) + 8 * key, 64, size)
    else:
        libc.free(blocks[key])
    peak = max(peak, held() - begun)
print(peak)
"""


def passes(seed: int, *, largest: int) -> list[tuple[int, int]]:
    """Events of two training passes, forward and backward: (key, bytes) for an allocation, (key, 0) for a free."""
    import random

    draw = random.Random(seed)
    sizes = [draw.randint(20_000, largest) for _ in range(4)]
    events, key = [], 0
    for _ in range(2):
        kept = []
        for _ in range(30):
            saved, passing = key, key + 1
            key += 2
            events += [(passing, draw.choice(sizes)), (saved, draw.choice(sizes)), (passing, 0)]
            kept.append(saved)
        for saved in reversed(kept):
            events += [(key, draw.choice(sizes)), (saved, 0), (key, 0)]
            key += 1
    return events


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is not glibc")
@pytest.mark.parametrize("threshold", [None, MIB])
@pytest.mark.parametrize(("seed", "largest"), [(1, 300_000), (2, 2_000_000), (3, 9_000_000)])
def test_the_replay_matches_glibc(seed: int, largest: int, threshold: int | None) -> None:
    """Peaks agree within a twentieth, with blocks below, around and above the mmap threshold, dynamic or fixed."""
    events = passes(seed, largest=largest)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", REAL],
        input=json.dumps([events, threshold]),
        capture_output=True,
        text=True,
        check=True,
        env={},  # its strings are on the heap, where a few bytes may decide where a large block fits
    )
    heap = Heap(threshold=threshold)
    for key, size in events:
        if size:
            heap.allocate(key, size)
        else:
            heap.free(key)
    assert heap.peak == pytest.approx(json.loads(done.stdout), rel=0.05)


def test_occupied_remainders_prevent_reuse_of_a_block() -> None:
    """If small objects occupy the remainders beside a tensor, its block is too small for another tensor of its size."""
    grown = []
    for pin in (0.0, 1.0):
        heap = Heap(threshold=32 * MIB)
        for key in range(20):
            heap.allocate(key, MIB, pin=pin)
        for key in range(0, 20, 2):
            heap.free(key)
        for key in range(20, 30):
            heap.allocate(key, MIB)
        grown.append(heap.peak)
    assert grown[0] == pytest.approx(20 * MIB, rel=0.02)
    assert grown[1] == pytest.approx(30 * MIB, rel=0.02)


def test_a_training_needs_weights_gradients_moments_and_activations() -> None:
    """It needs at least the live storages, and at most the pages of one block in addition."""
    saved = [Operation(name="forward", made=[(("saved", n), MIB)], ended=(), live=0) for n in range(8)]
    spent = [Operation(name="backward", made=[(n, MIB)], ended=[("saved", 7 - n)], live=0) for n in range(8)]
    phases = [
        Phase(backward=False, evaluation=False, operations=saved),
        Phase(backward=True, evaluation=False, operations=spent),
    ]
    trace = Trace(phases=phases, resident=26 * MIB, peak=34 * MIB)
    assert [key for key, _ in trace.gradients] == list(range(8))
    assert 34 * MIB <= held(trace) <= 38 * MIB


@pytest.mark.parametrize(("kept", "moments"), [(1, 0), (1.1, 0), (2, 1), (3, 2), (5.2, 4)])
def test_the_number_of_moments_follows_from_the_optimizer(kept: float, moments: int) -> None:
    """It follows from the resident bytes beside the weights; a rest smaller than a moment is added separately."""
    made = [("weight", 10 * MIB)]
    backward = Operation(name="a", made=made, ended=(), live=0)
    phases = [Phase(backward=True, evaluation=False, operations=[backward])]
    trace = with_counted_moments(Trace(phases=phases, resident=round(kept * 10 * MIB), peak=0))
    assert trace.moments == moments
    assert held(trace) == pytest.approx((kept + 1) * 10 * MIB, abs=MIB)


def test_an_evaluation_uses_new_pages_after_free_ones_were_returned() -> None:
    """Larger tensors fit into none of the free blocks of a step, which then no longer count."""
    made = [
        Operation(name="forward", made=[(("saved", n), MIB), (("kept", n), 4096)], ended=(), live=0) for n in range(8)
    ]
    freed = [Operation(name="backward", made=(), ended=[("saved", n)], live=0) for n in range(8)]
    large = Operation(name="evaluation", made=[("large", 5 * MIB)], ended=(), live=0)
    phases = [
        Phase(backward=False, evaluation=False, operations=made),
        Phase(backward=True, evaluation=False, operations=freed),
        Phase(backward=False, evaluation=True, operations=[large]),
    ]
    trace = Trace(phases=phases, resident=0, peak=8 * MIB)
    assert 12.9 * MIB <= held(trace, threshold=32 * MIB) <= 14 * MIB
    assert 8 * MIB <= held(trace, threshold=32 * MIB, gives_back=True) <= 9 * MIB


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is not glibc")
def test_free_pages_between_small_objects_are_returned_to_the_system() -> None:
    """A hundred megabytes of free blocks, each followed by a live object."""
    process = psutil.Process()
    pieces, stay = [], []
    for _ in range(1000):
        pieces.append(bytearray(b"x") * 100_000)
        stay.append(bytearray(b"x") * 1000)
    pieces.clear()
    before = process.memory_info().rss
    assert give_back()
    assert process.memory_info().rss < before - 50_000_000
    assert len(stay) == 1000
