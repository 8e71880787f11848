"""What the columns of a table of scores are, if their names leave no doubt; and names of runs that end in a seed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nondet.io.columns import snake, words

RUN_NAMES = words("name run_name file path folder")
"""Names of the column whose cells are names of single runs, such as `vit-base-0`; it may also say what was trained."""

ARMS = (
    words("arm method methods model model_name method_name algorithm algo approach system recipe variant treatment"),
    words("condition config configuration architecture arch network backbone optimizer setting experiment group agent"),
    RUN_NAMES,
)
"""Names of the column that says what was trained, the surest first."""

SEEDS = words("seed seeds random_seed rng_seed global_seed torch_seed seed_everything")
REPEATS = words("run run_id run_number run_idx trial replicate replication repeat repetition rep fold split_seed i")
"""Names of the column that tells one run of an arm from another."""

FOLDS = words("fold cv_fold split_seed")
"""Those of REPEATS in which runs with equal values share their data."""

DATASETS = words("dataset data_set datasets dataset_name data task task_name benchmark env env_id environment game")
STEPS = words("step global_step epoch iteration iter timestep timesteps total_timesteps env_step")
"""Names of the column that tells one moment of a run from another."""

STATES = words("state status run_status")

REMARKS = words("tags notes user comment comments remark date created hostname job_type sweep commit id run_id")
"""Names of texts that say nothing about what was trained."""

METRICS = words(
    "acc accuracy loss f1 auc auroc score scores err error mse rmse mae nll ppl perplexity bleu rouge rougel wer cer "
    "iou miou map ndcg recall precision return returns reward rewards r2 kappa mcc ece brier em top1 top5 pass "
    "spearman pearson fid dice psnr ssim cider meteor correct win bpc bpb"
)
"""Words in the names of scores."""

SETTINGS = words(
    "lr rate learning batch epochs epoch step steps runtime time seconds duration timestamp created id index idx "
    "params parameters decay wd momentum dropout hidden dim layers width depth samples n num count size version gpu "
    "memory alpha beta temperature flos second hours minutes wall date year level fold seed trial run max_steps warmup"
)
"""Words in the names of numbers that are not scores."""

FIRST = ("accuracy", "acc", "test_accuracy", "test_acc", "score")
"""The score that is meant if there are several and none is named."""

SUMMARIES = words(
    "mean avg average std stdev std_dev sd standard_deviation stddev variance var median min max minimum maximum sem "
    "se stderr standard_error ci ci95 total overall all summary mean_std mean_sd iqm iqr range"
)
"""First cells of rows that summarise others."""


def leaf(name: str) -> str:
    """Return the last part of a column's name, in lower case and joined by `_`: `config.seed` becomes `seed`."""
    return snake(re.split(r"[./]", name.strip(" ./"))[-1])


def called(names: Sequence[str], known: frozenset[str]) -> list[str]:
    """Return the columns whose whole name, or else whose last part, is one of these."""
    whole = [name for name in names if snake(name) in known]
    return whole or [name for name in names if leaf(name) in known]


def is_metric(name: str) -> bool:
    """Whether a name contains a word for scores."""
    return any(re.sub(r"\d+$", "", word) in METRICS or word in METRICS for word in snake(name).split("_"))


def is_setting(name: str) -> bool:
    """Whether a name contains a word for numbers that are not scores, and none for scores."""
    words = set(snake(name).split("_"))
    return bool(words & SETTINGS) and not (is_metric(name) and "epoch" not in words)


def is_summary(text: str) -> bool:
    """Whether a text is the first cell of a row that summarises others, such as `Mean ± std`."""
    return snake(text.replace("±", " ")) in SUMMARIES


def without_shared(names: Sequence[str]) -> list[str]:
    """Return paths without the parts that all of them share."""
    paths = [[part for part in re.split(r"[/\\]", name) if part] for name in names]
    if len({len(path) for path in paths}) != 1:
        return ["/".join(path) for path in paths]
    vary = [place for place in range(len(paths[0])) if len({path[place] for path in paths}) > 1]
    return ["/".join(path[place] for place in vary) for path in paths]


_SEED = re.compile(r"(?:^|[-_ ./=:]+)(?:(?:seed|run|rep|trial|version|fold|s)[-_ =:]*)?(\d+)$", re.IGNORECASE)


def split_name(name: str) -> tuple[str, str]:
    """Split a run's name into the rest and the seed, empty if there is none: `vit-base-0` is `vit-base` and `0`."""
    found = _SEED.search(name)
    if not found:
        return name, ""
    return name[: found.start()].rstrip("-_ ./=:"), found[1]


def split_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split names of runs into names of arms and seeds.

    Parts that all paths share are left out. A part that is a seed in all of them is the seed, wherever it is.
    """
    paths = [name.split("/") for name in without_shared(names)]
    numbers = [
        place
        for place in range(min(map(len, paths), default=0))
        if all(split_name(path[place])[0] == "" and split_name(path[place])[1] for path in paths)
    ]
    if numbers:
        seeds = [split_name(path[numbers[-1]])[1] for path in paths]
        return ["/".join(part for place, part in enumerate(path) if place != numbers[-1]) for path in paths], seeds
    split = [split_name("/".join(path)) for path in paths]
    return [arm for arm, _ in split], [seed for _, seed in split]
