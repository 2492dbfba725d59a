"""The batch of a check request (struct proto_check), for every Python engine."""
from .errors import model_error


def read_inputs(file, as_whole, vocab_size, longest):
    """[tokens, targets] of an open safetensors file, checked: whole numbers of shape (B, T) within
    the vocabulary. as_whole(tensor): the tensor in a type of whole numbers, None where its own is
    none. longest: most tokens in a row; None = no limit."""
    both = []
    for name in ("tokens", "targets"):
        tensor = as_whole(file.tensor(name))
        if tensor is None or len(tensor.shape) != 2 or 0 in tensor.shape:
            raise model_error(f"check: the inputs need '{name}' of shape (B, T), whole numbers")
        least, most = int(tensor.min()), int(tensor.max())
        if least < 0 or most >= vocab_size:
            raise model_error(
                f"check: {name} holds {least if least < 0 else most}; the vocabulary has "
                f"{vocab_size}"
            )
        both.append(tensor)
    if both[0].shape != both[1].shape:
        raise model_error("check: tokens and targets differ in shape")
    if longest is not None and both[0].shape[1] > longest:
        raise model_error(f"check: {both[0].shape[1]} tokens in a row; the most is {longest}")
    return both
