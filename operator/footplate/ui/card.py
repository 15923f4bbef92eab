"""A model's card as HTML: Markdown without HTML of its own, without scripts, styles or anything from elsewhere. Pure.

Who has trained the model has written the card. A link leads to http or https alone; a picture is one of the model's own
plots, or the words that stand for it.
"""

import re
from collections.abc import Collection, Iterable
from urllib.parse import quote

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from footplate.text import clean_json
from footplate_trainer.evaluation_file import PLOTS

MAX_CHARACTERS = 30_000
"""That are rendered: what is built to be slow takes a second, and grows with the square of its length."""
_CUT = Markup("<p>The card goes on; <code>footplate artifact get</code> has all of it.</p>")
_METADATA = re.compile(r"---\n.*?\n---\n", re.DOTALL)
_OWN_HEADING = 2
"""Level of the heading that stands above the card."""


def render_card(text: str, *, plots: Collection[str], plots_base: str) -> Markup:
    """The card below the page's own headings.

    Args:
        text: README.md.
        plots: names of the model's plots.
        plots_base: address of the folder that they are in.
    """
    text = clean_json(text.replace("\r\n", "\n"))
    metadata = _METADATA.match(text)
    text = text[metadata.end() if metadata else 0 :]
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.validateLink = _is_web_or_plot  # type: ignore[method-assign]
    tokens = parser.parse(text[:MAX_CHARACTERS])
    for token in _all(tokens):
        _tame(token, plots, plots_base)
    rendered = Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 (it escapes, and knows no HTML)
    return rendered + _CUT if len(text) > MAX_CHARACTERS else rendered


def _is_web_or_plot(url: str) -> bool:
    return url.lower().startswith(("https://", "http://")) or url.startswith(f"{PLOTS}/")


def _all(tokens: Iterable[Token]) -> Iterable[Token]:
    for token in tokens:
        yield token
        yield from _all(token.children or ())


def _tame(token: Token, plots: Collection[str], plots_base: str) -> None:
    """Makes a piece of the card fit to stand in the page."""
    if token.tag in _LEVELS:
        token.tag = _LEVELS[token.tag]
    elif token.type == "link_open":
        href = str(token.attrs.get("href", ""))
        token.attrs = {"href": href, "target": "_blank", "rel": "noopener noreferrer"} if "://" in href else {}
    elif token.type == "image":
        name = str(token.attrs.get("src", "")).removeprefix(f"{PLOTS}/")
        if name in plots:
            token.attrs = {"src": f"{plots_base}/{quote(name, safe='')}", "alt": "", "loading": "lazy"}
        else:
            token.type, token.tag, token.content, token.children = "text", "", f"[{token.content}]", None
    else:
        token.info = ""
        token.attrs = {key: value for key, value in token.attrs.items() if key == "start"}


_LEVELS = {f"h{level}": f"h{min(6, level + _OWN_HEADING)}" for level in range(1, 7)}
