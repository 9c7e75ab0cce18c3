"""The whole study: shuffled labels make no claim, true ones find the law of the world."""

import json
import runpy
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from analyses._assemble import StudyRun
from analyses._config import WhosAskingConfig
from analyses._part_names import PAPER_PARTS, field_of
from analyses._study import run_study
from lens_personas.models import LensModel, load_model

ONCE = pytest.mark.skipif(
    version("transformer-lens").startswith("4."),
    reason="chance does not hang on the class of the model: run with TransformerLens 3.9",
)

SCRIPT = Path(__file__).with_name("shuffled_studies.py")
TINY = runpy.run_path(str(SCRIPT))["TINY"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> LensModel:
    return load_model("organism:chat", device="cpu")


@ONCE
def test_with_labels_shuffled_at_least_18_of_20_studies_claim_nothing() -> None:
    # In a process of its own, where no shape is checked: it takes half the time.
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    studies = json.loads(done.stdout)
    assert len(studies) == 20
    # A study that tries nothing would pass as well.
    assert all(study["n_claims"] > 15 for study in studies)
    claiming = [study for study in studies if study["held"]]
    assert len(claiming) <= 2, claiming


@pytest.fixture(scope="module")
def found(model: LensModel) -> StudyRun:
    return run_study(WhosAskingConfig.model_validate(TINY), model=model)


def test_every_part_has_a_result(found: StudyRun) -> None:
    for name in PAPER_PARTS:
        assert getattr(found.result.parts, field_of(name)) is not None, name


def test_with_true_labels_the_same_study_claims_personas(found: StudyRun) -> None:
    held = found.result.headline.held
    assert any(claim.part == "effects" for claim in held)
    assert all(claim.p_corrected < found.result.headline.alpha for claim in held)
