"""How far texts and vectors move the next token of harmless requests."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from analyses._arms import Bench
from lens_personas.interventions import Arm, ByCell, Cell, sweep
from lens_personas.models import Prompt
from lens_personas.readouts import last_position_kl


def kl_of_prompts(
    bench: Bench, alone: Sequence[Prompt], said: Sequence[Prompt]
) -> Float[Tensor, " prompt"]:
    """KL(alone ‖ said) in nats at the last token of each prompt."""
    return _kl(bench, alone, said, [Arm(prompts=tuple(range(len(said))), edits=())])[0]


def kl_of_arms(
    bench: Bench, prompts: Sequence[Prompt], arms: Sequence[Arm]
) -> tuple[Float[Tensor, " row"], ...]:
    """KL(alone ‖ edited) in nats at the last token of each row of each arm."""
    return tuple(_kl(bench, prompts, prompts, arms))


def _kl(
    bench: Bench, alone: Sequence[Prompt], said: Sequence[Prompt], arms: Sequence[Arm]
) -> list[Float[Tensor, " row"]]:
    numbers = {prompt.prompt_id: at for at, prompt in enumerate(_distinct(alone))}
    plain = Arm(prompts=tuple(range(len(numbers))), edits=())
    (base,) = sweep(bench.model, _distinct(alone), [plain], _same, token_budget=bench.token_budget)
    base_of = torch.tensor([numbers[prompt.prompt_id] for prompt in alone])

    def moved(
        logits: Float[Tensor, "batch d_vocab"], cells: Sequence[Cell]
    ) -> Float[Tensor, "batch 1"]:
        before = base[base_of[[cell.prompt for cell in cells]]].to(logits.device)
        return last_position_kl(before, logits)[:, None]

    found = sweep(bench.model, said, arms, ByCell(reduce=moved), token_budget=bench.token_budget)
    return [each[:, 0] for each in found]


def _distinct(prompts: Sequence[Prompt]) -> list[Prompt]:
    return list({prompt.prompt_id: prompt for prompt in prompts}.values())


def _same(logits: Float[Tensor, "batch d_vocab"]) -> Float[Tensor, "batch d_vocab"]:
    return logits
