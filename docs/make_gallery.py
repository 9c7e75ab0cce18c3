"""The pictures of the gallery, made anew from the organism: one view each, as chromium shows it.

Run ``python docs/make_gallery.py [FOLDER]``; it needs ``.[dev]`` and chromium on the path.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from lens_personas.activations import ReadAt, collect
from lens_personas.geometry import difference_of_means
from lens_personas.hooks import Site
from lens_personas.interventions import (
    edge_attribution,
    head_grid,
    model_graph,
    patch_grid,
    refusal_metric,
    swapped_pairs,
)
from lens_personas.models import LensModel, Prompt, load_model, render, token_strings
from lens_personas.models.organism import (
    checkpoint_path,
    load_world,
    world_personas,
    world_requests,
)
from lens_personas.personas import Message, Request
from lens_personas.readouts import attention_patterns, lens_table, projection_trace
from lens_personas.vectors import statement_vector
from lens_personas.views import (
    View,
    attention_heads,
    circuit_diagram,
    cosine_map,
    head_heatmap,
    lens_grid,
    patch_heatmap,
    projection_line,
    token_strip,
)

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "images" / "gallery"
WIDTH = 1000
LAYER = 5


def gallery(model: LensModel) -> Iterator[tuple[str, View]]:
    """Name and view of every picture, on one conversation of the organism."""
    world = load_world(checkpoint_path("chat"))
    sides = {
        group: [p for p in world_personas(world) if p.group == group] for group in ("pro", "anti")
    }
    asked = {
        kind: [r for r in world_requests(world) if r.harmful is kind][:32] for kind in (True, False)
    }
    refusal = _refusal(model, asked)
    prompt = render(
        model,
        [
            Message(role="system", content=sides["anti"][0].statements[0]),
            Message(role="user", content=asked[True][0].text),
        ],
    )
    trace = projection_trace(model, prompt, refusal, layer=LAYER)
    yield (
        "token-strip",
        token_strip(
            trace.tokens,
            trace.values,
            title="Towards refusal, token by token",
            unit=f"projection after layer {LAYER}",
        ),
    )
    yield (
        "projection-line",
        projection_line(trace, direction="refusal", title="The same as a line"),
    )
    yield "lens-grid", lens_grid(lens_table(model, prompt))
    yield "attention-heads", attention_heads(attention_patterns(model, prompt), layer=1)
    yield "cosine-map", _cosines(model, [*sides["pro"][:4], *sides["anti"][:4]])
    # One wording, so that all prompts are equally long.
    alike = [r for r in asked[True] if len(r.text.split()) == len(asked[True][0].text.split())]
    couples = list(zip(sides["pro"][:3], sides["anti"][:3], strict=True))
    pairs = swapped_pairs(model, couples, alike[:6])
    metric = refusal_metric(model.tokenizer.encode("sorry", add_special_tokens=False))
    patched = patch_grid(model, pairs.clean, pairs.corrupted, metric, site=Site.RESID_PRE)
    yield (
        "patch-heatmap",
        patch_heatmap(
            patched,
            token_strings(model, pairs.corrupted[0].ids),
            title="A trusted user's states in a distrusted user's run",
        ),
    )
    heads = head_grid(model, pairs.clean, pairs.corrupted, metric)
    yield "head-heatmap", head_heatmap(heads, title="The same, head by head")
    scores = edge_attribution(model, pairs.clean, pairs.corrupted, metric)
    effect = dict(zip(scores.edges, scores.values.mean(dim=0).tolist(), strict=True))
    yield (
        "circuit",
        circuit_diagram(
            {edge: effect[edge] for edge in scores.ranking[:40]},
            graph=model_graph(model),
            unit="effect of the edge on refusal, nats",
            title="What carries the user to the refusal",
        ),
    )


def _refusal(model: LensModel, asked: dict[bool, list[Request]]) -> torch.Tensor:
    """Direction from answered to refused requests at the last token."""
    sides = {
        kind: [render(model, [Message(role="user", content=r.text)]) for r in requests]
        for kind, requests in asked.items()
    }
    return difference_of_means(_last(model, sides[True]), _last(model, sides[False]))


def _last(model: LensModel, prompts: list[Prompt]) -> torch.Tensor:
    read = ReadAt(span="prompt", take="last")
    found = collect(model, prompts, sites=[Site.RESID_POST], layers=[LAYER], read_at=read)
    return found.at(Site.RESID_POST, LAYER)


def _cosines(model: LensModel, personas: list) -> View:
    vectors = [statement_vector(model, p, layers=[3]).at(3) for p in personas]
    unit = torch.nn.functional.normalize(torch.stack(vectors), dim=1)
    return cosine_map([p.name for p in personas], unit @ unit.T, title="Vectors of eight personas")


def main(folder: Path = FOLDER) -> None:
    """Write every picture as PNG, whole or not at all."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("expected chromium on the path; Debian: apt-get install chromium")
    model = load_model("organism:chat", device="cpu")
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": WIDTH, "height": 120}, device_scale_factor=1.5, color_scheme="light"
        )
        for name, view in gallery(model):
            page.goto(view.save(Path(made) / f"{name}.html").as_uri())
            page.locator("[data-draw]:not([data-drawn])").first.wait_for(state="detached")
            page.screenshot(path=Path(made) / f"{name}.png", full_page=True)
        browser.close()
        folder.mkdir(parents=True, exist_ok=True)
        for picture in sorted(Path(made).glob("*.png")):
            shutil.copy(picture, folder / picture.name)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
