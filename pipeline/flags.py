"""The table of flags: every flag of the program is one row here and one field of `Request`.

Plain data, so that `--help` costs next to nothing.
"""

from __future__ import annotations

from file_formats.file_types import FILE_TYPES

QUANTIZE_TYPES = tuple(name for name, row in FILE_TYPES.items() if row.offered)


class Flag:
    """One row: `kind` is switch, text, path, paths, int or float; a number lies in `low`..`high`, both included.

    `nature` says what a flag changes: what a model learns ("trains": another value is another run), how the trained
    model is served ("serves": applied without training), or neither ("presents": what is asked, told, kept or done
    this time). The help text stands under `help.<name>`, the heading of the group under `help.group.<group>`.
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
        nature: str = "presents",
    ) -> None:
        self.group = group
        self.name = name
        self.kind = kind
        self.metavar = "|".join(choices) if choices and not metavar else metavar
        self.low = low
        self.high = high
        self.choices = choices
        self.nature = nature

    @property
    def option(self) -> str:
        """As it is typed; a name that is a word of Python has an underscore behind it."""
        return option(self.name)


def option(name: str) -> str:
    """The flag of a field of Request, as it is typed."""
    return f"--{name.rstrip('_')}"


FLAGS = (
    Flag("main", "ollama_name", "text", "NAME"),
    Flag("main", "base_model", "text", "ID|DIR|FILE.gguf|ollama:NAME|modelscope:ID", nature="trains"),
    Flag("data", "data_dir", "path", "DIR", nature="trains"),
    Flag("data", "train_file", "path", "FILE", nature="trains"),
    Flag("data", "val_file", "path", "FILE", nature="trains"),
    Flag("data", "rows_of_run", "int", "N", low=1, high=1 << 30, nature="trains"),
    Flag("data", "skip_bad_rows", nature="trains"),
    Flag("data", "system", "text", "TEXT", nature="trains"),
    Flag("data", "no_system", nature="trains"),
    Flag("data", "thoughts", "text", choices=("strip", "train"), nature="trains"),
    Flag("data_desk", "data_desk"),
    Flag("data_desk", "draft_by", "text", "MODEL"),
    Flag("data_desk", "import_", "paths", "FILE…"),
    Flag("data_desk", "character", "text", "NAME"),
    Flag("data_desk", "pause", "float", "MINUTES", low=0.1, high=1_000_000),
    Flag("data_desk", "columns", "text", "user=HEAD,character=HEAD"),
    Flag("data_desk", "drop_words", "text", "WORD,…"),
    Flag("data_desk", "private_names", "text", "NAME,…"),
    Flag("data_desk", "keep_private"),
    Flag("data_desk", "mend"),
    Flag("existing", "on_exists", "text", choices=("ask", "continue", "overwrite", "skip", "cancel")),
    Flag("existing", "continue_train"),
    Flag("existing", "force"),
    Flag("existing", "strategy", "text", choices=("incremental", "retune", "augment", "custom"), nature="trains"),
    Flag("existing", "add_epochs", "float", "N", low=0.01, high=1000, nature="trains"),
    Flag("existing", "from_run", "int", "N", low=1, high=1 << 30, nature="trains"),
    Flag("existing", "from_scratch", nature="trains"),
    Flag("existing", "warm_start", nature="trains"),
    Flag("existing", "resume"),
    Flag("existing", "restart"),
    # The ranges of the training numbers stand in TrainPlan.
    Flag("training", "epochs", "float", "N", nature="trains"),
    Flag("training", "ladder", "text", "N,N,…", nature="trains"),
    Flag("training", "learning_rate", "float", "RATE", nature="trains"),
    Flag("training", "lora_rank", "int", "R", nature="trains"),
    Flag("training", "lora_alpha", "float", "A", nature="trains"),
    Flag("training", "lora_dropout", "float", "P", nature="trains"),
    Flag("training", "batch_size", "int", "N", nature="trains"),
    Flag("training", "max_length", "int", "TOKENS", nature="trains"),
    Flag("training", "seed", "int", "N", nature="trains"),
    Flag("training", "scheduler", "text", choices=("steady", "cosine", "linear", "constant"), nature="trains"),
    Flag("training", "early_stop", nature="trains"),
    Flag("training", "qlora", nature="trains"),
    Flag("training", "no_qlora", nature="trains"),
    Flag("serving", "quantize", "text", "TYPE", choices=QUANTIZE_TYPES, nature="serves"),
    Flag("serving", "temperature", "float", "T", low=0, high=5, nature="serves"),
    Flag("serving", "top_p", "float", "P", low=0, high=1, nature="serves"),
    Flag("serving", "top_k", "int", "K", low=0, high=1 << 20, nature="serves"),
    Flag("serving", "min_p", "float", "P", low=0, high=1, nature="serves"),
    Flag("serving", "repeat_penalty", "float", "P", low=0, high=10, nature="serves"),
    Flag("serving", "num_ctx", "int", "TOKENS", low=16, high=1 << 24, nature="serves"),
    Flag("serving", "keep_chat_template", nature="serves"),
    Flag("serving", "no_keep_chat_template", nature="serves"),
    Flag("serving", "keep_gguf"),
    Flag("serving", "llama_cpp", "path", "DIR"),
    Flag("registering", "no_register"),
    Flag("registering", "register_only"),
    Flag("registering", "run", "int", "N", low=1, high=1 << 30),
    Flag("registering", "point", "float", "EPOCHS", low=0.01, high=1000),
    Flag("registering", "no_backup"),
    Flag("registering", "keep_backups", "int", "N", low=0, high=100),
    Flag("registering", "compare"),
    Flag("registering", "no_compare"),
    Flag("looking", "history"),
    Flag("looking", "compare_only"),
    Flag("looking", "chat"),
    Flag("looking", "note", "text", "TEXT"),
    Flag("looking", "rollback"),
    Flag("looking", "verify"),
    Flag("looking", "report"),
    Flag("moving", "pack"),
    Flag("moving", "adopt", "path", "DIR|ZIP"),
    Flag("moving", "clean"),
    Flag("program", "samples", "int", "N", low=0, high=4),
    Flag("program", "yes"),
    Flag("program", "dry_run"),
    Flag("program", "json"),
    Flag("program", "lang", "text", choices=("zh", "en")),
    Flag("program", "debug"),
)
