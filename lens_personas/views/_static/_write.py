"""A plotly figure as SVG and PNG, without a browser."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, get_args

from lens_personas.activations import replacing

StaticFormat = Literal["svg", "png"]
"""Formats that figures are written in."""
STATIC_FORMATS: Final[tuple[StaticFormat, ...]] = get_args(StaticFormat)


def write_static(
    figure: Any, path: Path, *, formats: tuple[StaticFormat, ...] = STATIC_FORMATS
) -> tuple[Path, ...]:
    """Paths of the figure in each format: ``path`` with the format's ending added.

    Traces, intervals, bands, heat maps, axes, lines and notes are drawn as the report shows them;
    hovers are lost. The same figure gives the same SVG, byte for byte.

    Args:
        figure: A plotly figure.
        path: Where to, without an ending.
        formats: What to write.

    Raises:
        ValueError: If matplotlib is not installed, or the figure holds a kind of trace that is not
            drawn here.
        OSError: If the disk refuses.
    """
    if find_spec("matplotlib") is None:
        raise ValueError(
            "expected matplotlib for figures, it is not installed; "
            "pip install 'lens-personas[paper]'"
        )
    # Whoever draws nothing does not wait for it, and needs not have it.
    from lens_personas.views._static._draw import DPI, drawn, repeatable

    with repeatable():
        canvas = drawn(figure)
        paths = [path.with_name(f"{path.name}.{each}") for each in formats]
        for target, each in zip(paths, formats, strict=True):
            with replacing(target) as temporary:
                canvas.savefig(
                    temporary,
                    format=each,
                    dpi=2 * DPI,
                    bbox_inches="tight",
                    pad_inches=0.25,
                    facecolor=canvas.get_facecolor(),
                    metadata={"Date": None} if each == "svg" else {},
                )
    return tuple(paths)
