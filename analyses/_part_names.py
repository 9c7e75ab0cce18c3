"""The parts of a full study by name; no import that takes time."""

from typing import Literal, get_args

PartName = Literal[
    "layers",
    "categories",
    "invariance",
    "manipulation",
    "geometry",
    "dose-response",
    "early-decoding",
    "patchscopes",
    "mediation",
    "patching",
    "attribution",
    "persona-circuit",
    "conversations",
]
"""A part of the study, in the order in which a report shows them."""

PART_NAMES: tuple[PartName, ...] = get_args(PartName)
"""All parts."""

PAPER_PARTS: tuple[PartName, ...] = PART_NAMES[: PART_NAMES.index("mediation") + 1]
"""Parts that follow the paper: those of a full study. The others look inside, and run alone."""

EXPLORED: tuple[PartName, ...] = ("conversations",)
"""Parts that claim nothing and cost little: every preset has them, so that a report can be
looked into."""

PART_QUESTIONS: dict[PartName, str] = {
    "layers": "Does the effect of steering survive a test over all layers, and windows of them?",
    "categories": "What is asked for: does the effect of who asks hang on it?",
    "invariance": "How far does refusal differ between users, and between groups of them?",
    "manipulation": "Does a persona's vector make the model see such a user?",
    "geometry": "What do the angles between vectors tell, beyond what they share?",
    "dose-response": "How much text, how long a vector, and at what cost elsewhere?",
    "early-decoding": "What do early layers say that the last one refuses, beyond chance?",
    "patchscopes": "How does the model read the request, by its own account?",
    "mediation": "Does the charitable reading, or the refusal direction, carry the effect?",
    "patching": "Which states, swapped between two users, carry who asks to the refusal?",
    "attribution": "Do gradients foretell those swaps, and which edges between parts do they find?",
    "persona-circuit": "Along which edges between its parts does who asks reach the refusal?",
    "conversations": "What goes on inside when a request is asked, token by token?",
}
"""What each part asks."""


def field_of(name: PartName) -> str:
    """Field of the result that holds the part.

    >>> field_of("dose-response")
    'dose_response'

    """
    return name.replace("-", "_")
