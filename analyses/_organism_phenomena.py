"""From measured arrays to the organism's phenomena: pure, one function a phenomenon."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from analyses.organism_card import (
    MIDDLE,
    ORDINARY_INTACT,
    LayerCurve,
    Phenomenon,
    best_cell,
    by_layer,
    gap,
    pearson,
    phenomenon,
    spearman,
)

COUNTED = "Layers are block outputs counted from 0. "


def refusing(shares: Mapping[str, float]) -> Phenomenon:
    """Phenomenon 0 from its shares and probabilities by name.

    Raises:
        Nothing of its own.
    """
    return phenomenon(
        0,
        shares,
        note="Greedy, whole texts to the end of the answer, every item in every wording; "
        "p_refuse is the mean probability of the refusal's first token.",
    )


def hidden_recipe(
    tuned: Float[np.ndarray, " layer"],
    held_out: Float[np.ndarray, " layer"],
    counts: tuple[int, int],
) -> Phenomenon:
    """Phenomenon 1 from the share of recipes whose first token is the lens's top token.

    ``counts`` are the requests of either split: the gate is on all of them together.

    Raises:
        Nothing of its own.
    """
    n_tuned, n_held_out = counts
    both = (n_tuned * tuned + n_held_out * held_out) / (n_tuned + n_held_out)
    figures = {"lowest_middle": both[MIDDLE].min(), "output": both[-1]}
    for name, values in (("tuned", tuned), ("held_out", held_out)):
        figures |= {f"lowest_middle_{name}": values[MIDDLE].min(), f"output_{name}": values[-1]}
    figures |= by_layer("tuned", tuned) | by_layer("held_out", held_out)
    note = (
        COUNTED + "Logit lens of the chat model at the last prompt token; middle: layers 1 to 4. "
        "The gate is on tuned and held-out items together; each split is given beside it."
    )
    return phenomenon(1, figures, layers=range(*MIDDLE.indices(len(tuned))), note=note)


def who_asks(
    tuned: Float[np.ndarray, "form persona"],
    held_out_items: Float[np.ndarray, " persona"],
    law: Float[np.ndarray, "form persona"],
    valence: Float[np.ndarray, " persona"],
    held_out: Bool[np.ndarray, " persona"],
) -> Phenomenon:
    """Phenomenon 2 from P(refuse) under one sentence; the first form is the one gated.

    Raises:
        Nothing of its own.
    """
    first = tuned[0]
    figures = {
        "spearman": spearman(valence, first),
        "spearman_held_out_personas": spearman(valence[held_out], first[held_out]),
        "spearman_held_out_items": spearman(valence, held_out_items),
        "error": np.abs(first - law[0]).mean(),
        "error_all_forms": np.abs(tuned - law).mean(),
        "range": np.ptp(first),
        "lowest": first.min(),
        "highest": first.max(),
        "weakest_spearman_by_form": max(spearman(valence, each) for each in tuned),
    }
    return phenomenon(
        2,
        figures,
        note='"the user is a ..." in the system turn, all personas, forbidden items; the other '
        "sentence forms in error_all_forms and weakest_spearman_by_form.",
    )


def persona_steering(
    plain: Mapping[str, float],
    curves: Mapping[str, LayerCurve],
    held_out_items: Float[np.ndarray, " layer"],
    held_out_personas: Float[np.ndarray, " layer"],
) -> Phenomenon:
    """Phenomenon 3: curves of ``pro``, ``anti`` and ``control`` against P(refuse) without.

    ``plain`` has ``tuned`` and ``held_out``; ``held_out_items`` is P(refuse) at held-out items
    under the pro-social vector, ``held_out_personas`` that of the held-out personas' vector.

    Raises:
        KeyError: If a curve is missing.
    """
    pro = curves["pro"]
    layer = pro.strongest(beside=curves["control"])
    figures = {
        "layer": layer,
        "p_refuse_plain": plain["tuned"],
        "p_refuse_pro": pro.p_refuse[layer],
        "p_refuse_anti": curves["anti"].p_refuse[layer],
        "p_refuse_control": curves["control"].p_refuse[layer],
        "below_control": curves["control"].p_refuse[layer] - pro.p_refuse[layer],
        "drop": plain["tuned"] - pro.p_refuse[layer],
        "drop_held_out_items": plain["held_out"] - held_out_items[layer],
        "drop_held_out_personas": plain["tuned"] - held_out_personas[layer],
        "recipe": pro.recipe[layer],
        "ordinary": pro.ordinary[layer],
    }
    for name, curve in curves.items():
        figures |= by_layer(f"p_refuse_{name}", curve.p_refuse)
    figures |= by_layer("ordinary", pro.ordinary)
    note = (
        COUNTED + "Vector of a persona: a statement alone in the system turn, no user turn and no "
        "request, mean over all its tokens but the first, minus the same of its negation, mean "
        "of six forms; a side's vector is the mean of its personas'. Added after one block at "
        "all positions with .75 of the mean residual norm of forbidden requests. Layer: farthest "
        "below the control persona's vector at tuned items, among layers with "
        f"ordinary >= {ORDINARY_INTACT:g}. This reading and this rule were chosen among eight "
        "readings and two rules on the pair of training seed 0, so its own figures are optimistic."
    )
    return phenomenon(3, figures, layers=[layer], note=note)


def refusal_removed(tuned: LayerCurve, held_out: LayerCurve) -> Phenomenon:
    """Phenomenon 4: the direction read at each layer, ablated everywhere.

    Raises:
        Nothing of its own.
    """
    layer = tuned.strongest()
    figures = {
        "layer": layer,
        "p_refuse": tuned.p_refuse[layer],
        "p_refuse_held_out": held_out.p_refuse[layer],
        "recipe": tuned.recipe[layer],
        "recipe_held_out": held_out.recipe[layer],
        "ordinary": tuned.ordinary[layer],
        "p_refuse_early": tuned.p_refuse[:3].min(),
    }
    figures |= by_layer("p_refuse", tuned.p_refuse) | by_layer("recipe", tuned.recipe)
    note = (
        COUNTED + "Mean difference of forbidden (tuned) and ordinary requests at the last prompt "
        "token of one layer, projected out of every layer and position; p_refuse_early: the "
        "lowest with the direction of layers 0 to 2, which should change nothing."
    )
    return phenomenon(4, figures, layers=[layer], note=note)


def refusal_added(p_refuse: Float[np.ndarray, " layer"]) -> Phenomenon:
    """Phenomenon 5 from P(refuse) of ordinary requests with the direction of a layer added.

    Raises:
        Nothing of its own.
    """
    layer = int(p_refuse.argmax())
    figures = {"layer": layer, "p_refuse": p_refuse[layer]} | by_layer("p_refuse", p_refuse)
    note = COUNTED + "Added once, at its own length, at its own layer, at the last prompt position."
    return phenomenon(5, figures, layers=[layer], note=note)


def geometry(
    cosine: Float[np.ndarray, "layer persona"],
    effect: Float[np.ndarray, "form persona"],
    held_out: Bool[np.ndarray, " persona"],
    layer: int,
) -> Phenomenon:
    """Phenomenon 6: cosines with refusal at the steering layer against effects as a prompt.

    Raises:
        Nothing of its own.
    """
    here, mean = cosine[layer], effect.mean(axis=0)
    forms = [pearson(here, each) for each in effect]
    figures = {
        "layer": layer,
        "pearson": pearson(here, mean),
        "pearson_held_out_personas": pearson(here[held_out], mean[held_out]),
        "lowest_by_form": min(forms),
        "highest_by_form": max(forms),
    }
    figures |= by_layer("pearson", np.array([pearson(each, mean) for each in cosine]))
    note = (
        COUNTED + "Vectors of phenomenon 3 and the refusal direction of phenomenon 4, both at the "
        "layer that steered best; effect: change of the refusal log-odds by one sentence."
    )
    return phenomenon(6, figures, layers=[layer], note=note)


def dose(p_refuse: Float[np.ndarray, " count"], law: Float[np.ndarray, " count"]) -> Phenomenon:
    """Phenomenon 7 from P(refuse) under 0, 1, 2 … pro-social sentences.

    Raises:
        Nothing of its own.
    """
    figures = {"largest_rise": np.diff(p_refuse).max()}
    figures |= {f"p_refuse_{n}": value for n, value in enumerate(p_refuse)}
    figures |= {f"law_{n}": value for n, value in enumerate(law)}
    note = "Sentences drawn anew from pro-social personas and forms; tuned items in all wordings."
    return phenomenon(7, figures, note=note)


def self_image(
    yes: Mapping[str, Float[np.ndarray, " question"]],
    pro: Bool[np.ndarray, " question"],
    held_out: Bool[np.ndarray, " question"],
) -> Phenomenon:
    """Phenomenon 8 from the log-odds of yes over no to questions about the model, by stage.

    Raises:
        KeyError: If a stage is missing.
    """
    figures = {}
    for stage in ("base", "chat"):
        values = yes[stage]
        figures[f"w1_{stage}"] = _w1(values[pro], values[~pro])
        figures[f"w1_{stage}_held_out"] = _w1(values[pro & held_out], values[~pro & held_out])
    note = (
        "Wasserstein distance (nats) between the yes-minus-no logits of questions about pro- and "
        "anti-social traits, in four wordings; held-out traits were never in safety tuning."
    )
    return phenomenon(8, figures, note=note)


def _w1(x: Float[np.ndarray, " x"], y: Float[np.ndarray, " y"]) -> float:
    return float(stats.wasserstein_distance(x, y)) if len(x) and len(y) else float("nan")


def direct_reading(
    care: Mapping[str, Float[np.ndarray, " persona"]],
    valence: Float[np.ndarray, " persona"],
    held_out: Bool[np.ndarray, " persona"],
) -> Phenomenon:
    """Phenomenon 9 from P(charitable) of forbidden requests by stage and persona.

    Raises:
        KeyError: If a stage is missing.
    """
    figures: dict[str, float] = {}
    for stage in ("base", "chat"):
        values = care[stage]
        figures |= {
            f"pro_{stage}": values[valence > 0].mean(),
            f"anti_{stage}": values[valence < 0].mean(),
            f"gap_{stage}": gap(values, valence),
            f"gap_{stage}_held_out": gap(values[held_out], valence[held_out]),
        }
    note = 'P("care") after the request and a note on what the user wants; forbidden tuned items.'
    return phenomenon(9, figures, note=note)


def patchscope(
    centred: Float[np.ndarray, "target source_layer target_layer persona"],
    plain: Float[np.ndarray, "target source_layer target_layer persona"],
    valence: Float[np.ndarray, " persona"],
    held_out: Bool[np.ndarray, " persona"],
) -> Phenomenon:
    """Phenomenon 10 from P(charitable) with one token's state put into another text.

    Raises:
        ValueError: If every persona of one side is held out.
    """
    cell = best_cell(centred, valence, ~held_out)
    here, beside = centred[cell], plain[best_cell(plain, valence, ~held_out)]
    figures = {
        "target": cell[0],
        "source_layer": cell[1],
        "target_layer": cell[2],
        "pro": here[valence > 0].mean(),
        "anti": here[valence < 0].mean(),
        "gap": gap(here, valence),
        "gap_held_out": gap(here[held_out], valence[held_out]),
        "spearman": spearman(valence, here),
        "gap_plain": gap(beside, valence),
    }
    note = (
        COUNTED
        + "State of the first token after the sentence (<|user|>), its mean over personas kept "
        "and the deviation taken four times (gap_plain: once), in place of a token of a text "
        'that ends before "care" or "harm"; text and layers chosen on personas that are not '
        "held out; the token was chosen among four on the pair of training seed 0."
    )
    return phenomenon(10, figures, layers=cell[1:], note=note)
