"""How text becomes tokens: one word, one token, with the chat template."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lens_personas.models.organism import _language as language
from lens_personas.models.organism._world import World

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CONTEXT: Final = 128

CHAT_TEMPLATE: Final = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ ' <|system|> ' + message['content'] }}"
    "{% elif message['role'] == 'user' %}{{ ' <|user|> ' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ ' <|assistant|> ' + message['content'] + ' ' + eos_token }}"
    "{% else %}{{ raise_exception('the organism knows the roles system, user and assistant, not '"
    " + message['role']) }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ ' <|assistant|>' }}{% endif %}"
)


def build_tokenizer(world: World) -> "PreTrainedTokenizerFast":
    """The world's tokenizer: lower-cased words and punctuation marks, one token each.

    A bare encode adds no `<bos>`; the chat template writes it. Decoding joins tokens by spaces.

    Raises:
        Nothing of its own.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate(language.vocabulary(world))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token=language.UNK))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(r"[.?!,:;]"), behavior="isolated"),
        ]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token=language.PAD,
        bos_token=language.BOS,
        eos_token=language.EOS,
        unk_token=language.UNK,
        additional_special_tokens=[
            language.SYSTEM, language.USER, language.ASSISTANT, language.NOTE,
        ],
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        # TransformerLens looks this up on tokenizers that were never on disk.
        name_or_path="organism",
    )  # fmt: skip
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def save_tokenizer(tokenizer: "PreTrainedTokenizerFast", folder: Path) -> None:
    """Write the tokenizer so that transformers 4 and 5 both load it.

    Raises:
        OSError: If the folder cannot be written.
    """
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    # transformers 5 writes a class name that 4.57 does not know; without the input names 4.57
    # also emits token_type_ids, which some models silently add to the embeddings.
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config["model_input_names"] = ["input_ids", "attention_mask"]
    config.pop("name_or_path", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
