"""Why did the model predict that? Grad-CAM for convolutional networks, attention for Vision Transformers."""

from emotions.explain.attention import attention_layers, attention_maps, attention_rollout, gradient_rollout
from emotions.explain.gradcam import finer_layer, grad_cam, target_layer
from emotions.explain.graph import Graph, at_image_size
