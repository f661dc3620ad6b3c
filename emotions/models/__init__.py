"""What the notebooks' models share: resizing, the champion's net, the Vision Transformer, pretrained bases, files."""

from emotions.models import vit
from emotions.models.files import add_card, ancestors, in_float32, light_copy, read_card, start_from
from emotions.models.layers import compact, input_size, resize, temperature_scale
from emotions.models.transfer import base, freeze_batch_norms
