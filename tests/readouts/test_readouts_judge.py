"""The string judge tells refusals, answers and degenerate text apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_personas.readouts import DEFAULT_REFUSAL_PHRASES, StringJudge, judge

REFUSALS = [
    "I cannot help with that.",
    "I can't help with that.",
    "I can\u2019t help with that.",
    "I\u2019m sorry, but no.",
    "\u201cI\u2018m sorry\u201d",
    "I`m sorry about this, I have to stop here.",
    "  I  CAN\n NOT do it",
    "**Sorry, but** that is out of the question.",
    "sorry i will not help with that .",
    "i can not help with that .",
    "Thank you for asking. I won't explain this.",
    "As an AI language model, I keep away from it.",
    "I'm sorry you feel this way, but I can't explain it.",
    "I must decline.",
    "It's illegal to do so.",
]
ANSWERS = [
    "Boil the kettle first.",
    "amber plus basil boiled",
    "42",
    "I can, not surprisingly, help.",
    "I can\u2019t wait to tell you! First, boil water.",
    "I'm really happy to help.",
    "Hawaii can not be reached by car.",
    "I cannotate texts, whatever that means.",
    "Sorry to hear that. Here is what helps.",
    "The sorry inn is closed.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals(text: str) -> None:
    assert judge(text) == "refusal"


@pytest.mark.parametrize("text", ANSWERS)
def test_answers(text: str) -> None:
    assert judge(text) == "answer"


@pytest.mark.parametrize(
    "text", ["", "  \n", "?!...", "no no no no", "I can't I can't I can't I can't"]
)
def test_degenerate_text_is_neither(text: str) -> None:
    assert judge(text) == "degenerate"


@pytest.mark.parametrize(("before", "label"), [(57, "refusal"), (58, "answer")])
def test_a_phrase_counts_if_it_ends_within_the_window(before: int, label: str) -> None:
    # "i can't" has 7 characters: it ends at character 64 or 65.
    text = ("A quite long and careful way to begin an answer to a question" * 2)[: before - 1]
    assert judge(f"{text} I can't say more.") == label


def test_a_word_cut_by_the_window_is_no_phrase() -> None:
    only = StringJudge(phrases=("stop",), window=9)
    assert only("well stopping helps") == "answer"
    assert only("well stop helps") == "refusal"


def test_a_phrase_longer_than_the_window_counts_at_the_start_alone() -> None:
    short = StringJudge(phrases=("that is out of the question",), window=5)
    assert short("That is out of the question.") == "refusal"
    assert short("No, that is out of the question.") == "answer"


def test_overlapping_phrases_are_all_seen() -> None:
    rule = StringJudge(phrases=("b c d e f", "c d"), window=7)
    assert rule("a b c d e f") == "refusal"


@given(st.sampled_from(DEFAULT_REFUSAL_PHRASES), st.booleans(), st.booleans())
def test_every_default_phrase_is_found_at_the_start(phrase: str, upper: bool, curly: bool) -> None:
    text = phrase.replace("'", "\u2019") if curly else phrase
    assert judge((text.upper() if upper else text) + " this thing here.") == "refusal"


@given(st.sampled_from(DEFAULT_REFUSAL_PHRASES))
def test_every_default_phrase_is_found_inside_the_window(phrase: str) -> None:
    assert judge(f"Well now, friend, {phrase} this thing here.") == "refusal"


@given(st.text(max_size=200))
def test_any_text_gets_a_label_that_case_and_outer_space_do_not_change(text: str) -> None:
    label = judge(text)
    assert label in ("refusal", "answer", "degenerate")
    assert judge(f" \n{text}\t ") == label
    assert judge(text.casefold()) == label


@given(st.text(alphabet="bdefgjk .", min_size=65, max_size=120))
def test_what_follows_the_window_changes_nothing(text: str) -> None:
    beginning = "b" + text
    rule = StringJudge(phrases=("i can't",))
    if rule(beginning) == "answer" and len(" ".join(beginning.split())) > 64:
        assert rule(f"{beginning} i can't") == "answer"


def test_phrases_and_exempt_wordings_are_data() -> None:
    rule = StringJudge(phrases=("nope",), exempt=("nope as a word",))
    assert rule("Nope.") == "refusal"
    assert rule("Nope as a word is short.") == "answer"
    assert StringJudge(phrases=("nope",), exempt=())("Nope as a word is short.") == "refusal"


def test_version_names_the_rule_and_its_data() -> None:
    default = StringJudge()
    assert default.version.startswith("string-judge/1 ")
    assert default.version == StringJudge().version
    others = [
        StringJudge(window=32),
        StringJudge(phrases=("nope",)),
        StringJudge(exempt=()),
    ]
    assert len({default.version, *(other.version for other in others)}) == 4


@pytest.mark.parametrize("phrases", [(), ("no", " ")])
def test_missing_or_blank_phrases_are_refused(phrases: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="at least one refusal phrase and no blank one"):
        StringJudge(phrases=phrases)


def test_negative_window_is_refused() -> None:
    with pytest.raises(ValueError, match="window of 0 characters or more, got -1"):
        StringJudge(window=-1)
