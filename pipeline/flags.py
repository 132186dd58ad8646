"""The table of flags: every flag of the program is one row here and one field of `Request`.

Plain data, so that `--help` costs next to nothing.
"""

from __future__ import annotations

from file_formats.file_types import FILE_TYPES

QUANTIZE_TYPES = tuple(name for name, row in FILE_TYPES.items() if row.offered)


class Flag:
    """One row: `kind` is switch, text, path, int or float; a number lies in `low`..`high`, both included.

    The help text stands under `help.<name>`, the heading of the group under `help.group.<group>`.
    """

    def __init__(
        self,
        group: str,
        name: str,
        kind: str = "switch",
        metavar: str = "",
        *,
        low: float | None = None,
        high: float | None = None,
        choices: tuple[str, ...] = (),
    ) -> None:
        self.group = group
        self.name = name
        self.kind = kind
        self.metavar = "|".join(choices) if choices and not metavar else metavar
        self.low = low
        self.high = high
        self.choices = choices


FLAGS = (
    Flag("main", "ollama_name", "text", "NAME"),
    Flag("main", "base_model", "text", "ID|DIR|FILE.gguf|ollama:NAME|modelscope:ID"),
    Flag("data", "data_dir", "path", "DIR"),
    Flag("data", "train_file", "path", "FILE"),
    Flag("data", "val_file", "path", "FILE"),
    Flag("data", "skip_bad_rows"),
    Flag("data", "system", "text", "TEXT"),
    Flag("data", "no_system"),
    Flag("existing", "on_exists", "text", choices=("ask", "continue", "overwrite", "skip", "cancel")),
    Flag("existing", "continue_train"),
    Flag("existing", "force"),
    Flag("existing", "strategy", "text", choices=("incremental", "retune", "augment", "custom")),
    Flag("existing", "add_epochs", "float", "N", low=0.01, high=1000),
    Flag("existing", "from_scratch"),
    Flag("existing", "warm_start"),
    Flag("existing", "resume"),
    Flag("existing", "restart"),
    # The ranges of the training numbers stand in TrainPlan.
    Flag("training", "epochs", "float", "N"),
    Flag("training", "ladder", "text", "N,N,…"),
    Flag("training", "learning_rate", "float", "RATE"),
    Flag("training", "lora_rank", "int", "R"),
    Flag("training", "lora_alpha", "float", "A"),
    Flag("training", "lora_dropout", "float", "P"),
    Flag("training", "batch_size", "int", "N"),
    Flag("training", "max_length", "int", "TOKENS"),
    Flag("training", "seed", "int", "N"),
    Flag("training", "scheduler", "text", choices=("steady", "cosine", "linear", "constant")),
    Flag("training", "early_stop"),
    Flag("training", "qlora"),
    Flag("training", "no_qlora"),
    Flag("serving", "quantize", "text", "TYPE", choices=QUANTIZE_TYPES),
    Flag("serving", "temperature", "float", "T", low=0, high=5),
    Flag("serving", "top_p", "float", "P", low=0, high=1),
    Flag("serving", "top_k", "int", "K", low=0, high=1 << 20),
    Flag("serving", "repeat_penalty", "float", "P", low=0, high=10),
    Flag("serving", "num_ctx", "int", "TOKENS", low=16, high=1 << 24),
    Flag("serving", "keep_chat_template"),
    Flag("serving", "keep_gguf"),
    Flag("serving", "llama_cpp", "path", "DIR"),
    Flag("registering", "no_register"),
    Flag("registering", "register_only"),
    Flag("registering", "run", "int", "N", low=1, high=1 << 30),
    Flag("registering", "no_backup"),
    Flag("registering", "keep_backups", "int", "N", low=0, high=100),
    Flag("looking", "history"),
    Flag("looking", "rollback"),
    Flag("looking", "verify"),
    Flag("program", "yes"),
    Flag("program", "dry_run"),
    Flag("program", "json"),
    Flag("program", "lang", "text", choices=("zh", "en")),
    Flag("program", "debug"),
)
