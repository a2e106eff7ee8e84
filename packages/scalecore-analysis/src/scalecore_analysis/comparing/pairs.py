"""Which study is compared with which: those whose only difference is the compared thing, or a named reference."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations

from attrs import frozen

from scalecore.api.errors import RefusedError
from scalecore_analysis.comparing.profile import ASPECTS, HARD, Profile, contrast
from scalecore_analysis.studies import LISTED, listed

__all__ = ["ComparedGroup", "Pairs", "pair_up"]

INCIDENTAL = ("budget", "seed")
"""Compared only if nothing else differs: studies of several budgets or seeds repeat one comparison."""

Differing = Mapping[tuple[Profile, Profile], tuple[str, ...]]
"""The aspects in which two studies differ, for both orders of each pair."""


@frozen(kw_only=True, eq=False)
class ComparedGroup:
    """Studies that are compared with one reference."""

    reference: Profile
    others: tuple[Profile, ...]


@frozen(kw_only=True)
class Pairs:
    """All comparisons, and the reason for each study without one."""

    groups: tuple[ComparedGroup, ...]
    left_out: tuple[tuple[Profile, str], ...]


def pair_up(studies: Sequence[Profile], *, reference: str | None, by: Collection[str], allow: Collection[str]) -> Pairs:
    """Pair the studies; raise `RefusedError` if none are comparable, or if none is the reference.

    With a reference, each study is compared with the study of that name; or, if it is a value such as `a25`, `linear`
    or `fixed`, with the study that has it and differs in the fewest other aspects. Otherwise studies that differ in a
    single aspect are compared with the first of them: a fixed configuration, else the fewest features, else the first
    given. If there are no such studies, all are compared with the first.
    """
    differing: dict[tuple[Profile, Profile], tuple[str, ...]] = {}
    for one, other in combinations(studies, 2):
        differing[one, other] = differing[other, one] = tuple(one.differences(other))
    allowed = {pair: found for pair, found in differing.items() if _is_allowed(found, by=by, allow=allow)}
    if not allowed:
        raise RefusedError(_refusal(differing, by=by, allow=allow), guard="G07")
    if reference is not None:
        groups = _with_named(studies, allowed, reference)
    else:
        groups = list(_groups(studies, allowed)) if by else _by_aspect(studies, allowed)
    paired = {one for group in groups for one in (group.reference, *group.others)}
    left_out = [(one, _reason(one, differing)) for one in studies if one not in paired]
    return Pairs(groups=tuple(groups), left_out=tuple(left_out))


def _is_allowed(found: Collection[str], *, by: Collection[str], allow: Collection[str]) -> bool:
    hard, soft = set(found) & set(HARD), set(found) - set(HARD)
    return bool(found) and hard <= set(allow) and (not by or soft <= set(by))


def _with_named(studies: Sequence[Profile], allowed: Differing, reference: str) -> list[ComparedGroup]:
    named = [one for one in studies if reference in (one.label, one.study.name, one.study.folder.name)]
    references = named or [one for one in studies if reference in one.values]
    if not references:
        names = listed([one.label for one in studies])
        raise RefusedError(
            f"no study has the name or value {reference!r}: reference must be the name of a study ({names}), a tier, a "
            "model, a search strategy, a budget, or `fixed`"
        )
    nearest: dict[Profile, list[Profile]] = {one: [] for one in references}
    for one in studies:
        near = [other for other in references if (one, other) in allowed]
        if near and one not in nearest:
            nearest[min(near, key=lambda other: len(allowed[one, other]))].append(one)
    found = [ComparedGroup(reference=one, others=tuple(others)) for one, others in nearest.items() if others]
    if not found:
        names = listed([one.label for one in references])
        raise RefusedError(f"no other study can be compared with the reference {reference!r}: {names}", guard="G07")
    return found


def _by_aspect(studies: Sequence[Profile], allowed: Differing) -> list[ComparedGroup]:
    def single(aspect: str) -> Iterator[ComparedGroup]:
        return _groups(studies, {pair: found for pair, found in allowed.items() if found == (aspect,)})

    found = [group for aspect in ASPECTS if aspect not in INCIDENTAL for group in single(aspect)]
    found = found or [group for aspect in INCIDENTAL for group in single(aspect)]
    return found or list(_groups(studies, allowed))


def _groups(studies: Sequence[Profile], allowed: Differing) -> Iterator[ComparedGroup]:
    """Each reference in turn, with the studies that can be compared with it."""
    taken: set[Profile] = set()
    for one in sorted(studies, key=lambda one: (not one.fixed, one.features)):
        others = [other for other in studies if other not in taken and (one, other) in allowed]
        if one not in taken and others:
            taken |= {one, *others}
            yield ComparedGroup(reference=one, others=tuple(others))


def _reason(one: Profile, differing: Differing) -> str:
    """How a study differs from the one that is most like it."""
    near = min((pair for pair in differing if pair[0] is one), key=lambda pair: len(differing[pair]))[1]
    return f"most like {near.label}, but: {contrast(one, near)}"


def _refusal(differing: Differing, *, by: Collection[str], allow: Collection[str]) -> str:
    pairs = list(differing)[::2]
    if not pairs:
        return "a comparison needs at least two studies"
    lines = [f"  {one.label} and {other.label}: {contrast(one, other)}" for one, other in pairs[:LISTED]]
    if len(pairs) > LISTED:
        lines.append(f"  and {len(pairs) - LISTED} more pairs")
    hard = [name for name in HARD if name not in allow and any(name in found for found in differing.values())]
    hints = [f"allow the difference: allow=[{','.join(hard)}]"] if hard else []
    hints += [f"compare by other aspects than {', '.join(by)}"] if by else []
    if hints:
        lines.append(f"Name other studies, or {' and '.join(hints)}")
    return "\n".join(["no two studies can be compared:", *lines])
