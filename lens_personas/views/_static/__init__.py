"""Figures as SVG and PNG: what plotly would draw, drawn by matplotlib, for papers."""

from lens_personas.views._static._write import STATIC_FORMATS, StaticFormat, write_static

__all__ = ["STATIC_FORMATS", "StaticFormat", "write_static"]
