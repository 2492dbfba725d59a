"""How the types that a program's matmuls run in are named in a record."""


def mixture_name(work):
    """work: {name of a type: operations}. "bf16", or "bf16 81 %, fp32 19 %" where it is mixed; None
    when nothing was multiplied."""
    total = sum(work.values())
    if total == 0:
        return None
    shares = sorted(work.items(), key=lambda item: -item[1])
    if shares[0][1] >= 0.99 * total:
        return shares[0][0]
    return ", ".join(f"{name} {100 * count / total:.0f} %" for name, count in shares[:3])
