"""Templates: everything in them is escaped, and what comes from a cluster is made harmless before."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from footplate.ui.words import FILTERS, shown


class Renderer:
    """Renders the templates of this package; `shared` is what all of them know."""

    def __init__(self, **shared: Any) -> None:
        self._environment = Environment(
            loader=PackageLoader("footplate.ui"),
            autoescape=True,
            finalize=shown,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(FILTERS)
        self._environment.globals.update(shared)

    def __call__(self, template: str, **known: Any) -> str:
        """The text of a template."""
        return self._environment.get_template(template).render(known)
