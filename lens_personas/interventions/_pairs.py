"""Clean and corrupted prompts, matched position by position."""

from collections.abc import Sequence
from dataclasses import dataclass

from lens_personas.hooks import Align, TokenLayout
from lens_personas.models import Prompt, pad


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Prompts in pairs.

    Raises:
        ValueError: If their numbers or, matched from the start, their lengths differ.
    """

    clean: tuple[Prompt, ...]
    """Prompts that states are taken from."""
    corrupted: tuple[Prompt, ...]
    """Prompts that states are put into."""
    align: Align
    """How positions are matched."""

    def __post_init__(self) -> None:
        """Refuse prompts that do not pair."""
        if not self.clean or len(self.clean) != len(self.corrupted):
            raise ValueError(
                f"expected one corrupted prompt for each clean one, got {len(self.clean)} clean "
                f"and {len(self.corrupted)} corrupted"
            )
        unequal = [at for at in self.numbers if self._shift(at)]
        if self.align == "start" and unequal:
            raise ValueError(
                f"expected pairs of equal length, got pairs {unequal} of unequal length; "
                'match them at their ends with align="end"'
            )

    @property
    def numbers(self) -> range:
        """Numbers of the pairs."""
        return range(len(self.clean))

    @property
    def clean_layout(self) -> TokenLayout:
        """Layout of the clean prompts, padded on the right."""
        return pad(self.clean, self.numbers, pad_id=0, side="right").layout

    def shared_positions(self) -> tuple[int, ...]:
        """Positions that any pair has in both prompts; from -1 backwards if matched at the end."""
        if self.align == "start":
            return tuple(range(max(len(prompt.ids) for prompt in self.clean)))
        shorter = [
            min(self.clean[at].prompt_length, self.corrupted[at].prompt_length)
            for at in self.numbers
        ]
        return tuple(range(-max(shorter), 0))

    def has(self, at: int, position: int) -> bool:
        """Whether both prompts of pair ``at`` have the position."""
        corrupted = self._place(at, position)
        clean = corrupted + (self._shift(at) if self.align == "end" else 0)
        return 0 <= corrupted < len(self.corrupted[at].ids) and 0 <= clean < len(self.clean[at].ids)

    def changes(self, at: int, position: int) -> bool:
        """Whether a patch there can change anything: not before the first differing token."""
        if not self.has(at, position):
            return False
        clean, corrupted = self.clean[at].ids, self.corrupted[at].ids
        until = self._place(at, position) + 1
        return bool(self._shift(at)) or clean[:until] != corrupted[:until]

    def _place(self, at: int, position: int) -> int:
        return position if position >= 0 else self.corrupted[at].prompt_length + position

    def _shift(self, at: int) -> int:
        return self.clean[at].prompt_length - self.corrupted[at].prompt_length


def check_positions(pairs: Pairs, positions: Sequence[int]) -> None:
    """Refuse positions that no pair has.

    Raises:
        ValueError: Naming them.
    """
    beyond = [p for p in positions if not any(pairs.has(at, p) for at in pairs.numbers)]
    if beyond or not positions:
        raise ValueError(
            f"expected positions that some pair has, among {pairs.shared_positions()}, "
            f"got {beyond or 'none'}"
        )
