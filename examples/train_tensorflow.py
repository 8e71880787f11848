"""TensorFlow: seeds for the initial weights, the order of the examples and dropout, from environment variables."""

import os

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

init = int(os.environ.get("NONDET_SEED_INIT", "0"))
shuffle = int(os.environ.get("NONDET_SEED_SHUFFLE", "0"))
dropout = int(os.environ.get("NONDET_SEED_DROPOUT", "0"))
tf.config.experimental.enable_op_determinism()
tf.keras.utils.set_random_seed(0)

images, classes = load_digits(return_X_y=True)
inputs = (images / 16).astype("float32")
data = tf.data.Dataset.from_tensor_slices((inputs[:1200], classes[:1200])).shuffle(1200, seed=shuffle).batch(40)
model = tf.keras.Sequential(
    [
        tf.keras.layers.Dense(32, "relu", kernel_initializer=tf.keras.initializers.GlorotUniform(seed=init)),
        tf.keras.layers.Dropout(0.2, seed=dropout),
        tf.keras.layers.Dense(10, kernel_initializer=tf.keras.initializers.GlorotUniform(seed=init + 1000)),
    ]
)
model.compile(tf.keras.optimizers.SGD(0.5), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(data, epochs=10, verbose=0)
logits, labels = np.asarray(model(inputs[1200:])), classes[1200:]
print(f"accuracy {(logits.argmax(1) == labels).mean():.4f}")
