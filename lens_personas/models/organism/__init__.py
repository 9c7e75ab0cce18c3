"""The organism: a tiny trained pair of models on a fictional world whose truth is known."""

from lens_personas.models.organism import _language as language
from lens_personas.models.organism._behaviours import (
    BehaviourKind,
    BehaviourLaw,
    behaviour_law,
    organism_behaviours,
)
from lens_personas.models.organism._build import build_world
from lens_personas.models.organism._checkpoints import (
    Shipped,
    checkpoint_path,
    load_world,
    shipped_path,
)
from lens_personas.models.organism._data import (
    RefusalStatements,
    SelfStatements,
    refusal_statements,
    self_statements,
    world_personas,
    world_requests,
)
from lens_personas.models.organism._language import (
    CARE,
    HARM,
    PATCHSCOPE_PROMPT,
    READING_SUFFIX,
    REFUSAL,
)
from lens_personas.models.organism._train import (
    StageConfig,
    TrainConfig,
    TrainedOrganism,
    train_organism,
)
from lens_personas.models.organism._world import Attribute, Item, World, WorldConfig

__all__ = [
    "CARE",
    "HARM",
    "PATCHSCOPE_PROMPT",
    "READING_SUFFIX",
    "REFUSAL",
    "Attribute",
    "BehaviourKind",
    "BehaviourLaw",
    "Item",
    "RefusalStatements",
    "SelfStatements",
    "Shipped",
    "StageConfig",
    "TrainConfig",
    "TrainedOrganism",
    "World",
    "WorldConfig",
    "behaviour_law",
    "build_world",
    "checkpoint_path",
    "language",
    "load_world",
    "organism_behaviours",
    "refusal_statements",
    "self_statements",
    "shipped_path",
    "train_organism",
    "world_personas",
    "world_requests",
]
