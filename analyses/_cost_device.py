"""How long counted work takes, and how much memory it needs, on a machine that is not at hand."""

from collections.abc import Sequence
from dataclasses import dataclass

from analyses._cost import Batch, Work, bytes_moved, flops
from analyses._cost_shape import CostError, Shape

BYTES: dict[str, int] = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number."""

USABLE_MEMORY = 0.9
"""Share of a device's memory that weights and work may fill."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A processor by its maker's data sheet, and the share of it that is assumed to be reached."""

    name: str
    """As it is asked for."""
    flops: dict[str, float]
    """Peak floating-point operations a second of dense matrix products, by dtype."""
    memory: float
    """Bytes of memory."""
    bandwidth: float
    """Bytes a second from that memory."""
    efficiency: float
    """Share of the peak that large products reach; an assumption."""
    bandwidth_efficiency: float
    """Share of the bandwidth that is reached; an assumption."""
    block_seconds: float
    """Time a block takes however small the batch: Python, hooks and launches; an assumption."""
    source: str
    """Where the peaks are from."""


# Name, dense bfloat16 and float32 peaks (TFLOP/s), memory (GB), bandwidth (GB/s), data sheet.
_GPUS = (
    ("RTX-4090", 165.2, 82.6, 24.0, 1008.0, "geforce/graphics-cards/40-series/rtx-4090"),
    ("L40S", 362.0, 91.6, 48.0, 864.0, "data-center/l40s"),
    ("A100-40", 312.0, 19.5, 40.0, 1555.0, "data-center/a100"),
    ("A100-80", 312.0, 19.5, 80.0, 2039.0, "data-center/a100"),
    ("H100", 989.0, 67.0, 80.0, 3350.0, "data-center/h100"),
    ("H200", 989.0, 67.0, 141.0, 4800.0, "data-center/h200"),
    ("B200", 2250.0, 75.0, 180.0, 7700.0, "data-center/hgx"),
)
_CPU = Device(
    name="cpu",
    flops={"float64": 4.7e10, "float32": 9.5e10, "bfloat16": 2e11, "float16": 2e10},
    memory=16e9,
    bandwidth=1.7e10,
    efficiency=0.7,
    bandwidth_efficiency=0.9,
    block_seconds=3e-4,
    source="one core of a server, measured: a large product, and the reading of weights",
)


def _gpu(name: str, bf16: float, fp32: float, memory: float, bandwidth: float, page: str) -> Device:
    return Device(
        name=name,
        flops={"bfloat16": 1e12 * bf16, "float16": 1e12 * bf16, "float32": 1e12 * fp32},
        memory=1e9 * memory,
        bandwidth=1e9 * bandwidth,
        efficiency=0.4,
        bandwidth_efficiency=0.6,
        block_seconds=3e-4,
        source=f"https://www.nvidia.com/en-us/{page}/",
    )


DEVICES = {device.name.lower(): device for device in (_CPU, *(_gpu(*row) for row in _GPUS))}
"""Devices by name in small letters. Peaks of dense products with float32 accumulation, without
sparsity; float32 without TF32, as torch multiplies unless told otherwise."""


def find_device_sheet(name: str) -> Device:
    """The device of that name; blanks, dashes and capitals do not matter.

    Raises:
        CostError: If it is not in the table.
    """
    plain = {key.replace("-", ""): device for key, device in DEVICES.items()}
    found = plain.get("".join(c for c in name.lower() if c.isalnum()))
    if found is None:
        known = ", ".join(device.name for device in DEVICES.values())
        raise CostError(f"expected a device among {known}, got {name!r}")
    return found


def seconds(work: Work, shape: Shape, device: Device, dtype: str) -> float:
    """Time of the work by the roofline, and a fixed time for every block that is entered.

    Raises:
        CostError: If the device has no peak for the dtype.
    """
    if dtype not in device.flops:
        raise CostError(
            f"expected a dtype among {', '.join(device.flops)} for {device.name}, got {dtype!r}"
        )
    computing = flops(work, shape) / (device.flops[dtype] * device.efficiency)
    moved = bytes_moved(work, shape, BYTES[dtype])
    reading = moved / (device.bandwidth * device.bandwidth_efficiency)
    return max(computing, reading) + work.block_passes * device.block_seconds


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What one replica of the model needs, in bytes."""

    weights: int
    """All parameters."""
    keys_values: int
    """Keys and values of the largest batch of answers at its end."""
    activations: int
    """Residuals that are kept, attention patterns and logits of the largest batch."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.keys_values + self.activations

    def devices_needed(self, device: Device) -> int:
        """Devices over which the blocks have to be spread at least."""
        return -int(-self.total // (USABLE_MEMORY * device.memory))


def memory_of(shape: Shape, batches: Sequence[Batch], *, new_tokens: int, dtype: str) -> Memory:
    """Memory of a replica for batches of this size, answers of ``new_tokens`` tokens written."""
    each = BYTES[dtype]
    cached = max(batch.rows * (batch.width + new_tokens) for batch in batches)
    tokens = max(batch.tokens for batch in batches)
    logits = 2 * 4 * max(batch.rows for batch in batches) * shape.d_vocab
    residuals = each * tokens * (shape.d_model * (shape.n_layers + 2) + 3 * shape.d_mlp)
    # Eager attention holds the scores and their softmax in float32.
    patterns = 2 * 4 * shape.n_heads * max(batch.pairs for batch in batches)
    return Memory(
        weights=each * shape.n_parameters,
        keys_values=shape.kv_bytes(cached, each),
        activations=residuals + logits + patterns,
    )
