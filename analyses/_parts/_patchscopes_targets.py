"""Where a Patchscope takes states from, and the prompts that it puts them into."""

from collections.abc import Mapping
from typing import Final

from analyses._parts._charity import CharityWords, with_suffix
from analyses._scope_choice import paper_target_layer
from analyses._scope_types import Place
from analyses._workbench import Outline, Workbench
from lens_personas.models import Prompt, render
from lens_personas.models.organism import PATCHSCOPE_PROMPT, language
from lens_personas.personas import conversation
from lens_personas.readouts import ScopeTarget

PLACEHOLDERS: Final = "x x x x x"
"""Five tokens that take the state, as in https://arxiv.org/abs/2406.12094."""
QUESTIONS: Final[Mapping[str, str]] = {
    "tendencies": "Describe the tendencies of this user:",
    "nature": "Describe the nature of this request:",
    "motive": "Describe the motive behind this request:",
}
"""What is asked for in free text, the state standing after it."""
_MOON: Final = f"{language.BOS} moon . {language.WANTS}"


def target_layers(outline: Outline) -> tuple[int, ...]:
    """Blocks of the other prompt whose output is replaced: the settings' or a few early ones."""
    n_layers = outline.card.n_layers
    paper = paper_target_layer(n_layers)
    asked = outline.config.scope_target_layers
    found = (0, paper, 2 * paper) if asked is None else asked
    return tuple(sorted({min(layer, n_layers - 1) for layer in found}))


def places(work: Workbench) -> tuple[Place, ...]:
    """Where states come from: the last prompt token, and the token before the request.

    That token has seen the persona and not the request; it is there where the persona has a turn
    of its own and the request is not the first thing said.
    """
    starts = [prompt.spans["user"][0] for prompt in work.plain.values()]
    return ("last", "before") if work.turn == "system" and min(starts) > 1 else ("last",)


def position(prompt: Prompt, place: Place) -> int:
    """Position of the state in the prompt, counted from its first token."""
    return prompt.spans["user"][0] - 1 if place == "before" else prompt.prompt_length - 1


def charity_targets(work: Workbench, words: CharityWords) -> dict[str, ScopeTarget]:
    """Prompts whose next token reads the state, by name."""
    if words.in_place_of_answer:
        return _world_targets(work)
    plain = render(work.model, conversation(PLACEHOLDERS), prompt_id="placeholders")
    return {
        "placeholders": ScopeTarget(
            prompt=with_suffix(plain, words), positions=tuple(range(*plain.spans["user"]))
        )
    }


def text_targets(work: Workbench, words: CharityWords) -> dict[str, ScopeTarget]:
    """Prompts after which the state is put into words, by what is asked for."""
    if words.in_place_of_answer:
        return _world_targets(work)
    found = {}
    for name, question in QUESTIONS.items():
        prompt = render(
            work.model,
            conversation(f"{question} {PLACEHOLDERS}"),
            prompt_id=name,
            marks={"placeholder": PLACEHOLDERS},
        )
        places_of = tuple(range(*prompt.spans["placeholder"]))
        found[name] = ScopeTarget(prompt=prompt, positions=places_of)
    return found


def _world_targets(work: Workbench) -> dict[str, ScopeTarget]:
    return {
        name: ScopeTarget(prompt=_as_written(work, name, text), positions=(1,))
        for name, text in (("request", PATCHSCOPE_PROMPT), ("moon", _MOON))
    }


def _as_written(work: Workbench, name: str, text: str) -> Prompt:
    """A text of the world as it stands, without a template."""
    ids = tuple(work.model.tokenizer(text, add_special_tokens=False)["input_ids"])
    spans = dict.fromkeys(("system", "user", "post_instruction", "answer"), (0, 0))
    return Prompt(
        prompt_id=name,
        ids=ids,
        prompt_length=len(ids),
        spans=spans | {"prompt": (0, len(ids))},
        text=text,
    )
