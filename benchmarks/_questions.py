"""The questions that have an answer elsewhere, each with the least work that it needs."""

from collections.abc import Callable

import numpy as np

from benchmarks import _flops
from benchmarks._checkpoint import random_prompts
from benchmarks._shapes import Shape
from benchmarks._workloads import Sizes, Way, Workload


def extraction(shape: Shape, sizes: Sizes) -> tuple[Workload, ...]:
    prompts = random_prompts(sizes.n_prompts, (31, 76), shape.d_vocab)
    shared = random_prompts(sizes.n_shared, (48, 76), shape.d_vocab, prefix=31)
    nnsight = Way(label="nnsight, sorted, batch 16, stopped early", name="nnsight", env="peers")
    vectors = Way(label="steering-vectors, batch 8", name="steering_vectors", env="peers")
    plain = Workload(
        name="extraction/plain",
        title=f"mean difference at every layer, last token, {sizes.n_prompts} prompts",
        shape=shape,
        options={"prompts": prompts},
        flops=_flops.extraction(shape, [len(ids) for ids in prompts]),
        tokens=sum(len(ids) for ids in prompts),
        tolerance=1e-3,
        ways=(
            Way(label="lens-personas", name="moments"),
            nnsight,
            vectors,
            Way(label="repeng", name="repeng", env="peers"),
            Way(label="run_with_cache, batches of 32", name="run_with_cache_batched"),
            Way(
                label="run_with_cache of everything, one by one",
                name="run_with_cache_loop",
                most_repeats=2,
            ),
        ),
    )
    return (plain, _shared_extraction(shape, shared, (nnsight, vectors)))


def _shared_extraction(shape: Shape, prompts: list[list[int]], peers: tuple[Way, Way]) -> Workload:
    return Workload(
        name="extraction/shared",
        title=f"the same, {len(prompts)} prompts that begin with one persona text of 31 tokens",
        shape=shape,
        options={"prompts": prompts},
        flops=_flops.extraction(shape, [len(ids) for ids in prompts], prefix=31),
        tokens=sum(len(ids) for ids in prompts),
        tolerance=1e-3,
        ways=(
            Way(label="lens-personas", name="moments"),
            Way(
                label="lens-personas, prefix run for each prompt",
                name="vectors_unshared",
            ),
            *peers,
        ),
    )


def patching(shape: Shape, sizes: Sizes) -> tuple[Workload, ...]:
    n_many, many = sizes.many_prompts
    one = sizes.one_prompt
    return (
        _grid(shape, "resid_pre", 1, one, sizes.slow_repeats),
        _grid(shape, "resid_pre", n_many, many, sizes.slow_repeats),
        _grid(shape, "attn_out", 1, one, sizes.slow_repeats),
    )


def _grid(shape: Shape, site: str, n: int, length: int, slow_repeats: int) -> Workload:
    first = max(1, length * 5 // 32)
    clean = random_prompts(n, (length, length), shape.d_vocab, seed=1)
    # One word of the persona is another: the prompts differ there, states from there on.
    corrupted = [[*ids[:first], 7, *ids[first + 1 :]] for ids in clean]
    prompts = "one prompt" if n == 1 else f"{n} prompts"
    return Workload(
        name=f"patching/{site} {n}",
        title=f"{site} patched at every layer and position, {prompts} of {length} tokens "
        f"that differ from token {first} on",
        shape=shape,
        options={"clean": clean, "corrupted": corrupted, "site": site, "tokens": [10, 11]},
        flops=n * _flops.patch_grid(shape, length, first=first, site=site),
        tokens=n * length,
        tolerance=1e-4,
        ways=(
            Way(label="lens-personas", name="patch_grid"),
            Way(
                label="transformer_lens.patching, our weight layout",
                name="patching_laid_out",
                most_repeats=slow_repeats,
            ),
            Way(
                label="transformer_lens.patching",
                name="patching_stock",
                most_repeats=slow_repeats,
            ),
        ),
    )


def search(shape: Shape, sizes: Sizes) -> tuple[Workload, ...]:
    n, length = sizes.n_requests, 24
    kinds = {
        # Each kind ends in its own words, so that the model can tell them apart. Of those to
        # search with there are more than are used: the ones that score as they are named.
        kind: [
            [*ids, *range(mark, mark + 4)]
            for ids in random_prompts(4 * n, (length - 4,) * 2, shape.d_vocab, seed=mark)
        ]
        for kind, mark in (("harmful", 20), ("harmless", 40))
    }
    lengths = [length] * n
    layers = [layer for layer in range(shape.n_layers) for _ in range(sizes.n_pos)]
    found = Workload(
        name="search/direction",
        title=f"refusal direction among {len(layers)} candidates, {n} requests of each kind",
        shape=shape,
        options={
            "train": {kind: rows[:n] for kind, rows in kinds.items()},
            **{kind: rows[n:] for kind, rows in kinds.items()},
            "n_pos": sizes.n_pos,
            "n_requests": n,
        },
        flops=_flops.direction_search(shape, lengths, lengths, layers),
        tokens=2 * sum(lengths),
        tolerance=1e-3,
        ways=(
            Way(label="lens-personas, exact", name="search"),
            Way(label="lens-personas, exact, whole table", name="search_table"),
            Way(label="lens-personas, racing", name="search_racing"),
            Way(
                label="published call pattern",
                name="search_published",
                most_repeats=sizes.slow_repeats,
            ),
        ),
    )
    return (found,)


def lens(shape: Shape, sizes: Sizes) -> tuple[Workload, ...]:
    n, length = sizes.lens
    prompts = random_prompts(n, (length, length), shape.d_vocab, seed=2)
    options = {"prompts": prompts, "targets": [[*ids[1:], 5] for ids in prompts]}
    full = (
        Way(label="full tensor, residuals cached", name="lens_filtered", most_repeats=2),
        Way(label="full tensor, everything cached", name="lens_everything", most_repeats=2),
    )
    said = {
        "texts": "log-probability of whole texts after every layer",
        "last": "log-probability of a token at the last position after every layer",
    }
    return tuple(
        Workload(
            name=f"lens/{what}",
            title=f"{title}, {n} × {length} tokens",
            shape=shape,
            options=options,
            flops=_flops.lens(shape, [length] * n, every_position=what == "texts"),
            tokens=n * length,
            tolerance=1e-4,
            ways=(Way(label="lens-personas", name=f"lens_{what}"), *full),
        )
        for what, title in said.items()
    )


def generation(shape: Shape, sizes: Sizes) -> tuple[Workload, ...]:
    most, n_new = sizes.generation
    vector = 0.1 * np.random.default_rng(0).standard_normal(shape.d_model)
    return tuple(
        Workload(
            name=f"generation/batch {n}",
            title=f"{n_new} tokens, steered at one layer, batch {n}",
            shape=shape,
            options={
                "prompts": random_prompts(n, (16, 16), shape.d_vocab, seed=3),
                "layer": shape.n_layers // 2,
                "vector": vector.tolist(),
                "n_new": n_new,
            },
            flops=_flops.generation(shape, [16] * n, n_new),
            tokens=n * n_new,
            tolerance=0.0,
            ways=(
                Way(label="lens-personas", name="generate"),
                Way(label="Hugging Face generate + hook", name="generate_hugging_face"),
                Way(label="repeng", name="repeng_generate", env="peers"),
                Way(label="lens-personas on the bridge", name="generate_bridge"),
                Way(label="HookedTransformer.generate", name="generate_stock", most_repeats=2),
            ),
        )
        for n in (1, most)
    )


def forward(shape: Shape, sizes: Sizes) -> tuple[Workload, ...]:
    found = []
    for n, length, share in ((1, 1, 1), (1, 16, 2), (8, 16, 8), (8, 128, 32)):
        times = max(1, sizes.times // share)
        found.append(
            Workload(
                name=f"forward/{n}×{length}",
                title=f"forward pass of {n} × {length} tokens, {times} times",
                shape=shape,
                options={
                    "prompts": random_prompts(n, (length, length), shape.d_vocab, seed=4),
                    "times": times,
                },
                flops=times * n * _flops.forward(shape, length),
                tokens=times * n * length,
                tolerance=1e-4,
                ways=(
                    Way(label="lens-personas", name="forward"),
                    Way(label="Hugging Face", name="forward_hugging_face"),
                    Way(label="lens-personas on the bridge", name="forward_bridge"),
                    Way(label="HookedTransformer", name="forward_stock"),
                ),
            )
        )
    return tuple(found)


QUESTIONS: dict[str, Callable[[Shape, Sizes], tuple[Workload, ...]]] = {
    "extraction": extraction,
    "patching": patching,
    "search": search,
    "lens": lens,
    "generation": generation,
    "forward": forward,
}
"""By the name that ``--only`` takes."""
