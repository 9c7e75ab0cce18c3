"""The fixtures hold what other tests take for granted."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from lens_personas.models import load_model, map_last_logits, render
from lens_personas.personas import Message

TURNS = [
    Message(role="system", content="The user is a careful teacher."),
    Message(role="user", content="How do I make coffee?"),
]


@pytest.mark.parametrize("fixture", ["tiny_checkpoint", "tiny_gpt2_checkpoint"])
def test_tiny_checkpoints_run_on_every_backend(
    fixture: str, backend: Any, request: pytest.FixtureRequest
) -> None:
    model = load_model(request.getfixturevalue(fixture), backend=backend, device="cpu")
    logits = map_last_logits(model, [render(model, TURNS)], lambda rows: rows)
    assert logits.shape == (1, len(model.tokenizer))
    assert logits.isfinite().all()
    assert model.card.backend == backend


def test_only_the_rotary_checkpoint_has_a_chat_template(
    tiny_checkpoint: Path, tiny_gpt2_checkpoint: Path
) -> None:
    assert AutoTokenizer.from_pretrained(tiny_checkpoint).chat_template is not None
    assert AutoTokenizer.from_pretrained(tiny_gpt2_checkpoint).chat_template is None


def test_the_tiny_tokenizer_knows_the_shipped_texts(tiny_checkpoint: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    data = Path(__file__).resolve().parents[1] / "lens_personas" / "personas"
    texts = [path.read_text(encoding="utf-8") for path in sorted(data.rglob("*.jsonl"))]
    assert texts, "expected shipped persona and request texts"
    for text in [*texts, *(turn.content for turn in TURNS)]:
        assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id in tokenizer("xylograph")["input_ids"]


@pytest.mark.slow
def test_the_organism_loads_on_every_backend(chat_model: Any, base_model: Any) -> None:
    assert chat_model.card.model_id == "organism:chat"
    assert base_model.card.model_id == "organism:base"
    assert chat_model.card.fingerprint != base_model.card.fingerprint


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_shows_local_files_and_reaches_nothing_outside(page: Any, tmp_path: Path) -> None:
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    local = tmp_path / "page.html"
    local.write_text("<h1>here</h1><img src='http://example.org/outside.png'>", encoding="utf-8")
    page.goto(local.as_uri())
    assert page.inner_text("h1") == "here"
    assert failed == ["http://example.org/outside.png"]
