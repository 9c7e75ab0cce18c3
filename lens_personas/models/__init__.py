"""Models with hooks: load, render conversations, run, score, generate.

The only folder that imports TransformerLens; the differences between its classes and
versions end here.
"""

from lens_personas.models._backends import BridgeModel, HookCountError, HookedModel
from lens_personas.models._batch import batches, pad
from lens_personas.models._card import takes_system
from lens_personas.models._chat import render
from lens_personas.models._drive import BlockDriver, BlockRun, Frame, block_driver
from lens_personas.models._final import FrozenFinal, frozen_final
from lens_personas.models._generate import Generation, generate, inverse_sample
from lens_personas.models._gradients import (
    GradientBatch,
    LastScore,
    SiteGradients,
    gradient_batches,
    reads_in_sequence,
    site_gradients,
)
from lens_personas.models._heads import (
    HeadWeights,
    attention_reads,
    check_heads_add_up,
    check_values_mix,
    head_weights,
    per_head,
    value_weights,
    written_by_heads,
)
from lens_personas.models._keys_values import KeysValues
from lens_personas.models._layout import lay_out_weights
from lens_personas.models._load import load_model
from lens_personas.models._plain import plain_prompt
from lens_personas.models._run import (
    DEFAULT_TOKEN_BUDGET,
    BatchRun,
    answer_log_probs,
    check_places,
    last_resid,
    map_last_logits,
    may_share,
    model_batches,
    run_batch,
)
from lens_personas.models._source import ModelLoadError, SlowDTypeWarning
from lens_personas.models._tokens import token_strings, visible
from lens_personas.models._tune import tuned_copy
from lens_personas.models._types import (
    Backend,
    LensModel,
    ModelCard,
    Prompt,
    Side,
    TokenBatch,
    Turn,
)

__all__ = [
    "DEFAULT_TOKEN_BUDGET",
    "Backend",
    "BatchRun",
    "BlockDriver",
    "BlockRun",
    "BridgeModel",
    "Frame",
    "FrozenFinal",
    "Generation",
    "GradientBatch",
    "HeadWeights",
    "HookCountError",
    "HookedModel",
    "KeysValues",
    "LastScore",
    "LensModel",
    "ModelCard",
    "ModelLoadError",
    "Prompt",
    "Side",
    "SiteGradients",
    "SlowDTypeWarning",
    "TokenBatch",
    "Turn",
    "answer_log_probs",
    "attention_reads",
    "batches",
    "block_driver",
    "check_heads_add_up",
    "check_places",
    "check_values_mix",
    "frozen_final",
    "generate",
    "gradient_batches",
    "head_weights",
    "inverse_sample",
    "last_resid",
    "lay_out_weights",
    "load_model",
    "map_last_logits",
    "may_share",
    "model_batches",
    "pad",
    "per_head",
    "plain_prompt",
    "reads_in_sequence",
    "render",
    "run_batch",
    "site_gradients",
    "takes_system",
    "token_strings",
    "tuned_copy",
    "value_weights",
    "visible",
    "written_by_heads",
]
