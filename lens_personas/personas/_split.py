"""Which requests fit the vector, which choose the layer, and which give the result."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lens_personas.personas._types import Request

_NAMES: Final = ("vector", "layer", "test")
_Group = tuple[Request, ...]


@dataclass(frozen=True, kw_only=True)
class NestedSplit:
    """Three disjoint parts of one set of requests; each in the order of the set."""

    vector: tuple[Request, ...]
    """Requests from which directions are fitted."""
    layer: tuple[Request, ...]
    """Requests on which layer and dose are chosen."""
    test: tuple[Request, ...]
    """Requests that only the final numbers are computed from."""


def split_requests(
    requests: Sequence[Request],
    *,
    seed: int,
    fractions: tuple[float, float, float] = (0.5, 0.25, 0.25),
) -> NestedSplit:
    """A split into vector, layer and test part, stratified by ``harmful``.

    Requests that share their text or their target, or are matched by ``pair_id``, stay
    together: otherwise what is tested would have been seen in fitting. (A target that more than
    half of the requests share is an opening, not an answer: it links nothing.) Groups are
    shuffled and given, largest first, to the part that lacks most of what they hold. Where every
    request is a group of its own, each part's share of harmful and of harmless ones is within one
    request of ``fractions``. The same requests and seed give the same split, in whatever order they
    come.

    Raises:
        ValueError: If a fraction is not positive, they do not sum to 1, a ``prompt_id`` is
            there twice, or a part would be empty.
    """
    _check(requests, fractions)
    groups = _groups(requests)
    # A string seed is hashed by SHA-512 in `random`: the same in every process.
    random.Random(f"split-{seed}").shuffle(groups)
    groups.sort(key=len, reverse=True)
    part_of = _assign(groups, fractions)
    parts = [tuple(r for r in requests if part_of[r.prompt_id] == i) for i in range(3)]
    empty = [name for name, part in zip(_NAMES, parts, strict=True) if not part]
    if empty:
        raise ValueError(
            f"expected requests for each of {', '.join(_NAMES)}, got none for "
            f"{' and '.join(empty)}: {len(requests)} requests form {len(groups)} groups that "
            "share a text, target or pair; add requests or use other fractions"
        )
    return NestedSplit(vector=parts[0], layer=parts[1], test=parts[2])


def _check(requests: Sequence[Request], fractions: tuple[float, float, float]) -> None:
    if not all(f > 0 for f in fractions) or not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise ValueError(f"expected three positive fractions that sum to 1, got {fractions}")
    counts = Counter(request.prompt_id for request in requests)
    twice = [prompt_id for prompt_id, count in counts.items() if count > 1]
    if twice:
        raise ValueError(
            f"expected each prompt_id once, got {twice[0]!r} {counts[twice[0]]} times; rename it"
        )


def _groups(requests: Sequence[Request]) -> list[_Group]:
    """Connected components of "shares a text, a target or a pair", ordered by prompt_id."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(key: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(key, key) != key:
            parent[key] = key = parent[parent[key]]
        return key

    stock = _stock_targets(requests)
    for request in requests:
        for key in _links(request, stock):
            parent[root(key)] = root(("id", request.prompt_id))
    members: dict[tuple[str, str], list[Request]] = {}
    for request in sorted(requests, key=lambda r: r.prompt_id):
        members.setdefault(root(("id", request.prompt_id)), []).append(request)
    return [tuple(group) for group in members.values()]


def _stock_targets(requests: Sequence[Request]) -> frozenset[str]:
    """Targets that most requests share: an opening such as "Sure, here is", not an answer."""
    counts = Counter(r.target.strip().casefold() for r in requests if r.target)
    return frozenset(target for target, count in counts.items() if count > len(requests) / 2)


def _links(request: Request, stock: frozenset[str]) -> list[tuple[str, str]]:
    links = [("text", request.text.strip().casefold())]
    if request.target and request.target.strip().casefold() not in stock:
        links.append(("target", request.target.strip().casefold()))
    if request.pair_id:
        links.append(("id", request.pair_id))
    return links


def _assign(groups: list[_Group], fractions: tuple[float, float, float]) -> dict[str, int]:
    totals = Counter(request.harmful for group in groups for request in group)
    lacking = [{kind: f * total for kind, total in totals.items()} for f in fractions]
    part_of: dict[str, int] = {}
    for group in groups:
        held = Counter(request.harmful for request in group)
        # The largest dot product with what is lacking lowers the squared error most.
        gains = [sum(n * need[kind] for kind, n in held.items()) for need in lacking]
        part = gains.index(max(gains))
        for kind, n in held.items():
            lacking[part][kind] -= n
        part_of |= {request.prompt_id: part for request in group}
    return part_of
