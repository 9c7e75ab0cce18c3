"""What a circuit is made of: parts of the model that write, parts that read, edges between them."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

NodeKind = Literal["embed", "head", "mlp", "attn", "logits"]
"""``embed``, ``head`` and ``mlp`` write to the residual stream; ``attn`` (the attention of a layer,
all heads' queries, keys and values together), ``mlp`` and ``logits`` read from it."""


class Node(NamedTuple):
    """A part of the model."""

    kind: NodeKind
    """What it is."""
    layer: int = -1
    """Block, counted from 0; -1 for the embedding and the logits."""
    head: int = -1
    """Head, counted from 0; -1 for what is not a head."""

    @property
    def name(self) -> str:
        """Short name.

        >>> Node("head", 3, 1).name, Node("mlp", 2).name, Node("embed").name
        ('head 3.1', 'mlp 2', 'embed')

        """
        places = [str(each) for each in (self.layer, self.head) if each >= 0]
        return f"{self.kind} {'.'.join(places)}".strip()


class Edge(NamedTuple):
    """What one part reads of what another wrote."""

    source: Node
    """An ``embed``, ``head`` or ``mlp`` node."""
    target: Node
    """An ``attn``, ``mlp`` or ``logits`` node above it."""

    @property
    def name(self) -> str:
        """Short name.

        >>> Edge(Node("head", 3, 1), Node("mlp", 4)).name
        'head 3.1 -> mlp 4'

        """
        return f"{self.source.name} -> {self.target.name}"


@dataclass(frozen=True, kw_only=True)
class ModelGraph:
    """Every part and edge of a model, in the order in which they are computed."""

    n_layers: int
    """Blocks."""
    n_heads: int
    """Heads in a block."""

    @property
    def sources(self) -> tuple[Node, ...]:
        """Parts that write: the embedding, then each block's heads and MLP."""
        blocks = (
            node
            for layer in range(self.n_layers)
            for node in (*(Node("head", layer, h) for h in range(self.n_heads)), Node("mlp", layer))
        )
        return (Node("embed"), *blocks)

    @property
    def targets(self) -> tuple[Node, ...]:
        """Parts that read: each block's attention and MLP, then the logits."""
        blocks = (
            node
            for layer in range(self.n_layers)
            for node in (Node("attn", layer), Node("mlp", layer))
        )
        return (*blocks, Node("logits"))

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Every edge: a part reads what was written before it.

        >>> len(ModelGraph(n_layers=1, n_heads=2).edges)  # embed to 3; 2 heads to 2; mlp to 1
        8

        """
        return tuple(
            Edge(source, target)
            for target in self.targets
            for source in self.sources
            if _before(source, target)
        )


def _before(source: Node, target: Node) -> bool:
    if source.kind == "embed" or target.kind == "logits":
        return True
    if source.layer != target.layer:
        return source.layer < target.layer
    return source.kind == "head" and target.kind == "mlp"
