"""JAX: a key for the initial weights, one for the order of the examples, and one for dropout."""

import argparse

import jax
import jax.numpy as jnp
from sklearn.datasets import load_digits

parser = argparse.ArgumentParser()
parser.add_argument("--init", type=int, default=0)
parser.add_argument("--shuffle", type=int, default=0)
parser.add_argument("--dropout", type=int, default=0)
options = parser.parse_args()

images, classes = load_digits(return_X_y=True)
inputs, targets = jnp.asarray(images) / 16, jnp.asarray(classes)
first, second = jax.random.split(jax.random.key(options.init))
weights = [0.2 * jax.random.normal(first, (64, 32)), 0.2 * jax.random.normal(second, (32, 10))]


def loss(weights, x, y, key):
    hidden = jax.nn.relu(x @ weights[0])
    kept = jax.random.bernoulli(key, 0.8, hidden.shape)
    return -jax.nn.log_softmax((hidden * kept / 0.8) @ weights[1])[jnp.arange(len(y)), y].mean()


@jax.jit
def step(weights, x, y, key):
    return [w - 0.5 * g for w, g in zip(weights, jax.grad(loss)(weights, x, y, key), strict=True)]


for epoch in range(10):
    order = jax.random.permutation(jax.random.key(1000 * options.shuffle + epoch), 1200)
    for number, batch in enumerate(order.reshape(-1, 40)):
        key = jax.random.fold_in(jax.random.key(options.dropout), 30 * epoch + number)
        weights = step(weights, inputs[batch], targets[batch], key)
logits, labels = jax.nn.relu(inputs[1200:] @ weights[0]) @ weights[1], targets[1200:]
print(f"accuracy {(logits.argmax(1) == labels).mean():.4f}")
