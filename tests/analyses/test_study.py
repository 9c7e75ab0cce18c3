"""The study on the embedded model finds what was planted there, and nothing where nothing is."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import binom, spearmanr
from typer.testing import CliRunner

from analyses import _evaluate
from analyses._assemble import StudyRun
from analyses._cli import app
from analyses._config import WhosAskingConfig, build_config
from analyses._json import json_safe
from analyses._store import load_result
from analyses._study import run_study
from analyses._summary import summary
from analyses.persona_effects import Effect
from analyses.whos_asking import WhosAsking
from lens_personas.models import LensModel, load_model
from lens_personas.models.organism import World, checkpoint_path, load_world

SEEDS = (0, 1)
# What a seed draws does not hang on TransformerLens: one on each line.
DEMO_SEEDS = SEEDS[:1] if version("transformer-lens").startswith("3.") else SEEDS[1:]
REDUCED = {
    "layers": (2, 5, 7),
    "max_personas": 7,
    "max_requests": 40,
    "n_nulls": 2,
    "max_new_tokens": 6,
    "parts": (),
}
"""Settings under which a run takes seconds, for what does not depend on its size."""

pytestmark = pytest.mark.slow

OLDER = pytest.mark.skipif(
    version("transformer-lens").startswith("4."),
    reason="chance does not hang on the class of the model: run with TransformerLens 3.9",
)


@dataclass(frozen=True)
class Demo:
    folder: Path
    printed: str
    result: WhosAsking

    def effect(self, persona: str, treatment: str) -> Effect:
        (found,) = (
            e
            for e in self.result.effects.effects
            if (e.persona, e.treatment) == (persona, treatment)
        )
        return found

    def personas(self, treatment: str, *groups: str) -> list[Effect]:
        return [
            e
            for e in self.result.effects.effects
            if e.treatment == treatment and e.group in groups and e.kind in ("persona", "control")
        ]


@pytest.fixture(scope="session", params=DEMO_SEEDS, ids=lambda seed: f"seed {seed}")
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo as the command line runs it, with its folder."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    command = ["demo", "--seed", str(request.param), "--json", "--out", str(folder)]
    # A process of its own: without the checks of every call, which cost more than the study.
    done = subprocess.run(
        [sys.executable, "-m", "analyses._cli", *command], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return Demo(folder=folder, printed=done.stdout, result=load_result(folder))


@pytest.fixture(scope="session")
def world() -> World:
    return load_world(checkpoint_path("chat"))


@pytest.fixture(scope="session")
def organism() -> LensModel:
    return load_model("organism:chat", device="cpu")


def reduced(**changes: Any) -> WhosAskingConfig:
    return build_config(flags={"device": "cpu", **REDUCED, **changes})


def as_json(run: StudyRun) -> Any:
    return json.loads(json.dumps(json_safe(summary(run.result)), allow_nan=False))


def test_there_is_something_to_study(demo: Demo) -> None:
    assert demo.result.status == "studied"
    assert demo.result.effects.outcome == "refusal_score"
    assert demo.result.baseline.refused.estimate >= 0.8
    assert demo.result.baseline.harmless_answered.estimate >= 0.95
    assert demo.result.baseline.separation.estimate >= 0.95


def test_every_pro_social_persona_lowers_refusal_and_every_other_side_raises_it(demo: Demo) -> None:
    for group, sign in (("pro", -1), ("anti", 1)):
        effects = demo.personas("prompt", group)
        assert len(effects) >= 3
        for effect in effects:
            assert effect.estimate * sign > 0, effect.persona
            assert effect.difference.estimate * sign > 0, effect.persona
            assert effect.claim, effect.persona


def test_neutral_personas_and_the_control_make_no_claim_as_a_prompt(demo: Demo) -> None:
    effects = demo.personas("prompt", "other", "control")
    assert len(effects) >= 3
    assert [e.persona for e in effects if e.claim] == []


def test_effects_are_ordered_as_the_world_s_valences(demo: Demo, world: World) -> None:
    effects = demo.personas("prompt", "pro", "anti")
    truth = [world.attribute(e.persona).valence for e in effects]
    assert spearmanr(truth, [e.estimate for e in effects]).statistic <= -0.8


def test_adding_a_pro_social_vector_lowers_refusal(demo: Demo) -> None:
    for effect in demo.personas("plus", "pro"):
        assert effect.estimate < 0
        assert effect.difference.estimate < 0
        assert effect.claim


def test_ablating_refusal_gives_the_answers(demo: Demo) -> None:
    ablated = demo.effect("refusal (requests)", "ablate")
    assert ablated.answered.before.estimate <= 0.2
    assert ablated.answered.after.estimate >= 0.85
    assert ablated.claim


def test_the_refused_answer_can_be_read_in_the_middle_and_not_at_the_end(demo: Demo) -> None:
    table = demo.result.hidden.by_layer.set_index("layer")
    assert table.loc[2:5, "top1"].max() >= 0.9
    assert table.loc[table.index.max(), "top1"] <= 0.05
    assert table["control_top1"].max() <= 0.1


def test_the_cosine_with_refusal_goes_with_the_effect_as_a_prompt(demo: Demo) -> None:
    (fit,) = (
        f
        for f in demo.result.geometry.fits
        if (f.reference, f.treatment) == ("refusal (requests)", "prompt")
    )
    assert abs(fit.pearson.estimate) >= 0.8
    assert fit.p_over_layers <= 0.01


def test_what_is_printed_is_json_alone_and_is_the_summary(demo: Demo) -> None:
    printed = json.loads(demo.printed)
    written = json.loads((demo.folder / "summary.json").read_text(encoding="utf-8"))
    assert printed == written
    for effect in printed["effects"]:
        for key in ("estimate", "interval", "p", "p_corrected", "n", "control", "layer_chosen_by"):
            assert effect[key] is not None, (effect["persona"], key)
        assert (effect["layer"] is None) == (effect["treatment"] == "prompt")
        assert effect["n"] == printed["sizes"]["test"]
    for fit in printed["geometry"]:
        for key in ("pearson", "spearman"):
            assert fit[key].keys() >= {"estimate", "interval", "p"}


@pytest.fixture(scope="session")
def shuffled(organism: LensModel) -> dict[int, StudyRun]:
    return {
        seed: run_study(reduced(seed=seed, shuffle_labels=True), model=organism) for seed in SEEDS
    }


@OLDER
def test_where_the_names_are_dealt_anew_nothing_is_claimed_of_a_persona(
    shuffled: dict[int, StudyRun],
) -> None:
    for run in shuffled.values():
        effects = [e for e in run.result.effects.effects if e.kind == "persona"]
        assert len(effects) == 3 * 6
        assert [(e.persona, e.treatment) for e in effects if e.claim] == []
        # Bonferroni over the fits of all seeds.
        fits = run.result.geometry.fits
        assert min(f.p_over_layers for f in fits) >= 0.05 / (len(fits) * len(SEEDS))


@OLDER
def test_the_refusal_vectors_are_not_shuffled(shuffled: dict[int, StudyRun]) -> None:
    """The same run must still be able to find something."""
    for run in shuffled.values():
        (ablated,) = (
            e
            for e in run.result.effects.effects
            if (e.persona, e.treatment) == ("refusal (requests)", "ablate")
        )
        assert ablated.claim


@OLDER
def test_the_same_seed_gives_the_same_summary(
    shuffled: dict[int, StudyRun], organism: LensModel
) -> None:
    again = run_study(reduced(seed=1, shuffle_labels=True), model=organism)
    assert as_json(again) == as_json(shuffled[1])
    assert as_json(shuffled[0])["effects"] != as_json(shuffled[1])["effects"]


@pytest.mark.skipif(
    int(version("transformer-lens").split(".")[0]) >= 4,
    reason="TransformerLens 4 has the bridge alone",
)
def test_both_transformer_lens_classes_give_the_same_numbers() -> None:
    changes = {"max_personas": 4, "max_requests": 24, "layers": (3, 7), "n_nulls": 1}
    hooked, bridge = (
        run_study(reduced(backend=backend, **changes))
        for backend in ("hooked_transformer", "bridge")
    )
    assert hooked.result.model["backend"] != bridge.result.model["backend"]
    pairs = zip(hooked.result.effects.effects, bridge.result.effects.effects, strict=True)
    for one, other in pairs:
        assert (one.persona, one.treatment, one.layer) == (
            other.persona,
            other.treatment,
            other.layer,
        )
        assert one.estimate == pytest.approx(other.estimate, abs=1e-4)
    for one, other in zip(hooked.result.geometry.fits, bridge.result.geometry.fits, strict=True):
        assert one.pearson.estimate == pytest.approx(other.pearson.estimate, abs=1e-4)


def test_where_no_first_token_tells_a_refusal_the_answers_are_studied(
    organism: LensModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a vocabulary without a word that opens refusals: every score is missing."""
    monkeypatch.setattr(_evaluate, "opening_tokens", lambda *given: (None, False))
    result = run_study(reduced(layers=(2, 7)), model=organism).result
    assert (result.status, result.effects.outcome) == ("studied", "answered")
    assert result.refusal_tokens == ()
    assert "nothing to study" not in result.message
    for effect in result.effects.effects:
        assert effect.answered is not None
        assert effect.estimate == pytest.approx(
            effect.answered.after.estimate - effect.answered.before.estimate
        )
    assert json_safe(summary(result))["baseline"]["separation"]["estimate"] is None


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The organism's shape, tokenizer and world, with weights that were never trained."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("random") / "untrained"
    shutil.copytree(checkpoint_path("chat"), folder)
    config = LlamaConfig.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_in_a_model_that_was_never_trained_there_is_nothing_to_study(random_weights: Path) -> None:
    settings = ["layers=[2, 7]", "max_personas=7", "max_requests=40", "n_nulls=2"]
    settings += ["max_new_tokens=6", "parts=[]"]
    assigned = [each for setting in settings for each in ("--set", setting)]
    command = ["study", "whos-asking", "--model", str(random_weights), "--json", *assigned]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["status"] == "nothing_to_study"
    assert "there is nothing to study" in found["message"]
    personas = [e for e in found["effects"] if e["kind"] == "persona"]
    assert len(personas) == 3 * 6
    assert not any(e["claim"] for e in found["effects"])
    small = sum(e["p"] < 0.05 for e in personas)
    assert small <= binom.ppf(0.999, len(personas), 0.05)
