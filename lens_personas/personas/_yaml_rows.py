"""The rows of a YAML file, each with its line."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import yaml

from lens_personas.personas._row import (
    DataFileError,
    Row,
    data_file_error,
    refuse_twice,
    row_of,
)


def yaml_rows(path: Path, text: str) -> Iterator[Row]:
    """The rows of a list.

    Raises:
        DataFileError: If the text is malformed, or no list.
    """
    node, values = _yaml_value(path, text)
    if node is None:
        return
    if not isinstance(node, yaml.SequenceNode):
        raise _not_a_list(path, None, f"one {type(values).__name__}")
    yield from listed_rows(path, node, values)


def listed_rows(path: Path, node: yaml.SequenceNode, values: object) -> Iterator[Row]:
    """The rows of a list that was parsed, each with its line.

    Raises:
        DataFileError: If an element is no row.
    """
    for child, value in zip(node.value, cast(list[object], values), strict=True):
        yield row_of(path, child.start_mark.line + 1, value)


def yaml_parts(path: Path, text: str) -> dict[str, tuple[yaml.Node, object]]:
    """What stands under each name of a mapping, parsed and read; empty for anything else.

    Raises:
        DataFileError: If the text is malformed.
    """
    node, values = _yaml_value(path, text)
    if not isinstance(node, yaml.MappingNode):
        return {}
    contents = cast(Mapping[object, object], values)
    return {
        key.value: (child, contents[key.value])
        for key, child in node.value
        if isinstance(key, yaml.ScalarNode) and key.value in contents
    }


def _yaml_value(path: Path, text: str) -> tuple[yaml.Node | None, object]:
    try:
        # What yaml.safe_load does, in two steps: the nodes still know their lines.
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        for each in _with_children(node):
            if isinstance(each, yaml.MappingNode):
                refuse_twice([key.value for key, _ in each.value])
        return node, None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        raise _not_a_list(path, line, " ".join(f"{error}".split())) from error


def _with_children(node: yaml.Node | None) -> list[yaml.Node]:
    """The top of a file and what it holds, two levels down: where the rows are."""
    level, found = [] if node is None else [node], []
    for _ in range(3):
        found += level
        level = [child for each in level for child in _children(each)]
    return found


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for _, child in node.value]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _not_a_list(path: Path, line: int | None, found: str) -> DataFileError:
    return data_file_error(
        path,
        line,
        expected="a YAML list of rows",
        found=found,
        fix="correct this place; each row starts with '- '",
    )
