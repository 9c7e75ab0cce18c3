"""What is said to the model: personas, requests, chat turns, data sets."""

from lens_personas.personas._catalogue import RequestDataset, StatementDataset
from lens_personas.personas._check import check_personas
from lens_personas.personas._datasets import load_completions, load_requests, load_statements
from lens_personas.personas._findings import Finding, FindingKind, FindingLevel
from lens_personas.personas._groups import GROUP_TEMPLATES, GroupTemplate, group_personas
from lens_personas.personas._own import read_requests
from lens_personas.personas._persona_files import (
    PersonaSet,
    PersonaSetHeader,
    persona_yaml,
    read_persona_set,
    read_personas,
)
from lens_personas.personas._row import DataFileError
from lens_personas.personas._said import PersonaTurn, conversation, persona_text
from lens_personas.personas._sentences import says_the_same
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
    ShippedSet,
    shipped_demographics,
    shipped_filler,
    shipped_personas,
    shipped_refusal,
    shipped_requests,
    shipped_text,
    shipped_unstated,
)
from lens_personas.personas._split import NestedSplit, split_requests
from lens_personas.personas._types import Group, Message, Persona, Request, Role

__all__ = [
    "GROUP_TEMPLATES",
    "Completion",
    "CompletionLabel",
    "CompletionSet",
    "DataFileError",
    "Finding",
    "FindingKind",
    "FindingLevel",
    "Group",
    "GroupTemplate",
    "Message",
    "NestedSplit",
    "Origin",
    "Persona",
    "PersonaSet",
    "PersonaSetHeader",
    "PersonaTurn",
    "Request",
    "RequestDataset",
    "RequestSet",
    "Role",
    "ShippedSet",
    "Statement",
    "StatementDataset",
    "StatementSet",
    "check_personas",
    "conversation",
    "group_personas",
    "load_completions",
    "load_requests",
    "load_statements",
    "persona_text",
    "persona_yaml",
    "read_persona_set",
    "read_personas",
    "read_requests",
    "says_the_same",
    "shipped_demographics",
    "shipped_filler",
    "shipped_personas",
    "shipped_refusal",
    "shipped_requests",
    "shipped_text",
    "shipped_unstated",
    "split_requests",
]
