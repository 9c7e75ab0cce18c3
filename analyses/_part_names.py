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
]
"""A part of the study, in the order in which a report shows them."""

PART_NAMES: tuple[PartName, ...] = get_args(PartName)
"""All parts."""

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
}
"""What each part asks."""


def field_of(name: PartName) -> str:
    """Field of the result that holds the part.

    >>> field_of("dose-response")
    'dose_response'

    """
    return name.replace("-", "_")
