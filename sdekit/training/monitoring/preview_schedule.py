"""When previews are drawn: as often as wanted, but in at most 5% of the time of the training."""

from __future__ import annotations

PREVIEW_EVALUATIONS = 35
"""Network evaluations per sample of a preview, if there is time for them."""
FEWEST_EVALUATIONS = 8
"""Network evaluations per sample of the last preview of a short training."""
MOST_SHARE = 0.05
"""Largest share of the training time for previews."""


class PreviewSchedule:
    """Schedule of the previews of one session.

    The cost of a preview is that of the last one. Before the first one, it is estimated from the duration of the
    training steps: a training step takes as long as three network evaluations of its batch. The estimate is doubled,
    because drawing a picture takes time too.

    Arguments:
        every: Least number of seconds between two previews; 0 for one at the end only.
        items: Number of samples in a preview.
        batch_size: Number of items in a training step.
    """

    def __init__(self, every: float, items: int, batch_size: int) -> None:
        self.every, self.steps_per_evaluation = every, 2 * items / (3 * batch_size)
        self.last = self.spent = 0.0  # time of the last preview, and duration of all previews, in seconds
        self.per_evaluation: float | None = None  # duration of the last preview in seconds, per network evaluation

    def is_due(self, seconds: float, steps: int) -> bool:
        """Return whether to draw a preview now, so that there is also time for one at the end.

        Arguments:
            seconds: Duration of the session so far.
            steps: Number of training steps in the session so far, at least 1.
        """
        if not self.every or seconds - self.last < self.every:
            return False
        cost = PREVIEW_EVALUATIONS * self._per_evaluation(seconds, steps)
        return self.spent + 2 * cost <= MOST_SHARE * seconds

    def last_evaluations(self, seconds: float, steps: int) -> int:
        """Return the number of network evaluations of the preview at the end, which is always drawn."""
        cost = self._per_evaluation(seconds, max(1, steps))
        budget = max(0.0, MOST_SHARE * seconds - self.spent)
        affordable = PREVIEW_EVALUATIONS if budget >= PREVIEW_EVALUATIONS * cost else int(budget / cost)
        return max(FEWEST_EVALUATIONS, affordable)

    def record(self, seconds: float, duration: float, evaluations: int) -> None:
        """Record that a preview was drawn.

        Arguments:
            seconds: Duration of the session when it was complete.
            duration: Duration of the preview.
            evaluations: Its network evaluations per sample.
        """
        self.last, self.spent, self.per_evaluation = seconds, self.spent + duration, duration / evaluations

    def _per_evaluation(self, seconds: float, steps: int) -> float:
        if self.per_evaluation is not None:
            return self.per_evaluation
        return self.steps_per_evaluation * (seconds - self.spent) / steps
