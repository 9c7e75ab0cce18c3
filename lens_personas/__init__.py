"""How personas move refusal inside a language model: vectors, lenses, edits, statistics.

Import the room you need, such as ``from lens_personas.models import load_model``. This
module imports none of them, so that it costs nothing.
"""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("lens-personas")
except PackageNotFoundError:  # a source tree on the path that was never installed
    __version__ = "0+unknown"
