"""What the plan counts, held against what a study ran."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from analyses._cells import Cell, Finished, Job
from analyses._cli import app
from analyses._config import WhosAskingConfig
from analyses._cost import flops
from analyses._cost_paper import estimated, paper_model
from analyses._cost_plan import CostPlan, cost_plan
from analyses._cost_shape import CostError, read_shape
from analyses._cost_study import CellCost, StudyCost, most_cells
from analyses._cost_table import plan_table
from analyses._data import study_data
from analyses._executor import LocalExecutor
from analyses._study import run_study
from analyses._workbench import Workbench, workbench
from analyses._worker import open_worker
from lens_personas.models import Prompt
from lens_personas.models.organism import checkpoint_path

CONFIG = WhosAskingConfig(
    model="organism:chat",
    device="cpu",
    layers=(2,),
    max_personas=3,
    max_requests=8,
    n_nulls=1,
    max_new_tokens=4,
)
ORGANISM = checkpoint_path("chat")


class _Counting(LocalExecutor):
    """Computes in this process and keeps the FLOPs of each cell."""

    def __init__(self, folder: Path, ran: list[tuple[Cell, Finished, int]]) -> None:
        super().__init__(open_worker(folder, CONFIG))
        self._ran = ran
        self._cell: Cell | None = None

    def start(self, job: Job) -> None:
        self._cell = job.cell
        super().start(job)

    def wait(self, timeout_s: float) -> tuple[Finished, ...]:
        with FlopCounterMode(display=False) as counter:
            found = super().wait(timeout_s)
        assert self._cell is not None
        self._ran.append((self._cell, found[0], counter.get_total_flops()))
        return found


@pytest.fixture(scope="module")
def ran() -> list[tuple[Cell, Finished, int]]:
    """Every cell of a small study, what came of it, and the FLOPs torch counted."""
    found: list[tuple[Cell, Finished, int]] = []
    run_study(CONFIG, engine=lambda folder: _Counting(folder, found))
    return found


def _paper(config: WhosAskingConfig = CONFIG, *, tokenizer: Path | None = ORGANISM) -> Workbench:
    model = paper_model(read_shape(ORGANISM), tokenizer, dtype="float32")
    return workbench(config, study_data(config), model)


@pytest.fixture(scope="module")
def costs() -> Any:
    """Cost of a cell, the engine's way or the plain one."""
    work = _paper()
    ways = {plain: StudyCost(work=work, estimates=False, plain=plain) for plain in (False, True)}

    def cost(cell: Cell, *, plain: bool = False) -> CellCost:
        return ways[plain].cell(cell)

    return cost


def _flops(cost: CellCost) -> int:
    return flops(cost.prompts + cost.answers, read_shape(ORGANISM))


@pytest.mark.slow
def test_the_cells_that_are_planned_are_those_that_run(
    ran: list[tuple[Cell, Finished, int]], costs: Any
) -> None:
    def told(cells: list[Cell], *, written: bool) -> list[str]:
        kept = (c for c in cells if (c.kind == "written") is written and c.kind != "files")
        return sorted(json.dumps([c.kind, dict(c.spec)], sort_keys=True) for c in kept)

    planned, real = list(most_cells(_paper())), [cell for cell, _, _ in ran]
    assert told(planned, written=False) == told(real, written=False)
    # Which layers are tested hangs on the scores: the plan has the most there can be.
    rows = [sum(costs(c).rows for c in cells if c.kind == "written") for cells in (planned, real)]
    assert rows[0] >= rows[1] > 0


@pytest.mark.slow
def test_rows_of_scores_are_those_that_are_planned(
    ran: list[tuple[Cell, Finished, int]], costs: Any
) -> None:
    scored = [(cell, done) for cell, done, _ in ran if cell.kind in ("baseline", "sweep")]
    assert scored
    for cell, done in scored:
        assert done.shard is not None
        assert done.shard.rows == costs(cell).rows


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["norms", "vector", "baseline"])
def test_flops_are_those_that_were_run(
    ran: list[tuple[Cell, Finished, int]], costs: Any, kind: str
) -> None:
    found = [(cell, true) for cell, _, true in ran if cell.kind == kind]
    assert found
    for cell, true in found:
        assert _flops(costs(cell)) == pytest.approx(true, rel=0.02), cell.label


@pytest.mark.slow
def test_sweep_and_answers_cost_no_more_than_the_plain_way(
    ran: list[tuple[Cell, Finished, int]], costs: Any
) -> None:
    for kind in ("answers", "sweep", "written"):
        found = [(cell, true) for cell, _, true in ran if cell.kind == kind]
        true = sum(each for _, each in found)
        plain, ours = (
            sum(_flops(costs(cell, plain=way)) for cell, _ in found) for way in (True, False)
        )
        # Answers may end early; nothing else is left out.
        assert 0.5 * ours <= true <= 1.02 * plain
        if kind == "sweep":
            assert true == pytest.approx(ours, rel=0.1)


@pytest.mark.parametrize("preset", [{}, {"vector_method": "questions"}])
def test_without_a_tokenizer_tokens_are_estimated_from_characters(preset: dict[str, Any]) -> None:
    shipped = {"model": "nowhere", "max_personas": 3, "max_requests": 6, "layers": (1,)}
    work = _paper(CONFIG.model_copy(update=shipped | preset), tokenizer=None)
    cost = StudyCost(work=work, estimates=True)
    for cell in most_cells(work):
        counted = cost.cell(cell)
        assert (counted.rows > 0) == (cell.kind not in ("tokens", "files")), cell.label
    request = work.requests[0]
    prompt = work.plain[request.prompt_id]
    n = len(prompt.text.encode())
    assert len(prompt.ids) == n
    assert len(estimated(prompt).ids) == -(-n // 4)


def test_estimated_prompts_share_what_their_texts_share() -> None:
    start = b"a text that many begin with. "
    first, second = (
        estimated(
            Prompt(prompt_id="", ids=tuple(start + end), prompt_length=0, spans={}, text="")
        ).ids
        for end in (b"one", b"another")
    )
    shared = len(start) // 4
    assert first[:shared] == second[:shared]
    assert first[shared + 1 :] != second[shared + 1 :]


def _plan(**options: Any) -> CostPlan:
    config = CONFIG.model_copy(update={"max_requests": 6, "layers": (2,)})
    return cost_plan(config, ORGANISM, **({"device": "H200"} | options))


def test_replicas_share_the_work_and_devices_hold_the_model() -> None:
    one, four = _plan(), _plan(workers=4)
    assert one.seconds == pytest.approx(sum(step.seconds for step in one.steps))
    assert one.seconds / 4 <= four.seconds < one.seconds
    assert one.fits
    assert one.devices == 1
    assert all(step.flops <= step.flops_plain for step in one.steps)
    # By the same roofline a slower device takes longer.
    assert _plan(device="cpu").seconds > one.seconds


def test_a_replica_that_does_not_fit_is_said(tmp_path: Path) -> None:
    fields = {
        "model_type": "llama",
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 8192,
    }
    (tmp_path / "config.json").write_text(json.dumps(fields))
    config = CONFIG.model_copy(update={"max_requests": 6, "layers": (2,), "dtype": "bfloat16"})
    plan = cost_plan(config, tmp_path, device="A100-80", devices=1)
    assert plan.devices_needed == 3
    assert not plan.fits
    assert "spread it over 3 devices (--devices 3)" in _text(plan)


def _text(plan: CostPlan) -> str:
    console = Console(width=200, file=StringIO())
    console.print(plan_table(plan))
    return console.file.getvalue()


def test_the_table_says_what_is_assumed() -> None:
    text = _text(_plan())
    assert "scores of every arm and layer" in text
    assert "the model's own tokenizer; persona in the" in text
    assert "40% of 67 TFLOP/s in float32" in text
    assert "Memory of a replica" in text


def test_numbers_of_replicas_and_devices_are_checked() -> None:
    with pytest.raises(CostError, match="expected at least 1 worker and 1 device, got 0 and 1"):
        _plan(workers=0, devices=1)


def test_a_folder_without_a_tokenizer_is_said(tmp_path: Path) -> None:
    with pytest.raises(CostError, match=r"expected a folder with tokenizer\.json"):
        _plan(tokenizer=tmp_path)


def _run(*args: str) -> Any:
    return CliRunner().invoke(app, ["plan", *args])


def test_the_command_gives_the_plan_as_json_and_loads_no_model() -> None:
    found = _run(
        *("whos-asking", "--model-config", str(ORGANISM), "--device", "h200", "--json"),
        *("--set", "layers=[2]", "--set", "max_requests=6", "--set", "max_personas=3"),
    )
    assert found.exit_code == 0, found.output
    plan = json.loads(found.stdout)
    assert plan["n_parameters"] == read_shape(ORGANISM).n_parameters
    assert plan["dtype"] == "bfloat16"
    # Six steps of the study itself, and the conversations that its report shows.
    assert [step["flops"] > 0 for step in plan["steps"]] == [True] * 7


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (("whos-asking", "--device", "T4"), "expected a device among cpu, RTX-4090"),
        (("whos-asking", "--device", "cpu", "--set", "layer=1"), "did you mean 'layers'"),
    ],
)
def test_what_the_user_can_mend_is_one_line(args: tuple[str, ...], match: str) -> None:
    found = _run(*args, "--model-config", str(ORGANISM))
    assert found.exit_code == 2
    assert match in found.output
