"""Which position of a prompt stands for it, and how it is read from an activation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens_personas.models import Prompt


@dataclass(frozen=True, kw_only=True)
class ReadAt:
    """Where in each prompt the activation is read: one vector a prompt.

    >>> ReadAt(span="answer", take="last").rule
    'answer:last'

    Raises:
        ValueError: If ``take`` is an integer that is not negative.
    """

    span: str
    """Part of the prompt: ``prompt``, ``system``, ``user``, ``post_instruction``, ``answer``,
    or a part named when the prompt was rendered."""
    take: Literal["last", "mean"] | int
    """The span's last token, the mean over its tokens, or an offset from its end
    (-1 is the last token)."""
    skip_first: bool = True
    """Whether a mean leaves out position 0, whose activations can dwarf all others."""

    def __post_init__(self) -> None:
        if isinstance(self.take, int) and self.take >= 0:
            raise ValueError(
                f"expected take to be 'last', 'mean' or a negative offset from the span's end, "
                f"got {self.take}; the last token is -1"
            )

    @property
    def rule(self) -> str:
        """The choice as one string, as it is stored with vectors."""
        skipped = ":skip_first" if self.take == "mean" and self.skip_first else ""
        return f"{self.span}:{self.take}{skipped}"

    def window(self, prompt: Prompt) -> tuple[int, int]:
        """First and one-past-last position that is read, counted from the prompt's first token.

        Raises:
            ValueError: If the prompt lacks the part, or the part is too short.
        """
        start, stop = prompt.spans.get(self.span, (0, 0))
        if stop <= start:
            raise ValueError(
                f"expected prompt {prompt.prompt_id!r} to have a part {self.span!r}, it has "
                f"{_parts(prompt)}; render it with that part or read at span='prompt'"
            )
        if self.take == "mean":
            first = max(start, 1) if self.skip_first else start
        else:
            first = stop + (-1 if self.take == "last" else self.take)
        if not start <= first < stop:
            raise ValueError(
                f"expected the part {self.span!r} of prompt {prompt.prompt_id!r} to be long enough "
                f"for {self.rule!r}, it has {stop - start} token(s) from position {start}; "
                "choose a smaller offset, or skip_first=False"
            )
        return first, stop if self.take == "mean" else first + 1


def windows_of(read_at: ReadAt, prompts: Sequence[Prompt]) -> Int[Tensor, "prompt 2"]:
    """The window of every prompt.

    Raises:
        ValueError: If a prompt lacks the part, or the part is too short.
    """
    return torch.tensor([read_at.window(prompt) for prompt in prompts]).reshape(-1, 2)


def mean_in_windows(
    activation: Float[Tensor, "batch pos d_model"],
    positions: Int[Tensor, "batch pos"],
    windows: Int[Tensor, "batch 2"],
) -> Float[Tensor, "batch d_model"]:
    """Mean activation over each row's window, summed in float32 or better.

    Padding carries position -1 and is in no window, whatever it holds.
    """
    mask = _inside(positions, windows)
    # In bfloat16 a mean over positions would lose most of a small difference.
    precise = torch.promote_types(activation.dtype, torch.float32)
    if bool((windows[:, 1] - windows[:, 0] == 1).all()):
        return activation[mask].to(precise)
    kept = torch.where(mask[..., None], activation, 0.0)
    return kept.sum(dim=1, dtype=precise) / mask.sum(dim=1)[:, None]


def norm_sum_in_windows(
    activation: Float[Tensor, "batch pos d_model"],
    positions: Int[Tensor, "batch pos"],
    windows: Int[Tensor, "batch 2"],
) -> Float[Tensor, " batch"]:
    """Sum of the activation's norms over each row's window; 0 where the window is empty."""
    precise = torch.promote_types(activation.dtype, torch.float32)
    norms = torch.linalg.vector_norm(activation, dim=-1, dtype=precise)
    return torch.where(_inside(positions, windows), norms, 0.0).sum(dim=1)


def _inside(
    positions: Int[Tensor, "batch pos"], windows: Int[Tensor, "batch 2"]
) -> Bool[Tensor, "batch pos"]:
    return (positions >= windows[:, :1]) & (positions < windows[:, 1:])


def _parts(prompt: Prompt) -> list[str]:
    return sorted(name for name, (start, stop) in prompt.spans.items() if stop > start)
