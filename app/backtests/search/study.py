"""What Optuna is used for: where to look next after trials that are known, and which parameters mattered.

Imported in processes of the pool alone: Optuna takes most of a second to import, and a suggestion tens of milliseconds. Nothing is kept
here: a study is made anew of the trials, which are rows of our own tables, so that a search goes on after a restart as if nothing had been.
"""

from collections.abc import Sequence
from typing import Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from app.backtests.search.space import Point, Space

#: A point and what it came to; None where the strategy failed.
Known = tuple[Sequence[int], float | None]

#: By chance, before there is anything to learn from.
_AT_FIRST: Final = 16
#: Trials from which on importance is more than chance.
_LEAST_FOR_IMPORTANCE: Final = 12
_TRIES: Final = 3


def suggest(space: Space, seed: int, known: Sequence[Known], count: int) -> list[Point]:
    """Return so many points to try next, none of them tried before; fewer where there are fewer left."""
    _be_quiet()
    distributions = _distributions(space)
    # Asked for many at once: those that are not back yet count as bad, so that they are not all the same.
    sampler = TPESampler(seed=(seed + len(known)) % 2**32, multivariate=True, constant_liar=True, n_startup_trials=_AT_FIRST)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([_frozen(distributions, point, value) for point, value in known])
    seen = {tuple(point) for point, _ in known}
    found: list[Point] = []
    for _ in range(_TRIES * count):
        if len(found) == count:
            break
        asked = study.ask(distributions)
        point = tuple(int(asked.params[str(place)]) for place in range(len(space.axes)))
        if point not in seen:
            seen.add(point)
            found.append(point)
    return found + space.random(seed, seen, count - len(found))


def importance(space: Space, known: Sequence[Known]) -> dict[str, float]:
    """Return how much each parameter had to do with whether a trial was among the best, 0 to 1, by PED-ANOVA; nothing after few trials.

    Source: Watanabe, Bansal, Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces", 2023.
    """
    values = {value for _, value in known if value is not None}
    if len(values) < 2 or sum(value is not None for _, value in known) < _LEAST_FOR_IMPORTANCE:
        return {}
    _be_quiet()
    distributions = _distributions(space)
    study = optuna.create_study(direction="maximize")
    study.add_trials([_frozen(distributions, point, value) for point, value in known])
    found = optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {axis.name: round(float(found.get(str(place), 0.0)), 6) for place, axis in enumerate(space.axes)}


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    return {
        str(place): IntDistribution(0, len(axis.values) - 1) if axis.is_ordered else CategoricalDistribution(range(len(axis.values)))
        for place, axis in enumerate(space.axes)
    }


def _frozen(distributions: dict[str, BaseDistribution], point: Sequence[int], value: float | None) -> FrozenTrial:
    params = {str(place): int(index) for place, index in enumerate(point)}
    if value is None:
        return create_trial(state=TrialState.FAIL, params=params, distributions=distributions)
    return create_trial(params=params, distributions=distributions, value=value)


def _be_quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
