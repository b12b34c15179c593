"""Which precisions a processor computes in, and which it has to imitate."""

import torch

# Names that torch.cpu.get_capabilities gives on x86 and on ARM.
ARITHMETIC = {
    "bf16": ("avx512_bf16", "amx_bf16", "avx10_1", "bf16", "sve_bf16"),
    "fp16": ("avx512_fp16", "amx_fp16", "avx10_1", "fp16_arith"),
}


def imitated(precision: str, device: torch.device) -> str | None:
    """What to say where a device imitates a precision, which is slower than fp32 and not faster."""
    if device.type != "cpu" or precision not in ARITHMETIC:
        return None
    processor = torch.cpu.get_capabilities()
    if any(processor.get(name) for name in ARITHMETIC[precision]):
        return None
    return (
        f"{precision} is several times slower than fp32 here: this processor has no such arithmetic"
    )
