"""The toxic direction: a logistic regression on the residual stream (section 2 of the paper).

Its weight vector is the probe `W`. What counts is the direction, not the last percent of accuracy: with
weak regularisation the accuracy rises a little and the tokens nearest to `W` become meaningless. The
rule here: among the C whose AUC on the selection set is within `auc_tolerance` of the best, the smallest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from torch import Tensor

from dpotox import profile
from dpotox.progress import bar


@dataclass(frozen=True)
class Probe:
    """The fitted probe, how its C was chosen, and its quality on comments it never saw."""

    direction: Float[Tensor, "d_model"]  # W, not normalised
    gap: float  # between the means of toxic and other comments, along the unit direction
    selection: pd.DataFrame  # C, auc, accuracy, chosen: on the selection set
    accuracy: float
    auc: float
    calibration: pd.DataFrame  # predicted, observed: deciles of the test set

    @property
    def C(self) -> float:
        """The chosen regularisation."""
        return float(self.selection.loc[self.selection["chosen"], "C"].iloc[0])

    @property
    def unit(self) -> Float[Tensor, "d_model"]:
        """The direction scaled to length one."""
        return self.direction / self.direction.norm()


def fit_probe(
    features: Float[Tensor, "text d_model"],
    toxic: Bool[np.ndarray, "text"],
    settings: profile.Probe,
    seed: int,
) -> Probe:
    """Fit the probe on one part of the comments, choose C on a second and report on a third.

    Args:
        features: mean over tokens of the last layer's residual stream, one row per comment.
        toxic: the labels.
    """
    x, y = features.numpy().astype(np.float64), np.asarray(toxic)
    x_fit, x_rest, y_fit, y_rest = train_test_split(
        x, y, test_size=settings.held_out, random_state=seed, stratify=y
    )
    x_select, x_test, y_select, y_test = train_test_split(
        x_rest, y_rest, test_size=0.5, random_state=seed, stratify=y_rest
    )
    candidates = [
        LogisticRegression(C=c, max_iter=2_000, class_weight="balanced").fit(x_fit, y_fit)
        for c in bar(sorted(settings.C), "fit probe", "C")
    ]
    auc = [roc_auc_score(y_select, m.decision_function(x_select)) for m in candidates]
    chosen = next(i for i, a in enumerate(auc) if a >= max(auc) - settings.auc_tolerance)
    selection = pd.DataFrame(
        {
            "C": sorted(settings.C),
            "auc": auc,
            "accuracy": [accuracy_score(y_select, m.predict(x_select)) for m in candidates],
            "chosen": [i == chosen for i in range(len(auc))],
        }
    )
    model = candidates[chosen]
    probability = model.predict_proba(x_test)[:, 1]
    observed, predicted = calibration_curve(y_test, probability, n_bins=10, strategy="quantile")
    direction = torch.tensor(model.coef_[0], dtype=torch.float32)
    return Probe(
        direction=direction,
        gap=class_gap(features, y, direction),
        selection=selection,
        accuracy=float(accuracy_score(y_test, probability > 0.5)),
        auc=float(roc_auc_score(y_test, probability)),
        calibration=pd.DataFrame({"predicted": predicted, "observed": observed}),
    )


def shuffled_directions(
    features: Float[Tensor, "text d_model"],
    toxic: Bool[np.ndarray, "text"],
    settings: profile.Probe,
    C: float,
    *,
    draws: int,
    seed: int,
) -> Float[Tensor, "draw d_model"]:
    """Probes fitted the same way to labels that are shuffled between the comments: a null. Ours."""
    rng, x = np.random.default_rng(seed), features.numpy().astype(np.float64)
    fitted = int(len(x) * (1 - settings.held_out))
    directions = []
    for _ in bar(range(draws), "probes on shuffled labels", "probe"):
        rows = rng.permutation(len(x))[:fitted]
        model = LogisticRegression(C=C, max_iter=2_000, class_weight="balanced", solver="newton-cholesky")
        directions.append(model.fit(x[rows], toxic[rng.permutation(len(x))[:fitted]]).coef_[0])
    return torch.tensor(np.array(directions), dtype=torch.float32)


def class_gap(
    features: Float[Tensor, "text d_model"],
    toxic: Bool[np.ndarray, "text"],
    direction: Float[Tensor, "d_model"],
) -> float:
    """How far toxic comments lie from the others along a direction, in units of the residual stream."""
    along, toxic = features @ (direction / direction.norm()), torch.tensor(np.asarray(toxic))
    return float(along[toxic].mean() - along[~toxic].mean())


def with_direction(
    fitted: Probe,
    direction: Float[Tensor, "d_model"],
    features: Float[Tensor, "text d_model"],
    toxic: Bool[np.ndarray, "text"],
) -> Probe:
    """A given direction, such as the authors' own, with its AUC on all comments.

    It comes without a threshold, so there is no accuracy (NaN) and no calibration (empty).
    """
    auc = float(roc_auc_score(toxic, (features @ direction).numpy()))
    nothing = fitted.calibration.head(0)
    gap = class_gap(features, toxic, direction)
    return replace(fitted, direction=direction, gap=gap, auc=auc, accuracy=float("nan"), calibration=nothing)
