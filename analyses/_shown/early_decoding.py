"""The part on early decoding, in words and figures."""

from analyses._panel import Panel, panel
from analyses._shown import _early_decoding_figures as figures
from analyses._shown._early_decoding_tables import (
    arms_in_full,
    has_known,
    layers_table,
    six_rows,
    unions_table,
)
from analyses._shown._early_direct import direct_panels, direct_sentence, direct_tables
from analyses._shown._types import Shown, Told
from analyses._words import p_value, percent
from analyses.early_decoding import EarlyDecoding
from analyses.early_tokens import EarlyTest, EarlyTokens

_SECTION = "part-early-decoding"


def tell(found: EarlyDecoding) -> Told:
    """The part in words."""
    known = found.known
    sentences = [_answer(found.tokens), "" if known is None else direct_sentence(known)]
    return Told(
        answer=" ".join(each for each in sentences if each),
        tables=(
            six_rows(found.steering),
            arms_in_full(found.steering),
            layers_table(found.tokens),
            unions_table(found.tokens),
            *(() if known is None else direct_tables(known)),
        ),
        limits=_limits(found),
    )


def panels(found: EarlyDecoding) -> tuple[Panel, ...]:
    """The part's figures."""
    tokens, steering = found.tokens, found.steering
    return (
        panel(
            "early-layers",
            _SECTION,
            "What does each layer open, if its token is made the answer's first?",
            "Bars: the request's own token of that layer is the first token of the answer, which "
            "then goes on as usual; with Wilson interval. Left as judged, right where the answer "
            "begins as the known one. Squares: every token is read off that layer.",
            "Other marks: another request's token of the same layer, the opening of an answer to a "
            "harmless request, a random vector at that layer, and one sampled answer. What these "
            "reach is due to forcing a first token, or to trying again.",
            lambda theme: figures.layer_bars(tokens, theme=theme),
        ),
        panel(
            "early-unions",
            _SECTION,
            "Is any layer's token better than as many other tries?",
            "Share of requests where the greedy answer or any try counts, with Wilson interval.",
            f"Every bar but the first has {len(tokens.tries)} tries beside the greedy answer.",
            lambda theme: figures.union_bars(tokens, theme=theme),
        ),
        panel(
            "early-personas",
            _SECTION,
            "What does early decoding add under a persona?",
            "One row a persona, by text, by its vector added, and subtracted. Hollow: answered "
            "greedily; filled: so, or with the first token of any decoded layer.",
            "Small grey diamond: so, or with as many first tokens sampled from the model's own "
            "next-token distribution. The control persona is the last row.",
            lambda theme: figures.persona_unions(steering, theme=theme),
        ),
        panel(
            "early-response",
            _SECTION,
            "At which layers does who asks matter for what would be said?",
            "One line a persona: share of requests answered when the first token is read off a "
            "layer; the last place is the model's own output. With a vector only layers above it.",
            "Grey: the control persona; dotted: the request alone.",
            lambda theme: figures.response_lines(steering, theme=theme),
        ),
        *(() if found.known is None else direct_panels(found.known)),
    )


def _answer(tokens: EarlyTokens) -> str:
    if not tokens.tests:
        return f"No layer below the last was decoded on the {tokens.n} requests."
    tests = {test.outcome: test for test in tokens.tests}
    parts = []
    judged, exact = tests.get("answered"), tests.get("exact")
    if judged is not None:
        parts.append(_by_judge(judged, tokens.n))
    if exact is not None:
        parts.append(_by_known(exact))
    parts.append(_unions(tokens, "exact" if exact is not None else "answered"))
    return " ".join(parts)


def _by_judge(test: EarlyTest, n: int) -> str:
    opened = (
        f"The first token of layer {test.layer} opens an answer to {percent(test.own.estimate)} "
        f"of {n} requests by the judge, another request's token from there to "
        f"{percent(test.other.estimate)} (p {p_value(test.p)} over all layers)"
    )
    if test.other.estimate < 0.5 * test.own.estimate:
        return f"{opened}."
    return f"{opened}: most of this is due to forcing a first token, whatever it is."


def _by_known(test: EarlyTest) -> str:
    return (
        f"The answer begins as the known one for {percent(test.own.estimate)} at layer "
        f"{test.layer}, with another request's token for {percent(test.other.estimate)} "
        f"(p {p_value(test.p)})."
    )


def _unions(tokens: EarlyTokens, outcome: str) -> str:
    share = tokens.unions.set_index("source")[outcome]
    what = "the known answer" if outcome == "exact" else "an answer"
    return (
        f"Any of {len(tokens.tries)} layers gives {what} for {percent(share['early'])}, as many "
        f"sampled answers for {percent(share['sampled'])}, random vectors for "
        f"{percent(share['random'])}, other requests' tokens for {percent(share['shuffled'])}, "
        f"openings of harmless answers for {percent(share['opener'])}."
    )


def _limits(found: EarlyDecoding) -> tuple[str, ...]:
    limits = [
        "A forced first token makes many models go on, whatever it is: an answer after an early "
        "token says that the layer knew it only where another request's token does not do the "
        "same.",
        "A union over layers is many tries; read it only beside unions of as many other tries.",
        "The logit lens reads early layers as if they were the last; what it does not show may "
        "be there all the same.",
    ]
    if not has_known(found.tokens):
        limits.append(
            "No answer is known for these requests, so that an answer opened by an early token "
            "could not be held against what the layer should say; the judge alone decides."
        )
    return tuple(limits)


SHOWN = Shown(tell=tell, panels=panels)
"""Early decoding in words, tables and figures."""
