"""Vectors from the command line: fit and save, show, compare."""

from dataclasses import asdict
from pathlib import Path

from rich.console import Group
from rich.table import Table

from analyses._collect import answer, fit, judged
from analyses._config import WhosAskingConfig
from analyses._data import study_data
from analyses._runs import vector_file
from analyses._vectors import vector_names
from analyses._workbench import workbench
from analyses._worker import load
from lens_personas.vectors import compare_vectors, load_vector, save_vector


def extract_vectors(config: WhosAskingConfig, folder: Path) -> tuple[Path, ...]:
    """Fit the vectors a study would use and save each; gives their paths.

    Raises:
        ValueError: If settings, model or data do not fit.
        OSError: If the disk refuses.
    """
    work = workbench(config, study_data(config), load(config))
    labels = judged({each.prompt_id: each for each in answer(work, work.requests)})
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in vector_names(work.data, config.vector_method):
        paths.append(folder / vector_file(name))
        save_vector(fit(work, name, labels).vector, paths[-1])
    return tuple(paths)


def vector_view(file: Path) -> Group:
    """A vector's labels, provenance and norms by layer, to be printed.

    Raises:
        ValueError: If the file is no vector of ours.
        OSError: If it cannot be read.
    """
    vector = load_vector(file)
    about = Table(title=f"{vector.name}: from {vector.from_label} to {vector.to_label}")
    about.add_column("what")
    about.add_column("value")
    facts = {
        "method": vector.method,
        "site": vector.site.value,
        "prompts": f"{vector.n_to} to, {vector.n_from} from",
        "normalised": vector.normalised,
    }
    for key, value in (facts | asdict(vector.provenance)).items():
        about.add_row(key, str(value))
    norms = Table("layer", "norm", "residual norm", title="length by layer")
    for layer, norm, resid in zip(vector.layers, vector.norms, vector.resid_norms, strict=True):
        norms.add_row(str(layer), f"{float(norm):.3f}", f"{float(resid):.3f}")
    return Group(about, norms)


def comparison_view(first: Path, second: Path) -> Table:
    """Cosine and lengths of two vectors by layer, to be printed.

    Raises:
        ValueError: If a file is no vector of ours, or the two cannot be compared.
        OSError: If a file cannot be read.
    """
    compared = compare_vectors(load_vector(first), load_vector(second))
    table = Table("layer", "cosine", *(f"norm of {name}" for name in compared.names))
    for layer, cosine, mine, theirs in compared.rows():
        table.add_row(str(layer), f"{cosine:+.3f}", f"{mine:.3f}", f"{theirs:.3f}")
    return table
