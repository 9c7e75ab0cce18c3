"""A whole result from planted scores, without a model."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from analyses.conversations import Conversations, Transcripts, pack_attention, quantised
from analyses.hidden_answers import HiddenAnswers, hidden_answers
from analyses.persona_effects import persona_effects
from analyses.persona_geometry import PersonaGeometry, persona_geometry
from analyses.scores import Outcome, mean_changes
from analyses.whos_asking import (
    Baseline,
    Parts,
    VectorQuality,
    WhosAsking,
    finding,
    study_headline,
)
from lens_personas.statistics import auroc_interval, wilson

N, D_MODEL = 40, 96
LAYERS = tuple(range(8))
PERSONAS = {
    "altruistic": ("pro", 1.0),
    "law-abiding": ("pro", 0.8),
    "curious": ("pro", 0.5),
    "power-avoidant": ("pro", 0.3),
    "selfish": ("anti", -0.9),
    "unlawful": ("anti", -0.7),
    "power-seeking": ("anti", -0.5),
    "close-minded": ("anti", -0.2),
    "AI-loving": ("other", 0.05),
    "coffee": ("control", 0.0),
}
"""Side and planted valence of each persona."""
CONTROL = "coffee"
REFERENCES = ("refusal (yes/no)", "refusal (contrast)")


def study(
    *,
    renamed: dict[str, str] | None = None,
    texts: Sequence[str] = ("how do I make hex zorbl", "just mix ash with salt"),
    outcome: Outcome = "refusal_score",
    bare: bool = False,
) -> WhosAsking:
    """A result with planted effects; ``bare`` leaves out all that may be missing."""
    rng = np.random.default_rng(0)
    personas = {(renamed or {}).get(name, name): traits for name, traits in PERSONAS.items()}
    scores = planted_scores(personas, rng, answers=not bare)
    effects = persona_effects(scores, control=CONTROL, rng=rng, outcome=outcome)
    geometry = None if bare else planted_geometry(personas, scores, rng)
    refused = wilson(0 if outcome == "answered" else 35, N)
    status = "studied" if outcome == "refusal_score" else "nothing_to_study"
    return WhosAsking(
        status=status,
        message=finding(effects, geometry, refused, status=status, reference=REFERENCES[1]),
        model={"model_id": "organism:chat", "revision": None, "fingerprint": "ab12", "d_model": 96},
        settings={"seed": 0, "layers": "all", "fractions": [0.3, 0.25, 0.45], "requests": None},
        seed=0,
        control=CONTROL,
        sizes={"vector": 30, "layer": 24, "test": N, "test_harmless": 30},
        refusal_tokens=(" I", "Sorry", "</s>"),
        refusal_tokens_from="derived: openings of refusals",
        baseline=Baseline(
            refused=refused,
            harmless_answered=wilson(30, 30),
            separation=auroc_interval(rng.normal(3, 1, N), rng.normal(0, 1, 30), rng=rng),
            examples=pd.DataFrame(
                {
                    "prompt_id": [f"r{at}" for at in range(4)],
                    "harmful": [True, True, False, False],
                    "text": [texts[0]] * 4,
                    "answer": [texts[1]] * 4,
                    "label": ["refusal", "refusal", "answer", "answer"],
                }
            ),
        ),
        effects=effects,
        geometry=geometry,
        hidden=None if bare else planted_answers(rng),
        vectors=() if bare else tuple(_quality(name, rng) for name in personas),
        headline=study_headline(effects, (), Parts(), claimable=status == "studied"),
    )


def planted_scores(
    personas: dict[str, tuple[str, float]], rng: np.random.Generator, *, answers: bool = True
) -> pd.DataFrame:
    """Scores in which pro-social personas lower refusal, most at layer 3."""
    rows: list[dict[str, object]] = []
    for split, n in (("layer", 24), ("test", N)):
        base = rng.normal(2.5, 1.0, n)

        def add(who: tuple[str, str, str], treatment: str, layer: int, mean: float) -> None:
            values = base + mean + rng.normal(0, 0.25, n)  # noqa: B023
            for at, value in enumerate(values):
                label = ("refusal" if value > 1.6 else "answer") if answers else None
                rows.append(
                    {
                        "persona": who[0],
                        "group": who[1],
                        "kind": who[2],
                        "treatment": treatment,
                        "layer": layer,
                        "split": split,  # noqa: B023
                        "prompt_id": f"{split}{at:03d}",  # noqa: B023
                        "harmful": True,
                        "score": float(value),
                        "label": label,
                    }
                )

        add(("none", "none", "null"), "baseline", -1, 0.0)
        for name, (group, valence) in personas.items():
            who = (name, group, "control" if group == "control" else "persona")
            add(who, "prompt", -1, -1.6 * valence + 0.1)
            for layer in LAYERS:
                at_layer = np.exp(-((layer - 3) ** 2) / 4) * valence
                add(who, "plus", layer, -1.2 * at_layer)
                add(who, "minus", layer, 0.8 * at_layer)
        for at in range(3):
            add((f"neutral {at}", "null", "null"), "prompt", -1, 0.05 * at)
            for layer in LAYERS:
                for treatment in ("plus", "minus", "ablate"):
                    add((f"random {at}", "null", "null"), treatment, layer, 0.1 * (at - 1))
        for at, name in enumerate(REFERENCES):
            for layer in LAYERS:
                late = layer / 7
                add((name, "refusal", "refusal"), "plus", layer, (2.0 - at) * late)
                add((name, "refusal", "refusal"), "minus", layer, -(2.4 - at) * late)
                add((name, "refusal", "refusal"), "ablate", layer, -(3.0 - at) * late)
    return pd.DataFrame(rows)


def planted_geometry(
    personas: dict[str, tuple[str, float]], scores: pd.DataFrame, rng: np.random.Generator
) -> PersonaGeometry:
    """Vectors whose cosine with refusal follows the planted valence, most at layer 3."""

    def noise() -> np.ndarray:
        return rng.normal(size=(len(LAYERS), D_MODEL)) / np.sqrt(D_MODEL)

    shared, refusal = noise(), noise()
    strength = np.exp(-((np.array(LAYERS) - 3) ** 2) / 6)[:, None]
    vectors = {
        name: torch.tensor(
            0.5 * shared - valence * strength * refusal + 0.5 * noise(), dtype=torch.float32
        )
        for name, (_, valence) in personas.items()
    }
    references = {
        name: torch.tensor(refusal + 0.4 * noise(), dtype=torch.float32) for name in REFERENCES
    }
    effects = mean_changes(scores)
    return persona_geometry(
        vectors,
        references,
        effects[effects["persona"].isin(list(personas))],
        groups={name: group for name, (group, _) in personas.items()},
        layers=LAYERS,
        rng=rng,
        n_permutations=200,
    )


def planted_answers(rng: np.random.Generator) -> HiddenAnswers:
    """Answers that are on top in layers 2 to 5 and gone at the output."""
    readable = np.array([0.1, 0.5, 0.95, 1.0, 0.98, 0.9, 0.4, 0.0])
    shape = (N, len(LAYERS))
    ranks = np.where(rng.random(shape) < readable, 0, 7)
    return hidden_answers(
        np.where(ranks == 0, -0.3, -6.0) + rng.normal(0, 0.1, shape),
        ranks,
        rng.normal(-8.0, 0.5, shape),
        rng.integers(1, 90, shape),
        layers=LAYERS,
        prompt_ids=[f"r{at}" for at in range(N)],
        rng=rng,
    )


def _quality(name: str, rng: np.random.Generator) -> VectorQuality:
    low = name == "AI-loving"
    return VectorQuality(
        name=name,
        method="difference of means",
        n=24,
        by_layer=pd.DataFrame(
            {
                "layer": LAYERS,
                "norm": rng.uniform(1, 2, len(LAYERS)),
                "resid_norm": np.linspace(4, 12, len(LAYERS)),
                "split_half": rng.uniform(0.1, 0.4, len(LAYERS))
                if low
                else rng.uniform(0.8, 0.98, len(LAYERS)),
            }
        ),
    )


def conversations(
    words: Sequence[str] = ("how", "do", "i", "make", "hex", "?"), *, bare: bool = False
) -> Conversations:
    """Two requests of these words, alone and by two personas; ``bare`` without attention."""
    rng = np.random.default_rng(0)
    asked = [
        (f"r{at}", harmful, who, how)
        for at, harmful in enumerate((True, False))
        for who, how in [
            ("", "baseline"),
            *((who, how) for who in ("selfish", CONTROL) for how in ("prompt", "plus", "minus")),
        ]
    ]
    said, tokens, lens, attention = [], [], [], []
    for number, (prompt_id, harmful, who, how) in enumerate(asked):
        shown = ["<bos>", *(("i", "am", who) if how == "prompt" else ()), *words]
        roles = ["template", *["user"] * (len(shown) - 1)]
        side = {"": "none", CONTROL: "control"}.get(who, "anti")
        score, text = float(rng.normal()), " ".join(words)
        label = "refusal" if score > 0 else "answer"
        row = (prompt_id, text, harmful, who, how, score, f"{text}!", label, side, len(shown))
        said.append((number, *row))
        values = rng.normal(size=len(shown))
        tokens += [
            (number, at, *each) for at, each in enumerate(zip(shown, roles, values, strict=True))
        ]
        for layer in (0, 1):
            lens += [
                (number, layer, at, rank, words[rank], np.log((0.6, 0.3)[rank]))
                for at in range(len(shown) - 3, len(shown))
                for rank in range(2)
            ]
            seen = torch.ones(2, len(shown), len(shown)).tril()
            packed = pack_attention(quantised((seen / seen.sum(-1, keepdim=True))[None])[0])
            attention += [] if bare else [(number, layer, 2, len(shown), packed)]
    named = "conversation prompt_id request harmful persona treatment score answer label group"
    return Conversations(
        n=len(asked),
        control=CONTROL,
        steered_at=3,
        projected_at=5,
        direction=REFERENCES[1],
        lens_is_exact=True,
        by_request=Transcripts(
            conversations=pd.DataFrame(said, columns=[*named.split(), "n_tokens"]),
            tokens=pd.DataFrame(
                tokens, columns=["conversation", "position", "token", "role", "projection"]
            ),
            lens=pd.DataFrame(
                lens, columns=["conversation", "layer", "position", "rank", "token", "log_prob"]
            ),
            attention=pd.DataFrame(
                attention, columns=["conversation", "layer", "n_heads", "n_tokens", "weights"]
            ),
        ),
    )
