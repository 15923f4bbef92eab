"""Records as text, by a model's own chat template, and which of its letters are to be learnt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import TemplateError
from numpy.typing import NDArray

from footplate_trainer.data.records import ASSISTANT, Chat, Mistake, Record
from footplate_trainer.data.tokens import LETTERS_A_TOKEN

Span = tuple[int, int]
PLAIN_TEMPLATE = (
    "{% if bos_token is defined and bos_token %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{% if not loop.first %}{{ '\n\n' }}{% endif %}"
    "{{ '### ' + message['role'] + '\n' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n\n### assistant\n' }}{% endif %}"
)
"""Of models that have none of their own: `### role`, and below it the message, which of the assistant ends with the
tokenizer's end mark; an empty line between messages.
"""
NOT_ALWAYS_SHOWN = (ASSISTANT, "tool")
"""Roles whose messages templates may show in another form."""


@dataclass(frozen=True, slots=True)
class Written:
    """A record as text, and the spans of letters that are to be learnt."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens [T] of a text, which of them are to be learnt, bool [T], and whether some are cut off."""

    ids: NDArray[np.int32]
    learnt: NDArray[np.bool_]
    cut: bool


class Writer:
    """Writes records as a model reads them.

    Args:
        tokenizer: of transformers.
        max_length: tokens of a text that are kept.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length

    def write(self, record: Record) -> list[Written]:
        """The record as text: one, or of a chat whose template shows earlier turns in another form, one for each of the
        assistant's messages. None of a record without a text to learn.

        Raises:
            Mistake: the template doesn't take it.
        """
        if isinstance(record, Chat):
            return self._chat(record)
        if not record.completion.strip():
            return []
        start = len(record.prompt)
        return [Written(record.prompt + record.completion, ((start, start + len(record.completion)),))]

    def encode(self, texts: Sequence[Written], *, marks: bool) -> list[Encoded]:
        """Their tokens.

        Args:
            texts: written.
            marks: whether the tokenizer's marks of beginning and end belong around them: a template has its own.
        """
        most = self.max_length * LETTERS_A_TOKEN
        made = self.tokenizer(
            [_sendable(each.text[:most]) for each in texts],
            add_special_tokens=marks,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,  # it would warn of what is cut here
        )
        pairs = zip(texts, made.encodings, strict=True)
        return [self._encoded(text, encoding, most, marks=marks) for text, encoding in pairs]

    def _encoded(self, text: Written, encoding: Any, most: int, *, marks: bool) -> Encoded:
        ids, ends = encoding.ids, [end for _, end in encoding.offsets]
        whole = len(text.text) <= most
        if marks and whole and ids[-1:] != [self.tokenizer.eos_token_id]:
            ids, ends = [*ids, self.tokenizer.eos_token_id], [*ends, len(text.text)]
        learnt = learnt_tokens(ends, text.spans)
        cut = not whole or len(ids) > self.max_length
        return Encoded(np.asarray(ids[: self.max_length], np.int32), learnt[: self.max_length], cut)

    def _chat(self, chat: Chat) -> list[Written]:
        whole = render(self.tokenizer, chat.messages, chat.tools)
        self._check_tools(chat, whole)
        for number, message in enumerate(chat.messages):
            content = message.get("content") or ""
            if message["role"] not in NOT_ALWAYS_SHOWN and content.strip() not in whole:
                raise Mistake(
                    f"message {number} has the role {message['role']!r}, and the model's chat template leaves it out; "
                    "give it a role that the template knows"
                )
        turns = [self._turn(chat, number) for number in chat.learnt]
        if all(whole.startswith(turn.text) for turn in turns):
            return [Written(whole, tuple(span for turn in turns for span in turn.spans))]
        return turns

    def _check_tools(self, chat: Chat, whole: str) -> None:
        """Raises Mistake where the template leaves out the tools, or what the assistant calls: it would learn answers
        to what it can't see, and never to call.
        """
        way_out = "take a model whose template knows tools, or write them into the messages"
        if chat.tools and render(self.tokenizer, chat.messages) == whole:
            raise Mistake(f"has tools, and the model's chat template leaves them out; {way_out}")
        for number, message in enumerate(chat.messages):
            if message.get("tool_calls"):
                silent = {"content": "", **{key: item for key, item in message.items() if key != "tool_calls"}}
                others = [*chat.messages[:number], silent, *chat.messages[number + 1 :]]
                if _is_shown_as(self.tokenizer, others, chat.tools, whole):
                    raise Mistake(
                        f"message {number} calls a tool (tool_calls), and the model's chat template leaves that out; "
                        f"{way_out}"
                    )

    def _turn(self, chat: Chat, number: int) -> Written:
        """The chat up to the message of this number: what it has beyond the prompt for it is to be learnt."""
        prompt = render(self.tokenizer, chat.messages[:number], chat.tools, add_generation_prompt=True)
        text = render(self.tokenizer, chat.messages[: number + 1], chat.tools)
        start = len(prompt)
        if not text.startswith(prompt):  # such as one that begins a thought, which the message isn't shown with
            start = next(
                (n for n, (one, other) in enumerate(zip(prompt, text, strict=False)) if one != other), len(text)
            )
        return Written(text, ((start, len(text)),))


def render(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], tools: Any = None, *, add_generation_prompt: bool = False
) -> str:
    """Messages by a tokenizer's chat template; one that has none gets `PLAIN_TEMPLATE`.

    Raises:
        Mistake: the template doesn't take them.
    """
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_TEMPLATE
    try:
        return str(
            tokenizer.apply_chat_template(
                list(messages), tools=tools, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        )
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        said = str(error) or type(error).__name__
        roles = ", ".join(dict.fromkeys(message["role"] for message in messages))
        raise Mistake(f"the model's chat template doesn't take messages of {roles} in this order: {said}") from None


def _is_shown_as(tokenizer: Any, messages: Sequence[Mapping[str, Any]], tools: Any, text: str) -> bool:
    try:
        return render(tokenizer, messages, tools) == text
    except Mistake:  # such as of a tool's answer without a call
        return False


def learnt_tokens(ends: Sequence[int], spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Which tokens are to be learnt, bool [T]: those that end within a span, but never the first: nothing foretells it.

    Args:
        ends: after which letter of the text each token ends [T]; 0 of marks, which then end where the one before does.
        spans: of letters, each from the first to the one behind its last.
    """
    where = np.maximum.accumulate(np.asarray(ends, np.int64)) if len(ends) else np.zeros(0, np.int64)
    learnt = np.zeros(len(where), np.bool_)
    for start, end in spans:
        learnt[slice(*np.searchsorted(where, [start, end], side="right"))] = True
    learnt[:1] = False
    return learnt


def _sendable(text: str) -> str:
    """The same, as long, without halves of surrogate pairs, which no tokenizer takes."""
    return text.encode(errors="replace").decode()
