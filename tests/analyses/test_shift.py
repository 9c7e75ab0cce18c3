"""What a study of two models says in one or two sentences."""

from dataclasses import replace

from analyses.shift import PairStudy, Shift, shift_finding, shift_status


def told(result: Shift, study: PairStudy) -> str:
    return shift_finding(
        study,
        distinguishability=result.distinguishability,
        steerability=result.steerability,
        comparison=result.comparison,
        alpha=0.05,
    )


def test_the_question_that_was_asked_is_answered_first(pair_study: Shift) -> None:
    first = told(pair_study, "distinguishability")
    other = told(pair_study, "steerability")
    assert first.startswith("Answers tell the two halves apart for ")
    assert other.startswith("Misaligned persona prompts move the answers ")
    assert sorted(first.split()) == sorted(other.split())


def test_the_counts_are_those_of_the_tables(pair_study: Shift) -> None:
    apart, steered = pair_study.distinguishability, pair_study.steerability
    assert apart is not None
    assert steered is not None
    text = told(pair_study, "distinguishability")
    counts = {
        side: sum(
            row.p_bh < 0.05 for row in apart.rows if (row.side, row.metric) == (side, "wasserstein")
        )
        for side in ("base", "tuned")
    }
    assert counts["tuned"] == 6, "what was planted is not found"
    assert (
        f"apart for {counts['base']} of 6 behaviours in the base model and 6 in the tuned" in text
    )
    assert "Wilcoxon p = " in text


def test_without_steering_only_the_halves_are_told(pair_study: Shift) -> None:
    text = told(replace(pair_study, steerability=None, comparison=None), "steerability")
    assert "prompts" not in text
    assert "Wilcoxon" not in text


def test_nothing_is_studied_where_no_behaviour_is_in_both(pair_study: Shift) -> None:
    apart = pair_study.distinguishability
    assert apart is not None
    assert shift_status(apart) == shift_status(None) == "studied"
    one_side = replace(apart, rows=tuple(row for row in apart.rows if row.side == "base"))
    assert shift_status(one_side) == "nothing_to_study"
    assert told(replace(pair_study, distinguishability=one_side), "steerability") == (
        "No behaviour has statements of both halves that both models were asked about."
    )
