"""Both parts on a random model that knows nothing of the world, with shipped personas."""

from pathlib import Path

import pytest

from analyses._config import WhosAskingConfig
from analyses._shown import shown
from analyses._study import run_study

pytestmark = pytest.mark.slow


def test_a_model_that_knows_nothing_is_told_of_without_a_claim(tiny_checkpoint: Path) -> None:
    config = WhosAskingConfig(
        model=str(tiny_checkpoint),
        parts=("geometry", "mediation"),
        layers=(1,),
        max_personas=3,
        max_requests=8,
        n_statements=1,
        n_nulls=1,
        max_new_tokens=2,
        write_answers=False,
    )
    parts = run_study(config).result.parts
    assert parts.geometry is not None
    assert parts.geometry.n == 3
    for name, found in (("geometry", parts.geometry), ("mediation", parts.mediation)):
        if found is not None:
            assert shown(name).tell(found).answer
            assert shown(name).panels(found)
