"""Our worker."""

from benchmarks._serve import serve
from benchmarks.ours import WAYS

serve(WAYS, ("torch", "transformers", "transformer-lens", "lens-personas", "numpy"))
