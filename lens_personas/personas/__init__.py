"""What is said to the model: personas, requests, chat turns, data sets."""

from lens_personas.personas._catalogue import RequestDataset, StatementDataset
from lens_personas.personas._datasets import load_completions, load_requests, load_statements
from lens_personas.personas._own import read_personas, read_requests
from lens_personas.personas._rows import DataFileError
from lens_personas.personas._said import PersonaTurn, conversation, persona_text
from lens_personas.personas._sets import (
    Completion,
    CompletionLabel,
    CompletionSet,
    Origin,
    RequestSet,
    Statement,
    StatementSet,
)
from lens_personas.personas._shipped import (
    shipped_filler,
    shipped_personas,
    shipped_refusal,
    shipped_requests,
)
from lens_personas.personas._split import NestedSplit, split_requests
from lens_personas.personas._types import Group, Message, Persona, Request, Role

__all__ = [
    "Completion",
    "CompletionLabel",
    "CompletionSet",
    "DataFileError",
    "Group",
    "Message",
    "NestedSplit",
    "Origin",
    "Persona",
    "PersonaTurn",
    "Request",
    "RequestDataset",
    "RequestSet",
    "Role",
    "Statement",
    "StatementDataset",
    "StatementSet",
    "conversation",
    "load_completions",
    "load_requests",
    "load_statements",
    "persona_text",
    "read_personas",
    "read_requests",
    "shipped_filler",
    "shipped_personas",
    "shipped_refusal",
    "shipped_requests",
    "split_requests",
]
