"""Chance and uncertainty: named wrappers over scipy, statsmodels and scikit-learn.

Every draw takes a generator. What is undefined (no data, no variance) is NaN, with p = 1.
"""

from lens_personas.statistics._agreement import cohen_kappa
from lens_personas.statistics._cluster_columns import cluster_bootstrap_columns, sign_flip_columns
from lens_personas.statistics._correction import Method, adjust
from lens_personas.statistics._correlation import (
    Correlation,
    CorrelationMethod,
    correlation,
    leave_one_out_r2,
    rank_correlation,
)
from lens_personas.statistics._correlation_matrix import correlation_matrix
from lens_personas.statistics._distinguish import auroc, auroc_interval, d_prime, mann_whitney
from lens_personas.statistics._faithfulness import (
    FAITHFULNESS_COLUMNS,
    FaithfulnessCurve,
    FaithfulnessPoint,
    RandomShares,
    faithfulness_curve,
)
from lens_personas.statistics._finite import finite_mean_margin
from lens_personas.statistics._held_out import (
    HeldOut,
    deal_folds,
    deal_labels,
    fold_auroc,
    held_out_intervals,
)
from lens_personas.statistics._interaction import between_share, interaction_p
from lens_personas.statistics._intervals import (
    Interval,
    cluster_bootstrap,
    paired_bootstrap,
    prediction_interval,
    unpaired_bootstrap,
    wilson,
)
from lens_personas.statistics._logistic import (
    AveragedLogistic,
    LogisticCurve,
    averaged_logistic,
    logistic_curve,
)
from lens_personas.statistics._max_statistic import max_statistic
from lens_personas.statistics._mediation import Mediation, paired_mediation, paired_ratio
from lens_personas.statistics._null_range import null_range
from lens_personas.statistics._paired import (
    PairedBinary,
    SignedRank,
    mcnemar_exact,
    sign_flip,
    wilcoxon,
)
from lens_personas.statistics._power import minimal_detectable_effect, minimal_detectable_net
from lens_personas.statistics._prediction import (
    Prediction,
    best_r2_p,
    compare_predictors,
    one_predictor_r2,
)
from lens_personas.statistics._sample_metrics import (
    METRIC_NULL,
    METRIC_RANGE,
    TWO_SAMPLE_METRICS,
    TwoSampleMetric,
)
from lens_personas.statistics._side_swap import SwappedSides, swap_sides
from lens_personas.statistics._spread import (
    dealt_columns,
    simultaneous_bootstrap,
    spread_interval,
)
from lens_personas.statistics._steerability import SteeringTarget, steerability_index
from lens_personas.statistics._two_samples import Compared, compare_samples

__all__ = [
    "FAITHFULNESS_COLUMNS",
    "METRIC_NULL",
    "METRIC_RANGE",
    "TWO_SAMPLE_METRICS",
    "AveragedLogistic",
    "Compared",
    "Correlation",
    "CorrelationMethod",
    "FaithfulnessCurve",
    "FaithfulnessPoint",
    "HeldOut",
    "Interval",
    "LogisticCurve",
    "Mediation",
    "Method",
    "PairedBinary",
    "Prediction",
    "RandomShares",
    "SignedRank",
    "SteeringTarget",
    "SwappedSides",
    "TwoSampleMetric",
    "adjust",
    "auroc",
    "auroc_interval",
    "averaged_logistic",
    "best_r2_p",
    "between_share",
    "cluster_bootstrap",
    "cluster_bootstrap_columns",
    "cohen_kappa",
    "compare_predictors",
    "compare_samples",
    "correlation",
    "correlation_matrix",
    "d_prime",
    "deal_folds",
    "deal_labels",
    "dealt_columns",
    "faithfulness_curve",
    "finite_mean_margin",
    "fold_auroc",
    "held_out_intervals",
    "interaction_p",
    "leave_one_out_r2",
    "logistic_curve",
    "mann_whitney",
    "max_statistic",
    "mcnemar_exact",
    "minimal_detectable_effect",
    "minimal_detectable_net",
    "null_range",
    "one_predictor_r2",
    "paired_bootstrap",
    "paired_mediation",
    "paired_ratio",
    "prediction_interval",
    "rank_correlation",
    "sign_flip",
    "sign_flip_columns",
    "simultaneous_bootstrap",
    "spread_interval",
    "steerability_index",
    "swap_sides",
    "unpaired_bootstrap",
    "wilcoxon",
    "wilson",
]
