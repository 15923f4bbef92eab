"""A model's card in the page is its words, and nothing that its author would have the browser do."""

from html.parser import HTMLParser

import pytest

from footplate.ui import card
from footplate.ui.card import render_card

TAGS = {
    "p", "h3", "h4", "h5", "h6", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "pre", "code", "em",
    "strong", "a", "img", "br", "hr", "blockquote",
}  # fmt: skip


class Seen(HTMLParser):
    """What a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def seen(text: str, *plots: str) -> Seen:
    return Seen(render_card(text, plots=plots, plots_base="/place/jobs/team/digits/plots"))


def test_a_card_without_its_metadata() -> None:
    found = seen("---\nlibrary_name: footplate\n---\n\n# digits\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n\n3. third\n")
    assert "library_name" not in found.words
    assert [tag for tag, _ in found.tags[:3]] == ["h3", "table", "thead"]
    assert ("ol", {"start": "3"}) in found.tags
    assert ("td", {}) in found.tags  # without a style, which the page's policy refuses


def test_pictures_are_the_models_own_plots_and_no_others() -> None:
    foreign = "![away](https://evil/x.png) ![up](plots/../../spec) ![data](data:image/png;base64,AA)"
    found = seen(f"![roc](plots/test-roc.png) {foreign}", "test-roc.png")
    assert [attributes for tag, attributes in found.tags if tag == "img"] == [
        {"src": "/place/jobs/team/digits/plots/test-roc.png", "alt": "roc", "loading": "lazy"}
    ]
    assert "[away]" in found.words


def test_links_lead_to_the_web_and_take_nothing_along() -> None:
    addresses = ["javascript:alert(1)", "JaVaScRiPt:x", "data:text/html,x", "/jobs/team/digits/cancel", "//evil/"]
    found = seen(" ".join(f"[a]({address})" for address in ["https://a/b?c#d", *addresses, "plots/x.png"]))
    links = [attributes for tag, attributes in found.tags if tag == "a"]
    assert [link for link in links if link.get("href")] == [
        {"href": "https://a/b?c#d", "target": "_blank", "rel": "noopener noreferrer"}
    ]


@pytest.mark.parametrize(
    "text",
    [
        "<script>x()</script>",
        "<img src=x onerror=x()>",
        "<div hx-get='/x' hx-trigger='load' style='position:fixed'>",
        '[a](https://x "\\" onmouseover=x()")',
        '![a](plots/a.png "t\\" onerror=x()")',
        "<https://a/\"onmouseover='x'>",
        "```html onload=x class=\n<script>\n```",
        "| a<b style=x> |\n|---|\n| <i> |",
        "&lt;script&gt; &#60;script&#62;",
        "# <a id=main>",
        "---\na: [\n---\n<svg/onload=x()>",
        "\u202e\x1b[31m\x00<b>",
        "[a]: javascript:x()\n\n[a]",
    ],
)
def test_markup_is_words(text: str) -> None:
    found = seen(text, "a.png")
    assert {tag for tag, _ in found.tags} <= TAGS
    allowed = {"a": {"href", "target", "rel"}, "img": {"src", "alt", "loading"}, "ol": {"start"}}
    assert all(attributes.keys() <= allowed.get(tag, set()) for tag, attributes in found.tags), found.tags
    assert not {"\u202e", "\x1b", "\x00"} & set(found.words)


@pytest.mark.parametrize("piece", ["![", "[a](", "a|b\n-|-\n", "> ", "- ", "**a *", "\n# a"])
def test_a_card_that_is_built_to_be_slow_is_cut(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a lower bound than that of pages, to be quick: time grows with its square."""
    most = 3_000
    monkeypatch.setattr(card, "MAX_CHARACTERS", most)
    found = seen(piece * (2_000_000 // len(piece)))
    assert "The card goes on" in found.words
    assert len(found.words) < 2 * most
