"""A tuned lens: for each layer the affine map that brings its residual to the last layer's."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from lens_personas.activations import check_same_model
from lens_personas.models import ModelCard


@dataclass(frozen=True, kw_only=True)
class LensSource:
    """The model a lens was trained on; None for what is not known of it."""

    model_id: str
    """Identifier on the model's card."""
    d_model: int
    """Width of the residual stream."""
    n_layers: int
    """Number of blocks."""
    fingerprint: str | None
    """Hash of the config and of parameters spread over the model."""
    weight_processing: str | None
    """What was done to the weights after reading."""
    tokenizer_hash: str | None
    """Hash of the vocabulary and special tokens."""
    chat_template_hash: str | None
    """Hash of the chat template; None also where there is none."""

    @classmethod
    def of(cls, card: ModelCard) -> "LensSource":
        """What the card says."""
        return cls(**{name: getattr(card, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class LensTraining:
    """How a lens was trained, and how well it does on prompts it was not trained on."""

    n_tokens: int
    """Positions it was trained on."""
    n_held_out: int
    """Positions of the prompts that were held out."""
    steps: int
    """Steps of the optimiser at each layer."""
    batch_size: int
    """Positions in a step."""
    lr: float
    """First learning rate, as :func:`train_tuned_lens` counts it."""
    weight_decay: float
    """Pull towards the identity."""
    seed: int
    """Seed of the held-out prompts and the order of the positions."""
    kl_before: tuple[float, ...]
    """Held-out KL(final ‖ logit lens) in nats by layer, 0 or more."""
    kl_after: tuple[float, ...]
    """Held-out KL(final ‖ tuned lens) in nats by layer, 0 or more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TunedLens:
    """An affine translator ``h + W h + b`` a layer, at ``resid_post``; zeros are the logit lens.

    It is trained to say what the last layer will say. Of a model that refuses it learns to show
    the refusal: it tells at which layer the refusal is *decided*. An answer that it does not
    show can still be there; hold the logit lens beside it.
    """

    weights: Float[Tensor, "layer d_model d_model"]
    """``W`` of each layer; rows are the components written."""
    biases: Float[Tensor, "layer d_model"]
    """``b`` of each layer."""
    layers: tuple[int, ...]
    """Layers that have a translator, counted from 0; the last one of the model never does."""
    source: LensSource
    """The model it was trained on."""
    training: LensTraining | None
    """How it was trained; None where that is not known."""

    def translate(
        self, resid: Float[Tensor, "read d_model"], layer: int
    ) -> Float[Tensor, "read d_model"]:
        """``resid_post`` of a layer as the last one would have it, in the dtype it came in.

        That of the last layer is given back as it is.

        Raises:
            ValueError: If the layer has no translator.
        """
        if layer == self.source.n_layers - 1:
            return resid
        self._check_layers([layer])
        at = self.layers.index(layer)
        weight, bias = self.weights[at].to(resid.device), self.biases[at].to(resid.device)
        return translated(resid.float(), weight, bias).to(resid.dtype)

    def check(self, card: ModelCard, layers: Sequence[int]) -> None:
        """Refuse another model, and layers that have no translator.

        Raises:
            MismatchError: If it was trained on another model; both sides are named.
            ValueError: If a layer has no translator.
        """
        facts = asdict(self.source)
        unknown = [name for name, value in facts.items() if value is None]
        check_same_model(facts, card, what="the tuned lens", allow_mismatch=unknown)
        self._check_layers([layer for layer in layers if layer != card.n_layers - 1])

    def _check_layers(self, layers: Sequence[int]) -> None:
        missing = sorted({*layers} - {*self.layers})
        if missing:
            raise ValueError(
                f"expected layers that the tuned lens was trained at, {list(self.layers)}, got "
                f"{missing}; train it with layers=None for all"
            )


def translated(
    resid: Float[Tensor, "read d_model"],
    weight: Float[Tensor, "d_model d_model"],
    bias: Float[Tensor, " d_model"],
) -> Float[Tensor, "read d_model"]:
    """``h + W h + b`` of each row."""
    added = einsum(resid, weight, "read d_in, d_out d_in -> read d_out")
    moved: Tensor = resid + added + bias
    return moved


def untrained(source: LensSource, layers: Sequence[int]) -> TunedLens:
    """The lens that changes nothing: the logit lens."""
    kept = tuple(layer for layer in dict.fromkeys(layers) if layer != source.n_layers - 1)
    return TunedLens(
        weights=torch.zeros(len(kept), source.d_model, source.d_model),
        biases=torch.zeros(len(kept), source.d_model),
        layers=kept,
        source=source,
        training=None,
    )
