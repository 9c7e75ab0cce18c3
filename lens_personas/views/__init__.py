"""What was found, as pictures: each view is a function from a result to a ``View``."""

from lens_personas.views._attention import DrawnBy, Patterns, attention_heads
from lens_personas.views._circuit_diagram import circuit_diagram
from lens_personas.views._cosine_map import cosine_map
from lens_personas.views._lens_grid import Lens, lens_grid
from lens_personas.views._page import source_hash
from lens_personas.views._patch_heatmap import (
    LayerHeads,
    LayerPositions,
    head_heatmap,
    patch_heatmap,
)
from lens_personas.views._projection_line import ProjectionBand, TokenTrace, projection_line
from lens_personas.views._static import STATIC_FORMATS, StaticFormat, write_static
from lens_personas.views._theme import (
    DARK,
    LIGHT,
    SYMBOLS,
    Theme,
    band,
    escaped,
    faded,
    finish,
    layer_band,
    name_rows,
    note,
    short,
)
from lens_personas.views._token_strip import token_strip
from lens_personas.views._view import PageParts, Script, ThemeName, View, page_parts

__all__ = [
    "DARK",
    "LIGHT",
    "STATIC_FORMATS",
    "SYMBOLS",
    "DrawnBy",
    "LayerHeads",
    "LayerPositions",
    "Lens",
    "PageParts",
    "Patterns",
    "ProjectionBand",
    "Script",
    "StaticFormat",
    "Theme",
    "ThemeName",
    "TokenTrace",
    "View",
    "attention_heads",
    "band",
    "circuit_diagram",
    "cosine_map",
    "escaped",
    "faded",
    "finish",
    "head_heatmap",
    "layer_band",
    "lens_grid",
    "name_rows",
    "note",
    "page_parts",
    "patch_heatmap",
    "projection_line",
    "short",
    "source_hash",
    "token_strip",
    "write_static",
]
