"""What a plan costs on this machine, in words: known only to who can be asked, since looking takes a moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wizard.words import t

if TYPE_CHECKING:
    from lora_trainer.plan import TrainPlan
    from pipeline.job import Dataset
    from pipeline.offers.base_facts import BaseFacts
    from pipeline.offers.base_models import Offer
    from pipeline.offers.cost import Cost
    from pipeline.offers.data_size import DataSize
    from pipeline.offers.duration import Duration
    from pipeline.offers.machine import Machine, MachineLook
    from pipeline.offers.reach import HubReach
    from pipeline.run.history import History, Run
    from wizard.steps.draft import Draft


class Prices:
    """Looks at the machine and at the network beside the questions; nothing waits for either but what needs it."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._look: MachineLook | None = None
        self._reach: HubReach | None = None
        self._runs: list[Run] | None = None
        self._sizes: dict[str, DataSize] = {}
        self._facts: dict[tuple[str, str], BaseFacts | None] = {}

    def begin(self) -> None:
        """Start to look, in the background."""
        if self._look is None:
            from pipeline.offers.machine import look_at_machine
            from pipeline.offers.reach import ask_hub

            self._look, self._reach = look_at_machine(), ask_hub()

    def end(self) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.close()
            self._look = None

    @property
    def online(self) -> bool | None:
        """Whether the hub answers; None while that isn't known."""
        return self._reach.now() if self._reach else None

    def machine(self) -> Machine | None:
        """What this machine has, as far as it is known by now."""
        return self._look.now() if self._look else None

    @property
    def is_measured(self) -> bool:
        """Whether it is known how fast this machine multiplies."""
        machine = self.machine()
        return machine is not None and bool(machine.speeds)

    def offers(self, data: Dataset, plan: TrainPlan) -> list[Offer]:
        """The recommended base models, with what each takes here."""
        from pipeline.offers.base_models import base_offers

        if self._look is None:
            return []
        machine = self._look.now() or self._look.wait()
        return base_offers(self._size(data), plan, machine, self._history, runs=self._trained())

    def of(self, draft: Draft, plan: TrainPlan, rungs: Sequence[float] = ()) -> Cost | None:
        """What a plan takes, or all rungs of its ladder; None where nobody is asked, so that nothing was looked at."""
        from pipeline.offers.cost import plan_cost

        machine = self.machine()
        if machine is None or draft.data is None:
            return None
        return plan_cost(
            plan,
            self._size(draft.data),
            self._base(draft) if draft.base else None,
            machine,
            self._history,
            rungs=rungs,
            quantize=draft.taken.serving.quantize if draft.taken else "q8_0",
            registers=draft.client is not None,
            continues=draft.stands.run if draft.choice == "continue" else None,
            fresh=draft.new_base or draft.request.from_scratch or draft.request.warm_start,
            runs=self._trained(),
        )

    def _trained(self) -> list[Run]:
        """All trainings that have come to their end here; read once."""
        from pipeline.offers.base_models import trained_runs

        if self._runs is None:
            self._runs = trained_runs(self._history)
        return self._runs

    def _base(self, draft: Draft) -> BaseFacts | None:
        from pipeline.offers.base_facts import base_facts

        key = (draft.base, str((draft.recorded or {}).get("revision")))
        if key not in self._facts:
            self._facts[key] = base_facts(draft.base, recorded=draft.recorded, client=draft.client)
        return self._facts[key]

    def _size(self, data: Dataset) -> DataSize:
        from pipeline.offers.data_size import data_size

        if data.fingerprint not in self._sizes:
            self._sizes[data.fingerprint] = data_size(data)
        return self._sizes[data.fingerprint]


def time_text(duration: Duration | None) -> str:
    """How long something takes: a range where an earlier run tells, about so long where only arithmetic does."""
    if duration is None:
        return ""
    low, high = _about(duration.low), _about(duration.high)
    if not duration.measured:
        return t("price.about", time=_about(duration.seconds))
    return low if low == high else t("price.range", low=low, high=high)


def _about(seconds: float) -> str:
    """Seconds as people say them of something to come."""
    from pipeline.offers.duration import round_seconds

    rounded = round_seconds(seconds)
    if rounded < 120:
        return t("price.seconds", seconds=rounded)
    if rounded < 3600:
        return t("price.minutes", minutes=round(rounded / 60))
    return t("price.hours", hours=f"{rounded / 3600:.2f}".rstrip("0").rstrip("."))


def memory_text(count: int) -> str:
    """How much memory is needed."""
    from wizard.screen.training import size

    return t("price.memory", size=size(count))
