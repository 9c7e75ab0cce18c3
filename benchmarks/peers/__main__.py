"""The peers' worker."""

from benchmarks._serve import serve
from benchmarks.peers._ways import PACKAGES, WAYS

serve(WAYS, PACKAGES)
