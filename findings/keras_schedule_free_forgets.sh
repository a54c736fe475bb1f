#!/usr/bin/env bash
# Question: ScheduleFreeAdamW wants no plan of learning rates, and Keras has it now. A network of ages that is four years off goes on
#   learning with it, on TensorFlow or JAX. Do both do what its authors' recurrence does, reckoned by hand in NumPy?
# Guess before the run: yes, within a ten-thousandth after 20 steps; and the first step moves each weight by the learning rate.
# Found: JAX does. On TensorFlow the first step of fit() sets every weight to zero, give or take the learning rate: what was learnt is
#   gone, and the network is 43 years off and, after 200 steps, still 36. The optimizer begins with a copy of the weights. fit()
#   builds it inside the traced function, where the copy is not made, and so it averages with zeros. Nothing is raised, and
#   the loss falls from then on, as if the network had been new. Built by hand before, or with run_eagerly=True, it learns; but
#   from the second step on it is beside the recurrence, for what it keeps as "old" is the variable that it changes. On PyTorch
#   fit() is as TensorFlow is when built. Call optimizer.build(model.trainable_variables) before fit(), or learn on JAX.
# Versions: keras 3.15.1, tensorflow-cpu 2.21.0, jax 0.10.2, numpy 2.4.6, Python 3.11, Linux x86-64; PyTorch 2.13.0 tried, too.
# Output seen (years off in the mean, and the greatest difference of a weight to the recurrence):
#   tensorflow, before: 4.02 years
#     1 steps, by hand: 2.52 years; fit 42.56, 38.0000; built before 2.52, 0.0000; eager 2.52, 0.0000
#     20 steps, by hand: 0.56 years; fit 42.50, 37.9769; built before 0.62, 0.0027; eager 0.62, 0.0027
#     200 steps, by hand: 0.15 years; fit 35.60, 37.7092; built before 0.07, 0.0099
#   jax, before: 4.02 years
#     1 steps, by hand: 2.52 years; fit 2.52, 0.0000; built before 2.52, 0.0000; eager 2.52, 0.0000
#     20 steps, by hand: 0.56 years; fit 0.56, 0.0000; built before 0.56, 0.0000; eager 0.56, 0.0000
#     200 steps, by hand: 0.15 years; fit 0.19, 0.0017; built before 0.19, 0.0017
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 tensorflow-cpu==2.21.0 jax==0.10.2 numpy==2.4.6
cat > "$folder/schedule_free.py" <<'PYTHON'
import keras
import numpy as np

draw = np.random.default_rng(0)
FACES = draw.normal(size=(512, 64)).astype(np.float32)
HIDDEN = (draw.normal(size=(64, 32)) / 8).astype(np.float32)
LAST = draw.normal(size=(32, 1)).astype(np.float32) * 8
AGES = 40 + np.tanh(FACES @ HIDDEN) @ LAST
# What was learnt before: not far from the truth.
START = [HIDDEN * 1.1, np.zeros(32, np.float32), LAST * 1.1, np.full(1, 38, np.float32)]
RATE = 0.003


def fit(steps, build=False, eager=False):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32, "tanh"), keras.layers.Dense(1)])
    model.set_weights(START)
    model.compile(keras.optimizers.ScheduleFreeAdamW(RATE), "mse", run_eagerly=eager)
    if build:
        model.optimizer.build(model.trainable_variables)
    model.fit(FACES, AGES, batch_size=len(FACES), epochs=steps, shuffle=False, verbose=0)
    return model.get_weights()


def by_hand(steps):
    """z goes as Adam does, x is the mean of all z, and gradients are those of a place between (Defazio and others, 2024)."""
    between, z, x = ([each.astype(np.float64) for each in START] for _ in range(3))
    squares = [0 * each for each in z]
    for step in range(1, steps + 1):
        inner = np.tanh(FACES @ between[0] + between[1])
        off = 2 * (inner @ between[2] + between[3] - AGES) / len(FACES)
        back = (off @ between[2].T) * (1 - inner**2)
        for place, slope in enumerate((FACES.T @ back, back.sum(0), inner.T @ off, off.sum(0))):
            squares[place] = 0.999 * squares[place] + 0.001 * slope**2
            z[place] = z[place] - RATE * slope / (np.sqrt(squares[place] / (1 - 0.999**step)) + 1e-8)
            x[place] = (1 - 1 / step) * x[place] + z[place] / step
            between[place] = 0.1 * z[place] + 0.9 * x[place]
    return between


def years(weights):
    return np.abs(np.tanh(FACES @ weights[0] + weights[1]) @ weights[2] + weights[3] - AGES).mean()


backend = keras.backend.backend()
print(f"{backend}, before: {years(START):.2f} years")
for steps in (1, 20, 200):
    right, found = by_hand(steps), {"fit": fit(steps), "built before": fit(steps, build=True)}
    if steps < 200:
        found["eager"] = fit(steps, eager=True)
    beside = {name: max(np.abs(a - b).max() for a, b in zip(right, one, strict=True)) for name, one in found.items()}
    words = "; ".join(f"{name} {years(one):.2f}, {beside[name]:.4f}" for name, one in found.items())
    print(f"  {steps} steps, by hand: {years(right):.2f} years; {words}")
    if backend == "jax":
        assert max(beside.values()) < (0.0001 if steps < 200 else 0.01)
        continue
    assert years(found["fit"]) > 30 and all(years(one) < 3 for name, one in found.items() if name != "fit")
    if steps == 1:
        # Each weight is the learning rate or less: the first step, from zero.
        assert max(np.abs(each).max() for each in found["fit"]) < 1.001 * RATE and beside["built before"] < 0.0001
    else:
        assert 0.001 < beside["built before"] < 0.05
PYTHON
for backend in tensorflow jax; do
    KERAS_BACKEND=$backend TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" "$folder/schedule_free.py" 2>"$folder/log" ||
        { cat "$folder/log" >&2; exit 1; }
done
