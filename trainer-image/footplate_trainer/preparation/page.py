"""A profile as a page of its own: no script, nothing from elsewhere, and whatever the data say is escaped."""

from collections.abc import Iterable, Iterator, Mapping
from html import escape

from footplate_trainer.preparation.report import ColumnProfile, Histogram, Profile, Violation

COLOURS = {"train": "#3b6fb6", "validation": "#d98324", "test": "#4a9a5b"}
WIDTH, HEIGHT = 260, 60
_STYLE = """
:root { color-scheme: light dark; }
body { font: 14px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
section { border-top: 1px solid #8886; padding: .5rem 0; display: grid; grid-template-columns: 1fr 280px; gap: 1rem; }
h3 { margin: 0; } .bad { color: #c0392b; } small { opacity: .75; } svg { max-width: 100%; }
"""


def render(profile: Profile, violations: Iterable[Violation] = (), *, title: str) -> str:
    """The page in HTML."""
    body = "".join((*_head(profile, title), *_problems(violations), *_hints(profile), *map(_column, profile.columns)))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def _text(value: object) -> str:
    return escape(str(value), quote=True)


def _head(profile: Profile, title: str) -> Iterator[str]:
    yield f"<h1>{_text(title)}</h1><p>{profile.rows:,} rows, {len(profile.columns):,} columns, "
    yield f"{profile.duplicates:,} rows repeat an earlier one</p><table><tr><th>part</th><th>rows</th><th>share</th>"
    yield "<th>also in an earlier part</th></tr>"
    for name, count in profile.splits.items():
        share = f"{count / profile.rows:.1%}" if profile.rows else ""
        across = f"{profile.duplicates_across.get(name, 0):,}"
        yield f"<tr><td>{_swatch(name)} {name}</td><td>{count:,}</td><td>{share}</td><td>{across}</td></tr>"
    yield "</table>"
    for note in profile.notes:
        yield f"<p><small>{_text(note)}</small></p>"


def _swatch(name: str) -> str:
    return f'<svg width="10" height="10" aria-hidden="true"><rect width="10" height="10" fill="{COLOURS[name]}"/></svg>'


def _problems(violations: Iterable[Violation]) -> Iterator[str]:
    broken = [*violations]
    if broken:
        yield '<h2 class="bad">Broken checks</h2>'
    for each in broken:
        yield f"<p class=bad>{_text(each.column)} <b>{_text(each.rule)}</b>: {each.count:,} times</p><table>"
        for example in each.examples:
            yield f"<tr><td>{_text(example.file)}</td><td>row {example.row:,}</td><td>{_text(example.value)}</td></tr>"
        yield "</table>"


def _hints(profile: Profile) -> Iterator[str]:
    if profile.hints:
        yield "<h2>Worth a look</h2><ul>"
        yield from (f"<li><b>{_text(hint.kind)}</b> {_text(hint.text)}</li>" for hint in profile.hints)
        yield "</ul>"


def _column(column: ColumnProfile) -> str:
    facts = {
        "missing": f"{column.missing:,}",
        "different": None if column.distinct is None else f"{column.distinct:,}",
        "from": column.minimum,
        "to": column.maximum,
        "mean": None if column.mean is None else f"{column.mean:.6g}",
        "standard deviation": None if column.std is None else f"{column.std:.6g}",
        **{f"{float(share):.0%} below": f"{value:.6g}" for share, value in (column.quantiles or {}).items()},
        **{f"drift of {name}": f"{distance:.3f}" for name, distance in (column.drift or {}).items()},
    }
    rows = "".join(f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in _known(facts))
    plot = _histogram(column) if column.histogram is not None else _bars(column)
    return (
        f"<section><div><h3>{_text(column.name)}</h3><small>{_text(column.type)}</small><table>{rows}</table></div>"
        f"<div>{plot}</div></section>"
    )


def _known(facts: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, value in facts.items() if value is not None)


def _histogram(column: ColumnProfile) -> str:
    histogram = column.histogram or Histogram(low=0, high=0, counts={})
    shapes = "".join(_outline(name, counts) for name, counts in histogram.counts.items())
    label = f"distribution of {column.name} by part"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{_text(label)}">{shapes}</svg>'
        f"<small>{histogram.low:.6g} to {histogram.high:.6g}</small>"
    )


def _outline(name: str, counts: list[int]) -> str:
    """A part's distribution as steps, as high as its own highest bin."""
    most, step = max(counts) or 1, WIDTH / max(1, len(counts))
    heights = (HEIGHT - 2 - (HEIGHT - 6) * count / most for count in counts)
    steps = " ".join(
        f"H{place * step:.1f} V{height:.1f} H{(place + 1) * step:.1f}" for place, height in enumerate(heights)
    )
    return f'<path d="M0 {HEIGHT - 2} {steps} V{HEIGHT - 2}" fill="none" stroke="{COLOURS[name]}" stroke-width="1.5"/>'


def _bars(column: ColumnProfile) -> str:
    values = column.values or []
    most = max((each.count for each in values), default=1)
    if most == 1 and len(values) > 1:
        return "<small>no value comes twice</small>"
    rows = "".join(
        f"<tr><td>{_text(each.value)}</td><td>"
        f'<svg width="120" height="10" aria-hidden="true"><rect width="{120 * each.count / most:.1f}" height="10" '
        f'fill="{COLOURS["train"]}"/></svg></td><td>{each.count:,}</td></tr>'
        for each in values
    )
    return f"<table>{rows}</table>" if rows else ""
