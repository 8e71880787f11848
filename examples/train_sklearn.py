"""scikit-learn: one seed for the initial weights, the order of the examples, and the early-stopping split."""

import argparse

from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

inputs, classes = load_digits(return_X_y=True)
inputs = inputs / 16

model = MLPClassifier((32,), max_iter=30, early_stopping=True, learning_rate_init=0.01, random_state=options.seed)
model.fit(inputs[:1200], classes[:1200])
logits, labels = model.predict_log_proba(inputs[1200:]), classes[1200:]
print(f"accuracy {(logits.argmax(1) == labels).mean():.4f}")
