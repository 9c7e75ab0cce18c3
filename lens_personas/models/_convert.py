"""A transformers model as a ``HookedTransformer``, its weights as they are."""

import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lens_personas.models._source import ModelLoadError, Source

# TransformerLens guesses the architecture from these words in a folder's path.
_TRAPS = ("llama", "gemma", "bert", "t5", "qwen", "hubert", "wav2vec")
# TransformerLens keeps rotary tables of this many positions in every block.
_LONGEST_ROTARY = 8192


class UnknownArchitectureError(ModelLoadError):
    """``HookedTransformer`` does not know this architecture."""


def as_hooked_transformer(hf_model: Any, source: Source) -> Any:
    """The ``HookedTransformer`` of a transformers model: nothing folded, centred or processed.

    Raises:
        UnknownArchitectureError: If TransformerLens has no converter for it.
        ModelLoadError: If the temporary folder's path misleads TransformerLens.
    """
    from transformer_lens import HookedTransformer, loading_from_pretrained

    config = hf_model.config
    with _neutral_folder() as folder:
        _write_config(config, folder)
        try:
            cfg = loading_from_pretrained.get_pretrained_model_config(
                folder, device=source.device, dtype=source.torch_dtype
            )
            _correct(cfg, config, source.model_id)
            state = loading_from_pretrained.get_pretrained_state_dict(
                folder, cfg, hf_model=hf_model, dtype=source.torch_dtype
            )
        # What the converters raise on a config or a module they do not expect.
        except (NotImplementedError, ValueError, AttributeError, KeyError) as error:
            raise UnknownArchitectureError(
                f"expected an architecture that HookedTransformer knows, got "
                f"{config.model_type!r} ({error}); use backend='bridge'"
            ) from error
    with warnings.catch_warnings():
        # TransformerLens 3.9 says that 4.0 drops this class; 4.x takes the bridge here.
        warnings.filterwarnings("ignore", "HookedTransformer is deprecated", DeprecationWarning)
        wrapped = HookedTransformer(cfg, tokenizer=None, move_to_device=True)
    wrapped.load_and_process_state_dict(
        state,
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    return wrapped


@contextmanager
def _neutral_folder() -> Iterator[str]:
    """A temporary folder whose path holds none of the words that mislead TransformerLens."""
    # Random names hold one now and then ("t5"): draw another.
    for _ in range(20):
        with tempfile.TemporaryDirectory(prefix="lens-") as folder:
            if not any(word in folder.lower() for word in _TRAPS):
                yield folder
                return
    raise ModelLoadError(
        f"expected a temporary folder without {', '.join(_TRAPS)} in its path, which "
        f"TransformerLens takes for the architecture, got {tempfile.gettempdir()!r}; set TMPDIR"
    )


def _write_config(config: Any, folder: str) -> None:
    """Put the config alone where TransformerLens can read it without guessing from the path."""
    fields = config.to_dict()
    fields["architectures"] = fields.get("architectures") or [_class_name(config)]
    # transformers 5 no longer writes it, TransformerLens reads it.
    fields.setdefault("n_ctx", getattr(config, "max_position_embeddings", None))
    (Path(folder) / "config.json").write_text(json.dumps(fields, default=str), encoding="utf-8")


def _class_name(config: Any) -> str:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[config.model_type]
    return name if isinstance(name, str) else str(name[0])


def _correct(cfg: Any, config: Any, model_id: str) -> None:
    """Repair what TransformerLens derives wrongly from a config that is not the usual one."""
    cfg.model_name = model_id
    # Else it would look for a tokenizer in the temporary folder.
    cfg.tokenizer_name = None
    cfg.n_ctx = getattr(config, "max_position_embeddings", None) or cfg.n_ctx
    if cfg.positional_embedding_type == "rotary":
        cfg.n_ctx = min(cfg.n_ctx, _LONGEST_ROTARY)
    head_dim = getattr(config, "head_dim", None)
    if head_dim and head_dim != cfg.d_head:
        if cfg.rotary_dim == cfg.d_head:
            cfg.rotary_dim = head_dim
        cfg.d_head = head_dim
        cfg.attn_scale = head_dim**0.5
