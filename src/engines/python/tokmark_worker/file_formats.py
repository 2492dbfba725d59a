"""What a file is that was given as weights and is no safetensors file, and what to do about it."""
import os

LFS = b"version https://git-lfs"
_CONVERT = (
    'python -c "import torch, safetensors.torch as s; s.save_file({{k: v.clone() for k, v in '
    "torch.load('{name}', map_location='cpu', weights_only=True).items()}}, '{stem}.safetensors')\""
)


def describe_other(start, path):
    """What follows "'PATH' " in an error, by the first bytes of a file; None where they are not
    those of a format that is known here."""
    if start[8:9] == b"{" and not any(start[5:8]):
        return None  # as a safetensors file begins: the length of a header, then the header
    if start.startswith(LFS):
        return "is a Git LFS pointer, not the weights it stands for: run `git lfs pull` there"
    if start.startswith(b"PK\x03\x04"):
        if b"data.pkl" in start[:200]:
            return _pickle("a PyTorch pickle (torch.save)", path)
        return "is a zip archive, not a safetensors file; unpack it"
    # a pickle begins with its protocol; torch.save's old format with a long integer after it
    if len(start) > 2 and start[0] == 0x80 and 2 <= start[1] <= 5 and start[2] > 0x20:
        is_torch = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" in start[:40]
        return _pickle("a PyTorch pickle (torch.save, old format)" if is_torch else "a pickle", path)
    for magic, name in (
        (b"GGUF", "a GGUF file"),
        (b"\x89HDF", "an HDF5 file"),
        (b"\x1f\x8b", "a gzip file"),
        (b"\x93NUMPY", "a NumPy array"),
    ):
        if start.startswith(magic):
            return f"is {name}, not a safetensors file; convert it with safetensors' save_file"
    if start.lstrip()[:14].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not a safetensors file: the download went wrong"
    if start.lstrip().startswith(b"{"):
        return (
            "is a JSON text, not a safetensors file; of an index the name must end in .json"
        )
    return None


def _pickle(what, path):
    name = os.path.basename(str(path))
    stem = os.path.splitext(name)[0]
    return (
        f"is {what}; weights are read from safetensors, which run no code. Convert it once: "
        f"{_CONVERT.format(name=name, stem=stem)} (where it holds more than tensors, of its "
        f"state_dict)"
    )
