"""Loading models and tokenizers: from folders or the hub, checked, with nnsight around them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from transformers.utils import find_adapter_config_file
from transformers.utils import logging as transformers_logging

from dpotox.errors import UserError, first_line, refused
from dpotox.model.architecture import architecture_of
from dpotox.profile import FILE_ENDINGS, Compute

if TYPE_CHECKING:  # here and below: slow to import
    from transformers import PreTrainedModel

TENSORS_ONLY = 'it must be a tensors-only file {"state": state_dict} of the same shape as model.base'
transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def device_of(compute: Compute) -> torch.device:
    """The device a profile asks for; `auto` takes cuda, then mps, then cpu. Sets the thread count."""
    torch.set_num_threads(compute.threads)
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise UserError("compute.device is 'cuda', but PyTorch sees no GPU; use 'auto' or 'cpu'")
    if compute.device != "auto":
        return torch.device(compute.device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def load_network(source: str | Path, revision: str, compute: Compute) -> PreTrainedModel:
    """A causal language model from a folder or the hub, in evaluation mode.

    Raises:
        UserError: the folder or hub id cannot be loaded, or it is not of a family that is known.
    """
    from transformers import AutoModelForCausalLM

    # Eager attention: the fused one is no faster on processors at these lengths, and rounds otherwise.
    options = {"revision": revision or None, "dtype": getattr(torch, compute.dtype)}
    if compute.device_map:
        options["device_map"] = compute.device_map
    with refused(
        f"cannot load the model {_named(source, revision)}",
        "give a folder made by save_pretrained, or check the hub id, the revision and the network; if a "
        "download was cut off, remove it and fetch it again",
    ):
        network, found = AutoModelForCausalLM.from_pretrained(
            source,
            attn_implementation="eager",
            output_loading_info=True,
            trust_remote_code=False,
            **options,
        )
    architecture_of(network.config)
    if found["missing_keys"]:
        raise UserError(
            f"the weights in {str(source)!r} lack {len(found['missing_keys'])} tensors, first "
            f"{sorted(found['missing_keys'])[0]!r}; the file is damaged or not of this model, fetch it again"
        )
    left_out = set(getattr(network, "hf_device_map", {}).values()) & {"cpu", "disk"}
    if left_out and torch.cuda.is_available():
        raise UserError(
            f"the GPUs together are too small for {str(source)!r}: parts would lie on {', '.join(left_out)}, "
            "where they cannot be read; use more GPUs or compute.dtype = 'bfloat16'"
        )
    return network.eval() if compute.device_map else network.to(device_of(compute)).eval()


def load_aligned(network: PreTrainedModel, source: str | Path, revision: str = "") -> PreTrainedModel:
    """The model after DPO, as it is given: weights in a file, an adapter of PEFT, or a whole model.

    Args:
        network: the model before DPO, whose weights are replaced or added to.
        source: a file `{"state": state_dict}` of tensors, as the authors' `dpo.pt`; or a folder or a hub id.

    Raises:
        UserError: it cannot be read, or was made from another model.
    """
    if str(source).endswith(FILE_ENDINGS) or Path(source).is_file():
        return _with_state(network, _state_in(source), f"DPO checkpoint {str(source)!r}")
    named = f"aligned model {_named(str(source), revision)}"
    way_out = "give a file of tensors, or the folder or hub id of an adapter of PEFT or of a whole model"
    with refused(f"cannot load the {named}", way_out, first_line):
        from transformers import AutoModelForCausalLM

        if find_adapter_config_file(str(source), revision=revision or None):
            from peft import PeftModel  # slow to import

            return PeftModel.from_pretrained(network, source, revision=revision or "main").merge_and_unload()
        found = AutoModelForCausalLM.from_pretrained(
            source, revision=revision or None, dtype=network.dtype, trust_remote_code=False
        )
        return _with_state(network, found.state_dict(), named)


def _state_in(path: str | Path) -> dict[str, Tensor]:
    with refused(f"cannot read the DPO checkpoint {str(path)!r}", TENSORS_ONLY, first_line):
        if not Path(path).exists():
            raise UserError(f"there is no DPO checkpoint {str(path)!r}; check model.aligned")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint.get("state", checkpoint)


def _with_state(network: PreTrainedModel, state: dict[str, Tensor], named: str) -> PreTrainedModel:
    with refused(f"cannot use the {named}", TENSORS_ONLY, first_line):
        for name, tensor in network.state_dict().items():
            if name in state and state[name].shape != tensor.shape:
                raise UserError(
                    f"the {named} is of another shape: {name} is {tuple(state[name].shape)}, in model.base "
                    f"it is {tuple(tensor.shape)}; give the model.base that it was made from"
                )
        missing, _ = network.load_state_dict(state, strict=False)
    missing = [k for k in missing if not k.endswith(("attn.bias", "masked_bias", "lm_head.weight"))]
    if missing:
        raise UserError(
            f"the {named} lacks {len(missing)} tensors, first {missing[0]!r}; it was made from another model"
        )
    return network


def load_direction(path: str, d_model: int) -> Float[Tensor, "d_model"]:
    """The authors' `probe.pt`: a tensor of shape `(d_model,)` or `(1, d_model)`.

    Raises:
        UserError: the file is missing, is not a tensor, or has another width than the model.
    """
    with refused(f"cannot read the probe {path!r}", "it must hold one tensor", first_line):
        if not Path(path).exists():
            raise UserError(f"there is no probe {path!r}; check probe.path in the profile")
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(tensor, Tensor) or tensor.squeeze().shape != (d_model,):
        shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
        raise UserError(f"the probe {path!r} is {shape}; this model needs shape ({d_model},)")
    return tensor.squeeze().float()


def check_vocabulary(network: PreTrainedModel, tokenizer) -> None:
    """See that the model knows every token of the tokenizer.

    Raises:
        UserError: the tokenizer has more tokens than the model.
    """
    known = network.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > known:
        raise UserError(
            f"the tokenizer has {len(tokenizer)} tokens, the model knows {known}; give the tokenizer that "
            "belongs to model.base as model.tokenizer"
        )


def load_tokenizer(source: str | Path, revision: str = ""):
    """A tokenizer from a folder or the hub, padding on the left with its end-of-text token.

    Raises:
        UserError: it cannot be loaded, or it is empty.
    """
    from transformers import AutoTokenizer

    way_out = "give a folder with tokenizer.json, or check the hub id, the revision and the network"
    with refused(f"cannot load the tokenizer {_named(source, revision)}", way_out):
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision or None, trust_remote_code=False)
    if len(tokenizer) < 2:
        raise UserError(f"the tokenizer {str(source)!r} is empty; give a folder with tokenizer.json")
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _named(source: str | Path, revision: str) -> str:
    if Path(source).exists():
        return repr(str(source))
    return f"{str(source)!r}, which is no folder here, from the hub{f' at {revision}' if revision else ''}"
