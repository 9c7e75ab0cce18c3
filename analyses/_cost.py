"""Work counted before it is done: tokens through blocks, then FLOPs and bytes of a shape."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from analyses._cost_shape import Shape


@dataclass(frozen=True, kw_only=True)
class Work:
    """Counts that hang on the prompts and the number of blocks, not on any width."""

    passes: int = 0
    """Forward passes; each one reads the weights it needs once."""
    block_passes: int = 0
    """Blocks entered, over all passes."""
    block_tokens: int = 0
    """Tokens times blocks, padding included, that went through a whole block."""
    keys_tokens: int = 0
    """Tokens times blocks that were left after queries, keys and values."""
    pairs: int = 0
    """Queries times keys, over all blocks; masked ones count, since they are computed."""
    cached: int = 0
    """Tokens times blocks whose keys and values were read from a cache."""
    unembedded: int = 0
    """Residuals turned into logits over the whole vocabulary."""

    def __add__(self, other: "Work") -> "Work":
        return Work(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )

    def __mul__(self, times: int) -> "Work":
        return Work(**{f.name: getattr(self, f.name) * times for f in fields(self)})


def flops(work: Work, shape: Shape) -> int:
    """Floating-point operations of the matrix products; a multiply and an add are two."""
    return (
        2 * shape.block_matrix * work.block_tokens
        + 2 * shape.qkv_matrix * work.keys_tokens
        + 4 * shape.n_heads * shape.d_head * work.pairs
        + 2 * shape.d_model * shape.d_vocab * work.unembedded
    )


def bytes_moved(work: Work, shape: Shape, bytes_each: int) -> int:
    """Bytes of weights read, and of keys and values read and written."""
    weights = shape.block_matrix * work.block_passes
    if work.unembedded:
        weights += shape.d_model * shape.d_vocab * work.passes
    # Keys and values of one token in one block.
    kv = 2 * shape.n_kv_heads * shape.d_head
    written = work.block_tokens + work.keys_tokens
    return bytes_each * (weights + kv * (work.cached + written))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Prompts that run together, padded to one length."""

    rows: int
    """Prompts."""
    width: int
    """Columns: tokens of the longest prompt."""
    heads: int = 0
    """Distinct prefixes that run once for several rows."""
    shared: int = 0
    """Columns of those prefixes."""

    @property
    def tokens(self) -> int:
        """Tokens run, padding included."""
        return self.heads * self.shared + self.rows * (self.width - self.shared)

    @property
    def pairs(self) -> int:
        """Queries times keys of a block."""
        return self.heads * self.shared**2 + self.rows * (self.width - self.shared) * self.width


def whole_passes(batches: Sequence[Batch], n_blocks: int, *, unembedded: bool) -> Work:
    """Every token through ``n_blocks`` blocks; the last one of each row unembedded, if asked."""
    return Work(
        passes=len(batches),
        block_passes=n_blocks * sum(1 + bool(batch.heads) for batch in batches),
        block_tokens=n_blocks * sum(batch.tokens for batch in batches),
        pairs=n_blocks * sum(batch.pairs for batch in batches),
        unembedded=sum(batch.rows for batch in batches) if unembedded else 0,
    )


def last_token_passes(batches: Sequence[Batch], n_blocks: int) -> Work:
    """The same for the last token's logits: the last block is run for that token alone.

    Of the other tokens it makes keys and values. Without any block left, only the unembedding.
    """
    n_rows = sum(batch.rows for batch in batches)
    if n_blocks == 0:
        return Work(passes=len(batches), unembedded=n_rows)
    last = Work(
        block_passes=len(batches),
        block_tokens=n_rows,
        keys_tokens=sum(batch.tokens for batch in batches),
        pairs=sum(batch.rows * batch.width for batch in batches),
        unembedded=n_rows,
    )
    return whole_passes(batches, n_blocks - 1, unembedded=False) + last


def decode_steps(batches: Sequence[Batch], n_blocks: int, new_tokens: int) -> Work:
    """One token a row at a time after the prompt, keys and values cached, to the very limit.

    The first new token comes from the prompt's own pass, so one step fewer is run.
    """
    n_rows, steps = sum(batch.rows for batch in batches), new_tokens - 1
    seen = sum(b.rows * (b.width * steps + steps * (steps + 1) // 2) for b in batches)
    return Work(
        passes=len(batches) * steps,
        block_passes=len(batches) * n_blocks * steps,
        block_tokens=n_rows * n_blocks * steps,
        pairs=seen * n_blocks,
        cached=seen * n_blocks,
        unembedded=n_rows * steps,
    )
