"""AntiBERTy, a language model of antibodies: the trained weights of its wheel, run by transformers' BERT."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from harness.errors import HarnessError, UsageError
from harness.extensions.capture.describe import Facts
from harness.extensions.capture.inputs import Query
from harness.extensions.capture.plan import CaptureSettings, Site, trunk_tensors, whole
from harness.extensions.capture.prepared import TorchModel
from harness.extensions.capture.session import Push
from harness.extensions.capture.trunk import copied
from harness.extensions.capture.weights import Checkpoint
from harness.trace.schema import Role, TensorSpec, tensor

_WEIGHTS, _ENDS = "AntiBERTy_md_smooth", 2  # tokens before and behind the residues
_EMBEDDING = "activations/embedding/hidden_states"


def _trained() -> Path:
    """Return the wheel's folder with its trained weights; the package's own code is not imported."""
    found = importlib.util.find_spec("antiberty")
    folder = Path((found.submodule_search_locations or [""])[0] if found else "") / "trained_models"
    if not (folder / _WEIGHTS).is_dir():
        raise UsageError("The package antiberty has no weights here: pip install --no-deps antiberty==0.1.3.")
    return folder


@dataclass(frozen=True)
class Encoder:
    """Capture points in a BERT: its embedding, then attention and hidden states of every block."""

    model: Any  # A `transformers.BertModel` with eager attention, the only kind that forms its weights.

    def tensors(self, settings: CaptureSettings, residues: int) -> list[TensorSpec]:
        """Return all tensors that the hooks push, in order; axes count tokens, not residues."""
        shape = (residues + _ENDS, self.model.config.hidden_size)
        return [
            tensor(_EMBEDDING, shape, axes=("token", "channel")),
            *trunk_tensors(settings, self._sites(settings, residues), ()),
        ]

    def _sites(self, settings: CaptureSettings, residues: int) -> list[Site]:
        config, tokens = self.model.config, residues + _ENDS
        maps, hidden = "attention/layer_{layer}", "activations/layer_{layer}/hidden_states"
        shape = (config.num_attention_heads, tokens, tokens)
        sites = [Site(maps, shape, ("head", "token", "token"), Role.ATTENTION)] if settings.attention else []
        return [*sites, Site(hidden, (tokens, config.hidden_size), ("token", "channel"), Role.ACTIVATION)]

    @contextmanager
    def hooked(self, settings: CaptureSettings, residues: int, push: Push) -> Iterator[None]:
        """Push every tensor while the model runs, as `harness.extensions.capture.trunk.Trunk.hooked` does."""

        def give(path: str, pick: Any, _: nn.Module, __: Any, output: Any) -> None:
            found = pick(output)
            if found is None:
                raise HarnessError(f"{path}: this version of transformers did not form the attention weights.")
            push(path, copied(found[0]))

        *maps, hidden = self._sites(settings, residues)
        with ExitStack() as stack:

            def watch(module: nn.Module, path: str, pick: Any) -> None:
                stack.callback(module.register_forward_hook(partial(give, path, pick)).remove)

            watch(self.model.embeddings, _EMBEDDING, whole)
            for layer in settings.kept_layers:
                block = self.model.encoder.layer[layer]
                for site in maps:
                    watch(block.attention.self, site.name(0, 0, layer), lambda output: output[1])
                watch(block, hidden.name(0, 0, layer), lambda out: out[0] if isinstance(out, tuple) else out)
            yield


class PreparedAntiberty(TorchModel):
    """The network with its weights and one chain."""

    def build(self, checkpoint: Checkpoint | None) -> nn.Module:
        config = transformers.BertConfig.from_json_file(_trained() / _WEIGHTS / "config.json")
        config._attn_implementation, config.num_hidden_layers = "eager", self.settings.blocks
        if self.query.residues > (most := config.max_position_embeddings - _ENDS):
            raise UsageError(f"AntiBERTy takes at most {most} residues, the chain has {self.query.residues}.")
        return transformers.BertModel(config, add_pooling_layer=False)

    def renamed(self, checkpoint: Checkpoint) -> Checkpoint:
        """Keep only the encoder's parameters: the heads for masked letters, species and chains give no trace tensor."""
        state = {
            name.removeprefix("bert."): value
            for name, value in checkpoint.state.items()
            if name.startswith("bert.") and not name.endswith("position_ids") and ".pooler." not in f".{name}"
        }
        return checkpoint._replace(state=state)

    def features(self) -> dict[str, torch.Tensor]:
        letters = (_trained() / "vocab.txt").read_text(encoding="ascii").split()
        known = {letter: number for number, letter in enumerate(letters)}
        chain = ["[CLS]", *(letter if letter in known else "[UNK]" for letter in self.query.sequence), "[SEP]"]
        return {"input_ids": torch.tensor([[known[letter] for letter in chain]])}

    def places(self) -> Encoder:
        return Encoder(self.model)

    def facts(self) -> Facts:
        config = self.model.config
        return Facts(
            name="AntiBERTy",
            version=version("antiberty"),
            config=f"a BERT of {config.num_hidden_layers} blocks",
            heads=config.num_attention_heads,
            hidden=config.hidden_size,
            libraries=f"transformers {transformers.__version__}, torch {torch.__version__}",
            remark="tokens are [CLS], the residues in order and [SEP]",
            representations=("hidden_states",),
        )

    def forward(self, features: dict[str, torch.Tensor]) -> Any:
        return self.model(**features).last_hidden_state


def load(settings: CaptureSettings, query: Query) -> PreparedAntiberty:
    """Return the prepared model; see `harness.extensions.capture.models.ModelKind.open`."""
    if settings.recycles:
        raise UsageError("AntiBERTy computes one pass: leave out --recycles.")
    if query.files:
        raise UsageError("AntiBERTy takes a sequence alone: leave out --alignments.")
    checkpoint = settings.checkpoint or _trained() / _WEIGHTS / "pytorch_model.bin"
    return PreparedAntiberty(replace(settings, checkpoint=checkpoint, triangle=()), query)
