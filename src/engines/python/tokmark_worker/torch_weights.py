"""A weights file read into a model."""
import torch

from .errors import model_error
from .safetensors import fitting_shape
from .torch_tensors import SafetensorsFile


def load_weights(path, model):
    """Copies a file's tensors into the model's state_dict. Every tensor of the model must be there
    with its shape (leading dimensions of 1 are taken as absent); more are no error. A longer
    position table gives its first rows, so that one checkpoint serves every seq_len."""
    file = SafetensorsFile(path)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            given = file.tensor(name)
            if not given.is_floating_point():
                raise model_error(f"'{path}': tensor '{name}' is {given.dtype}")
            shape = fitting_shape(path, name, given.shape, tensor.shape)
            rows = given.reshape(shape)[: tensor.shape[0]]
            tensor.copy_(rows.reshape(tensor.shape))
