"""Twenty small studies of every part with shuffled labels; prints what each of them claims."""

import json
import sys

import torch

from analyses._config import WhosAskingConfig
from analyses._part_names import PAPER_PARTS
from analyses._study import run_study
from lens_personas.models import LensModel, load_model

SEEDS = range(20)
TINY = {
    "parts": PAPER_PARTS,
    "layers": (3,),
    "max_personas": 3,
    "max_requests": 26,
    # 14 harmful requests to test on: with 12, no p could survive the correction.
    "fractions": (0.25, 0.2, 0.55),
    "n_nulls": 2,
    "max_new_tokens": 4,
    "write_answers": False,
    "scope_target_layers": (0,),
    "scope_scales": (4.0,),
    "doses": (0.5, 1.0),
    "early_lens_steps": 0,
    "lengths": (1,),
    "manipulation_questions": 3,
}
"""Every part, at a size at which twenty studies take minutes."""


def claims(model: LensModel, seed: int) -> dict[str, object]:
    config = WhosAskingConfig.model_validate(TINY | {"seed": seed, "shuffle_labels": True})
    headline = run_study(config, model=model).result.headline
    return {
        "seed": seed,
        "n_claims": len(headline.claims),
        "held": [(claim.part, claim.statement) for claim in headline.held],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    chat = load_model("organism:chat", device="cpu")
    json.dump([claims(chat, seed) for seed in SEEDS], sys.stdout)
