"""A look at personas before they cost a run: errors, and what to think about."""

from collections.abc import Sequence

from lens_personas.personas._check_one import findings_in, is_written
from lens_personas.personas._check_sides import Count, findings_between
from lens_personas.personas._findings import Finding
from lens_personas.personas._types import Persona


def check_personas(
    personas: Sequence[Persona], *, topics: Sequence[str] = (), count: Count | None = None
) -> tuple[Finding, ...]:
    """What is wrong with personas, errors first.

    Heuristics on English text: a warning says where to look, and no warning does not say that
    the sentences are good. Sentences count as the same without case and punctuation.

    Args:
        personas: The personas of one study.
        topics: Texts of the requests, whose words the statements should not share.
        count: Tokens of a text by the model's own tokenizer; None to compare words.

    Raises:
        Nothing of its own.

    >>> tea = Persona(name="tea", group="control", statements=("I like tea.", "I like tea!"))
    >>> check_personas([tea])[0].message[:49]
    "statements: 'I like tea!' says the same as 'I lik"
    """
    found = [finding for persona in personas for finding in findings_in(persona, topics=topics)]
    written = [persona for persona in personas if is_written(persona)]
    found += findings_between(written, count=count)
    return tuple(sorted(found, key=lambda finding: finding.level != "error"))
