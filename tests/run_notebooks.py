"""Runs notebooks cell by cell, as Jupyter would, and prints what each last line shows as JSON."""

import ast
import json
import os
import sys
from typing import Any

import jupytext

# What a cell prints is not asked for here, and would stand between the JSON.
OUT = os.fdopen(os.dup(1), "w")


def shown(value: Any) -> dict[str, Any]:
    """What Jupyter would show of a value."""
    as_html = getattr(value, "_repr_html_", None)
    return {"type": type(value).__name__, "html": as_html() if as_html else None}


def run(path: str) -> list[dict[str, Any]]:
    """What the cells of a notebook show, in order."""
    names: dict[str, Any] = {"__name__": "__main__"}
    found = []
    for number, cell in enumerate(jupytext.read(path).cells):
        if cell.cell_type != "code":
            continue
        where = f"{path}, cell {number}"
        tree = ast.parse(cell.source)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, where, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), where, "eval"), names)
            found += [] if value is None else [shown(value)]
    return found


if __name__ == "__main__":
    os.dup2(2, 1)
    json.dump({path: run(path) for path in sys.argv[1:]}, OUT)
    OUT.flush()
