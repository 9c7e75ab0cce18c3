"""The part on conversations, in words: what is answered, without the text."""

from analyses._shown._types import Shown, ShownTable, Told
from analyses._words import MISSING, SIDES, TREATMENTS, number, percent
from analyses.conversations import Conversations
from analyses.scores import BASELINE


def tell(found: Conversations) -> Told:
    """The part in words; of texts only labels and scores."""
    said = found.by_request.conversations
    n_requests = said["prompt_id"].nunique()
    n_personas = said.loc[said["persona"] != "", "persona"].nunique()
    return Told(
        answer=(
            f"{n_requests} requests, asked by nobody in particular and by {n_personas} personas, "
            f"as a text and by their vectors at layer {found.steered_at}: {found.n} conversations "
            "to look into. They are examples and claim nothing; the other pages have the numbers."
        ),
        tables=(_labels(found),),
    )


def _labels(found: Conversations) -> ShownTable:
    said = found.by_request.conversations
    rows = []
    order = [BASELINE, *TREATMENTS]
    keys = said.groupby(["persona", "group", "treatment"], sort=False)
    for (persona, group, treatment), each in sorted(
        keys, key=lambda item: (str(item[0][0]) != "", order.index(str(item[0][2])))
    ):
        harmful = each[each["harmful"]]
        rows.append(
            (
                str(persona) or "nobody",
                SIDES.get(str(group), MISSING),
                TREATMENTS.get(str(treatment), "request alone"),
                str(len(harmful)),
                number(float(harmful["score"].mean()), signed=True),
                percent(float((harmful["label"] == "refusal").mean())),
            )
        )
    return ShownTable(
        title="The harmful requests among them",
        columns=("Who", "Side", "How", "n", "Refusal score (nats)", "Refused"),
        rows=tuple(rows),
        note="Means over very few requests: for orientation only.",
    )


SHOWN = Shown[Conversations](tell=tell, panels=lambda found: ())
