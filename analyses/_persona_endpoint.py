"""One question to a server that speaks the chat-completions protocol of OpenAI."""

import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import openai

ReplyFormat = Literal["json_schema", "json_object", "text"]
"""How the server is told that JSON is wanted; the reply is checked in the same way each time."""

RETRIES: Final = 2
KEY: Final = "OPENAI_API_KEY"
_NO_KEY: Final = "none"
_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "::1")


class EndpointError(ValueError):
    """A server that gave no reply."""


class UnusableReplyError(ValueError):
    """A reply that holds nothing to read: the next try may go better."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A server, its model, and how it is asked. The key is in none of the fields."""

    base_url: str
    """Address up to and with the version, such as ``http://localhost:8000/v1``."""
    model: str
    """Name of the model, as the server knows it."""
    temperature: float = 1.0
    """Temperature of sampling."""
    reply_format: ReplyFormat = "json_schema"
    """How JSON is asked for."""
    key_env: str | None = None
    """Environment variable of the key; None for ``OPENAI_API_KEY``, where it is safe to send."""
    timeout: float = 120.0
    """Seconds to wait for a reply."""

    @property
    def host(self) -> str:
        """Host and port of the server, without anything secret."""
        parts = urlsplit(self.base_url)
        return (parts.hostname or "") + (f":{parts.port}" if parts.port else "")


def check_endpoint(endpoint: Endpoint) -> None:
    """Accept an endpoint that can be asked.

    Raises:
        EndpointError: If the client is not installed, or the address or the key is missing.
    """
    if importlib.util.find_spec("openai") is None:
        raise EndpointError(
            "expected the openai client, it is not installed; pip install 'lens-personas[judge]'"
        )
    parts = urlsplit(endpoint.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EndpointError(
            "expected an address such as http://localhost:8000/v1 or https://api.openai.com/v1 "
            "for --base-url"
        )
    if parts.username or parts.password or parts.query:
        raise EndpointError(
            "expected --base-url without a name, password or query, which are easily shown by "
            "mistake; put the key into an environment variable and name it with --key-env"
        )
    if endpoint.key_env is not None and not os.environ.get(endpoint.key_env):
        raise EndpointError(
            f"expected a key in the environment variable {endpoint.key_env}, it is not set"
        )


def ask(
    endpoint: Endpoint, messages: list[dict[str, str]], *, schema: Mapping[str, Any], seed: int
) -> str:
    """The text of the reply.

    Raises:
        EndpointError: If the server cannot be reached, or refuses to serve.
        UnusableReplyError: If the reply was refused by the model, cut short, or empty.
    """
    import openai

    key = _key(endpoint)
    try:
        with openai.OpenAI(
            base_url=endpoint.base_url,
            api_key=key,
            timeout=endpoint.timeout,
            max_retries=RETRIES,
        ) as client:
            done = client.chat.completions.create(
                model=endpoint.model,
                messages=messages,  # type: ignore[arg-type]
                temperature=endpoint.temperature,
                seed=seed,
                **_format(endpoint.reply_format, schema),
            )
    except openai.OpenAIError as error:
        # Not chained: a traceback would show what the server said of the key.
        raise EndpointError(_told(error, endpoint, key)) from None
    except json.JSONDecodeError as error:
        raise UnusableReplyError("a reply that is no JSON") from error
    return _text(done)


def _key(endpoint: Endpoint) -> str:
    if endpoint.key_env is not None:
        return os.environ[endpoint.key_env]
    parts = urlsplit(endpoint.base_url)
    # Sent in the clear to another machine, a key is lost.
    is_safe = parts.scheme == "https" or parts.hostname in _THIS_MACHINE
    # Local servers take any key, but the client demands one.
    return (os.environ.get(KEY) if is_safe else None) or _NO_KEY


def _format(reply_format: ReplyFormat, schema: Mapping[str, Any]) -> dict[str, Any]:
    if reply_format == "text":
        return {}
    if reply_format == "json_object":
        return {"response_format": {"type": "json_object"}}
    wanted = {"name": "sentences", "strict": True, "schema": dict(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": wanted}}


def _text(done: Any) -> str:
    # A server may send anything: the client does not check what it passes on.
    choices = getattr(done, "choices", None)
    if not choices:
        raise UnusableReplyError("a reply without choices")
    message = getattr(choices[0], "message", None)
    if getattr(message, "refusal", None):
        raise UnusableReplyError("the model declined")
    if getattr(choices[0], "finish_reason", None) == "length":
        raise UnusableReplyError("a reply that was cut short")
    content = getattr(message, "content", None)
    if not isinstance(content, str) or not content.strip():
        raise UnusableReplyError("an empty reply")
    return content


def _told(error: "openai.OpenAIError", endpoint: Endpoint, key: str) -> str:
    import openai

    where = f"the server at {endpoint.host}"
    if isinstance(error, openai.APITimeoutError):
        return f"{where} did not reply in {endpoint.timeout:g} s; ask for fewer, or raise --timeout"
    if isinstance(error, openai.APIConnectionError):
        return f"{where} cannot be reached; start it, or correct --base-url"
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        # What servers say of a key holds parts of it.
        return f"{where} refuses the key; set {endpoint.key_env or KEY}, or name it with --key-env"
    said = " ".join(str(getattr(error, "message", error)).split())
    said = (said if key == _NO_KEY else said.replace(key, "…"))[:300]
    if isinstance(error, openai.NotFoundError):
        return f"{where} has no model {endpoint.model!r}, or --base-url lacks its /v1: {said}"
    if isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
        return (
            f"{where} does not take the request: {said}; where it knows no JSON schema, use "
            "--reply-format json_object or text"
        )
    return f"{where} failed: {said}"
