"""What is said to the model: personas, requests, chat turns, data sets."""

from lens_personas.personas._behaviour import behaviour_items, behaviour_of, is_desirable
from lens_personas.personas._behaviour_split import divide, limit_halves
from lens_personas.personas._behaviour_types import (
    Behaviour,
    BehaviourItem,
    PromptSentences,
    map_items,
)
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
from lens_personas.personas._persona_prompts import (
    ARMS,
    Arm,
    CountTokens,
    PersonaPrompt,
    assemble_prompts,
    most_sentences,
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
    shipped_behaviours,
    shipped_demographics,
    shipped_filler,
    shipped_personas,
    shipped_refusal,
    shipped_requests,
    shipped_text,
    shipped_unstated,
)
from lens_personas.personas._split import NestedSplit, split_requests
from lens_personas.personas._statement_groups import statement_groups
from lens_personas.personas._statement_prompts import (
    Asking,
    AskingStyle,
    Order,
    StatementPrompts,
    orders_of,
    question_about,
    statement_messages,
    statement_prompts,
    statement_text,
    worded,
)
from lens_personas.personas._types import Group, Message, Persona, Request, Role

__all__ = [
    "ARMS",
    "GROUP_TEMPLATES",
    "Arm",
    "Asking",
    "AskingStyle",
    "Behaviour",
    "BehaviourItem",
    "Completion",
    "CompletionLabel",
    "CompletionSet",
    "CountTokens",
    "DataFileError",
    "Finding",
    "FindingKind",
    "FindingLevel",
    "Group",
    "GroupTemplate",
    "Message",
    "NestedSplit",
    "Order",
    "Origin",
    "Persona",
    "PersonaPrompt",
    "PersonaSet",
    "PersonaSetHeader",
    "PersonaTurn",
    "PromptSentences",
    "Request",
    "RequestDataset",
    "RequestSet",
    "Role",
    "ShippedSet",
    "Statement",
    "StatementDataset",
    "StatementPrompts",
    "StatementSet",
    "assemble_prompts",
    "behaviour_items",
    "behaviour_of",
    "check_personas",
    "conversation",
    "divide",
    "group_personas",
    "is_desirable",
    "limit_halves",
    "load_completions",
    "load_requests",
    "load_statements",
    "map_items",
    "most_sentences",
    "orders_of",
    "persona_text",
    "persona_yaml",
    "question_about",
    "read_persona_set",
    "read_personas",
    "read_requests",
    "says_the_same",
    "shipped_behaviours",
    "shipped_demographics",
    "shipped_filler",
    "shipped_personas",
    "shipped_refusal",
    "shipped_requests",
    "shipped_text",
    "shipped_unstated",
    "split_requests",
    "statement_groups",
    "statement_messages",
    "statement_prompts",
    "statement_text",
    "worded",
]
