"""The least floating-point operations that a workload needs; a multiply-add counts as two.

Padding, positions that attention never looks at, unembedded rows nobody asked for and shared
prefixes that run twice are a way's own waste, so none of them is in here. Norms, rotations and
softmax are left out: a few per cent of a small model.
"""

from collections.abc import Sequence

from benchmarks._shapes import Shape


def block(shape: Shape, n_old: int, n_new: int, *, causal: bool = True) -> int:
    """One block over ``n_new`` columns that follow ``n_old`` columns with known keys and values.

    ``causal=False`` counts attention as dense kernels run it, each new column against all.
    """
    total = n_old + n_new
    pairs = n_new * n_old + n_new * (n_new + 1) // 2 if causal else n_new * total
    weights = 4 * shape.d_model**2 + 3 * shape.d_model * shape.d_mlp
    return 2 * n_new * weights + 4 * pairs * shape.d_model


def trimmed_block(shape: Shape, n_old: int, n_new: int) -> int:
    """The last block where only its last column is wanted: the others give keys and values."""
    keys_values = 2 * n_new * 2 * shape.d_model**2
    query_to_output = 2 * (2 * shape.d_model**2 + 3 * shape.d_model * shape.d_mlp)
    return keys_values + query_to_output + 4 * (n_old + n_new) * shape.d_model


def unembed(shape: Shape, n_rows: int) -> int:
    """Logits of the whole vocabulary for ``n_rows`` residuals."""
    return 2 * n_rows * shape.d_model * shape.d_vocab


def forward(shape: Shape, length: int, *, causal: bool = True) -> int:
    """Logits at every position of one prompt."""
    blocks = shape.n_layers * block(shape, 0, length, causal=causal)
    return blocks + unembed(shape, length)


def to_last_token(shape: Shape, length: int, *, known: int = 0, start: int = 0) -> int:
    """The last token's last residual, from block ``start``, with ``known`` columns given."""
    new = length - known
    below = max(shape.n_layers - start - 1, 0)
    return below * block(shape, known, new) + trimmed_block(shape, known, new)


def extraction(shape: Shape, lengths: Sequence[int], *, prefix: int = 0) -> int:
    """All layers' last-token residuals; ``prefix`` tokens are the same in every prompt."""
    once = shape.n_layers * block(shape, 0, prefix) if prefix else 0
    return once + sum(to_last_token(shape, length, known=prefix) for length in lengths)


def patch_grid(shape: Shape, length: int, *, first: int, site: str) -> int:
    """One prompt's layer × position grid and its two base runs, two logits a cell.

    Cells before ``first``, where the two prompts are still equal, are known. At ``resid_pre``
    block l runs again on every column from the patched one; at ``attn_out`` the patched
    column alone has changed inside block l, and there only its MLP runs.
    """
    cells = 0
    for position in range(first, length):
        for layer in range(shape.n_layers):
            if site == "attn_out":
                cells += _from_attn_out(shape, layer, position, length)
            else:
                cells += to_last_token(shape, length, known=position, start=layer)
    return 2 * extraction(shape, [length]) + cells


def _from_attn_out(shape: Shape, layer: int, position: int, length: int) -> int:
    if layer == shape.n_layers - 1 and position < length - 1:
        return 0
    mlp = 2 * 3 * shape.d_model * shape.d_mlp
    if layer == shape.n_layers - 1:
        return mlp
    return mlp + to_last_token(shape, length, known=position, start=layer + 1)


def direction_search(
    shape: Shape, harmful: Sequence[int], harmless: Sequence[int], layers: Sequence[int]
) -> int:
    """Scores of one candidate a layer in ``layers``: bypass, induce and KL.

    Ablation changes every block, so those runs are whole; an addition starts at its layer.
    """
    everyone = [*harmful, *harmless]
    whole = sum(to_last_token(shape, length) for length in everyone)
    induced = sum(
        to_last_token(shape, length, start=layer) for layer in layers for length in harmless
    )
    rows = len(everyone) * (1 + len(layers)) + len(harmless) * len(layers)
    return whole * (1 + len(layers)) + induced + unembed(shape, rows)


def lens(shape: Shape, lengths: Sequence[int], *, every_position: bool) -> int:
    """Every layer's logits at all positions, or at the last one."""
    if every_position:
        blocks = sum(shape.n_layers * block(shape, 0, length) for length in lengths)
        return blocks + unembed(shape, shape.n_layers * sum(lengths))
    return extraction(shape, lengths) + unembed(shape, shape.n_layers * len(lengths))


def generation(shape: Shape, lengths: Sequence[int], n_new: int) -> int:
    """Greedy tokens with keys and values kept, one unembedded row a token."""
    steps = sum(
        to_last_token(shape, length)
        + sum(shape.n_layers * block(shape, length + step, 1) for step in range(n_new - 1))
        for length in lengths
    )
    return steps + unembed(shape, len(lengths) * n_new)
