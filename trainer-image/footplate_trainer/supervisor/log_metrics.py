"""Metrics that `trainer.metricDefinitions` finds in the log.

The expressions are a tenant's, and meet whatever the tenant prints: RE2 matches in time that is linear in the text,
where Python's own engine may take for ever. Only the newest lines of each look are searched, and of each its beginning:
a program that floods its log takes no more of the supervisor's time than that.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from footplate.api.expressions import compile_expression
from footplate.api.trainer import MetricDefinition
from footplate_trainer.supervisor.heard import by_step, finite

MAX_LINES = 500
"""Searched in one look."""
MAX_LINE_BYTES = 2048


class LogMetrics:
    """The definitions, and the lines that nobody has searched yet."""

    def __init__(self, definitions: Iterable[MetricDefinition], hear: Callable[..., None]) -> None:
        self._patterns = [(definition.name, compile_expression(definition.regex)) for definition in definitions]
        self._hear = hear
        self._lines: deque[bytes] = deque(maxlen=MAX_LINES)

    def add(self, lines: Sequence[bytes]) -> None:
        """Takes in lines of the log; costs next to nothing."""
        if self._patterns:
            self._lines.extend(line[:MAX_LINE_BYTES] for line in lines)

    def look(self) -> None:
        """Searches what has come since the last look. Of a name's numbers in one line the first counts."""
        said: list[dict[str, str]] = []
        while self._lines:
            line = self._lines.popleft()
            said.append({})
            for name, pattern in self._patterns:
                match = pattern.search(line)
                if match is not None and match[1] is not None and finite(text := match[1].decode("latin1")) is not None:
                    said[-1][name] = text
        if newest := by_step(said):
            self._hear(*newest)
