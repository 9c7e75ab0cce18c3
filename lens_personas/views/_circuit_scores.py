"""Scores of a circuit's edges, and what is said of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass

from lens_personas.interventions import Edge, Node
from lens_personas.views._grid import decimals, told


@dataclass(frozen=True, kw_only=True)
class CircuitScores:
    """Scores of the edges that are drawn."""

    edges: Mapping[Edge, float]
    """Score of each, from the strongest to the weakest."""
    n_left_out: int
    """Weaker edges that are not drawn."""
    unit: str
    """What the scores are."""

    @property
    def n_all(self) -> int:
        """Edges, drawn or not."""
        return len(self.edges) + self.n_left_out

    @property
    def largest(self) -> float:
        """Size of the strongest score; 1 where all are 0."""
        return max(map(abs, self.edges.values())) or 1.0

    @property
    def digits(self) -> int:
        """Decimals that a reader can use."""
        return decimals(self.largest)

    @property
    def widths(self) -> dict[Edge, float]:
        """Pixels across each edge."""
        return {edge: edge_width(score, self.largest) for edge, score in self.edges.items()}

    def told(self, edge: Edge) -> str:
        """The score with its sign."""
        score = round(self.edges[edge], self.digits)
        return f"{'+' if score > 0 else ''}{told(score, self.digits)}"

    def has(self, node: Node) -> bool:
        """Whether an edge begins or ends at a part."""
        return any(node in edge for edge in self.edges)

    def describe(self, node: Node) -> str:
        """A part and its edges, in words."""
        name = f"attention of layer {node.layer}" if node.kind == "attn" else node.name
        reads = [f"{e.source.name} {self.told(e)}" for e in self.edges if e.target == node]
        writes = [f"{e.target.name} {self.told(e)}" for e in self.edges if e.source == node]
        said = [f"reads {', '.join(reads)}"] if reads else []
        said += [f"writes to {', '.join(writes)}"] if writes else []
        return f"{name}: {'; '.join(said)}"


def edge_width(score: float, largest: float) -> float:
    """Pixels across an edge.

    >>> edge_width(-2.0, 2.0), edge_width(0.0, 2.0)
    (7.0, 1.0)

    """
    return 1.0 + 6.0 * abs(score) / largest
