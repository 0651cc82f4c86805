"""Makes a small Llama with random weights and a byte-level BPE tokenizer trained on the spot: no download, no licence.

Run by the interpreter of vLLM's own environment: `python tiny_model.py FOLDER`. It answers gibberish at the speed of
a 19-million-parameter model: some milliseconds a token on one core, so that the engine, and not what surrounds it,
is what a loaded server is busy with.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HIDDEN = 512
LAYERS = 8
HEADS = 4
KV_HEADS = 2
MAX_POSITIONS = 4096
VOCABULARY = 512
SEED = 0

UNKNOWN, BEGIN, END, TURN_BEGIN, TURN_END = SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
SENTENCES = (
    "The fleet grows when requests wait, and shrinks when nobody asks.",
    "A replica that is loading is not capacity, and is not forgotten.",
    "First the prompt is read, then one token follows another.",
    "Who carries least leaves first, after the last answer has been given.",
    "system user assistant, hello: what is 0 1 2 3 4 5 6 7 8 9?",
)
SPELT = " " + " ".join("abcdefghijklmnopqrstuvwxyz")
"""A space and a letter are one token, as in the vocabularies of real models: the load generator counts on it."""
_SPELT_TIMES = 50
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def trained_tokenizer() -> Any:
    """A byte-level BPE tokenizer: it can spell every text, and knows the words of a few sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*SENTENCES, *[SPELT] * _SPELT_TIMES], trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=END,
        model_max_length=MAX_POSITIONS,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def random_llama(vocabulary: int) -> Any:
    """A Llama whose weights are drawn with a fixed seed, in bfloat16."""
    torch.manual_seed(SEED)
    begin, end = SPECIAL.index(BEGIN), SPECIAL.index(END)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=HIDDEN // HEADS,
        max_position_embeddings=MAX_POSITIONS,
        bos_token_id=begin,
        eos_token_id=end,
        pad_token_id=end,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.generation_config = GenerationConfig(bos_token_id=begin, eos_token_id=end, pad_token_id=end)
    return model


def make(folder: Path) -> bool:
    """Write the model to `folder`, whole or not at all; False when it is there already."""
    if (folder / "config.json").is_file():
        return False
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    tokenizer = trained_tokenizer()
    tokenizer.save_pretrained(draft)
    random_llama(len(tokenizer)).save_pretrained(draft, safe_serialization=True)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return True


def main(argv: list[str]) -> int:
    """Make the model in the folder that is named."""
    if len(argv) != 1:
        sys.stderr.write("usage: tiny_model.py FOLDER\n")
        return 2
    folder = Path(argv[0]).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"{folder}: {'made' if make(folder) else 'is there already'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
