"""LightGBM: two seeds with names of your own, for the sampled rows and columns, from environment variables."""

import os

import lightgbm
from sklearn.datasets import load_digits

inputs, classes = load_digits(return_X_y=True)
parameters = {
    "objective": "multiclass",
    "num_class": 10,
    "num_leaves": 7,
    "bagging_fraction": 0.5,
    "bagging_freq": 1,
    "feature_fraction": 0.5,
    "bagging_seed": int(os.environ.get("NONDET_SEED_ROWS", "0")),
    "feature_fraction_seed": int(os.environ.get("NONDET_SEED_COLUMNS", "0")),
    "deterministic": True,
    "num_threads": 1,
    "verbosity": -1,
}
model = lightgbm.train(parameters, lightgbm.Dataset(inputs[:1200], classes[:1200]), num_boost_round=30)
logits, labels = model.predict(inputs[1200:], raw_score=True), classes[1200:]
print(f"accuracy {(logits.argmax(1) == labels).mean():.4f}")
