"""Which learning rate when?"""

import keras


def cosine(peak: float, epochs: int, steps: int, warmup: float = 0.1) -> keras.optimizers.schedules.CosineDecay:
    """Return a schedule that rises to `peak` for a share of the training, `warmup`, and falls to 0 along a cosine
    (Loshchilov & Hutter 2017); `steps` are the batches per epoch."""
    total = max(1, epochs * steps)
    rise = int(warmup * total)
    return keras.optimizers.schedules.CosineDecay(0.0, total - rise, warmup_target=peak, warmup_steps=rise)
