"""XGBoost: one seed, for the rows and columns of each tree."""

import argparse

import xgboost
from sklearn.datasets import load_digits

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

inputs, classes = load_digits(return_X_y=True)
model = xgboost.XGBClassifier(
    n_estimators=30, max_depth=3, subsample=0.5, colsample_bytree=0.5, n_jobs=1, random_state=options.seed
)
model.fit(inputs[:1200], classes[:1200])
logits, labels = model.predict(inputs[1200:], output_margin=True), classes[1200:]
print(f"accuracy {(logits.argmax(1) == labels).mean():.4f}")
