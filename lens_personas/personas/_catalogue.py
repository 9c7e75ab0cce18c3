"""Which published data sets are known: their columns, licence and citation, as a table.

No row of any of them is shipped; the user brings the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

RequestDataset = Literal[
    "advbench",
    "jailbreakbench-harmful",
    "jailbreakbench-benign",
    "harmbench",
    "strongreject",
    "xstest",
    "or-bench",
    "or-bench-toxic",
    "sorry-bench",
    "refusal-direction-harmful",
    "refusal-direction-harmless",
]
"""Published sets of requests. Where a source keeps the two kinds in two files of the same
columns, each file has a name of its own here, because nothing in it says which it is."""

StatementDataset = Literal["anthropic-persona", "advanced-ai-risk", "caa", "lens-personas", "own"]
"""Sets of questions whose answer shows a behaviour: published ones, those shipped here, and a
user's own."""

MATCHING: Final = "answer_matching_behavior"
NOT_MATCHING: Final = "answer_not_matching_behavior"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Columns (case matters) and terms of one published set of requests."""

    text: str
    """Column of the request."""
    harmful: bool | Mapping[str, bool]
    """The same for all rows, or by the value of ``label``."""
    licence: str
    """SPDX identifier or description."""
    citation: str
    """Who and where, with a URL."""
    label: str | None = None
    """Column that tells harmful from harmless."""
    category: str | None = None
    """Column of the topic."""
    target: str | None = None
    """Column of the answer's known beginning."""
    context: str | None = None
    """Column of the text the request refers to."""
    identifiers: tuple[str, ...] = ()
    """Columns that may hold the identifier: the first that is there is taken, else the row."""
    matched: str | None = None
    """Name of the set whose row of the same identifier is the matched request."""
    unused: tuple[str, ...] = field(default=())
    """Further columns that the published file has."""

    @property
    def required(self) -> tuple[str, ...]:
        """Columns without which a row cannot be read."""
        named = (self.text, self.label, self.category, self.target, self.context)
        return tuple(column for column in named if column is not None)


_JAILBREAKBENCH: Final = (
    "Chao et al. 2024, JailbreakBench, https://arxiv.org/abs/2404.01318; "
    "https://huggingface.co/datasets/JailbreakBench/JBB-Behaviors"
)
_OR_BENCH: Final = (
    "Cui et al. 2024, OR-Bench, https://arxiv.org/abs/2405.20947; "
    "https://huggingface.co/datasets/bench-llm/or-bench"
)
_REFUSAL_DIRECTION: Final = (
    "Arditi et al. 2024, Refusal in Language Models Is Mediated by a Single Direction, "
    "https://arxiv.org/abs/2406.11717; https://github.com/andyrdt/refusal_direction"
)


def _jailbreakbench(*, harmful: bool, matched: str) -> Source:
    return Source(
        text="Goal",
        harmful=harmful,
        category="Category",
        target="Target",
        # Older files have the index column of a data frame, without a name.
        identifiers=("Index", "", "Unnamed: 0"),
        matched=matched,
        unused=("Behavior", "Source"),
        licence="MIT",
        citation=_JAILBREAKBENCH,
    )


def _or_bench(*, harmful: bool) -> Source:
    return Source(
        text="prompt",
        harmful=harmful,
        category="category",
        licence="CC-BY-4.0",
        citation=_OR_BENCH,
    )


def _refusal_direction(*, harmful: bool) -> Source:
    return Source(
        text="instruction",
        harmful=harmful,
        category="category",
        licence="Apache-2.0",
        citation=_REFUSAL_DIRECTION,
    )


REQUEST_SOURCES: Final[Mapping[str, Source]] = {
    "advbench": Source(
        text="goal",
        harmful=True,
        target="target",
        licence="MIT",
        citation="Zou et al. 2023, Universal and Transferable Adversarial Attacks, "
        "https://arxiv.org/abs/2307.15043; https://github.com/llm-attacks/llm-attacks",
    ),
    "jailbreakbench-harmful": _jailbreakbench(harmful=True, matched="jailbreakbench-benign"),
    "jailbreakbench-benign": _jailbreakbench(harmful=False, matched="jailbreakbench-harmful"),
    "harmbench": Source(
        text="Behavior",
        harmful=True,
        category="SemanticCategory",
        context="ContextString",
        identifiers=("BehaviorID",),
        unused=("FunctionalCategory", "Tags"),
        licence="MIT",
        citation="Mazeika et al. 2024, HarmBench, https://arxiv.org/abs/2402.04249; "
        "https://github.com/centerforaisafety/HarmBench",
    ),
    "strongreject": Source(
        text="forbidden_prompt",
        harmful=True,
        category="category",
        unused=("source",),
        licence="MIT",
        citation="Souly et al. 2024, A StrongREJECT for Empty Jailbreaks, "
        "https://arxiv.org/abs/2402.10260",
    ),
    "xstest": Source(
        text="prompt",
        harmful={"safe": False, "unsafe": True},
        label="label",
        category="type",
        identifiers=("id",),
        unused=("focus", "note"),
        licence="CC-BY-4.0",
        citation="Röttger et al. 2024, XSTest, https://aclanthology.org/2024.naacl-long.301/; "
        "https://github.com/paul-rottger/xstest",
    ),
    "or-bench": _or_bench(harmful=False),
    "or-bench-toxic": _or_bench(harmful=True),
    "sorry-bench": Source(
        text="turns",
        harmful=True,
        category="category",
        identifiers=("question_id",),
        unused=("prompt_style",),
        licence="SORRY-Bench dataset licence agreement (gated)",
        citation="Xie et al. 2024, SORRY-Bench, https://arxiv.org/abs/2406.14598; "
        "https://huggingface.co/datasets/sorry-bench/sorry-bench-202406",
    ),
    "refusal-direction-harmful": _refusal_direction(harmful=True),
    "refusal-direction-harmless": _refusal_direction(harmful=False),
}

_MODEL_WRITTEN: Final = (
    "Perez et al. 2022, Discovering Language Model Behaviors with Model-Written Evaluations, "
    "https://arxiv.org/abs/2212.09251; https://github.com/anthropics/evals"
)

STATEMENT_TERMS: Final[Mapping[str, tuple[str, str]]] = {
    "anthropic-persona": ("CC-BY-4.0", _MODEL_WRITTEN),
    "advanced-ai-risk": ("CC-BY-4.0", _MODEL_WRITTEN),
    "caa": (
        "MIT",
        "Rimsky et al. 2024, Steering Llama 2 via Contrastive Activation Addition, "
        "https://arxiv.org/abs/2312.06681; https://github.com/nrimsky/CAA",
    ),
    "lens-personas": ("CC0-1.0", "written for lens_personas; see docs/behaviours.md"),
    "own": ("unknown", "the user's own statements"),
}
