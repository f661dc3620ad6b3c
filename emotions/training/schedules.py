"""Which learning rate when, and for which layer?"""

import keras


def cosine(peak: float, epochs: int, steps: int, warmup: float = 0.1) -> keras.optimizers.schedules.CosineDecay:
    """Return a schedule that rises to `peak` for a share of the training, `warmup`, and falls to 0 along a cosine
    (Loshchilov & Hutter 2017); `steps` are the batches per epoch."""
    total = max(1, epochs * steps)
    rise = int(warmup * total)
    start, target = (0.0, peak) if rise else (peak, None)
    return keras.optimizers.schedules.CosineDecay(start, total - rise, warmup_target=target, warmup_steps=rise)


def with_layer_decay(kind: type, numbers: dict[str, int], decay: float) -> type:
    """An optimizer whose rate for a weight is `decay ** (highest - number)` times the usual one.

    Layer-wise learning-rate decay, after Clark et al. 2020, "ELECTRA", section 3.2. Scaling gradients instead would do
    nothing under Adam, which divides the scale out again. `kind` is a class of `keras.optimizers`; `numbers` say how
    deep each weight lies, by `variable.path`; see `vit.layer_numbers`."""
    highest = max(numbers.values())

    class LayerDecay(kind):
        layer_decay = decay

        def _factor(self, variable):
            # TensorFlow hands its own variable over, so ours is found by its place.
            ours = self._trainable_variables[self._get_variable_index(variable)]
            return decay ** (highest - numbers[ours.path])

        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, learning_rate * self._factor(variable))

        def _apply_weight_decay(self, variables):
            usual = self.weight_decay
            if not usual:
                return
            for variable in filter(self._use_weight_decay, variables):
                self.weight_decay = usual * self._factor(variable)
                super()._apply_weight_decay([variable])
            self.weight_decay = usual

    LayerDecay.__name__ = kind.__name__
    return LayerDecay
