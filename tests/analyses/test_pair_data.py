"""Which statements two models are asked about, and how they are divided."""

import json
from pathlib import Path

import pytest

from analyses._pair_config import PairConfig
from analyses._pair_data import PairTexts, pair_data
from analyses._settings import ConfigError
from lens_personas.personas import DataFileError

ROOT = Path(__file__).resolve().parents[2]
PERSONA = ROOT.parent / "shared" / "data" / "anthropic_persona"
ELSEWHERE = "someone/some-model"


def files(folder: Path, *names: str, n: int = 8) -> str:
    """Files with ``n`` matching and ``n`` other statements each; gives the pattern for them."""
    adjectives = ("red", "blue", "warm", "cold", "loud", "quiet", "tall", "small", "old", "new")
    for name in names:
        rows = [
            {
                "question": f'Would you say: "I like {word} {name} and {kind} {at} more"?',
                "statement": f"I like {word} {name} and {kind} {at} more",
                "label_confidence": 0.9,
                "answer_matching_behavior": " Yes" if kind == "tea" else " No",
                "answer_not_matching_behavior": " No" if kind == "tea" else " Yes",
            }
            for kind in ("tea", "rain")
            for at, word in enumerate(adjectives[:n])
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return str(folder / "*.jsonl")


def of_files(folder: Path, *names: str, n: int = 8, **changes: object) -> PairTexts:
    pattern = files(folder, *names, n=n)
    return pair_data(PairConfig.model_validate({"statements": (pattern,), **changes}))


def test_a_users_own_statements_need_no_confidence(tmp_path: Path) -> None:
    files(tmp_path, "mine", "theirs")
    mine = tmp_path / "mine.jsonl"
    mine.write_text(mine.read_text(encoding="utf-8").replace('"label_confidence": 0.9, ', ""))
    texts = pair_data(PairConfig.model_validate({"statements": (str(tmp_path / "*.jsonl"),)}))
    assert texts.licences == {"mine": "unknown", "theirs": "CC-BY-4.0"}
    assert [len(texts.alone(each.name)) for each in texts.behaviours] == [16, 16]


def test_two_organisms_are_asked_about_their_world() -> None:
    texts = pair_data(PairConfig())
    assert texts.source == "organism"
    assert len(texts.behaviours) == 8
    for each in texts.behaviours:
        assert len(texts.alone(each.name)) == 24
    assert list(texts.table["n_aligned"]) == [12] * 8


def test_other_models_are_asked_about_the_shipped_behaviours() -> None:
    texts = pair_data(PairConfig(base="organism:base", tuned=ELSEWHERE))
    assert texts.source == "shipped"
    assert texts.table["desirable"].any()
    assert not texts.table["desirable"].all()
    for each in texts.behaviours:
        assert each.origin is not None
        assert "/" not in each.origin.path


def test_files_are_behaviours_and_the_limit_holds_for_each_half(tmp_path: Path) -> None:
    texts = of_files(tmp_path, "tea", "coffee", limit=6, scored_limit=3)
    assert texts.source == "files"
    assert [each.name for each in texts.behaviours] == ["coffee", "tea"]
    for each in texts.behaviours:
        alone, steered = texts.alone(each.name), texts.behaviour(each.name)
        assert [sum(i.aligned is half for i in alone) for half in (True, False)] == [6, 6]
        assert [sum(i.aligned is half for i in steered.scored) for half in (True, False)] == [3, 3]
        # What is steered is scored alone too; what prompts are made from is not steered.
        assert {i.statement_id for i in steered.scored} <= {i.statement_id for i in alone}
        assert not {i.group for i in steered.scored} & {i.group for i in steered.prompt}
        assert len({i.statement_id for i in alone}) == len(alone)


def test_without_a_limit_every_statement_is_scored_alone(tmp_path: Path) -> None:
    texts = of_files(tmp_path, "tea", limit=None, scored_limit=None)
    assert len(texts.alone("tea")) == 16
    assert len(texts.behaviour("tea").scored) == 8


def test_what_is_good_to_show_can_be_named(tmp_path: Path) -> None:
    texts = of_files(tmp_path, "tea", "coffee", desirable=("tea",))
    assert dict(zip(texts.table["behaviour"], texts.table["desirable"], strict=True)) == {
        "coffee": False,
        "tea": True,
    }
    with pytest.raises(ConfigError, match=r"unknown behaviours \['milk'\]"):
        of_files(tmp_path, "tea", desirable=("milk",))


def test_the_same_settings_give_the_same_data(tmp_path: Path) -> None:
    assert of_files(tmp_path, "tea") == of_files(tmp_path, "tea")
    assert of_files(tmp_path, "tea", seed=1) != of_files(tmp_path, "tea")


def test_dealt_labels_keep_the_size_of_both_halves() -> None:
    plain, dealt = (pair_data(PairConfig(shuffle_labels=each)) for each in (False, True))
    changed = 0
    for each in plain.behaviours:
        before, after = plain.alone(each.name), dealt.alone(each.name)
        assert [i.question for i in before] == [i.question for i in after]
        assert sum(i.aligned for i in after) == sum(i.aligned for i in before)
        changed += sum(a.aligned is not b.aligned for a, b in zip(before, after, strict=True))
    n = sum(plain.table["n_aligned"]) * 2
    assert 0.25 * n < changed < 0.75 * n


def test_a_malformed_file_is_named_with_its_line_and_columns(tmp_path: Path) -> None:
    files(tmp_path, "tea")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"statement": "I like tea"}\n', encoding="utf-8")
    config = PairConfig(statements=(str(broken),))
    with pytest.raises(DataFileError, match=r"broken\.jsonl.*line 1.*question.*answer_matching"):
        pair_data(config)


def test_a_pattern_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a file of statements at .*none\*"):
        pair_data(PairConfig(statements=(str(tmp_path / "none*"),)))


def test_two_files_of_one_behaviour_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    both = (files(tmp_path, "tea"), files(tmp_path / "other", "tea"))
    with pytest.raises(ConfigError, match=r"one file a behaviour.*rename one"):
        pair_data(PairConfig(statements=both))
    # The same file twice is one file.
    assert len(pair_data(PairConfig(statements=(both[0], both[0]))).behaviours) == 1


@pytest.mark.slow
@pytest.mark.skipif(not PERSONA.is_dir(), reason="needs ../shared/data/anthropic_persona")
def test_the_published_files_are_23_behaviours_of_which_5_are_good_to_show() -> None:
    texts = pair_data(PairConfig(statements=(str(PERSONA / "*.jsonl"),), limit=100))
    table = texts.table
    assert len(table) == 23
    assert table["desirable"].sum() == 5
    assert (table[["n_aligned", "n_misaligned"]] == 100).all(axis=None)
