"""Batch normalisation that is quick and safe on a CPU."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


@keras.saving.register_keras_serializable("facet")
class FusedBatchNormalization(layers.BatchNormalization):  # type: ignore[misc]
    """Keras's batch normalisation by TensorFlow's one fused operation, in and out of training.

    Keras composes it of elementary operations, which is slower on a CPU. In bfloat16 it rounds the batch's mean and variance
    to 8 bits, and training can diverge. The fused operation keeps both in float32 at any precision of its input. Channels last
    only; other backends keep Keras's own.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise a batch; in training the moving statistics follow it.

        Args:
            inputs: Features [N, H, W, C], of any floating type.
            training: Whether the batch's own statistics are used and learnt.
            mask: Not used; Keras passes it to other backends' own normalisation.

        Returns:
            Features of the same shape and type.
        """
        if keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        mean, variance = (tf.cast(v.value, tf.float32) for v in (self.moving_mean, self.moving_variance))
        offset = tf.cast(self.beta, tf.float32) if self.center else tf.zeros_like(mean)
        scale = tf.cast(self.gamma, tf.float32) if self.scale else tf.ones_like(mean)
        learning = bool(training) and self.trainable
        outputs, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=scale, offset=offset, mean=mean, variance=variance, epsilon=self.epsilon, is_training=learning
        )
        if learning:
            count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
            batch_variance *= (count - 1) / count  # the operation's has Bessel's correction, Keras's has not
            self.moving_mean.assign(mean + (batch_mean - mean) * (1 - self.momentum))
            self.moving_variance.assign(variance + (batch_variance - variance) * (1 - self.momentum))
        return outputs


def fused(network: keras.Model) -> keras.Model:
    """A copy of a network, weights and all, with its batch normalisation fused.

    Args:
        network: The network, which stays as it is.

    Returns:
        The copy.
    """
    copy = keras.models.clone_model(network, clone_function=_fused)
    copy.set_weights(network.get_weights())
    return copy


def _fused(layer: Any) -> Any:
    config = layer.get_config()
    if isinstance(layer, layers.BatchNormalization):
        return FusedBatchNormalization.from_config(config)
    return layer.__class__.from_config(config)
