"""The pages of a report's site: what each is about, and what came of it."""

from collections.abc import Sequence
from typing import Final

from analyses._page import OVERVIEW, SitePage
from analyses._part_names import EXPLORED
from analyses._shown import ShownPart
from analyses.claims import Claim
from analyses.whos_asking import WhosAsking

_STUDY: Final = {
    "results": ("What personas do", "Do personas move refusal, as a text and as a vector?"),
    "refusal": ("Refusal vectors", "What does steering refusal itself do?"),
    "geometry": ("Geometry", "Does a persona's angle with refusal foretell its effect?"),
    "hidden": ("Hidden answers", "Can the refused answer be read inside the model?"),
    "vectors": ("Vectors", "How well do the data determine each vector?"),
}
_ABOUT: Final = {
    "claims": ("Claims", "All that would have been claimed, and what would have refuted it."),
    "reading": ("How to read this", "What the words in tables and figures mean."),
    "limits": ("Limits", "What these numbers do not allow to say."),
    "provenance": ("Provenance", "Model, settings, versions; the answers to requests alone."),
}


def report_pages(result: WhosAsking, parts: Sequence[ShownPart]) -> tuple[SitePage, ...]:
    """The site of a study, the overview first; a page for all that there is."""
    claims = result.headline.claims
    held = {
        "results": _held([each for each in claims if each.part == "effects"]),
        "claims": _held(claims),
    }
    there = {
        "refusal": any(each.kind == "refusal" for each in result.effects.effects),
        "geometry": result.geometry is not None,
        "hidden": result.hidden is not None,
        "vectors": bool(result.vectors),
    }
    return (
        OVERVIEW,
        *(
            SitePage(key=key, title=title, group="The study", about=ask, remark=held.get(key, ""))
            for key, (title, ask) in _STUDY.items()
            if there.get(key, True)
        ),
        *(
            SitePage(
                key=f"part-{part.name}",
                title=part.name.replace("-", " ").capitalize(),
                group="Look inside" if part.name in EXPLORED else "Parts",
                about=part.question,
                remark=_held([each for each in claims if each.part == part.name]),
            )
            for part in parts
        ),
        *(
            SitePage(key=key, title=title, group="About", about=told, remark=held.get(key, ""))
            for key, (title, told) in _ABOUT.items()
        ),
    )


def _held(claims: Sequence[Claim]) -> str:
    if not claims:
        return ""
    return f"{sum(claim.holds for claim in claims)} of {len(claims)} claims hold"
