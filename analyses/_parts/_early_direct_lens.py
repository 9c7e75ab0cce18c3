"""The tuned lens of a study, trained on requests that nothing is tested on."""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

from analyses._contents import Contents
from analyses._shards import Tensors
from analyses._workbench import Workbench
from lens_personas.models import Generation, Prompt
from lens_personas.readouts import LensSource, LensTraining, TunedLens, train_tuned_lens

_BATCH = 128
_MOST_TOKENS = 4096
# Where there is little text more steps would learn it by heart.
_PASSES = 8


def train(work: Workbench, answers: Mapping[str, Generation], *, steps: int) -> Tensors:
    """The lens of the study's layers; without tensors where there is too little to train on."""
    prompts, groups = training_prompts(work, answers)
    layers = [layer for layer in work.layers if layer != work.card.n_layers - 1]
    if len(set(groups)) < 2 or not layers:
        return Tensors(tensors={}, about={"layers": [], "training": None})
    n_tokens = min(sum(len(prompt.ids) - 1 for prompt in prompts), _MOST_TOKENS)
    lens = train_tuned_lens(
        work.model,
        prompts,
        layers=layers,
        steps=min(steps, ceil(_PASSES * n_tokens / _BATCH)),
        batch_size=_BATCH,
        groups=groups,
        max_tokens=_MOST_TOKENS,
        seed=work.config.seed,
        token_budget=work.config.token_budget,
    )
    return _kept(lens)


def training_prompts(
    work: Workbench, answers: Mapping[str, Generation]
) -> tuple[list[Prompt], list[str]]:
    """Requests of the vector split with the model's answers, and under a text; with their groups.

    Requests with one known answer are one group. Under a persona or neutral text the lens meets
    other residuals, which it is read at too.
    """
    requests, rng = work.data.split.vector, work.rng("tuned lens")
    names = sorted(work.data.texts)
    plain = [_answered(work, work.plain[r.prompt_id], answers) for r in requests]
    under = [work.say(r, names[int(rng.integers(len(names)))]) for r in requests]
    groups = [r.target or r.prompt_id for r in requests]
    return [*plain, *under], [*groups, *groups]


def tuned_of(work: Workbench, inputs: Contents) -> TunedLens | None:
    """The lens among the results that a cell needs; None where none was trained."""
    found = inputs.part_tensors("early-decoding", "tuned_lens")
    if not found or not found[0][1].tensors:
        return None
    kept = found[0][1]
    curves = {name: tuple(kept.about["training"][name]) for name in ("kl_before", "kl_after")}
    return TunedLens(
        weights=kept.tensors["weights"],
        biases=kept.tensors["biases"],
        layers=tuple(kept.about["layers"]),
        source=LensSource.of(work.card),
        training=LensTraining(**kept.about["training"] | curves),
    )


def _kept(lens: TunedLens) -> Tensors:
    assert lens.training is not None
    training = {name: getattr(lens.training, name) for name in LensTraining.__dataclass_fields__}
    return Tensors(
        tensors={"weights": lens.weights, "biases": lens.biases},
        about={
            "layers": list(lens.layers),
            "training": {k: list(v) if isinstance(v, tuple) else v for k, v in training.items()},
        },
    )


def _answered(work: Workbench, prompt: Prompt, answers: Mapping[str, Generation]) -> Prompt:
    """The prompt with the model's own answer, as far as the context reaches."""
    if prompt.prompt_id not in answers:
        return prompt
    return replace(prompt, ids=(*prompt.ids, *answers[prompt.prompt_id].ids)[: work.card.n_ctx])
